//! What the doctor's own attacks are aimed at, and what came of them: files and listeners made for this, in a folder of its own.
//! It must never call an attack stopped of which nothing was heard.

use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::wire::{ESCAPE_HELD, ESCAPE_THROUGH, EscapeAim, Wall, WallsReport};

/// Bytes of a datagram that are looked at.
const DATAGRAM_BYTES: usize = 16;

/// The targets, which are there as long as this is.
#[derive(Debug)]
pub(super) struct Target {
    /// Where they are.
    pub(super) aim: EscapeAim,
    before: (u32, u64),
    tcp: TcpListener,
    udp: UdpSocket,
    unix: UnixListener,
    /// Without close-on-exec, which is the attack.
    _inherited: OwnedFd,
}

impl Target {
    /// Makes them in an empty folder.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        let file = folder.join("file");
        let socket = folder.join("socket");
        fs::write(&file, "nothing\n")?;
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        let unix = UnixListener::bind(&socket)?;
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        unix.set_nonblocking(true)?;
        let inherited = rustix::fs::open(&file, OFlags::RDONLY, Mode::empty())?;
        let aim = EscapeAim {
            tcp: tcp.local_addr()?.port(),
            udp: udp.local_addr()?.port(),
            process: i32::try_from(std::process::id()).map_err(io::Error::other)?,
            descriptor: inherited.as_raw_fd(),
            file,
            socket,
        };
        Ok(Self {
            before: state(&aim.file)?,
            aim,
            tcp,
            udp,
            unix,
            _inherited: inherited,
        })
    }

    /// What is seen from outside, whatever the inside says: each with the wall that should have stopped it.
    fn seen(&self) -> io::Result<Vec<(&'static str, &'static str)>> {
        let mut seen = Vec::new();
        if self.tcp.accept().is_ok() {
            seen.push(("network", "a TCP listener outside was reached"));
        }
        if self.udp.recv(&mut [0; DATAGRAM_BYTES]).is_ok() {
            seen.push(("network", "a UDP socket outside was reached"));
        }
        if self.unix.accept().is_ok() {
            seen.push(("unix-sockets", "a unix socket outside was reached"));
        }
        let (mode, length) = state(&self.aim.file)?;
        if mode != self.before.0 {
            seen.push(("metadata", "the mode of a file outside was changed"));
        }
        if length != self.before.1 {
            seen.push(("files", "a file outside was written"));
        }
        Ok(seen)
    }

    /// Sorts what the inside said and what is seen from outside.
    pub(super) fn judge(&self, said: &[String], report: &WallsReport) -> io::Result<Escapes> {
        let mut escapes = Escapes::default();
        for line in said {
            let mut words = line.splitn(3, ' ');
            let (Some(end), Some(wall), Some(what)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            match end {
                ESCAPE_HELD => escapes.held.push(what.to_owned()),
                ESCAPE_THROUGH => escapes.through(wall, what, report),
                _ => {}
            }
        }
        for (wall, what) in self.seen()? {
            // What the inside admits is not told twice.
            if !escapes.tells(wall) {
                escapes.through(wall, what, report);
            }
        }
        Ok(escapes)
    }
}

/// A file's mode and length.
fn state(file: &Path) -> io::Result<(u32, u64)> {
    let meta = fs::metadata(file)?;
    Ok((meta.mode(), meta.len()))
}

/// What came of the attacks.
#[derive(Debug, Default)]
pub(super) struct Escapes {
    /// Stopped.
    pub(super) held: Vec<String>,
    /// Not stopped, although the report calls the wall enforced.
    pub(super) through: Vec<String>,
    /// Not stopped, and the report says that the wall is not whole.
    pub(super) open: Vec<String>,
}

impl Escapes {
    fn through(&mut self, wall: &str, what: &str, report: &WallsReport) {
        let line = format!("{what} ({wall})");
        if report.walls.get(wall) == Some(&Wall::Enforced) {
            self.through.push(line);
        } else {
            self.open.push(line);
        }
    }

    fn tells(&self, wall: &str) -> bool {
        let word = format!("({wall})");
        let mut lines = self.through.iter().chain(&self.open);
        lines.any(|line| line.ends_with(&word))
    }

    /// For a person.
    pub(super) fn words(&self) -> String {
        let count = self.held.len() + self.through.len() + self.open.len();
        if count == 0 {
            return "\n  escapes: not tried, because the program could not be started inside"
                .to_owned();
        }
        let mut text = format!(
            "\n  escapes: {} of {count} tried from inside were stopped",
            self.held.len()
        );
        for open in &self.open {
            text.push_str(&format!(
                "\n    open, as the report of each run says: {open}"
            ));
        }
        for through in &self.through {
            text.push_str(&format!(
                "\n    GOT THROUGH A WALL THAT SHOULD STAND: {through}"
            ));
        }
        text
    }

    /// For a program.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({ "held": self.held, "through": self.through, "open": self.open })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn report() -> WallsReport {
        let walls = [("network", Wall::Enforced), ("metadata", Wall::Absent)];
        WallsReport {
            level: None,
            abi: 0,
            workspace: String::new(),
            walls: BTreeMap::from(walls.map(|(name, wall)| (name.to_owned(), wall))),
            denied: None,
            limit: None,
            exit: 0,
            missing: Vec::new(),
            commands: Vec::new(),
        }
    }

    #[test]
    fn what_gets_through_an_enforced_wall_is_told_loudly() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::new(folder.path()).unwrap();
        let said = [
            "held files read a file",
            "through network connect by TCP",
            "through metadata change a mode",
        ];
        let said: Vec<String> = said.map(str::to_owned).to_vec();
        let escapes = target.judge(&said, &report()).unwrap();
        assert_eq!(
            escapes.words(),
            "\n  escapes: 1 of 3 tried from inside were stopped\
             \n    open, as the report of each run says: change a mode (metadata)\
             \n    GOT THROUGH A WALL THAT SHOULD STAND: connect by TCP (network)"
        );
    }

    #[test]
    fn what_arrives_outside_counts_whatever_the_inside_says() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::new(folder.path()).unwrap();
        let guest = std::net::TcpStream::connect(("127.0.0.1", target.aim.tcp)).unwrap();
        let said = vec!["held network connect by TCP".to_owned()];
        let escapes = target.judge(&said, &report()).unwrap();
        assert_eq!(
            escapes.through,
            ["a TCP listener outside was reached (network)"]
        );
        drop(guest);
        let silent = target.judge(&[], &report()).unwrap();
        assert!(silent.words().contains("not tried"));
    }
}
