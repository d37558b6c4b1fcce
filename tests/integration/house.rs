//! Keeps the plan of the house: who may lean on whom, where foreign crates may
//! be named, and the one room that may hold `unsafe`.

use std::fs;
use std::path::{Path, PathBuf};

/// A room and the rooms it may name. A room may always name itself.
#[rustfmt::skip]
const MAY_USE: &[(&str, &[&str])] = &[
    ("names",     &[]),
    ("outcome",   &[]),
    ("console",   &[]),
    ("scratch",   &[]),
    ("cli",       &["names"]),
    ("event",     &["names"]),
    ("sanitize",  &["names"]),
    ("policy",    &["names"]),
    ("wire",      &["names"]),
    ("gate",      &["event", "policy", "names"]),
    ("changeset", &["policy", "sanitize", "names"]),
    ("report",    &["sanitize", "wire", "names", "outcome"]),
    ("broker",    &["scratch", "event", "gate", "policy", "changeset", "sanitize", "report", "wire", "cli", "console", "names", "outcome"]),
    ("sandbox",   &["scratch", "wire", "console", "names", "outcome"]),
    ("agent",     &["wire", "cli", "console", "names", "outcome"]),
    ("demo",      &["broker", "cli", "console", "names", "outcome"]),
];

/// A foreign crate and the paths under which it may be named.
const FENCED: &[(&str, &[&str])] = &[
    ("octocrab", &["broker/forge/github"]),
    (
        "git2",
        &[
            "broker/git",
            "broker/workspace",
            "broker/collect",
            "broker/forge/local",
        ],
    ),
    ("reqwest", &["broker/", "agent/"]),
    ("tokio", &["broker/", "agent/"]),
    ("hyper", &["broker/egress"]),
    (
        "rustls",
        &["broker/egress", "broker/forge/github", "agent/"],
    ),
    ("rcgen", &["broker/egress"]),
    ("serde_yaml", &["policy/parse"]),
    ("saphyr_parser", &["policy/parse"]),
    ("imara_diff", &["changeset/diff"]),
    ("aho_corasick", &["changeset/checks/secrets"]),
    ("unicode_normalization", &["changeset/checks/paths"]),
    ("ignore", &["broker/collect/ignored"]),
    (
        "landlock",
        &["sandbox/walls/files", "broker/egress/lockdown"],
    ),
    (
        "seccompiler",
        &["sandbox/walls/syscalls", "broker/egress/lockdown"],
    ),
    ("libc", &["sandbox/walls/", "broker/egress/lockdown"]),
];

/// The room is one file and a folder of the same name.
const UNSAFE_ROOM: &str = "sandbox/walls/sys";

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// Code lines of every source file, comments left out, with the path from src.
fn code() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&src, &mut found);
    assert!(found.len() > 5, "the walk found no house");
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("source is UTF-8");
            let code: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            let name = path
                .strip_prefix(&src)
                .expect("under src")
                .display()
                .to_string();
            (name, code.join("\n"))
        })
        .collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

#[test]
fn rooms_lean_only_downwards() {
    for (path, text) in code() {
        let room = path.split(['/', '.']).next().expect("a name");
        if matches!(room, "main" | "lib") {
            continue;
        }
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(name, _)| *name == room)
            .unwrap_or_else(|| panic!("{path}: room {room} is not on the plan"));
        for rest in text.split("crate::").skip(1) {
            let other = words(rest).next().expect("a name");
            assert!(
                other == room || allowed.contains(&other),
                "{path}: {room} may not lean on {other}"
            );
        }
    }
}

/// Whether the text names the crate itself, not a module of ours that ends so.
fn names_crate(text: &str, name: &str) -> bool {
    text.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':'))
    })
}

#[test]
fn foreign_crates_stay_behind_their_fence() {
    for (path, text) in code() {
        for (name, homes) in FENCED {
            let named = names_crate(&text, name);
            let at_home = homes.iter().any(|home| path.starts_with(home));
            assert!(
                !named || at_home,
                "{path}: {name} may only be named in {homes:?}"
            );
        }
    }
}

fn in_unsafe_room(path: &str) -> bool {
    let rest = path.strip_prefix(UNSAFE_ROOM).unwrap_or_default();
    rest == ".rs" || rest.starts_with('/')
}

#[test]
fn unsafe_has_one_room() {
    for (path, text) in code() {
        // A word of HTML's Content-Security-Policy, not of Rust.
        let text = text.replace("'unsafe-inline'", "");
        let holds = words(&text).any(|word| word == "unsafe" || word == "unsafe_code");
        assert!(
            !holds || in_unsafe_room(&path),
            "{path}: unsafe belongs in {UNSAFE_ROOM}"
        );
    }
}

#[test]
fn only_a_run_proves_that_its_tree_is_gone() {
    let named: Vec<String> = code()
        .into_iter()
        .filter(|(_, text)| text.contains("never_started"))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(named, ["broker/job/inside.rs"], "it is for tests");
}
