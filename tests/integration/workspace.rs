//! The private view of a commit: what is in it, what is not, and that the repository it comes from stays as it was.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tagout::broker::workspace::{Wanted, Workspace, WorkspaceError, removal};
use tagout::names::ObjectId;

/// Runs real git with nothing of the machine's own configuration.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "A")
        .env("GIT_AUTHOR_EMAIL", "a@example.com")
        .env("GIT_COMMITTER_NAME", "A")
        .env("GIT_COMMITTER_EMAIL", "a@example.com")
        .output()
        .expect("git is installed");
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("git prints UTF-8")
}

/// A repository with a file of every kind.
pub(crate) fn sample(folder: &Path) -> PathBuf {
    let repo = folder.join("repo");
    fs::create_dir(&repo).expect("made");
    git(&repo, &["init", "-q", "-b", "trunk"]);
    fs::create_dir_all(repo.join("src/deep/er")).expect("made");
    fs::create_dir_all(repo.join("a")).expect("made");
    fs::write(repo.join("README.md"), "hello\n").expect("written");
    fs::write(repo.join("src/main.rs"), "fn main() {}\n").expect("written");
    fs::write(repo.join("src/deep/er/x.txt"), "x\n").expect("written");
    fs::write(repo.join("a/b"), "x\n").expect("written");
    fs::write(repo.join("a.txt"), "dotted sorts before a/\n").expect("written");
    fs::write(repo.join(".env"), "PASSWORD=hunter2\n").expect("written");
    fs::write(repo.join(".gitignore"), "target/\n*.log\n").expect("written");
    fs::write(repo.join("run.sh"), "#!/bin/sh\n").expect("written");
    fs::set_permissions(repo.join("run.sh"), fs::Permissions::from_mode(0o755)).expect("set");
    std::os::unix::fs::symlink("README.md", repo.join("link")).expect("linked");
    std::os::unix::fs::symlink("/etc/passwd", repo.join("outside")).expect("linked");
    git(&repo, &["add", "-A", "-f"]);
    git(&repo, &["commit", "-q", "-m", "one"]);
    repo
}

pub(crate) fn head(repo: &Path) -> ObjectId {
    git(repo, &["rev-parse", "HEAD"])
        .trim()
        .parse()
        .expect("git prints an id")
}

fn run_dir(folder: &Path) -> PathBuf {
    let run = folder.join("run");
    fs::create_dir(&run).expect("made");
    run
}

