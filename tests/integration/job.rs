//! The main job from outside: a request at the keyboard or an event, and what is left of it in the repository and the run's folder.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A repository with one commit, and a home of its own.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(&[("a.txt", "hello\n")])
    }

    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(place.repo()).unwrap();
        fs::create_dir(place.folder.path().join("home")).unwrap();
        place.git(&["init", "-q", "-b", "main"]);
        for (name, text) in files {
            let path = place.repo().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        place.git(&["add", "-A"]);
        place.git(&["commit", "-q", "-m", "base"]);
        place
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    pub(crate) fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let done = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b.invalid"])
            .args(args)
            .current_dir(self.repo())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .expect("git is a prerequisite of the tests");
        assert!(
            done.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8(done.stdout).unwrap()
    }

    pub(crate) fn tagout(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tagout"))
            .args(args)
            .current_dir(self.repo())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.folder.path().join("home"))
            .env("TMPDIR", self.folder.path())
            .output()
            .unwrap()
    }

    pub(crate) fn run(&self, agent: &str) -> (i32, Value) {
        let out = self.out("run");
        let done = self.tagout(&[
            "run",
            "--json",
            "--forge",
            "local",
            "--task",
            "do it",
            "--out",
            out.to_str().unwrap(),
            "--",
            "sh",
            "-c",
            agent,
        ]);
        answer(&done)
    }
}

pub(crate) fn answer(done: &Output) -> (i32, Value) {
    let json = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&done.stderr)));
    (done.status.code().unwrap(), json)
}

/// Every path below a folder with what it holds, to see that nothing was changed.
fn picture(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.clone(), fs::read(path).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn change_of_the_agent_becomes_a_branch() {
    let place = Place::new();
    let (code, json) = place.run("echo new > b.txt; echo more >> a.txt");
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("proposed")),
        "{json}"
    );
    let branch = json["branch"].as_str().unwrap();
    assert_eq!(place.git(&["show", &format!("{branch}:b.txt")]), "new\n");
    assert_eq!(
        place.git(&["show", &format!("{branch}:a.txt")]),
        "hello\nmore\n"
    );
    assert_eq!(
        place.git(&["diff", "--name-only", "main", branch]),
        "a.txt\nb.txt\n"
    );
    place.git(&["fsck", "--strict"]);
}

#[test]
fn work_tree_index_and_head_stay_as_they_were() {
    let place = Place::new();
    fs::write(place.repo().join("mine.txt"), "not committed\n").unwrap();
    let files: Vec<_> = picture(&place.repo())
        .into_iter()
        .filter(|(path, _)| {
            !path.to_string_lossy().contains("/.git/objects")
                && !path.to_string_lossy().contains("/refs/heads/tagout")
        })
        .collect();
    let (code, _) = place.run("rm -rf ./* .git; echo x > b.txt");
    assert_eq!(code, 0);
    let after: Vec<_> = picture(&place.repo())
        .into_iter()
        .filter(|(path, _)| {
            !path.to_string_lossy().contains("/.git/objects")
                && !path.to_string_lossy().contains("/refs/heads/tagout")
        })
        .collect();
    assert!(
        files == after,
        "something in the caller's folder was changed"
    );
}

#[test]
fn run_leaves_journal_report_patch_and_bundle() {
    let place = Place::new();
    let (_, json) = place.run("echo new > b.txt");
    let out = place.out("run");
    let mut left: Vec<_> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(
        left,
        [
            "bundle",
            "changes.patch",
            "findings.sarif",
            "journal.jsonl",
            "report.html",
            "report.md"
        ]
    );
    let report = fs::read_to_string(out.join("report.md")).unwrap();
    assert!(
        report.contains("b.txt") && report.contains("proposed"),
        "{report}"
    );
    assert_eq!(json["report"].as_str(), out.join("report.md").to_str());
    place.git(&[
        "apply",
        "--check",
        out.join("changes.patch").to_str().unwrap(),
    ]);
    let shown = place.tagout(&["report", out.to_str().unwrap()]);
    assert!(
        shown.status.success(),
        "{}",
        String::from_utf8_lossy(&shown.stderr)
    );
}

#[test]
fn agent_that_changes_nothing_proposes_nothing() {
    let place = Place::new();
    let (code, json) = place.run("true");
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("no-changes")),
        "{json}"
    );
    assert_eq!(place.git(&["branch", "--list", "tagout/*"]), "");
}

/// Processes whose command line begins with these bytes, and the number of the one that started each.
fn running(begin: &[u8]) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
        if line.starts_with(begin) {
            found.extend(parent.map(|parent| (pid, parent)));
        }
    }
    found
}

