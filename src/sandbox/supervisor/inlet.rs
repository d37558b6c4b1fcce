//! The supervisor's private listeners on loopback. A program's socket that may go out is connected to one of them, and the
//! other end goes through the door. A connection that we did not make ourselves is dropped.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::caller::Family;

/// Connections that the kernel keeps for us; it may keep fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;
/// Most connections that are accepted in one go.
const ACCEPTED_MAX: usize = 64;

/// Both listeners.
#[derive(Debug)]
pub struct Inlet {
    v4: Listener,
    v6: Option<Listener>,
}

#[derive(Debug)]
struct Listener {
    socket: OwnedFd,
    at: SocketAddr,
}

/// How a connect went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// It stands, and the program's call returns 0.
    Connected,
    /// The program does not wait: EINPROGRESS, and it asks later.
    InProgress,
    /// The program waits, and so must we.
    Waiting,
}

impl Inlet {
    /// Opens them. Without IPv6 loopback there is only one.
    ///
    /// # Errors
    /// What socket(2), bind(2) and listen(2) say.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            v4: Listener::open(AddressFamily::INET, Ipv4Addr::LOCALHOST.into())?,
            v6: Listener::open(AddressFamily::INET6, Ipv6Addr::LOCALHOST.into()).ok(),
        })
    }

    /// Where a socket of this family is sent. `bound` is its own address: one that stands on `::1` cannot reach IPv4.
    #[must_use]
    pub fn address(&self, family: Family, bound: Option<SocketAddr>) -> Option<SocketAddr> {
        let on_v6 = bound.is_some_and(|bound| bound.ip() == IpAddr::V6(Ipv6Addr::LOCALHOST));
        match family {
            Family::V4 => Some(self.v4.at),
            Family::V6 if !on_v6 => Some(self.v4.at),
            Family::V6 | Family::V6Only => self.v6.as_ref().map(|listener| listener.at),
        }
    }

    /// The listening sockets, to wait on.
    pub fn sockets(&self) -> impl Iterator<Item = &OwnedFd> {
        std::iter::once(&self.v4)
            .chain(&self.v6)
            .map(|listener| &listener.socket)
    }

    /// What has arrived, with the other end's address.
    #[must_use]
    pub fn arrived(&self) -> Vec<(OwnedFd, SocketAddr)> {
        let mut arrived = Vec::new();
        for socket in self.sockets() {
            while arrived.len() < ACCEPTED_MAX {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                match rustix::net::acceptfrom_with(socket, flags) {
                    Ok((connection, from)) => {
                        let from = from.and_then(|from| SocketAddr::try_from(from).ok());
                        arrived.extend(from.map(|from| (connection, from)));
                    }
                    Err(Errno::CONNABORTED | Errno::INTR) => {}
                    Err(_none_waits) => break,
                }
            }
        }
        arrived
    }
}

impl Listener {
    fn open(family: AddressFamily, address: IpAddr) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&socket, &SocketAddr::new(address, 0))?;
        rustix::net::listen(&socket, BACKLOG)?;
        let at = rustix::net::getsockname(&socket)?;
        let at = SocketAddr::try_from(at)?;
        Ok(Self { socket, at })
    }
}

/// The address as a socket of this family must spell it.
#[must_use]
pub fn spelled(address: SocketAddr, family: Family) -> SocketAddr {
    match (address, family) {
        (SocketAddr::V4(v4), Family::V6 | Family::V6Only) => {
            SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
        }
        (SocketAddr::V4(_), Family::V4) | (SocketAddr::V6(_), _) => address,
    }
}

/// Connects a program's socket without ever waiting. The flag that says whether it waits belongs to the open file that we
/// share with the program, so it is set only for the call and put back at once.
///
/// # Errors
/// What connect(2) says.
pub fn dial(socket: impl AsFd, address: SocketAddr) -> Result<Dialled, Errno> {
    let socket = socket.as_fd();
    let flags = rustix::fs::fcntl_getfl(socket)?;
    if flags.contains(OFlags::NONBLOCK) {
        return match rustix::net::connect(socket, &address) {
            Ok(()) => Ok(Dialled::Connected),
            Err(Errno::INPROGRESS) => Ok(Dialled::InProgress),
            Err(error) => Err(error),
        };
    }
    rustix::fs::fcntl_setfl(socket, flags | OFlags::NONBLOCK)?;
    let mut dialled = rustix::net::connect(socket, &address);
    if dialled == Err(Errno::INPROGRESS) {
        // On loopback the handshake is over by now, and a second call says so.
        dialled = rustix::net::connect(socket, &address);
    }
    let restored = rustix::fs::fcntl_setfl(socket, flags);
    match dialled {
        Ok(()) => restored.map(|()| Dialled::Connected),
        Err(Errno::INPROGRESS | Errno::ALREADY) => Ok(Dialled::Waiting),
        Err(error) => Err(error),
    }
}
