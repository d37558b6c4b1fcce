//! `tagout sandbox` from outside: what a command tries inside is judged by what the host looks like afterwards.
//! As root each test runs the binary as a plain user, so that no privilege hides a gap; root has tests of its own.
#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test, and the place tells what it was"
)]

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::elevation;

mod apart;
mod container;
mod doctor;
mod ending;
mod limits;
mod paths;
mod reports;
mod terminal;

/// Levels that every case must hold at.
fn levels() -> Vec<&'static str> {
    let helper = elevation::is_here().then_some("a");
    helper.into_iter().chain(["b", "c"]).collect()
}

/// Debian's own: a user's installation is closed to the plain user.
const PYTHON: &str = "/usr/bin/python3";
/// Dials a listener of the host by every road; the arguments are a TCP and a UDP port.
const DIAL: &str = include_str!("sandbox/dial.py");

/// A place with a workspace, a home and a victim outside, all owned by the user that tests run as.
struct Place {
    folder: TempDir,
    root: bool,
}

/// What a run left.
#[derive(Debug)]
struct Left {
    code: Option<i32>,
    said: String,
    errors: String,
    report: serde_json::Value,
}

impl Place {
    fn new() -> Self {
        Self::of(rustix::process::geteuid().is_root())
    }

    /// One for the plain user, and as root one for root.
    fn of_each_user() -> Vec<Self> {
        let mut all = vec![Self::new()];
        if rustix::process::geteuid().is_root() {
            all.push(Self::of(false));
        }
        all
    }

