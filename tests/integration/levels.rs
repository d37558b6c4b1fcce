//! Which level is taken where: as root, inside other sandboxes, and where a level is asked for by name. What is asked for is
//! raised or refused, and root never stands behind fewer walls.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "what fails here fails the test, and the place tells what it was"
)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::elevation;
use crate::program;

/// Debian's own: a user's installation is closed to the plain user.
const PYTHON: &str = "/usr/bin/python3";

/// A workspace, and the binary where everybody may start it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(place.path(""), open).unwrap();
        fs::create_dir(place.path("ws")).unwrap();
        fs::create_dir(place.path("out")).unwrap();
        // Inside it is found in the workspace.
        program::copy(env!("CARGO_BIN_EXE_tagout"), place.path("ws/tagout"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs words before and after `tagout sandbox --json FILE`; the answer is what came out, and the report.
    fn run(&self, before: &[&str], after: &[&str]) -> (Output, Value) {
        let report = self.path("out/report.json");
        let tagout = self.path("ws/tagout");
        let mut words: Vec<&str> = before.to_vec();
        let tagout = tagout.to_str().unwrap();
        words.extend([tagout, "sandbox", "--json", report.to_str().unwrap()]);
        words.extend(after);
        let output = Command::new(words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir(self.path("ws"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = fs::read(&report)
            .unwrap_or_else(|_none| panic!("{before:?}: {}", self::text(&output.stderr)));
        fs::remove_file(&report).unwrap();
        (output, serde_json::from_slice(&text).unwrap())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program of Debian's, or none with a word about it.
fn there(path: &str) -> bool {
    let is_there = Path::new(path).is_file();
    let all = std::env::var_os("TAGOUT_TEST_ALL").is_some_and(|value| value == "1");
    assert!(
        is_there || !all,
        "{path} is missing, and TAGOUT_TEST_ALL=1 allows no test to be left out"
    );
    if !is_there {
        eprintln!("skipped: {path} is missing");
    }
    is_there
}

/// Root of a user namespace in which nobody else exists.
const ONLY_ROOT: &[&str] = &[
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "--pid",
    "--fork",
    "--mount-proc",
];

/// Tells its ids and privileges, and tries what only root could.
const AS_ROOT: &str = "grep -E '^(Uid|Cap|NoNewPrivs)' /proc/self/status; \
    (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo WROTE core_pattern; \
    (echo -1000 > /proc/self/oom_score_adj) 2>/dev/null && echo WROTE oom_score_adj; \
    (chown 1 made) 2>/dev/null && echo CHOWNED; (chroot . true) 2>/dev/null && echo CHROOTED; \
    echo in > made";

fn assert_no_privilege(said: &str, case: &str) {
    let empty = said
        .lines()
        .filter(|line| line.starts_with("Cap"))
        .filter(|line| line.ends_with("0000000000000000"))
        .count();
    assert_eq!(empty, 5, "{case}: {said}");
    assert!(said.contains("NoNewPrivs:\t1"), "{case}: {said}");
    for word in ["WROTE", "CHOWNED", "CHROOTED"] {
        assert!(!said.contains(word), "{case}: {said}");
    }
}

#[test]
fn root_without_other_uids_keeps_its_uid_and_no_privilege() {
    for level in ["auto", "b", "c"] {
        let place = Place::new();
        let after = ["--level", level, "--", "sh", "-c", AS_ROOT];
        let (output, report) = place.run(ONLY_ROOT, &after);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{level}: {report}");
        assert!(said.contains("Uid:\t0\t0\t0\t0"), "{level}: {said}");
        assert_no_privilege(&said, level);
        assert_eq!(report["walls"]["uid"], "partial", "{level}");
        let strongest = if level == "c" { "c" } else { "b" };
        assert_eq!(report["level"], strongest);
        // In place on root's own files: what was written is there.
        assert!(place.path("ws/made").exists(), "{level}");
    }
}

#[test]
fn root_of_the_machine_is_nobody_inside() {
    if !is_root() {
        eprintln!("skipped: only root can try what root does");
        return;
    }
    let place = Place::new();
    fs::write(place.path("out/roots"), "secret").unwrap();
    fs::set_permissions(place.path("out/roots"), fs::Permissions::from_mode(0o600)).unwrap();
    let (output, report) = place.run(&[], &["--", "sh", "-c", AS_ROOT]);
    let said = text(&output.stdout);
    assert_eq!(report["level"], "a", "{report}");
    assert_eq!(report["walls"]["uid"], "enforced");
    assert!(!said.contains("Uid:\t0"), "{said}");
    assert_no_privilege(&said, "a");
    let made = fs::metadata(place.path("ws/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0));
    // Level b, asked for by name, has nobody to show root's files as: it keeps the uid and says so.
    let (output, report) = place.run(&[], &["--level", "b", "--", "sh", "-c", AS_ROOT]);
    assert_eq!(report["walls"]["uid"], "partial");
    assert_no_privilege(&text(&output.stdout), "b");
    // Level c works on a copy, which can be anybody's.
    let (output, report) = place.run(&[], &["--level", "c", "--", "sh", "-c", AS_ROOT]);
    let said = text(&output.stdout);
    assert_eq!(report["walls"]["uid"], "enforced", "{report}");
    assert!(!said.contains("Uid:\t0"), "{said}");
    assert_no_privilege(&said, "c");
}

/// A user whose folder root works in.
const OWNER: u32 = 65_534;

/// Says who it is, tries what only root may, changes files of all kinds, and leaves something in shared memory.
const AS_LEASED: &str = "id -u; id -g; id -G; cat $2 2>/dev/null; kill -0 $1 2>/dev/null && echo SIGNALLED; \
    echo more >> a; rm gone; mkdir d; echo x > d/f; ln -s a l; chmod 750 d; echo h > $HOME/h; echo t > $TMPDIR/t; \
    echo s > /dev/shm/tagout-left-$1; (trap '' TERM; exec setsid sleep 37.$1) > /dev/null 2>&1 & true";

#[test]
fn root_at_level_c_has_a_uid_of_its_own_and_leaves_files_to_their_owners() {
    if !is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let place = Place::new();
    fs::write(place.path("out/roots"), "secret").unwrap();
    fs::set_permissions(place.path("out/roots"), fs::Permissions::from_mode(0o604)).unwrap();
    for name in ["ws/a", "ws/gone", "ws/.github"] {
        fs::write(place.path(name), "as it was\n").unwrap();
        chown(place.path(name), Some(OWNER), Some(OWNER)).unwrap();
    }
    fs::set_permissions(place.path("ws/a"), fs::Permissions::from_mode(0o640)).unwrap();
    chown(place.path("ws"), Some(OWNER), Some(OWNER)).unwrap();
    let own = std::process::id().to_string();
    let roots = place.path("out/roots");
    let (output, report) = place.run(
        &[],
        &[
            "--level",
            "c",
            "--",
            "sh",
            "-c",
            AS_LEASED,
            "sh",
            &own,
            roots.to_str().unwrap(),
        ],
    );
    let said = text(&output.stdout);
    let why = format!("{said}{report}{}", text(&output.stderr));
    let mut lines = said.lines();
    let user: u32 = lines.next().unwrap().parse().unwrap();
    assert!((60_600..60_664).contains(&user), "{why}");
    let id = user.to_string();
    assert_eq!(lines.collect::<Vec<_>>(), [&id, &id], "{why}");
    assert_eq!(report["walls"]["uid"], "enforced", "{why}");
    assert_eq!(report["walls"]["limits.processes"], "enforced", "{why}");
    // What is there belongs to whom it belonged to, and what is new to the folder's owner.
    for (name, mode) in [
        ("a", 0o640),
        ("d", 0o750),
        ("d/f", 0o644),
        (".github", 0o644),
    ] {
        let meta = fs::symlink_metadata(place.path("ws").join(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (OWNER, OWNER), "{name}: {why}");
        assert_eq!(meta.mode() & 0o777, mode, "{name}: {why}");
    }
    assert_eq!(
        fs::symlink_metadata(place.path("ws/l")).unwrap().uid(),
        OWNER
    );
    assert_eq!(
        fs::read_to_string(place.path("ws/a")).unwrap(),
        "as it was\nmore\n"
    );
    assert!(!place.path("ws/gone").exists(), "{why}");
    // Nothing that was the uid's is left.
    assert!(!Path::new(&format!("/dev/shm/tagout-left-{own}")).exists());
    let word = format!("sleep\x0037.{own}\0");
    let lives = fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        fs::read(entry.path().join("cmdline")).is_ok_and(|words| words == word.as_bytes())
    });
    assert!(!lives, "{why}");
}

#[test]
fn root_at_level_c_keeps_its_uid_where_the_run_must_read_what_is_closed() {
    if !is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let place = Place::new();
    let closed = place.path("out/closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("lib"), "needed\n").unwrap();
    let policy = place.path("ws/p.yml");
    let text_of = format!("version: 1\nfilesystem: {{read: [{}]}}\n", closed.display());
    fs::write(&policy, text_of).unwrap();
    let library = closed.join("lib");
    for (mode, uid) in [(0o755, "enforced"), (0o700, "partial")] {
        fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
        let (output, report) = place.run(
            &[],
            &[
                "--level",
                "c",
                "--policy",
                "p.yml",
                "--",
                "cat",
                library.to_str().unwrap(),
            ],
        );
        assert_eq!(text(&output.stdout), "needed\n", "{report}");
        assert_eq!(report["walls"]["uid"], uid, "{report}");
        let told = report["missing"]
            .to_string()
            .contains("closed to other users");
        assert_eq!(told, mode == 0o700, "{report}");
    }
}

#[test]
fn plain_user_takes_level_a_only_where_the_helper_is() {
    if !elevation::is_here() {
        return;
    }
    let place = Place::new();
    let folder = place.path("ws");
    chown(&folder, Some(elevation::USER), Some(elevation::USER)).unwrap();
    let level = |helper: &str, wanted: &str| {
        let output = elevation::plain_with_sudo()
            .arg(place.path("ws/tagout"))
            .args([
                "sandbox",
                "--level",
                wanted,
                "--json",
                "report.json",
                "--",
                "true",
            ])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TAGOUT_HELPER", helper)
            .current_dir(&folder)
            .output()
            .unwrap();
        let report = fs::read_to_string(folder.join("report.json"))
            .unwrap_or_else(|_none| panic!("{}", text(&output.stderr)));
        let report: Value = serde_json::from_str(&report).unwrap();
        (output.status.code(), report)
    };
    let (code, report) = level(elevation::HELPER, "auto");
    assert_eq!((code, &report["level"]), (Some(0), &Value::from("a")));
    let (_, report) = level("/mnt/nothing", "auto");
    assert_ne!(report["level"], "a");
    let (code, report) = level("/mnt/nothing", "a");
    assert_eq!(code, Some(125));
    let why = report["missing"].to_string();
    assert!(
        why.contains("/mnt/nothing") && why.contains("levels.md"),
        "{why}"
    );
    // sudo knows no such line for this path.
    let (code, report) = level("/usr/bin/true", "a");
    assert_eq!(code, Some(125));
    let why = report["missing"].to_string();
    assert!(why.contains("sudoers"), "{why}");
}

#[test]
fn nested_run_gains_nothing_and_a_level_that_is_asked_for_is_refused() {
    for outer in ["b", "c"] {
        let place = Place::new();
        let script = "./tagout sandbox --json inner.json -- sh -c 'id -u; ls ..; true'; echo code $?; \
            ./tagout sandbox --level b -- true; echo asked $?";
        let (output, _) = place.run(&[], &["--level", outer, "--", "sh", "-c", script]);
        let said = text(&output.stdout);
        assert!(said.contains("asked 125"), "{outer}: {said}");
        let inner: Value =
            serde_json::from_slice(&fs::read(place.path("ws/inner.json")).unwrap()).unwrap();
        if outer == "b" {
            assert!(said.contains("code 0"), "{said}");
            assert_eq!(inner["level"], "c", "{inner}");
            assert!(!said.contains("out\n"), "{said}");
        } else {
            // One supervisor a process: the kernel allows no second one.
            assert!(said.contains("code 125"), "{said}");
            assert!(inner["level"].is_null(), "{inner}");
        }
    }
}

#[test]
fn inside_bubblewrap_the_strongest_level_that_works_is_taken() {
    if !there("/usr/bin/bwrap") {
        return;
    }
    let place = Place::new();
    // Without --new-session the process group is one that has no number inside.
    let before = [
        "bwrap",
        "--bind",
        "/",
        "/",
        "--unshare-all",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
    ];
    let (output, report) = place.run(&before, &["--", "sh", "-c", "echo in > made"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{report}{}",
        text(&output.stderr)
    );
    let level = report["level"].as_str().unwrap_or_default();
    assert!(["b", "c"].contains(&level), "{report}");
    assert!(place.path("ws/made").exists());
    let (output, _) = place.run(&before, &["--level", "a", "--", "touch", "not-made"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(!place.path("ws/not-made").exists());
}

#[test]
fn without_user_namespaces_level_c_is_taken_and_level_b_refused() {
    let place = Place::new();
    let none = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"";
    let mut before = ONLY_ROOT.to_vec();
    before.extend(["sh", "-c", none, "sh"]);
    let (output, report) = place.run(&before, &["--", "true"]);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!(report["level"], "c");
    let (output, report) = place.run(&before, &["--level", "b", "--", "touch", "made"]);
    assert_eq!(output.status.code(), Some(125));
    let why = report["missing"].to_string();
    assert!(
        report["level"].is_null() && why.contains("level b"),
        "{why}"
    );
    assert!(!place.path("ws/made").exists());
}

#[test]
fn level_d_walls_system_calls_and_claims_no_more() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let program = format!(
        "import socket,os,subprocess\n\
        for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, 40):\n\
        \x20try:\n\
        \x20 s = socket.socket(family, socket.SOCK_STREAM); print('MADE', family); s.connect(('127.0.0.1', {port}))\n\
        \x20except OSError as error: print('refused', error.errno)\n\
        a, b = socket.socketpair(); a.send(b'x'); print('pair', b.recv(1))\n\
        try: os.kill(os.getppid(), 0); print('init')\n\
        except OSError: pass\n\
        print('unshare', subprocess.call(['unshare', '-U', 'true'], stderr=subprocess.DEVNULL))\n\
        subprocess.Popen(['setsid', 'sleep', '35.{port}'])\n\
        open('made', 'w').write('in')\n"
    );
    let (output, report) = place.run(&[], &["--level", "d", "--", PYTHON, "-c", &program]);
    let said = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{report}{}",
        text(&output.stderr)
    );
    assert!(!said.contains("MADE"), "{said}");
    assert_eq!(said.matches("refused").count(), 4, "{said}");
    assert!(
        said.contains("pair b'x'") && said.contains("unshare 1"),
        "{said}"
    );
    assert!(listener.accept().is_err());
    assert!(place.path("ws/made").exists());
    assert_eq!(report["level"], "d");
    let walls = report["walls"].as_object().unwrap();
    for (name, state) in walls {
        let expected = match name.as_str() {
            "syscalls" | "environment" => "enforced",
            "network" => "partial",
            // Root's run has one of its own, or says why not.
            "uid" if report["missing"].as_array().is_none_or(Vec::is_empty) && is_root() => {
                "enforced"
            }
            limit if limit.starts_with("limits.") => continue,
            _ => "absent",
        };
        assert_eq!(state, expected, "{name}");
    }
    // Nothing outlives the run.
    let until = Instant::now() + Duration::from_secs(5);
    let word = format!("sleep\x0035.{port}\0");
    let lives = || {
        fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            fs::read(entry.path().join("cmdline")).is_ok_and(|words| words == word.as_bytes())
        })
    };
    while lives() {
        assert!(Instant::now() < until, "a daemon outlives the run");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn level_d_is_taken_only_where_it_is_asked_for() {
    let place = Place::new();
    let policy = |name: &str, text: &str| {
        let path = place.path(name);
        fs::write(&path, format!("version: 1\n{text}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let requires_c = policy("ws/c.yml", "require: {level: c}");
    let requires_d = policy("ws/d.yml", "require: {level: d}");
    let hosts = policy(
        "ws/hosts.yml",
        "require: {level: d}\nnetwork: {allow: [{host: example.com}]}",
    );
    for (file, word) in [(&requires_c, "requires c"), (&hosts, "no network")] {
        let after = ["--level", "d", "--policy", file, "--", "touch", "made"];
        let (output, report) = place.run(&[], &after);
        assert_eq!(output.status.code(), Some(125), "{file}");
        assert!(report["missing"].to_string().contains(word), "{report}");
        assert!(!place.path("ws/made").exists());
    }
    let (_, report) = place.run(
        &[],
        &["--level", "d", "--policy", &requires_d, "--", "true"],
    );
    assert_eq!(report["level"], "d");
    // Where something stronger works it is taken, whatever the policy would put up with.
    let (_, report) = place.run(&[], &["--policy", &requires_d, "--", "true"]);
    assert_ne!(report["level"], "d");
    // Inside level c no other level can be had. The default requires c.
    let script = "./tagout sandbox -- true; echo default $?; \
        ./tagout sandbox --policy d.yml --json inner.json -- true; echo asked $?";
    let (output, _) = place.run(&[], &["--level", "c", "--", "sh", "-c", script]);
    let said = text(&output.stdout);
    assert!(said.contains("default 125"), "{said}");
    assert!(said.contains("asked 0"), "{said}{}", text(&output.stderr));
    let inner: Value =
        serde_json::from_slice(&fs::read(place.path("ws/inner.json")).unwrap()).unwrap();
    assert_eq!(inner["level"], "d");
}
