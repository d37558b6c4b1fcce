//! `tagout demo`: the main job from a comment to a proposal, inside the real walls, from an empty environment.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tagout::broker::git::Source;

fn demo(home: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tagout"))
        .arg("demo")
        .args(more)
        .current_dir(home)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home)
        .output()
        .expect("the binary starts")
}

fn walls(shown: &Value) -> BTreeSet<&str> {
    let refused = shown["refused"].as_array().expect("a list");
    assert!(refused.len() >= 3, "{shown}");
    refused
        .iter()
        .map(|entry| {
            assert!(entry["what"].as_str().is_some_and(|what| !what.is_empty()));
            entry["wall"].as_str().expect("a wall")
        })
        .collect()
}

#[test]
fn demo_proposes_the_mended_file_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("run");
    let ran = demo(
        home.path(),
        &["--json", "--out", &out.display().to_string()],
    );
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let shown: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(shown["outcome"], "proposed");
    assert_eq!(shown["changed"], serde_json::json!(["calculator.sh"]));
    let walls = walls(&shown);
    assert!(
        walls.contains("files") && walls.contains("egress"),
        "{walls:?}"
    );
    assert!(Path::new(shown["report"].as_str().unwrap()).exists());

    let repository = out.join("repository");
    let source = Source::open(&repository).unwrap();
    let head = source.head().unwrap();
    assert_eq!(
        head.branch.as_deref(),
        Some("main"),
        "what is checked out stays"
    );
    let branch = format!("refs/heads/{}", shown["branch"].as_str().unwrap());
    let proposed = source.reference(&branch).unwrap().unwrap();
    let mended = source
        .read_file(&proposed, "calculator.sh", 1000)
        .unwrap()
        .unwrap();
    assert!(String::from_utf8(mended).unwrap().contains("$1 + $2"));
    let stray = source
        .read_file(&proposed, ".github/workflows/deploy.yml", 1000)
        .unwrap();
    assert_eq!(stray, None);
    let untouched = fs::read_to_string(repository.join("calculator.sh")).unwrap();
    assert!(untouched.contains("$1 - $2"), "the work tree stays");
}

#[test]
fn demo_leaves_no_trace_of_the_key() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("run");
    let ran = demo(
        home.path(),
        &["--json", "--out", &out.display().to_string()],
    );
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let mut left = vec![home.path().to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                left.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                // The prefix stands in the script's own command, which the log shows; what follows it must not be a key.
                let text = String::from_utf8_lossy(&bytes);
                for after in text.split("demo-live-").skip(1) {
                    let key = after.chars().take_while(char::is_ascii_hexdigit).count();
                    assert!(key < 16, "{} holds the key", path.display());
                }
            }
        }
    }
}

#[test]
fn demo_tells_a_person_what_was_done_refused_and_where_the_report_lies() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("run");
    let ran = demo(home.path(), &["--out", &out.display().to_string()]);
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let text = String::from_utf8(ran.stdout).unwrap();
    for words in [
        "changed calculator.sh",
        "write .github/workflows/deploy.yml",
        "by egress",
        "proposed",
        "report.html",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.lines().count() <= 20, "a few lines: {text}");
}
