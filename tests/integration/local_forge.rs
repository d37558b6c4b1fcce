//! A proposal in a repository on this machine: one branch, and nothing else is touched.

use std::fs;
use std::path::{Path, PathBuf};

use tagout::broker::forge::local::{LocalError, publish};
use tagout::broker::forge::{Made, Proposal, Published};
use tagout::changeset::change::{Before, Blob, Change, Changeset, FileMode};
use tagout::changeset::checks::{Checked, Known, check};
use tagout::changeset::diff;
use tagout::changeset::path::RepoPath;
use tagout::gate::{Admitted, Base, keyboard};
use tagout::names::Digest;
use tagout::outcome::Outcome;
use tagout::policy::model::Policy;

use crate::workspace::{git, head, sample};

fn blob(text: &str) -> Blob {
    Blob::new(text.as_bytes().to_vec())
}

fn path(text: &str) -> RepoPath {
    RepoPath::new(text).expect(text)
}

fn before(text: &str, mode: FileMode) -> Before {
    Before {
        mode,
        content: Some(blob(text)),
    }
}

struct Scene {
    _folder: tempfile::TempDir,
    repo: PathBuf,
    admitted: Admitted,
}

fn scene() -> Scene {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    let admitted = admitted(&repo);
    Scene {
        _folder: folder,
        repo,
        admitted,
    }
}

fn admitted(repo: &Path) -> Admitted {
    let base = Base {
        branch: "trunk".to_owned(),
        commit: head(repo),
    };
    keyboard("do it", Some("me"), base).expect("admitted")
}

fn changes(repo: &Path, text: &str) -> Changeset {
    let changes = vec![
        Change::modify(
            path("README.md"),
            before("hello\n", FileMode::Regular),
            FileMode::Regular,
            blob(text),
        ),
        Change::add(
            path("src/new/deep.rs"),
            FileMode::Executable,
            blob("#!/bin/sh\n"),
        ),
        Change::add(path("src/link"), FileMode::Symlink, blob("main.rs")),
        // A folder becomes a file, a file becomes a folder.
        Change::delete(path("a/b"), before("x\n", FileMode::Regular)),
        Change::add(path("a"), FileMode::Regular, blob("file\n")),
        Change::delete(
            path("a.txt"),
            before("dotted sorts before a/\n", FileMode::Regular),
        ),
        Change::add(path("a.txt/x"), FileMode::Regular, blob("x\n")),
        Change::delete(path("src/deep/er/x.txt"), before("x\n", FileMode::Regular)),
    ];
    Changeset::new(head(repo), changes, Vec::new()).expect("once each")
}

fn checked(changeset: Changeset) -> Checked {
    check(changeset, &Policy::default(), Known::default()).expect("it passes")
}

fn propose(scene: &Scene, text: &str) -> Result<Published, LocalError> {
    let policy_digest = Digest::of(b"policy");
    let proposal = Proposal {
        title: "Fix it",
        body: "body",
        policy: &policy_digest,
        journal: None,
        run: "1/1",
        run_url: None,
    };
    publish(
        &scene.repo,
        &scene.admitted,
        &Policy::default(),
        &checked(changes(&scene.repo, text)),
        &proposal,
    )
}