/// Every file under a folder with its bytes and mode, to see that nothing changed.
fn fingerprint(folder: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut found = Vec::new();
    let mut queue = vec![folder.to_owned()];
    while let Some(next) = queue.pop() {
        for entry in fs::read_dir(&next).expect("readable") {
            let path = entry.expect("readable").path();
            let meta = path.symlink_metadata().expect("there");
            if meta.is_dir() {
                queue.push(path);
            } else if meta.is_file() {
                found.push((
                    path.clone(),
                    meta.mode(),
                    fs::read(&path).expect("readable"),
                ));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn tree_inside_is_the_commit_and_git_finds_it_clean() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    let commit = head(&repo);
    fs::write(repo.join("README.md"), "not committed\n").expect("written");
    fs::write(repo.join("untracked"), "x").expect("written");
    let before = fingerprint(&repo);
    let run = run_dir(folder.path());
    let mut wanted = Wanted::new(&repo, &commit, &run);
    wanted.branch = "trunk";
    let workspace = Workspace::prepare(&wanted).expect("prepared");
    let lower = workspace.lower();
    assert_eq!(
        fs::read_to_string(lower.join("README.md")).expect("there"),
        "hello\n"
    );
    assert!(!lower.join("untracked").exists());
    assert_eq!(mode(&lower.join("run.sh")), 0o755);
    assert_eq!(mode(&lower.join("README.md")), 0o644);
    assert_eq!(
        fs::read_link(lower.join("outside")).expect("a link"),
        Path::new("/etc/passwd")
    );
    assert_eq!(git(lower, &["status", "--porcelain", "--ignored"]), "");
    assert_eq!(git(lower, &["branch", "--show-current"]).trim(), "trunk");
    assert_eq!(git(lower, &["log", "--format=%an"]).trim(), "Tagout");
    assert_eq!(git(lower, &["remote"]), "");
    git(lower, &["fsck", "--full", "--strict"]);
    assert_eq!(
        git(lower, &["rev-parse", "HEAD^{tree}"]),
        git(&repo, &["rev-parse", "HEAD^{tree}"])
    );
    assert_eq!(fingerprint(&repo), before, "the repository is as it was");
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().expect("there").mode() & 0o7777
}

#[test]
fn commit_inside_works() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    let commit = head(&repo);
    let run = run_dir(folder.path());
    let workspace = Workspace::prepare(&Wanted::new(&repo, &commit, &run)).expect("prepared");
    let lower = workspace.lower();
    fs::write(lower.join("src/main.rs"), "fn main() { }\n").expect("written");
    fs::write(lower.join("new"), "x").expect("written");
    assert_eq!(
        git(lower, &["status", "--porcelain"]),
        " M src/main.rs\n?? new\n"
    );
    git(lower, &["commit", "-qam", "mine"]);
    assert_eq!(git(lower, &["diff", "HEAD~", "--stat"]).lines().count(), 2);
    git(lower, &["fsck", "--full", "--strict"]);
}

#[test]
fn git_inside_reads_no_file_to_find_the_tree_clean() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    let commit = head(&repo);
    let run = run_dir(folder.path());
    let workspace = Workspace::prepare(&Wanted::new(&repo, &commit, &run)).expect("prepared");
    let lower = workspace.lower();
    // Other bytes of the same size with the old time: only a git that reads would notice.
    let path = lower.join("README.md");
    let time = fs::metadata(&path)
        .expect("there")
        .modified()
        .expect("known");
    fs::write(&path, "HELLO\n").expect("written");
    fs::File::options()
        .write(true)
        .open(&path)
        .expect("opened")
        .set_modified(time)
        .expect("set");
    assert_eq!(git(lower, &["status", "--porcelain"]), "");
}

#[test]
fn hidden_path_is_neither_in_the_tree_nor_in_the_repository_inside() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    let commit = head(&repo);
    let run = run_dir(folder.path());
    let hide = [".env".to_owned(), "src/deep/".to_owned()];
    let mut wanted = Wanted::new(&repo, &commit, &run);
    wanted.hide = &hide;
    let workspace = Workspace::prepare(&wanted).expect("prepared");
    let lower = workspace.lower();
    assert!(!lower.join(".env").exists() && !lower.join("src/deep").exists());
    assert_eq!(git(lower, &["status", "--porcelain"]), "");
    git(lower, &["fsck", "--full", "--strict"]);
    let objects = git(
        lower,
        &[
            "cat-file",
            "--batch-all-objects",
            "--batch-check",
            "--unordered",
        ],
    );
    let hidden = git(&repo, &["rev-parse", "HEAD:.env"]);
    assert!(!objects.contains(hidden.trim()), "{objects}");
}

#[test]
fn token_that_checkout_persisted_is_not_inside() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    git(
        &repo,
        &[
            "config",
            "http.https://github.com/.extraheader",
            "AUTHORIZATION: basic c2VjcmV0",
        ],
    );
    git(
        &repo,
        &[
            "remote",
            "add",
            "origin",
            "https://user:secret@example.com/x",
        ],
    );
    let commit = head(&repo);
    let run = run_dir(folder.path());
    let workspace = Workspace::prepare(&Wanted::new(&repo, &commit, &run)).expect("prepared");
    for (path, _, bytes) in fingerprint(workspace.lower()) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains("c2VjcmV0") && !text.contains("user:secret"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn configuration_of_the_repository_is_not_believed() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    let commit = head(&repo);
    let marker = folder.path().join("ran");
    let touch = format!("touch {}", marker.display());
    git(&repo, &["config", "core.fsmonitor", &touch]);
    git(&repo, &["config", "filter.x.smudge", &touch]);
    git(&repo, &["config", "core.worktree", "/"]);
    fs::write(repo.join(".git/info/attributes"), "* filter=x\n").expect("written");
    let run = run_dir(folder.path());
    let workspace = Workspace::prepare(&Wanted::new(&repo, &commit, &run)).expect("prepared");
    assert!(workspace.lower().join("README.md").exists());
    assert!(!marker.exists());
}

#[test]
fn linked_worktree_and_its_subfolder_are_found() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    let other = folder.path().join("other");
    git(
        &repo,
        &[
            "worktree",
            "add",
            "-q",
            other.to_str().expect("UTF-8"),
            "-b",
            "side",
        ],
    );
    fs::write(other.join("side.txt"), "x").expect("written");
    git(&other, &["add", "-A"]);
    git(&other, &["commit", "-qm", "two"]);
    let commit = head(&other);
    let run = run_dir(folder.path());
    let inside = other.join("src");
    let workspace = Workspace::prepare(&Wanted::new(&inside, &commit, &run)).expect("prepared");
    assert!(workspace.lower().join("side.txt").exists());
    let source = tagout::broker::git::Source::open(&other).expect("opened");
    let found = source.head().expect("read");
    assert_eq!(found.branch.as_deref(), Some("side"));
    assert_eq!(found.commit, commit);
}

