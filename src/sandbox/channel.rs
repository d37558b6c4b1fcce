//! The talk between the launcher and the processes that it started: bounded packets without descriptors beside them.
//! The launcher believes no more of them than a report: nothing here opens a wall.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use super::limit::Limit;
use crate::wire::{Denied, Wall};

/// Largest packet in bytes; a longer one is an error.
pub const PACKET_BYTES_MAX: usize = 8 * 1024;

/// What the processes inside tell the launcher.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    /// The walls stand; no command has been started yet.
    Raised {
        /// Those that are not fully raised, and those that are.
        walls: BTreeMap<String, Wall>,
    },
    /// A wall could not be raised, so nothing was started.
    Fault {
        /// The step and its cause.
        sentence: String,
    },
    /// A command was started.
    Started {
        /// Its place in the plan.
        index: usize,
    },
    /// A command ended, or could not be started (126, 127).
    Ended {
        /// Its exit code as a shell would give it.
        code: i32,
    },
    /// Something was refused.
    Denied(Denied),
    /// A process died of a signal that only a limit or a wall sends.
    Killed {
        /// Its number.
        signal: i32,
    },
    /// A limit made calls fail.
    Hindered(Limit),
}

/// What the launcher tells them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Pass this signal to the command.
    Signal {
        /// Its number.
        number: i32,
    },
    /// End everything inside now.
    End,
}

/// One end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Both ends. Each process must drop the end that is not its own, or nobody notices when the other dies.
    ///
    /// # Errors
    /// EMFILE or ENFILE.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (here, there) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(here), Self(there)))
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// The other side is gone, or the packet is too long.
    pub fn send<T: Serialize>(&self, message: &T) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        if bytes.len() > PACKET_BYTES_MAX {
            return Err(io::Error::from_raw_os_error(libc_message_too_long()));
        }
        rustix::net::send(&self.0, &bytes, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Takes one packet that is waiting; `None` once the other side is gone. Descriptors beside it are not accepted.
    ///
    /// # Errors
    /// A packet that is too long or that is none of ours.
    pub fn take<T: for<'a> Deserialize<'a>>(&self) -> io::Result<Option<T>> {
        let mut buffer = vec![0_u8; PACKET_BYTES_MAX];
        let mut take = || rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::TRUNC);
        let (length, whole) = match take() {
            // The other side died with something of ours unread; what it said before comes after this.
            Err(rustix::io::Errno::CONNRESET) => take()?,
            taken => taken?,
        };
        if length == 0 {
            return Ok(None);
        }
        let bytes = buffer
            .get(..whole)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Some(serde_json::from_slice(bytes)?))
    }

    /// Whether the other side is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let mut waited = [PollFd::new(&self.0, PollFlags::HUP)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut waited, Some(&now)).is_ok()
            && waited[0]
                .revents()
                .intersects(PollFlags::HUP | PollFlags::ERR)
    }
}

fn libc_message_too_long() -> i32 {
    rustix::io::Errno::MSGSIZE.raw_os_error()
}

impl From<OwnedFd> for Channel {
    fn from(end: OwnedFd) -> Self {
        Self(end)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_arrives_and_a_dead_peer_is_noticed() {
        let (here, there) = Channel::pair().unwrap();
        here.send(&Order::Signal { number: 15 }).unwrap();
        assert!(matches!(
            there.take::<Order>().unwrap(),
            Some(Order::Signal { number: 15 })
        ));
        assert!(!there.is_closed());
        drop(here);
        assert!(there.is_closed());
        assert!(there.take::<Order>().unwrap().is_none());
    }

    #[test]
    fn last_word_of_a_peer_that_died_with_mail_unread_is_heard() {
        let (here, there) = Channel::pair().unwrap();
        there.send(&Order::End).unwrap();
        here.send(&Order::Signal { number: 15 }).unwrap();
        drop(there);
        assert!(matches!(here.take::<Order>().unwrap(), Some(Order::End)));
        assert!(here.take::<Order>().unwrap().is_none());
    }

    #[test]
    fn packet_of_another_kind_is_refused() {
        let (here, there) = Channel::pair().unwrap();
        here.send(&"hello").unwrap();
        assert!(there.take::<Order>().is_err());
    }
}