#[test]
fn proposal_is_one_branch_and_nothing_that_is_checked_out_changes() {
    let scene = scene();
    let repo = &scene.repo;
    let hook = repo.join(".git/hooks/reference-transaction");
    fs::write(&hook, format!("#!/bin/sh\ntouch {}/ran\n", repo.display())).expect("written");
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("set");
    fs::write(repo.join("README.md"), "my own work\n").expect("written");
    let index = fs::read(repo.join(".git/index")).expect("there");
    let old_head = head(repo);
    let published = propose(&scene, "hello\nmore\n").expect("published");
    assert_eq!(
        (published.outcome, published.made),
        (Outcome::Proposed, Made::Local)
    );
    assert!(published.branch.starts_with("tagout/"));
    assert!(!repo.join("ran").exists(), "no hook was run");
    assert_eq!(fs::read(repo.join(".git/index")).expect("there"), index);
    assert_eq!(
        fs::read_to_string(repo.join("README.md")).expect("there"),
        "my own work\n"
    );
    assert_eq!(git(repo, &["branch", "--show-current"]).trim(), "trunk");
    assert_eq!(head(repo), old_head);
    git(repo, &["fsck", "--full", "--strict"]);
    let shown = git(
        repo,
        &[
            "diff",
            "--no-renames",
            "--raw",
            "--abbrev=1",
            "trunk",
            &published.branch,
        ],
    );
    let lines: Vec<String> = shown
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{} {} {}", words[0], words[1], words[4..].join(" "))
        })
        .collect();
    assert_eq!(
        lines,
        [
            ":100644 100644 M README.md",
            ":000000 100644 A a",
            ":100644 000000 D a.txt",
            ":000000 100644 A a.txt/x",
            ":100644 000000 D a/b",
            ":100644 000000 D src/deep/er/x.txt",
            ":000000 120000 A src/link",
            ":000000 100755 A src/new/deep.rs",
        ]
    );
    let parent = git(repo, &["rev-parse", &format!("{}~", published.branch)]);
    assert_eq!(parent.trim(), old_head.as_str());
    let message = git(
        repo,
        &["log", "-1", "--format=%an <%ae>%n%B", &published.branch],
    );
    assert!(
        message.starts_with("Tagout <tagout@localhost>\nFix it\n\n"),
        "{message}"
    );
    assert!(message.contains("Tagout-Requester: me"), "{message}");
}

#[test]
fn second_run_moves_our_branch_on_and_the_same_change_makes_no_commit() {
    let scene = scene();
    let first = propose(&scene, "one\n").expect("published");
    let second = propose(&scene, "two\n").expect("published");
    assert_eq!(second.outcome, Outcome::Updated);
    assert_eq!(second.branch, first.branch);
    let parent = git(&scene.repo, &["rev-parse", &format!("{}~", second.branch)]);
    assert_eq!(parent.trim(), first.commit.as_str());
    let third = propose(&scene, "two\n").expect("published");
    assert_eq!((third.commit, third.made), (second.commit, Made::Unchanged));
}

#[test]
fn branch_of_somebody_else_or_checked_out_is_left_alone() {
    let scene = scene();
    let wanted = propose(&scene, "one\n").expect("published").branch;
    // A person commits on top: no longer ours.
    let other = scene.repo.with_file_name("other");
    git(
        &scene.repo,
        &[
            "worktree",
            "add",
            "-q",
            other.to_str().expect("UTF-8"),
            &wanted,
        ],
    );
    fs::write(other.join("person.txt"), "x\n").expect("written");
    git(&other, &["add", "-A"]);
    git(&other, &["commit", "-qm", "mine"]);
    let theirs = git(&scene.repo, &["rev-parse", &wanted]);
    let second = propose(&scene, "two\n").expect("published");
    assert_eq!(second.branch, format!("{wanted}-2"));
    assert_eq!(second.notes.len(), 1);
    assert_eq!(git(&scene.repo, &["rev-parse", &wanted]), theirs);
    // Still so when nothing has it checked out any more.
    git(
        &scene.repo,
        &[
            "worktree",
            "remove",
            "--force",
            other.to_str().expect("UTF-8"),
        ],
    );
    let third = propose(&scene, "three\n").expect("published");
    assert_eq!(third.branch, format!("{wanted}-2"));
    assert_eq!(git(&scene.repo, &["rev-parse", &wanted]), theirs);
    // Ours, but checked out: it is not moved under somebody's feet.
    git(
        &scene.repo,
        &[
            "worktree",
            "add",
            "-q",
            other.to_str().expect("UTF-8"),
            &third.branch,
        ],
    );
    assert_eq!(
        propose(&scene, "four\n").expect("published").branch,
        format!("{wanted}-3")
    );
}

