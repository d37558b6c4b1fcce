//! How the supervisor comes by the sockets of the run. Where the machine lets it take them (`pidfd_getfd`), it does. Where it
//! does not, as under Docker's default profile, it makes every socket itself and keeps a copy until the socket is connected
//! or listens: the same open file either way, with its options and its place in epoll.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt::socket_domain;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType};
use rustix::process::{PidfdFlags, PidfdGetfdFlags};

use super::caller::Caller;
use super::tcp::inode;
use super::{Reply, Supervisor, Turn};
use crate::sandbox::walls::sys::notify;

/// Most sockets that are kept; beyond it the oldest is let go, and can be neither connected nor bound any more.
pub const GIVEN_MAX: usize = 512;

/// `SOCK_TYPE_MASK` (linux/net.h).
const KIND: u32 = 0xF;

/// Which of the two ways is open here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Sockets are taken from their callers.
    Taken,
    /// Sockets are made here and given to them.
    Given,
}

impl Reach {
    /// Finds out by doing it to the calling process itself.
    #[must_use]
    pub fn here() -> Self {
        let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
        let taken = own.and_then(|own| {
            rustix::process::pidfd_getfd(&own, 0, PidfdGetfdFlags::empty()).map(drop)
        });
        match taken {
            // Without a descriptor 0 the call is allowed all the same.
            Ok(()) | Err(Errno::BADF) => Self::Taken,
            Err(_forbidden) => Self::Given,
        }
    }
}

/// The copies that are kept.
#[derive(Debug, Default)]
pub struct Given {
    sockets: VecDeque<(u64, OwnedFd)>,
}

impl Given {
    fn keep(&mut self, socket: OwnedFd) -> Result<(), Errno> {
        let inode = inode(&socket)?;
        if self.sockets.len() >= GIVEN_MAX {
            self.sockets.pop_front();
        }
        self.sockets.push_back((inode, socket));
        Ok(())
    }

    fn find(&self, inode: u64) -> Option<&OwnedFd> {
        let mut all = self.sockets.iter();
        all.find(|(known, _)| *known == inode)
            .map(|(_, socket)| socket)
    }

    /// From here on only the run's own descriptors keep it open.
    fn forget(&mut self, inode: u64) {
        self.sockets.retain(|(known, _)| *known != inode);
    }

    /// Lets go of sockets bound to this port: their programs may have closed them long ago.
    fn forget_port(&mut self, port: u16) {
        self.sockets.retain(|(_, socket)| {
            let at = rustix::net::getsockname(socket).map(std::net::SocketAddr::try_from);
            !matches!(at, Ok(Ok(at)) if at.port() == port)
        });
    }
}

impl Supervisor {
    /// The socket that a call is about. `settled` is what the call gets on one that was let go because it is connected or
    /// listens: it stays as it is.
    pub(super) fn socket(&self, caller: &Caller<'_>, settled: Errno) -> Result<OwnedFd, Errno> {
        match self.reach {
            Reach::Taken => caller.socket(),
            Reach::Given => {
                let inode = caller.socket_inode()?;
                let socket = self.given.find(inode).ok_or(settled)?;
                rustix::io::fcntl_dupfd_cloexec(socket, 0)
            }
        }
    }

    /// A second listen on a socket of ours only asks for another backlog.
    pub(super) fn listens_already(&self, caller: &Caller<'_>) -> bool {
        let inode = caller.socket_inode();
        inode.is_ok_and(|inode| self.listeners.holds(inode))
    }

    /// Lets go of a socket that needs us no more.
    pub(super) fn let_go(&mut self, socket: u64) {
        if self.reach == Reach::Given {
            self.given.forget(socket);
        }
    }

    /// Binds, once more if a copy of ours may be all that is in the way.
    pub(super) fn bind_freed(
        &mut self,
        socket: &OwnedFd,
        at: std::net::SocketAddr,
    ) -> Result<(), Errno> {
        match rustix::net::bind(socket, &at) {
            Err(Errno::ADDRINUSE) if self.reach == Reach::Given => {
                self.given.forget_port(at.port());
                rustix::net::bind(socket, &at)
            }
            other => other,
        }
    }

    /// Makes the socket that a program asks for. What may not be asked for was refused by the filter, and is here again.
    pub(super) fn make_socket(&mut self, caller: &Caller<'_>, id: u64) -> Result<Turn, Errno> {
        let wanted = |place| caller.number(place).cast_unsigned();
        let domain = u16::try_from(wanted(0)).or(Err(Errno::AFNOSUPPORT))?;
        let domain = AddressFamily::from_raw(domain);
        let kind = SocketType::from_raw(wanted(1) & KIND);
        let known = match domain {
            AddressFamily::UNIX => [SocketType::STREAM, SocketType::SEQPACKET].contains(&kind),
            AddressFamily::INET | AddressFamily::INET6 => kind == SocketType::STREAM,
            _ => false,
        };
        if !known {
            return Err(Errno::AFNOSUPPORT);
        }
        let flags = SocketFlags::from_bits_retain(wanted(1) & !KIND);
        let protocol = std::num::NonZeroU32::new(wanted(2)).map(Protocol::from_raw);
        let asked = flags & (SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
        if asked != flags {
            return Err(Errno::INVAL);
        }
        let ours = asked | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(domain, kind, ours, protocol)?;
        debug_assert_eq!(socket_domain(&socket), Ok(domain));
        let keeps = asked.contains(SocketFlags::CLOEXEC);
        let number = notify::give_descriptor(self.listener.as_fd(), id, socket.as_fd(), keeps)
            .map_err(super::caller::number)?;
        self.given.keep(socket)?;
        Ok(Turn::Now(Reply::Value(number)))
    }
}