#[test]
fn shallow_clone_and_packed_references_are_read() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    fs::write(repo.join("second"), "x").expect("written");
    git(&repo, &["add", "-A"]);
    git(&repo, &["commit", "-qm", "two"]);
    git(&repo, &["tag", "-a", "v1", "-m", "v1"]);
    let url = format!("file://{}", repo.display());
    git(
        folder.path(),
        &["clone", "-q", "--depth", "1", &url, "shallow"],
    );
    let shallow = folder.path().join("shallow");
    git(&shallow, &["pack-refs", "--all"]);
    let commit = head(&shallow);
    let source = tagout::broker::git::Source::open(&shallow).expect("opened");
    for name in ["HEAD", "trunk", "origin/trunk", "@", &commit.as_str()[..7]] {
        assert_eq!(source.resolve(name).expect(name), commit, "{name}");
    }
    assert!(source.resolve("HEAD~1").is_err());
    assert!(source.resolve("nothing").is_err());
    let full = tagout::broker::git::Source::open(&repo).expect("opened");
    assert_eq!(full.resolve("v1").expect("a tag"), commit);
    assert_eq!(
        full.resolve("HEAD~").expect("a parent").to_string(),
        git(&repo, &["rev-parse", "HEAD~"]).trim()
    );
    let run = run_dir(folder.path());
    let workspace = Workspace::prepare(&Wanted::new(&shallow, &commit, &run)).expect("prepared");
    assert_eq!(git(workspace.lower(), &["status", "--porcelain"]), "");
}

#[test]
fn submodule_is_an_empty_folder() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    let id = head(&repo);
    git(
        &repo,
        &[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("160000,{id},vendor/lib"),
        ],
    );
    git(&repo, &["commit", "-qm", "submodule"]);
    let commit = head(&repo);
    let run = run_dir(folder.path());
    let workspace = Workspace::prepare(&Wanted::new(&repo, &commit, &run)).expect("prepared");
    let lower = workspace.lower();
    assert_eq!(
        fs::read_dir(lower.join("vendor/lib"))
            .expect("there")
            .count(),
        0
    );
    assert_eq!(git(lower, &["status", "--porcelain"]), "");
}

#[test]
fn kept_tree_is_not_built_again() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    let commit = head(&repo);
    let cache = folder.path().join("cache");
    let mut seen = Vec::new();
    for (name, hide) in [
        ("one", vec![]),
        ("two", vec![]),
        ("three", vec![".env".to_owned()]),
    ] {
        let run = folder.path().join(name);
        fs::create_dir(&run).expect("made");
        let mut wanted = Wanted::new(&repo, &commit, &run);
        wanted.cache = Some(&cache);
        wanted.hide = &hide;
        let workspace = Workspace::prepare(&wanted).expect("prepared");
        assert!(workspace.lower().join("README.md").exists());
        seen.push((workspace.lower().to_owned(), workspace.is_from_cache()));
    }
    assert_eq!(seen[0].0, seen[1].0);
    assert_eq!(
        seen.iter().map(|(_, found)| *found).collect::<Vec<_>>(),
        [false, true, false]
    );
    assert_ne!(seen[1].0, seen[2].0, "what is hidden makes another tree");
}

#[test]
fn cache_that_others_can_enter_is_refused() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    let commit = head(&repo);
    let cache = folder.path().join("cache");
    fs::create_dir(&cache).expect("made");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).expect("set");
    let run = run_dir(folder.path());
    let mut wanted = Wanted::new(&repo, &commit, &run);
    wanted.cache = Some(&cache);
    let refused = Workspace::prepare(&wanted).expect_err("open to others");
    assert!(matches!(refused, WorkspaceError::CacheNotPrivate(_)));
}

#[test]
fn tree_with_a_name_that_leaves_the_folder_is_refused() {
    let folder = tempfile::tempdir().expect("made");
    let repo = sample(folder.path());
    let blob = git(&repo, &["rev-parse", "HEAD:README.md"]);
    let id = git2::Oid::from_str(blob.trim()).expect("an id");
    for name in ["..", ".git", ".GIT", "git~1", "a/b"] {
        let mut object = format!("100644 {name}\0").into_bytes();
        object.extend_from_slice(id.as_bytes());
        let file = folder.path().join("tree");
        fs::write(&file, object).expect("written");
        let tree = git(
            &repo,
            &[
                "hash-object",
                "-t",
                "tree",
                "-w",
                "--literally",
                file.to_str().expect("UTF-8"),
            ],
        );
        let commit: ObjectId = git(&repo, &["commit-tree", "-m", "bad", tree.trim()])
            .trim()
            .parse()
            .expect("an id");
        let run = run_dir(folder.path());
        let refused = Workspace::prepare(&Wanted::new(&repo, &commit, &run)).expect_err(name);
        assert!(
            matches!(refused, WorkspaceError::Name(_) | WorkspaceError::Git(_)),
            "{name}: {refused:?}"
        );
        removal::remove(&run).expect("removed");
    }
}