    fn who(&self) -> &'static str {
        if rustix::process::geteuid().is_root() && !self.root {
            "root"
        } else {
            "plain user"
        }
    }

    /// Runs a command under a policy.
    fn under(&self, level: &str, policy: &str, command: &[&str]) -> Left {
        let (file, json) = (self.path("policy.yml"), self.path("report.json"));
        fs::write(&file, policy).unwrap();
        if json.exists() {
            fs::remove_file(&json).unwrap();
        }
        let output = self
            .tagout(level)
            .arg("--policy")
            .arg(file)
            .arg("--json")
            .arg(&json)
            .arg("--")
            .args(command)
            .output()
            .unwrap();
        Left {
            code: output.status.code(),
            said: text(&output.stdout),
            errors: text(&output.stderr),
            report: serde_json::from_slice(&fs::read(json).unwrap()).unwrap(),
        }
    }

    /// `root`: commands of this place are run as the plain user by root.
    fn of(root: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Self { folder, root };
        fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        crate::program::copy(env!("CARGO_BIN_EXE_tagout"), place.path("tagout"));
        for name in [
            "ws",
            "home",
            "out",
            "ws/.git",
            "ws/.git/hooks",
            "ws/.github",
        ] {
            fs::create_dir(place.path(name)).unwrap();
        }
        fs::write(place.path("out/victim"), "secret\n").unwrap();
        fs::write(place.path("ws/a.txt"), "hello\n").unwrap();
        fs::write(place.path("ws/.env"), "KEY=value\n").unwrap();
        fs::write(
            place.path("ws/.git/config"),
            "[core]\n\tbare = false\n[http]\n\textraheader = token-canary\n",
        )
        .unwrap();
        place.own();
        place
    }

    /// Gives everything in it to the user that the commands run as.
    fn own(&self) {
        if self.root {
            let done = Command::new("chown")
                .args(["-hR", "65534:65534"])
                .arg(self.path("."))
                .status()
                .unwrap();
            assert!(done.success());
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command as the plain user with an empty environment.
    fn plain(&self, program: &Path) -> Command {
        let mut command = if self.root {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .current_dir(self.path("ws"))
            .stdin(Stdio::null());
        command
    }

    fn tagout(&self, level: &str) -> Command {
        let program = self.path("tagout");
        let mut command = if level == "a" && self.root {
            let mut command = elevation::plain_with_sudo();
            command
                .arg(program)
                .env_clear()
                .env("PATH", "/usr/bin:/bin")
                .env("HOME", self.path("home"))
                .env("TAGOUT_HELPER", elevation::HELPER)
                .current_dir(self.path("ws"))
                .stdin(Stdio::null());
            command
        } else {
            self.plain(&program)
        };
        command.args(["sandbox", "--level", level]);
        command
    }

    fn sh(&self, level: &str, script: &str) -> Output {
        self.tagout(level)
            .args(["--", "sh", "-c", script])
            .output()
            .unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn nothing_outside_is_written_read_moved_or_linked() {
    for level in levels() {
        let place = Place::new();
        let script = format!(
            "V={}; H={}; echo x > $V; ln -s $V l; echo x > l; ln $V hard && echo x > hard; mv $V $V.2; rm -f $V; \
             echo x > $H/f; mkdir $H/d; cat $V && echo READ; cat /proc/1/root$V && echo READ; echo kept > new; exit 42",
            place.path("out/victim").display(),
            place.path("home").display()
        );
        let output = place.sh(level, &script);
        assert_eq!(
            output.status.code(),
            Some(42),
            "{level}: {}",
            text(&output.stderr)
        );
        assert_eq!(
            fs::read_to_string(place.path("out/victim")).unwrap(),
            "secret\n"
        );
        assert!(!text(&output.stdout).contains("READ"), "{level}");
        assert_eq!(
            fs::read_dir(place.path("home")).unwrap().count(),
            0,
            "{level}"
        );
        assert_eq!(
            fs::read_dir(place.path("out")).unwrap().count(),
            1,
            "{level}"
        );
        assert_eq!(
            fs::read_to_string(place.path("ws/new")).unwrap(),
            "kept\n",
            "{level}"
        );
    }
}

#[test]
fn protected_paths_of_the_workspace_stay_as_they_are() {
    for level in levels() {
        let place = Place::new();
        let script = "echo x > .git/hooks/pre-commit; echo x >> .git/config; mkdir -p .github/workflows; \
                      echo x > .github/workflows/w.yml; mv .github .g; rm -rf .git; cat .git/config; cat .env && echo READ; \
                      echo x > .env; true";
        let output = place.sh(level, script);
        let stdout = text(&output.stdout);
        assert!(
            !stdout.contains("canary") && !stdout.contains("READ"),
            "{level}: {stdout}"
        );
        assert!(!place.path("ws/.git/hooks/pre-commit").exists(), "{level}");
        assert!(
            fs::read_to_string(place.path("ws/.git/config"))
                .unwrap()
                .contains("canary")
        );
        assert_eq!(
            fs::read_dir(place.path("ws/.github")).unwrap().count(),
            0,
            "{level}"
        );
        assert_eq!(
            fs::read_to_string(place.path("ws/.env")).unwrap(),
            "KEY=value\n",
            "{level}"
        );
    }
}

#[test]
fn protected_path_that_was_not_there_is_removed_and_told() {
    for level in levels() {
        let place = Place::new();
        fs::remove_dir_all(place.path("ws/.github")).unwrap();
        let outside = place.path("out");
        let script = format!(
            "mkdir -p .github/workflows; echo x > .github/w; ln -s {} d",
            outside.display()
        );
        let output = place.sh(level, &script);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{level}: {}",
            text(&output.stderr)
        );
        assert!(!place.path("ws/.github").exists(), "{level}");
        assert!(
            text(&output.stderr).contains(".github"),
            "{level}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn environment_is_the_allowlist_and_other_processes_are_not_seen() {
    for level in levels() {
        let place = Place::new();
        let script = "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; grep -E 'NoNewPrivs|Seccomp:|CapEff' /proc/self/status";
        let output = place
            .tagout(level)
            .args(["--", "sh", "-c", script])
            .env("GITHUB_TOKEN", "tok-canary")
            .env("MY_DSN", "tok-canary")
            .output()
            .unwrap();
        let stdout = text(&output.stdout);
        assert!(!stdout.contains("canary"), "{level}: {stdout}");
        assert!(
            stdout.contains("NoNewPrivs:\t1") && stdout.contains("Seccomp:\t2"),
            "{level}: {stdout}"
        );
        assert!(
            stdout.contains("CapEff:\t0000000000000000"),
            "{level}: {stdout}"
        );
    }
}

#[test]
fn no_road_leads_to_the_loopback_of_the_host() {
    let place = Place::new();
    let stream = TcpListener::bind("127.0.0.1:0").unwrap();
    let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
    stream.set_nonblocking(true).unwrap();
    datagram.set_nonblocking(true).unwrap();
    let ports = [
        stream.local_addr().unwrap().port().to_string(),
        datagram.local_addr().unwrap().port().to_string(),
    ];
    let arrived = || {
        let mut count = 0;
        while stream.accept().is_ok() {
            count += 1;
        }
        while datagram.recv(&mut [0; 16]).is_ok() {
            count += 1;
        }
        count
    };
    fs::write(place.path("ws/dial.py"), DIAL).unwrap();
    let control = place
        .plain(Path::new(PYTHON))
        .arg("dial.py")
        .args(&ports)
        .output()
        .unwrap();
    assert!(
        control.status.success(),
        "the control runs: {}",
        text(&control.stderr)
    );
    assert!(
        arrived() >= 3,
        "the roads are open without walls: {}",
        text(&control.stdout)
    );
    for level in levels() {
        let output = place
            .tagout(level)
            .args(["--", PYTHON, "dial.py"])
            .args(&ports)
            .output()
            .unwrap();
        assert_eq!(
            text(&output.stdout).lines().count(),
            5,
            "{level}: {}",
            text(&output.stderr)
        );
        assert_eq!(arrived(), 0, "{level}: {}", text(&output.stdout));
    }
}

#[test]
fn local_servers_inside_work() {
    const SERVE: &str = "import asyncio\nasync def main():\n  async def on(r,w):\n    w.write(await r.read(2)); w.close()\n  \
                         s=await asyncio.start_server(on,'127.0.0.1',0)\n  p=s.sockets[0].getsockname()[1]\n  \
                         r,w=await asyncio.open_connection('127.0.0.1',p)\n  w.write(b'hi'); print((await r.read()).decode())\n\
                         asyncio.run(main())\n";
    for level in levels() {
        let place = Place::new();
        let output = place
            .tagout(level)
            .args(["--", PYTHON, "-c", SERVE])
            .output()
            .unwrap();
        assert_eq!(
            text(&output.stdout),
            "hi\n",
            "{level}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn copy_is_thrown_away() {
    for level in levels() {
        let place = Place::new();
        let output = place
            .tagout(level)
            .args([
                "--copy",
                "--",
                "sh",
                "-c",
                "echo x > new; rm a.txt; cat new",
            ])
            .output()
            .unwrap();
        assert_eq!(
            text(&output.stdout),
            "x\n",
            "{level}: {}",
            text(&output.stderr)
        );
        assert!(
            !place.path("ws/new").exists() && place.path("ws/a.txt").exists(),
            "{level}"
        );
    }
}

#[test]
fn changes_deletions_and_modes_come_back_in_place() {
    for level in levels() {
        let place = Place::new();
        let script = "echo changed > a.txt; mkdir -p d/e; echo x > d/e/f; chmod 755 d/e/f; ln -s a.txt l; mkfifo pipe; true";
        assert_eq!(place.sh(level, script).status.code(), Some(0), "{level}");
        assert_eq!(
            fs::read_to_string(place.path("ws/a.txt")).unwrap(),
            "changed\n",
            "{level}"
        );
        let mode = fs::metadata(place.path("ws/d/e/f"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o755, "{level}");
        assert_eq!(
            fs::read_link(place.path("ws/l")).unwrap(),
            Path::new("a.txt"),
            "{level}"
        );
        assert_eq!(
            place.sh(level, "rm -r d l; mv a.txt b.txt").status.code(),
            Some(0),
            "{level}"
        );
        assert!(
            !place.path("ws/d").exists() && !place.path("ws/a.txt").exists(),
            "{level}"
        );
        assert_eq!(
            fs::read_to_string(place.path("ws/b.txt")).unwrap(),
            "changed\n",
            "{level}"
        );
    }
}

#[test]
fn nested_namespaces_privileges_and_other_processes_are_refused() {
    for level in levels() {
        let place = Place::new();
        for script in [
            "unshare -U true",
            "unshare -n true",
            "mount -t tmpfs x /tmp",
            "chroot / true",
            "sudo -n true || su -c true",
            "mknod n c 1 3",
        ] {
            let output = place.sh(level, script);
            assert_ne!(output.status.code(), Some(0), "{level}: {script}");
            // A refusal that is known is told, and nothing else is ours to say.
            let said = text(&output.stderr);
            let mut ours = said.lines().filter(|line| line.contains("tagout:"));
            let told = ours.all(|line| line.starts_with("tagout: denied by syscalls: call "));
            assert!(told, "{level}: {script}: {said}");
        }
    }
}

#[test]
fn root_keeps_no_capability_and_its_workspace_is_usable() {
    if !rustix::process::geteuid().is_root() {
        // The case needs root; every other case here is the plain user's.
        return;
    }
    for level in levels() {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_tagout"))
            .args(["sandbox", "--level", level, "--", "sh", "-c"])
            .arg("echo x > new; grep Cap /proc/self/status; echo x > /proc/sys/kernel/core_pattern && echo WRITTEN; cat /etc/shadow && echo READ; true")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir(folder.path())
            .output()
            .unwrap();
        let stdout = text(&output.stdout);
        assert!(
            folder.path().join("new").exists(),
            "{level}: {}",
            text(&output.stderr)
        );
        assert!(
            !stdout.contains("WRITTEN") && !stdout.contains("READ"),
            "{level}: {stdout}"
        );
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(
                stdout.contains(&format!("{set}:\t0000000000000000")),
                "{level}: {stdout}"
            );
        }
    }
}

#[test]
fn process_group_from_outside_of_the_pid_namespace_is_no_obstacle() {
    for level in ["b", "c"] {
        let place = Place::new();
        let tagout = place.path("tagout");
        let output = place
            .plain(Path::new("unshare"))
            .args(["--user", "--map-current-user", "--pid", "--fork"])
            .args(["--mount-proc", "--"])
            .arg(tagout)
            .args(["sandbox", "--level", level, "--", "sh", "-c", "echo inside"])
            .output()
            .unwrap();
        let (said, complained) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(said, "inside\n", "{level}: {complained}");
    }
}
