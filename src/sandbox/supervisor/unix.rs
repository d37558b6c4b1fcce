//! Connect and listen of unix sockets: only what the run itself made is reached. The program's path is resolved once, to a
//! descriptor of ours, and that very file is judged and connected to.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use super::address::{Address, UnixName};
use super::book::Refuser;
use super::caller::Caller;
use super::tcp::inode;
use super::{DONE, Reply, Supervisor, Turn, error};

/// A connect to a listener that is full.
#[derive(Debug)]
pub struct Knock {
    /// The waiting call.
    pub id: u64,
    /// Since when.
    pub since: Instant,
    socket: OwnedFd,
    target: Target,
}

/// Where a connect goes.
#[derive(Debug)]
enum Target {
    /// The socket's file, which cannot be exchanged any more.
    File(OwnedFd),
    /// An abstract name of the run.
    Name(Vec<u8>),
}

impl Target {
    fn address(&self) -> Result<SocketAddrUnix, Errno> {
        match self {
            Self::File(file) => SocketAddrUnix::new(own_path(file)),
            Self::Name(name) => SocketAddrUnix::new_abstract_name(name),
        }
    }
}

/// The path under which a descriptor of ours leads to its file, whatever happens to the file's own path.
fn own_path(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

impl Supervisor {
    pub(super) fn connect_unix(
        &mut self,
        caller: &Caller<'_>,
        id: u64,
        socket: OwnedFd,
        address: Address,
    ) -> Result<Turn, Errno> {
        let target = match address {
            Address::Unix(UnixName::Path(path)) => self.file(caller, &path)?,
            Address::Unix(UnixName::Abstract(name)) => {
                if !self.listeners.owns_name(&name) {
                    let what = format!("connect @{}", name.escape_ascii());
                    self.book.note(Refuser::UnixSockets, what);
                    return Err(Errno::ACCESS);
                }
                Target::Name(name)
            }
            Address::Unix(UnixName::Unnamed) => return Err(Errno::INVAL),
            Address::Unspecified | Address::V4(..) | Address::V6(..) | Address::Other(_) => {
                return Err(Errno::INVAL);
            }
        };
        match knock(&socket, &target)? {
            Some(reply) => Ok(Turn::Now(reply)),
            None if !self.has_room() => Err(Errno::AGAIN),
            None => {
                self.knocks.push(Knock {
                    id,
                    since: Instant::now(),
                    socket,
                    target,
                });
                Ok(Turn::Later)
            }
        }
    }

    /// The file behind a path as the caller sees it. What is not there is no refusal of ours.
    fn file(&mut self, caller: &Caller<'_>, path: &[u8]) -> Result<Target, Errno> {
        let path = Path::new(OsStr::from_bytes(path));
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let folder = if path.is_absolute() {
            None
        } else {
            let folder = format!("/proc/{}/cwd", caller.thread().as_raw_nonzero());
            let folder = rustix::fs::open(folder, flags | OFlags::DIRECTORY, Mode::empty());
            // Its number may have gone to another process since the last look.
            if !caller.still_waits() {
                return Err(Errno::SRCH);
            }
            Some(folder?)
        };
        // A link of /proc leads from our own process and not from the caller's; wherever it leads, the real path is judged.
        let file = match &folder {
            Some(folder) => rustix::fs::openat(folder, path, flags, Mode::empty()),
            None => rustix::fs::open(path, flags, Mode::empty()),
        }?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        if kind != FileType::Socket {
            return Err(Errno::CONNREFUSED);
        }
        let real = rustix::fs::readlink(own_path(&file), Vec::new())?;
        let real = Path::new(OsStr::from_bytes(real.as_bytes()));
        if self.private.iter().any(|folder| real.starts_with(folder)) {
            return Ok(Target::File(file));
        }
        let what = format!("connect {}", path.display());
        self.book.note(Refuser::UnixSockets, what);
        Err(Errno::ACCESS)
    }

    pub(super) fn listen_unix(&mut self, socket: &OwnedFd, backlog: i32) -> Result<Turn, Errno> {
        let own = SocketAddrUnix::try_from(rustix::net::getsockname(socket)?);
        let name = own
            .ok()
            .and_then(|own| own.abstract_name().map(<[u8]>::to_vec));
        if name.is_some() && !self.listeners.has_room() {
            return Err(Errno::NOBUFS);
        }
        rustix::net::listen(socket, backlog)?;
        if let Some(name) = name {
            self.listeners.add_name(inode(socket)?, name);
        }
        Ok(DONE)
    }

    /// Tries full listeners once more.
    pub(super) fn knock_again(&mut self) {
        let mut over = Vec::new();
        self.knocks.retain(|waiting| {
            let reply = match knock(&waiting.socket, &waiting.target) {
                Ok(None) => return true,
                Ok(Some(reply)) => reply,
                Err(errno) => error(errno),
            };
            over.push((waiting.id, reply));
            false
        });
        for (id, reply) in over {
            self.answer(id, reply);
        }
    }
}

/// Connects without waiting; none if the listener is full and the program is one that waits.
fn knock(socket: &OwnedFd, target: &Target) -> Result<Option<Reply>, Errno> {
    let address = target.address()?;
    let flags = rustix::fs::fcntl_getfl(socket)?;
    let waits = !flags.contains(OFlags::NONBLOCK);
    if waits {
        rustix::fs::fcntl_setfl(socket, flags | OFlags::NONBLOCK)?;
    }
    let done = rustix::net::connect(socket, &address);
    if waits {
        rustix::fs::fcntl_setfl(socket, flags)?;
    }
    match done {
        Ok(()) => Ok(Some(Reply::Value(0))),
        Err(Errno::AGAIN) if waits => Ok(None),
        Err(error) => Err(error),
    }
}