#[test]
fn removal_copes_with_locked_and_very_deep_folders() {
    let folder = tempfile::tempdir().expect("made");
    let top = folder.path().join("top");
    fs::create_dir(&top).expect("made");
    let kept = folder.path().join("kept");
    fs::write(&kept, "x").expect("written");
    let mut at = rustix_open(&top);
    for _ in 0..1_500 {
        rustix::fs::mkdirat(&at, "d", rustix::fs::Mode::RWXU).expect("made");
        at = rustix::fs::openat(
            &at,
            "d",
            rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY,
            rustix::fs::Mode::empty(),
        )
        .expect("opened");
    }
    drop(at);
    let locked = top.join("locked");
    fs::create_dir(&locked).expect("made");
    fs::write(locked.join("x"), "x").expect("written");
    std::os::unix::fs::symlink(folder.path(), locked.join("up")).expect("linked");
    fs::create_dir(top.join("r0")).expect("made");
    fs::write(top.join("r0/x"), "x").expect("written");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).expect("set");
    removal::remove(&top).expect("removed");
    assert!(!top.exists() && kept.exists());
    removal::remove(&top).expect("already gone is no error");
}

fn rustix_open(path: &Path) -> std::os::fd::OwnedFd {
    fs::File::open(path).expect("opened").into()
}

/// Prints what a large repository costs. Run it alone: `cargo nextest run --release --run-ignored only fifty_thousand --no-capture`.
#[test]
#[ignore = "measures a repository of 50,000 files, which takes a minute to make"]
fn fifty_thousand_files_cost_what_the_documents_say() {
    let folder = tempfile::tempdir().expect("made");
    let repo = folder.path().join("repo");
    fs::create_dir(&repo).expect("made");
    git(&repo, &["init", "-q", "-b", "main"]);
    for number in 0..50_000 {
        let place = repo.join(format!("d{}/e{}", number / 1000, number / 50 % 20));
        fs::create_dir_all(&place).expect("made");
        let text = format!("file {number}\n").repeat(20 + number % 200);
        fs::write(place.join(format!("f{number}.txt")), text).expect("written");
    }
    git(&repo, &["add", "-A"]);
    git(&repo, &["commit", "-qm", "one"]);
    let commit = head(&repo);
    let cache = folder.path().join("cache");
    let mut workspaces = Vec::new();
    for name in ["built", "from the cache"] {
        let run = folder.path().join(name);
        fs::create_dir(&run).expect("made");
        let mut wanted = Wanted::new(&repo, &commit, &run);
        wanted.cache = Some(&cache);
        let began = std::time::Instant::now();
        workspaces.push(Workspace::prepare(&wanted).expect("prepared"));
        println!("{name}: {:?}", began.elapsed());
    }
    let workspace = workspaces.pop().expect("two were made");
    let began = std::time::Instant::now();
    assert_eq!(git(workspace.lower(), &["status", "--porcelain"]), "");
    println!("git status inside: {:?}", began.elapsed());
    fs::create_dir_all(workspace.upper().join("d3/e3")).expect("made");
    fs::write(workspace.upper().join("d3/e3/new.txt"), "new\n").expect("written");
    let bounds = tagout::broker::collect::Bounds {
        files: 100,
        bytes: 1 << 22,
        file_bytes: 1 << 20,
    };
    let gone = tagout::broker::job::inside::TreeGone::never_started();
    for shown in [
        tagout::broker::collect::Shown::UserOverlay,
        tagout::broker::collect::Shown::Copy,
    ] {
        if shown == tagout::broker::collect::Shown::Copy {
            let status = Command::new("cp")
                .args(["-a", "--no-clobber"])
                .args([&workspace.lower().join("."), workspace.upper()])
                .status()
                .expect("cp is there");
            assert!(status.success());
        }
        let began = std::time::Instant::now();
        let found =
            tagout::broker::collect::collect(&gone, &workspace, shown, bounds).expect("collected");
        println!("collected ({shown:?}): {:?}", began.elapsed());
        assert_eq!(found.changes().len(), 1);
    }
}