#[test]
fn death_of_the_egress_ends_the_run_at_once() {
    let place = Place::new();
    // A number that no other process sleeps for.
    let seconds = format!("{}", 100_000 + std::process::id());
    let sleep = format!("sleep\0{seconds}\0");
    let out = place.out("run");
    let child = Command::new(env!("CARGO_BIN_EXE_tagout"))
        .args([
            "run", "--json", "--forge", "local", "--task", "do it", "--out",
        ])
        .arg(&out)
        .args(["--", "sleep", &seconds])
        .current_dir(place.repo())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", place.out("home"))
        .env("TMPDIR", place.out(""))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let begun = std::time::Instant::now();
    while running(sleep.as_bytes()).is_empty() {
        assert!(begun.elapsed().as_secs() < 30, "the agent does not start");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let egress: Vec<(u32, u32)> = running(b"tagout-egress\0")
        .into_iter()
        .filter(|(_, parent)| *parent == child.id())
        .collect();
    assert_eq!(egress.len(), 1);
    let pid = rustix::process::Pid::from_raw(i32::try_from(egress[0].0).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let done = child.wait_with_output().unwrap();
    let (code, json) = answer(&done);
    assert_eq!(
        (code, json["code"].as_str()),
        (10, Some("egress-died")),
        "{json}"
    );
    assert!(
        running(sleep.as_bytes()).is_empty(),
        "nothing inside is left"
    );
}

#[test]
fn agent_commits_in_a_repository_that_is_thrown_away() {
    let place = Place::new();
    let commit = "git -c user.name=x -c user.email=x@y.invalid commit -q -am inside";
    let (code, json) = place.run(&format!(
        "echo more >> a.txt && {commit} && git log --format=%s > log.txt && git status --short > status.txt"
    ));
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("proposed")),
        "{json}"
    );
    let branch = json["branch"].as_str().unwrap();
    let log = place.git(&["show", &format!("{branch}:log.txt")]);
    assert!(log.starts_with("inside\n"), "{log}");
    assert_eq!(
        place.git(&["show", &format!("{branch}:a.txt")]),
        "hello\nmore\n"
    );
    // The commit itself stays inside: the proposal has one of ours.
    let subjects = place.git(&["log", "--format=%s", branch]);
    assert!(!subjects.contains("inside"), "{subjects}");
}

#[test]
fn failure_of_the_agent_ends_in_6() {
    let place = Place::new();
    let (code, json) = place.run("echo x > b.txt; exit 3");
    assert_eq!(
        (code, json["outcome"].as_str()),
        (6, Some("agent-failed")),
        "{json}"
    );
    assert_eq!(place.git(&["branch", "--list", "tagout/*"]), "");
}

#[test]
fn protected_path_ends_in_7_with_a_finding() {
    let place = Place::new();
    let (code, json) =
        place.run("echo all: > Makefile; mkdir -p .vscode; echo '{}' > .vscode/tasks.json");
    assert_eq!(
        (code, json["outcome"].as_str()),
        (7, Some("changes-refused")),
        "{json}"
    );
    assert!(
        json["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|finding| finding["code"] == "protected-path")
    );
    assert_eq!(place.git(&["branch", "--list", "tagout/*"]), "");
}

#[test]
fn workflow_cannot_be_written_inside() {
    let place = Place::with(&[
        ("a.txt", "hello\n"),
        (".github/workflows/ci.yml", "on: push\n"),
    ]);
    let (code, json) = place.run(
        "echo x >> .github/workflows/ci.yml; echo y > .github/workflows/n.yml; echo done > b.txt",
    );
    assert_eq!(code, 0, "{json}");
    let branch = json["branch"].as_str().unwrap();
    assert_eq!(
        place.git(&["diff", "--name-only", "main", branch]),
        "b.txt\n"
    );
}

#[test]
fn limit_is_named_and_ends_in_6() {
    for (limits, command, name) in [
        ("wall-time: 1s", "echo x > b.txt; sleep 60", "wall-time"),
        ("output: 64KiB", "echo x > b.txt; exec yes", "output"),
    ] {
        let policy = format!("version: 1\nlimits: {{{limits}}}\n");
        let place = Place::with(&[("a.txt", "hello\n"), (".github/tagout.yml", &policy)]);
        let (code, json) = place.run(command);
        assert_eq!(
            (code, json["outcome"].as_str()),
            (6, Some("limit-reached")),
            "{json}"
        );
        let limit = json["limit"].as_str().unwrap();
        assert!(limit.contains(name), "{json}");
    }
}

#[test]
fn wrong_policy_of_the_base_commit_ends_in_3_with_its_place() {
    let place = Place::with(&[(".github/tagout.yml", "version: 1\nnetwerk: {}\n")]);
    let (code, json) = place.run("echo AGENT-RAN > b.txt");
    assert_eq!(
        (code, json["outcome"].as_str()),
        (3, Some("policy-invalid")),
        "{json}"
    );
    assert!(
        json["message"]
            .as_str()
            .unwrap()
            .contains(".github/tagout.yml:2:1"),
        "{json}"
    );
}

#[test]
fn policy_of_the_work_tree_does_not_count() {
    let place = Place::new();
    fs::create_dir(place.repo().join(".github")).unwrap();
    fs::write(place.repo().join(".github/tagout.yml"), "nonsense: true\n").unwrap();
    let (code, json) = place.run("echo x > b.txt");
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("proposed")),
        "{json}"
    );
}

