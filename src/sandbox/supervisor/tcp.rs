//! Connect, bind and listen of TCP sockets, done by us on the program's own open file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::io::Errno;

use super::address::{Address, canonical, plain};
use super::book::Refuser;
use super::caller::{Caller, Family, Kind, kind};
use super::inlet::{Dialled, dial, spelled};
use super::verdict::Deed;
use super::{DONE, Reply, Supervisor, Turn, error, refused};
use crate::sandbox::walls::sys::notify;

/// `TCP_CLOSE`: neither connected nor trying nor listening (linux/tcp_states.h).
const STATE_CLOSED: u8 = 7;
/// `TCP_LISTEN`.
const STATE_LISTENING: u8 = 10;

/// What a connection is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Names.
    Names,
    /// The egress.
    HandOver {
        /// What was dialled.
        host: String,
        /// What was dialled.
        port: u16,
    },
    /// A listener that is not ours; nothing more is to be done.
    Direct,
}

/// A connect that is under way.
#[derive(Debug)]
pub struct Awaited {
    /// The waiting call; none if the program does not wait.
    pub id: Option<u64>,
    /// Since when.
    pub since: Instant,
    socket: OwnedFd,
    target: SocketAddr,
    /// The socket's own address, by which its other end is known.
    own: Option<SocketAddr>,
    purpose: Purpose,
}

impl Awaited {
    /// The socket to wait on, if its own progress is what is awaited.
    #[must_use]
    pub fn waits(&self) -> Option<&OwnedFd> {
        (self.purpose == Purpose::Direct).then_some(&self.socket)
    }
}

impl Supervisor {
    pub(super) fn connect(&mut self, caller: &Caller<'_>, id: u64) -> Result<Turn, Errno> {
        let address = caller.address();
        let socket = self.socket(caller, Errno::ISCONN);
        if !caller.still_waits() {
            return Ok(Turn::Later);
        }
        let socket = socket.map_err(|error| self.unseen(error))?;
        let address = address.map_err(|error| self.unseen(error))?;
        let number = inode(&socket)?;
        let turn = match kind(&socket)? {
            Kind::Unix => self.connect_unix(caller, id, socket, address),
            Kind::Tcp(family) => self.connect_tcp(id, socket, family, &address),
        }?;
        if turn == Turn::Later || turn == DONE || turn == refused(Errno::INPROGRESS) {
            self.let_go(number);
        }
        Ok(turn)
    }

    /// A caller whose memory or table is closed to us.
    pub(super) fn unseen(&mut self, error: Errno) -> Errno {
        if error == Errno::PERM || error == Errno::ACCESS {
            let what = "a call of a program that cannot be looked into".to_owned();
            self.book.note(Refuser::Network, what);
            return Errno::ACCESS;
        }
        error
    }

    fn connect_tcp(
        &mut self,
        id: u64,
        socket: OwnedFd,
        family: Family,
        address: &Address,
    ) -> Result<Turn, Errno> {
        let (given, port) = match (address, family) {
            (Address::Unspecified, _) => {
                rustix::net::connect_unspec(&socket)?;
                return Ok(DONE);
            }
            (Address::V4(given, port), Family::V4) => (IpAddr::V4(*given), *port),
            (Address::V6(given, port), Family::V6 | Family::V6Only) => (IpAddr::V6(*given), *port),
            _ => return Err(Errno::AFNOSUPPORT),
        };
        match notify::tcp_state(socket.as_fd()).map_err(super::caller::number)? {
            STATE_CLOSED => {}
            STATE_LISTENING => return Err(Errno::ISCONN),
            _ => return self.ask_again(&socket, family),
        }
        let wanted = plain(given);
        if wanted.is_ipv4() && family == Family::V6Only {
            return Err(Errno::NETUNREACH);
        }
        let mapped = family == Family::V6;
        let own = self.listeners.own(SocketAddr::new(wanted, port), mapped);
        let (target, purpose) = match self.roads.judge(wanted, port, own, &self.resolver) {
            Deed::Own(target) | Deed::Proxy(target) => (target, Purpose::Direct),
            Deed::Names => (self.inlet_for(&socket, family)?, Purpose::Names),
            Deed::HandOver { host, port } => {
                let purpose = Purpose::HandOver { host, port };
                (self.inlet_for(&socket, family)?, purpose)
            }
            Deed::Refuse(what) => {
                self.book.note(Refuser::Network, what);
                return Err(Errno::CONNREFUSED);
            }
        };
        self.start(id, socket, spelled(target, family), purpose)
    }

