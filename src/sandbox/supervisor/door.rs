//! The door to the egress: one packet for each connection, with the connection beside it.
//! It never waits: what does not fit is kept, up to a bound.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::wire::{HANDOVER_BYTES_MAX, Handover};

/// Most connections that wait for a busy egress.
pub const QUEUE_MAX: usize = 128;

/// The sending end.
#[derive(Debug)]
pub struct Door {
    socket: OwnedFd,
    queue: VecDeque<(Vec<u8>, OwnedFd)>,
}

impl Door {
    /// Takes the unix SOCK_SEQPACKET socket.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            queue: VecDeque::new(),
        }
    }

    /// The socket, to wait on while something is kept.
    #[must_use]
    pub fn waits(&self) -> Option<&OwnedFd> {
        (!self.queue.is_empty()).then_some(&self.socket)
    }

    /// Hands a connection over, now or as soon as the egress takes it.
    ///
    /// # Errors
    /// EPIPE and its kin if the egress is gone, EAGAIN if too many wait, EMSGSIZE for a name that does not fit.
    pub fn hand_over(&mut self, host: String, port: u16, connection: OwnedFd) -> Result<(), Errno> {
        let message = serde_json::to_vec(&Handover::Connection { host, port });
        let message = message.or(Err(Errno::INVAL))?;
        if message.len() > HANDOVER_BYTES_MAX {
            return Err(Errno::MSGSIZE);
        }
        if self.queue.len() >= QUEUE_MAX {
            return Err(Errno::AGAIN);
        }
        self.queue.push_back((message, connection));
        self.push()
    }

    /// Sends what is kept as far as the egress takes it.
    ///
    /// # Errors
    /// EPIPE and its kin if the egress is gone.
    pub fn push(&mut self) -> Result<(), Errno> {
        while let Some((message, connection)) = self.queue.front() {
            match send(&self.socket, message, connection) {
                Ok(()) => drop(self.queue.pop_front()),
                Err(Errno::AGAIN | Errno::INTR | Errno::TOOMANYREFS) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn send(socket: &OwnedFd, message: &[u8], connection: &OwnedFd) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let connections = [connection.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&connections)) {
        return Err(Errno::NOBUFS);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(message)], &mut control, flags).map(|_whole_packet| ())
}