#[test]
fn task_at_the_keyboard_is_refused_in_actions() {
    let place = Place::new();
    let done = Command::new(env!("CARGO_BIN_EXE_tagout"))
        .args([
            "run",
            "--json",
            "--task",
            "do it",
            "--forge",
            "local",
            "--",
            "sh",
            "-c",
            "echo x > b.txt",
        ])
        .current_dir(place.repo())
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("GITHUB_ACTIONS", "true")])
        .env("RUNNER_TEMP", place.folder.path())
        .output()
        .unwrap();
    let (code, json) = answer(&done);
    assert_eq!(
        (code, json["outcome"].as_str()),
        (4, Some("refused")),
        "{json}"
    );
}

#[test]
fn execute_and_publish_hand_over_by_digest() {
    let place = Place::new();
    let bundle = place.out("bundle");
    let bundle = bundle.to_str().unwrap();
    let done = place.tagout(&[
        "execute",
        "--json",
        "--forge",
        "local",
        "--task",
        "do it",
        "--out",
        place.out("one").to_str().unwrap(),
        "--bundle",
        bundle,
        "--",
        "sh",
        "-c",
        "echo new > b.txt",
    ]);
    let (code, json) = answer(&done);
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("sealed")),
        "{json}"
    );
    assert_eq!(
        place.git(&["branch", "--list", "tagout/*"]),
        "",
        "execute may not write"
    );

    let publish = |digest: &str, out: &str| {
        answer(&place.tagout(&[
            "publish",
            "--json",
            "--forge",
            "local",
            "--task",
            "do it",
            "--out",
            place.out(out).to_str().unwrap(),
            "--bundle",
            bundle,
            "--digest",
            digest,
        ]))
    };
    let (code, wrong) = publish(&"0".repeat(64), "two");
    assert_eq!(
        (code, wrong["outcome"].as_str()),
        (7, Some("changes-refused")),
        "{wrong}"
    );
    let (code, right) = publish(json["digest"].as_str().unwrap(), "three");
    assert_eq!(
        (code, right["outcome"].as_str()),
        (0, Some("proposed")),
        "{right}"
    );
    assert_eq!(
        place.git(&[
            "show",
            &format!("{}:b.txt", right["branch"].as_str().unwrap())
        ]),
        "new\n"
    );
}

