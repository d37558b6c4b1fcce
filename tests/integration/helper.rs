//! The root helper of level a, attacked by the user who may start it: nothing that it does may give more than that user has.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails here fails the test, and the place tells what it was"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tagout::names::Level;
use tagout::sandbox::helper::inside::Stand;
use tagout::sandbox::helper::request::BUILD;
use tagout::sandbox::walls::files::{Grant, Rule};
use tagout::sandbox::walls::root::{Item, Root};
use tagout::wire::{self, Limits, Network, Plan, Workspace};
use tempfile::TempDir;

use crate::elevation;

const ATTACK: &str = include_str!("helper/attack.py");

/// A place of the plain user, and one of root's beside it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Option<Self> {
        if !elevation::is_here() {
            return None;
        }
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        for (name, mode) in [("mine", 0o755), ("roots", 0o700), ("read", 0o755)] {
            fs::create_dir(place.path(name)).unwrap();
            fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
            fs::write(
                place.path(name).join("secret"),
                format!("canary of {name}\n"),
            )
            .unwrap();
        }
        let secret = place.path("read").join("secret");
        fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();
        for path in ["mine", "mine/secret"] {
            let user = Some(elevation::USER);
            chown(place.path(path), user, user).unwrap();
        }
        fs::write(place.path("attack.py"), ATTACK).unwrap();
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What an attacker would have stand inside: the folders beside /usr, and a command of their choice.
    fn stand(&self, folders: usize, script: &str) -> PathBuf {
        let mut items = vec![Item::Given {
            tree: 0,
            target: "/usr".into(),
        }];
        for (target, to) in [
            ("/bin", "usr/bin"),
            ("/lib", "usr/lib"),
            ("/lib64", "usr/lib64"),
        ] {
            items.push(Item::Link {
                target: target.into(),
                to: to.into(),
            });
        }
        for number in 1..=folders {
            items.push(Item::Given {
                tree: number,
                target: format!("/given{number}").into(),
            });
        }
        let stand = Stand {
            plan: plan(script),
            root: Root {
                items,
                memory_bytes: 1 << 20,
                root_uid: false,
            },
            rules: vec![Rule {
                path: "/".into(),
                grant: Grant::Write,
            }],
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin".to_owned())]),
            folder: "/".into(),
            walls: BTreeMap::new(),
        };
        let path = self.path("stand");
        fs::write(&path, serde_json::to_vec(&stand).unwrap()).unwrap();
        path
    }

    fn attack(&self, case: &str, script: &str, folders: &[&Path]) -> Output {
        let stand = self.stand(folders.len(), script);
        let mut command = elevation::plain_with_sudo();
        command.arg("/usr/bin/python3").arg(self.path("attack.py"));
        command
            .arg(case)
            .arg(stand)
            .arg(elevation::HELPER)
            .arg(BUILD);
        command.args(folders);
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.current_dir(self.path("mine"));
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// The helper's complaint; none if it made the run.
    fn fault(&self, case: &str, folders: &[&Path]) -> Option<String> {
        let output = self.attack(case, "true", folders);
        let text = text(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        let answer: Value = serde_json::from_str(last)
            .unwrap_or_else(|_none| panic!("{case}: {text}{}", self::text(&output.stderr)));
        answer["fault"].as_str().map(str::to_owned)
    }
}

fn plan(script: &str) -> Plan {
    Plan {
        level: Some(Level::A),
        require: Level::A,
        workspace: Workspace::InPlace { path: "/".into() },
        read: Vec::new(),
        path: Vec::new(),
        write: Vec::new(),
        read_only: Vec::new(),
        deny: Vec::new(),
        environment: Vec::new(),
        home: Vec::new(),
        limits: Limits {
            memory_bytes: 1 << 32,
            processes: 100,
            cpu_time_ms: None,
            file_bytes: 1 << 20,
            disk_bytes: 1 << 30,
            output_bytes: None,
            wall_time_ms: 20_000,
        },
        commands: vec![wire::Command {
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            wall_time_ms: None,
            environment: Vec::new(),
        }],
        network: Network::None,
        listen: Vec::new(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn message_that_is_none_of_the_launchers_is_refused() {
    let Some(place) = Place::new() else { return };
    let mine = place.path("mine");
    for (case, word) in [
        ("long", "too long"),
        ("malformed", "none of ours"),
        // No request can name a uid or a path.
        ("uid", "none of ours"),
        ("path", "none of ours"),
        ("build", "another build"),
        ("few", "other descriptors"),
        ("many", "other descriptors"),
        ("device", "neither a file nor a folder"),
        ("pipe", "neither a file nor a folder"),
    ] {
        let fault = place.fault(case, &[&mine]).unwrap_or_default();
        assert!(fault.contains(word), "{case}: {fault}");
    }
    assert_eq!(place.fault("plain", &[&mine]), None);
}

#[test]
fn socket_that_somebody_else_made_is_refused() {
    let Some(place) = Place::new() else { return };
    let path = place.path("door");
    let server = format!(
        "import socket,os,time\ns=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET)\ns.bind({path:?})\nos.chmod({path:?},0o777)\ns.listen()\nprint('up',flush=True)\nc,_=s.accept()\ntime.sleep(5)"
    );
    let mut roots = Command::new("/usr/bin/python3")
        .args(["-c", &server])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(200));
    let fault = place.fault("foreign", &[&path]).unwrap_or_default();
    roots.kill().unwrap();
    roots.wait().unwrap();
    assert!(fault.contains("not the caller's own"), "{fault}");
    // A caller that is gone before it has asked gets nothing either.
    let fault = place.fault("silent", &[]).unwrap_or_default();
    assert!(fault.contains("take the request"), "{fault}");
}

#[test]
fn descriptor_gives_inside_what_it_gives_outside() {
    let Some(place) = Place::new() else { return };
    let (mine, roots, read) = (place.path("mine"), place.path("roots"), place.path("read"));
    let script = "id -u; cat /given1/secret; echo new > /given1/made; \
        for n in 2 3; do cat /given$n/secret; ls /given$n; echo x > /given$n/made; echo x >> /given$n/secret; \
        chmod 777 /given$n; mv /given$n/secret /given$n/other; done; cp /usr/bin/sh /given1/sh; chmod 6755 /given1/sh; true";
    let output = place.attack("plain", script, &[&mine, &roots, &read]);
    let said = text(&output.stdout);
    assert!(
        said.contains("canary of mine"),
        "{said}{}",
        text(&output.stderr)
    );
    assert!(said.starts_with("65534\n"), "{said}");
    assert!(!said.contains("canary of roots"), "{said}");
    assert!(!said.contains("canary of read"), "{said}");
    for folder in [&roots, &read] {
        assert!(folder.join("secret").exists() && !folder.join("made").exists());
        assert_eq!(fs::metadata(folder).unwrap().uid(), 0);
        assert_ne!(fs::metadata(folder).unwrap().mode() & 0o777, 0o777);
    }
    // What was made in one's own folder is one's own, on the disk too.
    let made = fs::metadata(mine.join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (elevation::USER, elevation::USER));
    // Set-user-id programs work for nobody inside.
    let script = "/given1/sh -c 'id -u'; grep NoNewPrivs /proc/self/status";
    let said = text(&place.attack("plain", script, &[&mine]).stdout);
    assert!(
        said.contains("65534") && said.contains("NoNewPrivs:\t1"),
        "{said}"
    );
}

#[test]
fn symlink_is_neither_taken_nor_followed_later() {
    let Some(place) = Place::new() else { return };
    let link = place.path("mine/link");
    std::os::unix::fs::symlink(place.path("roots"), &link).unwrap();
    let fault = place.fault("symlink", &[&link]).unwrap_or_default();
    assert!(fault.contains("neither a file nor a folder"), "{fault}");
    // The folder is swapped for a link after it was opened: what was opened is shown.
    let swapped = place.path("mine/swapped");
    fs::create_dir(&swapped).unwrap();
    fs::write(swapped.join("before"), "").unwrap();
    chown(&swapped, Some(elevation::USER), Some(elevation::USER)).unwrap();
    let output = place.attack("swap", "ls /given1", &[&swapped, &place.path("roots")]);
    let said = text(&output.stdout);
    assert!(
        said.contains("before") && !said.contains("secret"),
        "{said}"
    );
    assert!(swapped.is_symlink());
}

#[test]
fn environment_of_the_caller_has_no_say() {
    let Some(place) = Place::new() else { return };
    let source = place.path("evil.c");
    let proof = place.path("mine/proof");
    let code = format!(
        "#include <fcntl.h>\n#include <unistd.h>\n__attribute__((constructor)) static void start(void) {{ if (getuid() == 0 || geteuid() == 0) close(open(\"{0}.root\", O_CREAT, 0644)); else close(open(\"{0}\", O_CREAT, 0644)); }}\n",
        proof.display()
    );
    fs::write(&source, code).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(place.path("mine/evil.so"))
        .arg(&source)
        .status()
        .unwrap();
    assert!(built.success());
    let mine = place.path("mine");
    assert_eq!(place.fault("environment", &[&mine]), None);
    assert!(!place.path("mine/proof.root").exists());
    // The control: where nothing stands in between the library is loaded.
    let mut command = elevation::plain_with_sudo();
    command.args(["/usr/bin/env", "/usr/bin/true"]).env_clear();
    command.env("LD_PRELOAD", place.path("mine/evil.so"));
    command.current_dir(&mine).output().unwrap();
    assert!(proof.exists());
}

#[test]
fn helper_that_others_can_replace_refuses() {
    let Some(place) = Place::new() else { return };
    for (change, word) in [
        ("chmod 777 /mnt", "/mnt is not root's alone"),
        ("chown 65534 /mnt", "/mnt is not root's alone"),
        (
            "umount /mnt/tagout; cp $0 /mnt/tagout; chmod 757 /mnt/tagout",
            "/mnt/tagout is not root's alone",
        ),
    ] {
        let stand = place.stand(1, "true");
        let mut command = elevation::as_root();
        command.args(["/bin/sh", "-c"]);
        command.arg(format!(
            "{change}; exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\""
        ));
        command.arg(env!("CARGO_BIN_EXE_tagout"));
        command.arg("/usr/bin/python3").arg(place.path("attack.py"));
        command
            .arg("plain")
            .arg(stand)
            .arg(elevation::HELPER)
            .arg(BUILD);
        command.arg(place.path("mine"));
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.current_dir(place.path("mine"));
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = text(&output.stdout);
        assert!(
            said.contains(word),
            "{change}: {said}{}",
            text(&output.stderr)
        );
    }
}

/// A run of level a that sleeps; the word makes it findable.
fn sleeper(place: &Place, word: &str) -> Child {
    elevation::plain_with_sudo()
        .arg(elevation::HELPER)
        .args(["sandbox", "--level", "a", "--", "sleep", word])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TAGOUT_HELPER", elevation::HELPER)
        .current_dir(place.path("mine"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Processes with exactly these words, and the uids of each.
fn found(words: &[&str]) -> BTreeMap<i32, u32> {
    let wanted: Vec<u8> = words
        .iter()
        .flat_map(|word| [word.as_bytes(), b"\0"].concat())
        .collect();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if fs::read(entry.path().join("cmdline")).is_ok_and(|words| words == wanted) {
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
            let uid = line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
            found.extend(uid.map(|uid| (process, uid)));
        }
    }
    found
}

fn wait_for(words: &[&str], count: usize) -> BTreeMap<i32, u32> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let processes = found(words);
        if processes.len() == count {
            return processes;
        }
        assert!(Instant::now() < until, "{words:?}: {processes:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn two_runs_at_once_have_two_uids_that_nobody_else_has() {
    let Some(place) = Place::new() else { return };
    let word = format!("33.{}", std::process::id());
    let mut runs = [sleeper(&place, &word), sleeper(&place, &word)];
    let uids: BTreeSet<u32> = wait_for(&["sleep", &word], 2).into_values().collect();
    assert_eq!(uids.len(), 2, "{uids:?}");
    assert!(
        uids.iter().all(|uid| (60_600..60_664).contains(uid)),
        "{uids:?}"
    );
    for run in &mut runs {
        // The launcher is killed: the helper ends the run on its own.
        run.kill().unwrap();
        run.wait().unwrap();
    }
    wait_for(&["sleep", &word], 0);
}

/// The ancestors of a process, nearest first.
fn ancestors(process: i32) -> Vec<i32> {
    let mut line = Vec::new();
    let mut next = process;
    while next > 1 {
        let Ok(status) = fs::read_to_string(format!("/proc/{next}/status")) else {
            break;
        };
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        next = parent
            .and_then(|parent| parent.trim().parse().ok())
            .unwrap_or(0);
        line.push(next);
    }
    line
}

#[test]
fn waiting_helper_has_what_killing_and_cleaning_take_and_no_more() {
    let Some(place) = Place::new() else { return };
    let word = format!("35.{}", std::process::id());
    let mut run = sleeper(&place, &word);
    let (process, uid) = wait_for(&["sleep", &word], 1).pop_first().unwrap();
    let helper = ancestors(process)[2];
    let status = fs::read_to_string(format!("/proc/{helper}/status")).unwrap();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    assert_eq!(
        line("Uid:").split_whitespace().next(),
        Some("0"),
        "{status}"
    );
    assert_eq!(line("Seccomp:"), "2", "{status}");
    assert_eq!(line("NoNewPrivs:"), "1", "{status}");
    let cgroup = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .any(|mount| Path::new(mount).join(format!("tagout-{uid}")).is_dir());
    // CAP_KILL; and CAP_DAC_OVERRIDE only where there is a cgroup to be removed.
    let wanted = if cgroup {
        "0000000000000022"
    } else {
        "0000000000000020"
    };
    assert_eq!(line("CapEff:"), wanted, "{status}");
    assert_eq!(line("CapPrm:"), wanted, "{status}");
    assert_eq!(line("CapBnd:"), "0000000000000000", "{status}");
    // Its caller can neither signal it nor look into it.
    let attack = format!(
        "kill -KILL {helper} 2>/dev/null && echo KILLED; cat /proc/{helper}/environ 2>/dev/null && echo READ; \
        ls /proc/{helper}/fd 2>/dev/null && echo LISTED; true"
    );
    let output = elevation::plain_with_sudo()
        .args(["/bin/sh", "-c", &attack])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "", "{}", text(&output.stderr));
    // Behind its filter it still ends the run and takes its lease away.
    run.kill().unwrap();
    run.wait().unwrap();
    wait_for(&["sleep", &word], 0);
    let lock = PathBuf::from(format!("/run/tagout/uid-{uid}"));
    let until = Instant::now() + Duration::from_secs(20);
    while Path::new(&format!("/proc/{helper}")).exists() {
        assert!(Instant::now() < until, "the helper does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let held = fs::File::open(&lock).is_ok_and(|file| {
        let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        rustix::fs::flock(file, exclusive).is_err()
    });
    assert!(held || !lock.exists());
}

#[test]
fn killed_helper_leaves_no_process_and_the_next_run_cleans_up() {
    let Some(place) = Place::new() else { return };
    let word = format!("34.{}", std::process::id());
    let mut run = sleeper(&place, &word);
    let (process, uid) = wait_for(&["sleep", &word], 1).pop_first().unwrap();
    // From inside out: init, the outer process, the helper.
    let helper = ancestors(process)[2];
    let words = fs::read_to_string(format!("/proc/{helper}/cmdline")).unwrap();
    assert_eq!(words, format!("{}\0__helper\0", elevation::HELPER));
    let pid = rustix::process::Pid::from_raw(helper).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_for(&["sleep", &word], 0);
    assert_ne!(run.wait().unwrap().code(), Some(0));
    let lock = PathBuf::from(format!("/run/tagout/uid-{uid}"));
    let next = sleeper(&place, "0").wait().unwrap();
    assert_eq!(next.code(), Some(0));
    // Another test may have leased it anew: then somebody holds the lock.
    let held = fs::File::open(&lock).is_ok_and(|file| {
        let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        rustix::fs::flock(file, exclusive).is_err()
    });
    assert!(held || !lock.exists());
    for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        let cgroup = Path::new(mount).join(format!("tagout-{uid}"));
        assert!(
            held || !cgroup.exists() || lock.exists(),
            "{}",
            cgroup.display()
        );
    }
}