#[test]
fn packed_branch_is_moved_and_a_branch_in_the_way_is_named() {
    let scene = scene();
    let first = propose(&scene, "one\n").expect("published");
    git(&scene.repo, &["pack-refs", "--all"]);
    git(&scene.repo, &["gc", "-q"]);
    let second = propose(&scene, "two\n").expect("published");
    assert_eq!(
        (second.outcome, &second.branch),
        (Outcome::Updated, &first.branch)
    );
    git(&scene.repo, &["fsck", "--full", "--strict"]);
    git(&scene.repo, &["branch", "-D", "-q", &first.branch]);
    git(&scene.repo, &["branch", "tagout"]);
    git(&scene.repo, &["pack-refs", "--all"]);
    let refused = propose(&scene, "three\n").expect_err("in the way");
    assert!(matches!(refused, LocalError::InTheWay(..)), "{refused:?}");
}

#[test]
fn held_lock_is_respected_and_nothing_is_left_behind() {
    let scene = scene();
    let branch = propose(&scene, "one\n").expect("published").branch;
    let lock = scene.repo.join(format!(".git/refs/heads/{branch}.lock"));
    fs::write(&lock, "").expect("written");
    assert!(matches!(
        propose(&scene, "two\n"),
        Err(LocalError::Moved(_))
    ));
    assert!(lock.exists(), "the lock is not ours to remove");
    fs::remove_file(&lock).expect("removed");
    assert_eq!(propose(&scene, "two\n").expect("published").branch, branch);
    assert!(!lock.exists());
}

#[test]
fn change_that_does_not_fit_the_base_is_refused() {
    let scene = scene();
    let policy_digest = Digest::of(b"policy");
    let proposal = Proposal {
        title: "t",
        body: "",
        policy: &policy_digest,
        journal: None,
        run: "1/1",
        run_url: None,
    };
    for change in [
        Change::delete(path("nothing"), before("x\n", FileMode::Regular)),
        Change::add(path("README.md/x"), FileMode::Regular, blob("x\n")),
        Change::add(path("src"), FileMode::Regular, blob("x\n")),
    ] {
        let set = Changeset::new(head(&scene.repo), vec![change], Vec::new()).expect("once");
        let refused = publish(
            &scene.repo,
            &scene.admitted,
            &Policy::default(),
            &checked(set),
            &proposal,
        );
        assert!(
            matches!(refused, Err(LocalError::DoesNotFit { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(git(&scene.repo, &["branch", "--list", "tagout/*"]), "");
}

#[test]
fn patch_of_the_change_is_taken_by_git() {
    let scene = scene();
    let repo = &scene.repo;
    let mut all = changes(repo, "hello\nno line end").changes().to_vec();
    all.push(Change::add(
        path("with space.txt"),
        FileMode::Regular,
        blob("x\n"),
    ));
    all.push(Change::add(
        path("quote\".txt"),
        FileMode::Regular,
        blob("x\n"),
    ));
    all.push(Change::add(
        path("日本.txt"),
        FileMode::Regular,
        blob("x\r\ny\n"),
    ));
    all.push(Change::add(path("empty"), FileMode::Regular, blob("")));
    all.push(Change::add(
        path("binary"),
        FileMode::Regular,
        Blob::new((0..=255).cycle().take(5000).collect()),
    ));
    all.push(Change::modify(
        path("run.sh"),
        before("#!/bin/sh\n", FileMode::Executable),
        FileMode::Regular,
        blob("#!/bin/sh\n"),
    ));
    all.push(Change::modify(
        path("link"),
        before("README.md", FileMode::Symlink),
        FileMode::Regular,
        blob("a file now\n"),
    ));
    let set = Changeset::new(head(repo), all, Vec::new()).expect("once each");
    let patch = repo.with_file_name("changes.patch");
    fs::write(&patch, diff::patch(&set)).expect("written");
    git(
        repo,
        &[
            "apply",
            "--index",
            "--check",
            patch.to_str().expect("UTF-8"),
        ],
    );
    git(repo, &["apply", "--index", patch.to_str().expect("UTF-8")]);
    assert_eq!(
        fs::read_to_string(repo.join("README.md")).expect("there"),
        "hello\nno line end"
    );
    assert_eq!(fs::read(repo.join("binary")).expect("there").len(), 5000);
    assert!(repo.join("a.txt/x").is_file() && repo.join("a").is_file());
    assert!(
        repo.join("link")
            .symlink_metadata()
            .expect("there")
            .is_file()
    );
    assert!(repo.join("quote\".txt").is_file() && repo.join("empty").is_file());
}
