//! How the seccomp listener comes out: the first process inside takes it and sends it to the supervisor.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Sends the listener through a unix socket; the filter that it belongs to does not ask for this call.
///
/// # Errors
/// What sendmsg(2) says.
pub fn send(line: impl AsFd, listener: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let listeners = [listener];
    if !control.push(SendAncillaryMessage::ScmRights(&listeners)) {
        return Err(io::Error::from_raw_os_error(
            rustix::io::Errno::NOBUFS.raw_os_error(),
        ));
    }
    let bytes = [IoSlice::new(b"l")];
    sendmsg(line, &bytes, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes it on the other side. It waits until the process inside has sent it or is gone.
///
/// # Errors
/// What recvmsg(2) says; UnexpectedEof if there is none.
pub fn receive(line: impl AsFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0_u8; 1];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    recvmsg(line, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}
