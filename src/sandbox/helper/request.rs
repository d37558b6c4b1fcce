//! What the launcher asks of the root helper: one bounded packet with the descriptors beside it, and the answer.
//! Both sides read this page, so it must hold nothing that the helper would have to believe: no path, no uid, no policy.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};

use super::super::audit::RefusedCall;

/// Largest request in bytes; a longer one is refused.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// Most descriptors beside a request: what the kernel passes in one packet (`SCM_MAX_FD`, unix(7)).
pub const DESCRIPTORS_MAX: usize = 253;
/// Longest wait for the request in seconds.
pub const WAIT_S: i64 = 10;
/// The descriptors that come before the trees: the launcher's two channels, standard streams, and what stands inside.
pub const FIXED: usize = 6;

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Version of the asker: both sides must be one build.
    pub build: String,
    /// Bytes of memory for everything inside.
    pub memory_bytes: u64,
    /// Processes and threads inside.
    pub processes: u64,
    /// Whether the door to the egress comes after the fixed descriptors.
    pub door: bool,
    /// How each tree is shown; one descriptor for each, after the door.
    pub trees: Vec<Tree>,
}

/// How a tree is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tree {
    /// Read-only, with its owners as they are.
    System,
    /// Read-only; what the caller owns is shown as the run's.
    Own,
    /// The same, and the run may write what the caller may write.
    Writable,
}

/// The helper's last word.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Why nothing was started.
    pub fault: Option<String>,
    /// Whether the kernel ended the run because the memory of its cgroup was full.
    pub out_of_memory: bool,
    /// System calls that were refused, as far as the kernel's audit told.
    #[serde(default)]
    pub calls: Vec<RefusedCall>,
    /// Whether the kernel refused the run a further process.
    pub out_of_processes: bool,
}

/// The build that both sides must be.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");

/// Sends a request with its descriptors.
///
/// # Errors
/// It is too long, there are too many descriptors, or nobody is there.
pub fn send(
    socket: BorrowedFd<'_>,
    request: &Request,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(request)?;
    if bytes.len() > REQUEST_BYTES_MAX || descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::Error::other("it names too many paths for level a"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&bytes)],
        &mut beside,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Takes one request and exactly the descriptors that it speaks of.
///
/// # Errors
/// It is late, too long, none of ours, of another build, or with other descriptors than it says.
pub fn receive(socket: BorrowedFd<'_>) -> io::Result<(Request, Vec<OwnedFd>)> {
    let patience = Timespec {
        tv_sec: WAIT_S,
        tv_nsec: 0,
    };
    if poll(
        &mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)],
        Some(&patience),
    )? == 0
    {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut bytes = vec![0_u8; REQUEST_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut beside,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(io::Error::other("the request is too long"));
    }
    let request: Request = serde_json::from_slice(&bytes[..received.bytes])
        .map_err(|_syntax| io::Error::other("the request is none of ours"))?;
    if request.build != BUILD {
        return Err(io::Error::other(format!(
            "the helper is another build ({BUILD}) than the asker: install this one"
        )));
    }
    let expected = FIXED + usize::from(request.door) + request.trees.len();
    if descriptors.len() != expected {
        return Err(io::Error::other(
            "the request comes with other descriptors than it says",
        ));
    }
    Ok((request, descriptors))
}

/// Sends the answer; a launcher that is gone wants none.
pub fn answer(socket: &OwnedFd, answer: &Answer) {
    let Ok(bytes) = serde_json::to_vec(answer) else {
        return;
    };
    if let Err(_gone) = rustix::net::send(socket.as_fd(), &bytes, SendFlags::NOSIGNAL) {}
}

/// Takes the answer if there is one.
#[must_use]
pub fn take_answer(socket: &OwnedFd) -> Option<Answer> {
    let mut bytes = vec![0_u8; REQUEST_BYTES_MAX];
    let mut take = || rustix::net::recv(socket, &mut bytes[..], RecvFlags::DONTWAIT);
    let (length, _) = match take() {
        // The helper ended before it had read the request; what it said comes after this.
        Err(rustix::io::Errno::CONNRESET) => take().ok()?,
        taken => taken.ok()?,
    };
    serde_json::from_slice(&bytes[..length]).ok()
}