    fn inlet_for(&self, socket: &OwnedFd, family: Family) -> Result<SocketAddr, Errno> {
        let target = self.inlet.address(family, own_address(socket).ok());
        target.ok_or(Errno::NETUNREACH)
    }

    /// A second connect on a socket that is connected or trying: the kernel says how it stands. If the socket fell back in
    /// this very moment, the address is our own inlet's, where nobody awaits it.
    fn ask_again(&self, socket: &OwnedFd, family: Family) -> Result<Turn, Errno> {
        let target = self.inlet_for(socket, family)?;
        Ok(match dial(socket, spelled(target, family))? {
            Dialled::Connected => DONE,
            Dialled::InProgress => refused(Errno::INPROGRESS),
            Dialled::Waiting => refused(Errno::ALREADY),
        })
    }

    fn start(
        &mut self,
        id: u64,
        socket: OwnedFd,
        target: SocketAddr,
        purpose: Purpose,
    ) -> Result<Turn, Errno> {
        if !self.has_room() {
            return Err(Errno::AGAIN);
        }
        let dialled = dial(&socket, target)?;
        let at_once = match dialled {
            Dialled::Connected => Some(DONE),
            Dialled::InProgress => Some(refused(Errno::INPROGRESS)),
            Dialled::Waiting => None,
        };
        if let (Purpose::Direct, Some(turn)) = (&purpose, at_once) {
            return Ok(turn);
        }
        let patient = dialled != Dialled::InProgress;
        let own = match purpose {
            Purpose::Direct => None,
            Purpose::Names | Purpose::HandOver { .. } => Some(own_address(&socket)?),
        };
        self.awaited.push(Awaited {
            id: patient.then_some(id),
            since: Instant::now(),
            socket,
            target,
            own,
            purpose,
        });
        let failed = self.take_arrivals();
        if patient {
            return Ok(Turn::Later);
        }
        match failed.iter().find(|(from, _)| Some(*from) == own) {
            Some((_, errno)) => Err(*errno),
            None => Ok(refused(Errno::INPROGRESS)),
        }
    }

    /// Accepts what has come to the inlet. Only what we ourselves connected is known; neighbours are dropped. The answer
    /// is what could not be passed on although its program does not wait to hear it.
    pub(super) fn take_arrivals(&mut self) -> Vec<(SocketAddr, Errno)> {
        let mut failed = Vec::new();
        for (connection, from) in self.inlet.arrived() {
            let from = canonical(from);
            let known = |awaited: &Awaited| awaited.own == Some(from);
            let Some(place) = self.awaited.iter().position(known) else {
                continue;
            };
            let awaited = self.awaited.swap_remove(place);
            let done = self.fulfil(awaited.purpose, connection);
            let Some(id) = awaited.id else {
                failed.extend(done.err().map(|errno| (from, errno)));
                continue;
            };
            // The last call tells the socket that its handshake is over.
            let reply = match done.and_then(|()| dial(&awaited.socket, awaited.target)) {
                Ok(_) | Err(Errno::ISCONN) => Reply::Value(0),
                Err(errno) => error(errno),
            };
            self.answer(id, reply);
        }
        failed
    }

    /// Looks at connects to listeners that are not ours.
    pub(super) fn finish_dials(&mut self) {
        let mut over = Vec::new();
        self.awaited.retain(|awaited| {
            let Some(id) = awaited.id.filter(|_| awaited.purpose == Purpose::Direct) else {
                return true;
            };
            let reply = match dial(&awaited.socket, awaited.target) {
                Ok(Dialled::Waiting) => return true,
                Ok(Dialled::Connected) | Err(Errno::ISCONN) => Reply::Value(0),
                Ok(Dialled::InProgress) => error(Errno::INPROGRESS),
                Err(errno) => error(errno),
            };
            over.push((id, reply));
            false
        });
        for (id, reply) in over {
            self.answer(id, reply);
        }
    }

