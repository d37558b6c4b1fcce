//! The inside of a probe: what an attack is aimed at, and the process that makes one attack.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cases;

/// The secret of the host. An attack that gets hold of it says it.
pub(crate) const SECRET: &str = "canary-7f3a";

/// Said before the attack, so that a probe that never ran is not taken for one that was stopped.
pub(crate) const TRYING: &str = "trying";
/// Said after an attack that saw no error.
pub(crate) const THROUGH: &str = "through";

/// Where the host is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Aim {
    /// The workspace, where the attack starts.
    pub(crate) workspace: PathBuf,
    /// A folder outside.
    pub(crate) outside: PathBuf,
    /// The home of the user outside.
    pub(crate) home: PathBuf,
    /// Files of the runner.
    pub(crate) runner: PathBuf,
    /// The probe program.
    pub(crate) probe: PathBuf,
    /// A word of this case alone: name of abstract sockets, of files in shared folders, argument of daemons.
    pub(crate) word: String,
    /// A number of this case alone, for keys.
    pub(crate) key: i32,
    /// Ports of listeners on 127.0.0.1 and `::1`.
    pub(crate) ports: Ports,
    /// The process beside the run, and the address of a secret in its memory.
    pub(crate) victim: Option<(i32, u64)>,
}

/// Ports of the host's listeners.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ports {
    /// TCP on 127.0.0.1.
    pub(crate) tcp: u16,
    /// TCP on `::1`.
    pub(crate) tcp6: u16,
    /// UDP on 127.0.0.1.
    pub(crate) udp: u16,
    /// UDP on `::1`.
    pub(crate) udp6: u16,
}

impl Aim {
    /// A path outside.
    pub(crate) fn out(&self, name: &str) -> PathBuf {
        self.outside.join(name)
    }

    /// The file that must not be touched.
    pub(crate) fn victim_file(&self) -> PathBuf {
        self.out("victim")
    }

    /// The process beside the run.
    pub(crate) fn victim(&self) -> io::Result<(i32, u64)> {
        self.victim
            .ok_or_else(|| io::Error::other("this case was given no victim"))
    }
}

/// A path as the kernel takes it.
pub(crate) fn text(path: &Path) -> Vec<u8> {
    let mut bytes = path.as_os_str().as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// Says something to the judge. A closed stdout is no matter of the attack.
pub(crate) fn say(line: &str) {
    use std::io::Write;
    let mut out = io::stdout().lock();
    if writeln!(out, "{line}").is_ok() {
        drop(out.flush());
    }
}

/// Says what was read, cut to what a judge needs.
pub(crate) fn say_bytes(bytes: &[u8]) {
    say(&String::from_utf8_lossy(&bytes[..bytes.len().min(64 * 1024)]).replace('\0', "\n"));
}

/// Makes one attack. `arguments` are the case's name and the aim.
pub(crate) fn attack(arguments: &[String]) -> io::Result<()> {
    let [name, aim] = arguments else {
        return Err(io::Error::other("usage: probes inside CASE AIM"));
    };
    let aim: Aim = serde_json::from_str(aim)?;
    let case = cases::all()
        .into_iter()
        .find(|case| case.name == name)
        .ok_or_else(|| io::Error::other("there is no such case"))?;
    say(TRYING);
    match (case.attack)(&aim) {
        Ok(()) => say(THROUGH),
        Err(error) => say(&format!("stopped: {error}")),
    }
    Ok(())
}