#[test]
fn bundle_with_a_changed_content_is_refused() {
    let place = Place::new();
    let bundle = place.out("bundle");
    let done = place.tagout(&[
        "execute",
        "--json",
        "--forge",
        "local",
        "--task",
        "do it",
        "--out",
        place.out("one").to_str().unwrap(),
        "--bundle",
        bundle.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        "echo new > b.txt",
    ]);
    let (_, json) = answer(&done);
    let blob = fs::read_dir(bundle.join("blobs"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::write(blob, "bad\n").unwrap();
    let (code, json) = answer(&place.tagout(&[
        "publish",
        "--json",
        "--forge",
        "local",
        "--task",
        "do it",
        "--out",
        place.out("two").to_str().unwrap(),
        "--bundle",
        bundle.to_str().unwrap(),
        "--digest",
        json["digest"].as_str().unwrap(),
    ]));
    assert_eq!(
        (code, json["code"].as_str()),
        (7, Some("bundle-refused")),
        "{json}"
    );
}

#[test]
fn identity_request_in_the_environment_refuses_to_execute() {
    let place = Place::new();
    let done = Command::new(env!("CARGO_BIN_EXE_tagout"))
        .args([
            "execute",
            "--json",
            "--task",
            "x",
            "--forge",
            "local",
            "--bundle",
            "b",
            "--",
            "sh",
            "-c",
            "echo x > b.txt",
        ])
        .current_dir(place.repo())
        .env_clear()
        .envs([
            ("PATH", "/usr/bin:/bin"),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", "http://127.0.0.1:1/"),
        ])
        .env("TMPDIR", place.folder.path())
        .output()
        .unwrap();
    let (code, json) = answer(&done);
    assert_eq!(
        (code, json["code"].as_str()),
        (4, Some("identity-at-hand")),
        "{json}"
    );
}

#[test]
fn level_that_cannot_be_raised_ends_in_5_before_a_secret_is_read() {
    let policy = "version: 1\nrequire: {level: b}\nagent:\n  model: {api: responses, name: m, base-url: 'https://models.example.com/v1', key: SOME_KEY}\n";
    let place = Place::with(&[(".github/tagout.yml", policy)]);
    // Inside a user namespace that may make no further one, level B cannot be had.
    let done = Command::new("unshare")
        .args(["-U", "--map-current-user", "--keep-caps", "sh", "-c"])
        .arg("echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"")
        .arg("sh")
        .arg(env!("CARGO_BIN_EXE_tagout"))
        // The key is not named: were it asked for, the end would be another one.
        .args([
            "run",
            "--json",
            "--task",
            "x",
            "--forge",
            "local",
            "--",
            "sh",
            "-c",
            "echo x > b.txt",
        ])
        .current_dir(place.repo())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TMPDIR", place.folder.path())
        .output()
        .expect("unshare is part of util-linux");
    let (code, json) = answer(&done);
    assert_eq!(
        (code, json["outcome"].as_str()),
        (5, Some("walls-missing")),
        "{json}"
    );
}

#[test]
fn program_that_does_not_resolve_names_has_the_proxy_at_level_c() {
    let policy = "version: 1\nnetwork: {allow: [{host: allowed.example.com}]}\n";
    let place = Place::with(&[(".github/tagout.yml", policy)]);
    let agent = "case $https_proxy in http://*@127.0.0.1:*) echo proxy > b.txt;; esac; \
        curl -s -o /dev/null -w '%{http_code}' http://other.example.com/ >> b.txt";
    let done = Command::new("unshare")
        .args(["-U", "--map-current-user", "--keep-caps", "sh", "-c"])
        .arg("echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"")
        .arg("sh")
        .arg(env!("CARGO_BIN_EXE_tagout"))
        .args(["run", "--json", "--task", "x", "--forge", "local"])
        .args(["--", "sh", "-c", agent])
        .current_dir(place.repo())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TMPDIR", place.folder.path())
        .output()
        .expect("unshare is part of util-linux");
    let (code, json) = answer(&done);
    assert_eq!(code, 0, "{json}");
    let branch = json["branch"].as_str().unwrap();
    let made = place.git(&["show", &format!("{branch}:b.txt")]);
    assert_eq!(made, "proxy\n403");
}

#[test]
fn proposal_that_must_be_locked_is_refused_where_no_lock_can_be() {
    let place = Place::with(&[
        ("a.txt", "hello\n"),
        (
            ".github/tagout.yml",
            "version: 1\napproval: {enforced: require}\n",
        ),
    ]);
    let (code, json) = place.run("echo x > b.txt");
    assert_eq!(
        (code, json["code"].as_str()),
        (4, Some("lock-missing")),
        "{json}"
    );
    assert_eq!(place.git(&["branch", "--list", "tagout/*"]), "");
}

#[test]
fn denied_glob_hides_files_at_any_depth() {
    let place = Place::with(&[
        ("deep/er/key.pem", "-- the key --\n"),
        ("a.txt", "hello\n"),
        (
            ".github/tagout.yml",
            "version: 1\nfilesystem: {deny: ['**/*.pem']}\n",
        ),
    ]);
    let (code, json) = place.run(
        "cat deep/er/key.pem > b.txt; git show HEAD:deep/er/key.pem >> b.txt; echo end >> b.txt",
    );
    assert_eq!(code, 0, "{json}");
    let branch = json["branch"].as_str().unwrap();
    assert_eq!(place.git(&["show", &format!("{branch}:b.txt")]), "end\n");
}

#[test]
fn denied_glob_holds_in_place_too() {
    let place = Place::with(&[
        ("deep/er/key.pem", "-- the key --\n"),
        ("p.yml", "version: 1\nfilesystem: {deny: ['**/*.pem']}\n"),
    ]);
    for level in ["b", "c"] {
        let done = place.tagout(&[
            "sandbox",
            "--level",
            level,
            "--policy",
            "p.yml",
            "--",
            "sh",
            "-c",
            "cat deep/er/key.pem; echo x > deep/er/key.pem; echo ran",
        ]);
        let out = String::from_utf8_lossy(&done.stdout);
        assert_eq!(
            out.trim(),
            "ran",
            "level {level}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        assert_eq!(
            fs::read_to_string(place.repo().join("deep/er/key.pem")).unwrap(),
            "-- the key --\n"
        );
    }
}

#[test]
fn version_names_the_commit() {
    let done = Place::new().tagout(&["--version"]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(
        text.starts_with(concat!("tagout ", env!("CARGO_PKG_VERSION"), " (")),
        "{text}"
    );
}