    pub(super) fn bind(&mut self, caller: &Caller<'_>) -> Result<Turn, Errno> {
        let address = caller.address();
        let socket = self.socket(caller, Errno::INVAL);
        if !caller.still_waits() {
            return Ok(Turn::Later);
        }
        let socket = socket.map_err(|error| self.unseen(error))?;
        let family = match kind(&socket)? {
            // The path is the program's own matter: Landlock says where sockets may be made. Whatever else it could put in
            // place of this address and socket by now is harmless: only listen opens a socket, and that is judged anew.
            Kind::Unix => return Ok(Turn::Now(Reply::Continue)),
            Kind::Tcp(family) => family,
        };
        let address = address.map_err(|error| self.unseen(error))?;
        let (given, port) = match (address, family) {
            (Address::V4(given, port), Family::V4) => (IpAddr::V4(given), port),
            (Address::V6(given, port), Family::V6 | Family::V6Only) => (IpAddr::V6(given), port),
            (Address::Unspecified, Family::V4) => return Err(Errno::INVAL),
            _ => return Err(Errno::AFNOSUPPORT),
        };
        let Some(inside) = inward(given, family) else {
            let what = format!("bind {}", SocketAddr::new(plain(given), port));
            self.book.note(Refuser::Network, what);
            return Err(Errno::ADDRNOTAVAIL);
        };
        self.bind_freed(&socket, SocketAddr::new(inside, port))?;
        Ok(DONE)
    }

    pub(super) fn listen(&mut self, caller: &Caller<'_>) -> Result<Turn, Errno> {
        let socket = self.socket(caller, Errno::INVAL);
        let known = socket.as_ref().err() == Some(&Errno::INVAL) && self.listens_already(caller);
        if !caller.still_waits() {
            return Ok(Turn::Later);
        }
        if known {
            return Ok(DONE);
        }
        let socket = socket.map_err(|error| self.unseen(error))?;
        let family = match kind(&socket)? {
            Kind::Unix => {
                let turn = self.listen_unix(&socket, caller.number(1))?;
                self.let_go(inode(&socket)?);
                return Ok(turn);
            }
            Kind::Tcp(family) => family,
        };
        let at = canonical(own_address(&socket)?);
        if at.port() == 0 || !at.ip().is_loopback() {
            let what = "listen without a bind to loopback".to_owned();
            self.book.note(Refuser::Network, what);
            return Err(Errno::ACCESS);
        }
        if !self.listeners.has_room() {
            return Err(Errno::NOBUFS);
        }
        rustix::net::listen(&socket, caller.number(1))?;
        let dual = family == Family::V6 && at.is_ipv4();
        let number = inode(&socket)?;
        self.listeners.add(number, at, dual);
        self.let_go(number);
        Ok(DONE)
    }
}

/// The loopback address that a bind gets: "any" becomes loopback of the same family; none for an address of the host's.
fn inward(given: IpAddr, family: Family) -> Option<IpAddr> {
    let v4 = Ipv4Addr::LOCALHOST;
    match (given, family) {
        (IpAddr::V4(any), _) if any.is_unspecified() => Some(v4.into()),
        (IpAddr::V6(any), Family::V6) if any.is_unspecified() => Some(v4.to_ipv6_mapped().into()),
        (IpAddr::V6(any), _) if any.is_unspecified() => Some(Ipv6Addr::LOCALHOST.into()),
        (IpAddr::V6(given), _) => match given.to_ipv4_mapped() {
            Some(any) if any.is_unspecified() => Some(v4.to_ipv6_mapped().into()),
            Some(mapped) => mapped.is_loopback().then_some(given.into()),
            None => given.is_loopback().then_some(given.into()),
        },
        (IpAddr::V4(given), _) => given.is_loopback().then_some(given.into()),
    }
}

fn own_address(socket: &OwnedFd) -> Result<SocketAddr, Errno> {
    let own = rustix::net::getsockname(socket)?;
    SocketAddr::try_from(own).map(canonical)
}

/// The socket's number in the kernel's own file system.
pub(super) fn inode(socket: &OwnedFd) -> Result<u64, Errno> {
    Ok(rustix::fs::fstat(socket)?.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_to_any_stays_on_loopback_and_host_addresses_are_refused() {
        let inward =
            |text: &str, family| inward(text.parse().unwrap(), family).map(|ip| ip.to_string());
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(inward("0.0.0.0", Family::V4), some("127.0.0.1"));
        assert_eq!(inward("127.0.0.5", Family::V4), some("127.0.0.5"));
        assert_eq!(inward("10.0.0.1", Family::V4), None);
        assert_eq!(inward("::", Family::V6), some("::ffff:127.0.0.1"));
        assert_eq!(inward("::", Family::V6Only), some("::1"));
        assert_eq!(inward("::1", Family::V6), some("::1"));
        assert_eq!(
            inward("::ffff:0.0.0.0", Family::V6),
            some("::ffff:127.0.0.1")
        );
        assert_eq!(inward("::ffff:10.0.0.1", Family::V6), None);
        assert_eq!(inward("fe80::1", Family::V6), None);
    }
}
