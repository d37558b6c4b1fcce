//! Other programs that build walls, with the command line that a careful user would write for the same job.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::aim::Aim;

/// A program that can be run through the same cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// bubblewrap: a new root by hand.
    Bubblewrap,
    /// firejail: the host's root with paths closed.
    Firejail,
}

impl Peer {
    /// By the name of its program.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "bwrap" => Some(Self::Bubblewrap),
            "firejail" => Some(Self::Firejail),
            _ => None,
        }
    }

    /// The name of its program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Bubblewrap => "bwrap",
            Self::Firejail => "firejail",
        }
    }

    /// The first line of what it says of its version; none if it is not installed.
    pub(crate) fn version(self) -> Option<String> {
        let output = Command::new(self.program())
            .arg("--version")
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().map(str::to_owned)
    }

    /// What stands before the command.
    pub(crate) fn command_line(self, aim: &Aim, bin: &Path) -> Vec<OsString> {
        match self {
            Self::Bubblewrap => bubblewrap(aim, bin),
            Self::Firejail => firejail(aim),
        }
    }
}

fn bubblewrap(aim: &Aim, bin: &Path) -> Vec<OsString> {
    let mut line: Vec<OsString> = [
        "bwrap",
        "--unshare-all",
        "--unshare-user",
        "--disable-userns",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--clearenv",
        "--setenv",
        "PATH",
        "/usr/bin:/bin",
        "--ro-bind",
        "/usr",
        "/usr",
        "--symlink",
        "usr/bin",
        "/bin",
        "--symlink",
        "usr/lib",
        "/lib",
        "--symlink",
        "usr/lib64",
        "/lib64",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
    ]
    .map(Into::into)
    .to_vec();
    let mut bind = |flag: &str, source: &Path, target: &Path| {
        line.extend([flag.into(), source.into(), target.into()]);
    };
    bind("--ro-bind", bin, bin);
    bind("--bind", &aim.workspace, &aim.workspace);
    for name in [".git", ".github"] {
        let path = aim.workspace.join(name);
        if path.exists() {
            bind("--ro-bind", &path, &path);
        }
    }
    bind(
        "--ro-bind",
        Path::new("/dev/null"),
        &aim.workspace.join(".env"),
    );
    line.push("--chdir".into());
    line.push(aim.workspace.clone().into());
    line.push("--".into());
    line
}

fn firejail(aim: &Aim) -> Vec<OsString> {
    let mut line: Vec<OsString> = [
        "env",
        "-i",
        "PATH=/usr/bin:/bin",
        "SHELL=/bin/sh",
        "firejail",
        "--quiet",
        "--noprofile",
        "--net=none",
        "--nonewprivs",
        "--noroot",
        "--nogroups",
        "--caps.drop=all",
        "--seccomp",
        "--ipc-namespace",
        "--private-dev",
        "--restrict-namespaces",
        "--read-only=/",
    ]
    .map(Into::into)
    .to_vec();
    let mut option = |name: &str, path: &Path| {
        let mut word = OsString::from(name);
        word.push(path);
        line.push(word);
    };
    option("--read-write=", &aim.workspace);
    for name in [".git", ".github"] {
        option("--read-only=", &aim.workspace.join(name));
    }
    option("--blacklist=", &aim.workspace.join(".env"));
    for folder in [&aim.outside, &aim.home, &aim.runner] {
        option("--blacklist=", folder);
    }
    line.push("--".into());
    line
}
