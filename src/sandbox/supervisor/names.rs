//! Programs that ask for names over TCP: the supervisor is their name server. Slow and silent ones are let go.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::sandbox::resolver::Resolver;
use crate::sandbox::resolver::stream::Stream;

/// Most name connections at a time; a further one takes the place of the oldest.
pub const CLIENTS_MAX: usize = 64;
/// Longest silence of one.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Bytes that are read in one go.
const READ_BYTES: usize = 4096;

/// One program's name connection.
#[derive(Debug)]
pub struct Client {
    /// Our end of it.
    pub socket: OwnedFd,
    stream: Stream,
    heard: Instant,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It does.
    Keep,
    /// It is over.
    Close,
}

impl Client {
    /// A connection that was just accepted; its socket must not wait.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            stream: Stream::default(),
            heard: Instant::now(),
        }
    }

    /// What it waits for.
    #[must_use]
    pub fn wants(&self) -> PollFlags {
        if self.stream.waiting().is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        }
    }

    /// Reads what came and sends what can be sent.
    pub fn serve(&mut self, resolver: &mut Resolver) -> Next {
        let mut bytes = [0_u8; READ_BYTES];
        match rustix::net::recv(&self.socket, &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Next::Close,
            Ok((length, _)) => {
                self.heard = Instant::now();
                let read = bytes.get(..length).unwrap_or_default();
                if self.stream.take(read, resolver).is_err() {
                    return Next::Close;
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_broken) => return Next::Close,
        }
        while !self.stream.waiting().is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(&self.socket, self.stream.waiting(), flags) {
                Ok(count) => self.stream.sent(count),
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(_broken) => return Next::Close,
            }
        }
        Next::Keep
    }

    /// Whether it was silent for too long.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.heard.elapsed() > SILENCE_MAX
    }
}
