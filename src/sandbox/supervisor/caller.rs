//! The program that made a notified call: its argument bytes copied once, its socket as a descriptor of ours.
//! Nothing that is decided may be read from it a second time.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::address::{self, ADDRESS_BYTES_MAX, Address};
use crate::sandbox::walls::sys::notify::{self, Notification};

/// `PIDFD_THREAD` (Linux 6.9): the descriptor stands for the thread itself, whose table of files may be its own.
const THREAD: u32 = 0o200;
/// Most bytes of a `/proc` file that are read.
const STATUS_BYTES_MAX: u64 = 4096;

/// A waiting call.
#[derive(Debug)]
pub struct Caller<'a> {
    listener: BorrowedFd<'a>,
    notification: Notification,
    thread: Pid,
}

/// What kind of socket the call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Streams over the network.
    Tcp(Family),
    /// `AF_UNIX` STREAM or SEQPACKET.
    Unix,
}

/// What a TCP socket can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6, and IPv4 by mapped addresses.
    V6,
    /// IPv6 only (`IPV6_V6ONLY`).
    V6Only,
}

impl<'a> Caller<'a> {
    /// The caller behind a notification; none if it lives in a process id space that we do not see.
    #[must_use]
    pub fn new(listener: BorrowedFd<'a>, notification: Notification) -> Option<Self> {
        Some(Self {
            listener,
            notification,
            thread: notification.thread?,
        })
    }

    /// The calling thread.
    #[must_use]
    pub fn thread(&self) -> Pid {
        self.thread
    }

    /// The argument at this place, cut to an `int` as the kernel does.
    #[must_use]
    pub fn number(&self, place: usize) -> i32 {
        let argument = self.notification.arguments.get(place).copied();
        let low = u32::try_from(argument.unwrap_or_default() & 0xFFFF_FFFF);
        low.unwrap_or_default().cast_signed()
    }

    /// The address whose pointer and length are the second and third argument.
    ///
    /// # Errors
    /// EINVAL, EFAULT as the kernel would; EPERM if the memory may not be read.
    pub fn address(&self) -> Result<Address, Errno> {
        let length = usize::try_from(self.number(2)).or(Err(Errno::INVAL))?;
        let mut bytes = [0_u8; ADDRESS_BYTES_MAX];
        let bytes = bytes.get_mut(..length).ok_or(Errno::INVAL)?;
        let [_, pointer, ..] = self.notification.arguments;
        let read = notify::read_memory(self.thread, pointer, bytes).map_err(number)?;
        if read != length {
            return Err(Errno::FAULT);
        }
        address::read(bytes).ok_or(Errno::INVAL)
    }

    /// The socket whose number is the first argument: the same open file, under a number of ours.
    ///
    /// # Errors
    /// EBADF as the kernel would; EPERM where this is forbidden.
    pub fn socket(&self) -> Result<OwnedFd, Errno> {
        let thread = PidfdFlags::from_bits_retain(THREAD);
        let process = match rustix::process::pidfd_open(self.thread, thread) {
            Err(Errno::INVAL) => rustix::process::pidfd_open(self.leader()?, PidfdFlags::empty()),
            other => other,
        }?;
        rustix::process::pidfd_getfd(&process, self.number(0), PidfdGetfdFlags::empty())
    }

    /// The number of the socket in the kernel's own file system, whose descriptor is the first argument.
    ///
    /// # Errors
    /// EBADF and ENOTSOCK as the kernel would; EACCES where it may not be looked at.
    pub fn socket_inode(&self) -> Result<u64, Errno> {
        let path = format!(
            "/proc/{}/fd/{}",
            self.thread.as_raw_nonzero(),
            self.number(0)
        );
        let link = match rustix::fs::readlink(path, Vec::new()) {
            Err(Errno::NOENT) => Err(Errno::BADF),
            other => other,
        }?;
        let text = link.to_str().or(Err(Errno::NOTSOCK))?;
        let inode = text
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        inode
            .and_then(|text| text.parse().ok())
            .ok_or(Errno::NOTSOCK)
    }

    /// The process of the thread, for kernels that know no descriptors for threads.
    fn leader(&self) -> Result<Pid, Errno> {
        let mut status = String::new();
        let path = format!("/proc/{}/status", self.thread.as_raw_nonzero());
        File::open(path)
            .and_then(|file| file.take(STATUS_BYTES_MAX).read_to_string(&mut status))
            .map_err(number)?;
        let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        let number = line.and_then(|text| text.trim().parse().ok());
        number.and_then(Pid::from_raw).ok_or(Errno::SRCH)
    }

    /// Whether the call still waits. Only then was everything that was read by the thread's number read from it.
    #[must_use]
    pub fn still_waits(&self) -> bool {
        notify::is_valid(self.listener, self.notification.id)
    }
}

/// What kind of socket this is; only kinds that can exist inside are known.
///
/// # Errors
/// ENOTSOCK as the kernel would; EACCES for a kind that came from outside.
pub fn kind(socket: impl AsFd) -> Result<Kind, Errno> {
    let socket = socket.as_fd();
    let domain = rustix::net::sockopt::socket_domain(socket)?;
    let kind = rustix::net::sockopt::socket_type(socket)?;
    match (domain, kind) {
        (AddressFamily::UNIX, SocketType::STREAM | SocketType::SEQPACKET) => Ok(Kind::Unix),
        (AddressFamily::INET, SocketType::STREAM) => tcp(socket, Family::V4),
        (AddressFamily::INET6, SocketType::STREAM) => {
            let only = rustix::net::sockopt::ipv6_v6only(socket)?;
            tcp(socket, if only { Family::V6Only } else { Family::V6 })
        }
        _ => Err(Errno::ACCESS),
    }
}

fn tcp(socket: BorrowedFd<'_>, family: Family) -> Result<Kind, Errno> {
    let protocol = rustix::net::sockopt::socket_protocol(socket)?;
    if protocol == Some(rustix::net::ipproto::TCP) {
        Ok(Kind::Tcp(family))
    } else {
        Err(Errno::ACCESS)
    }
}

/// The kernel's number of an error of the standard library.
#[must_use]
pub fn number(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
