//! The egress process from its first instruction to its last: undumpable, set up over stdin, ended by its caller's end.
//! It must never read a secret before nobody else can read its memory.

use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use zeroize::Zeroizing;

use super::error::EgressError;
use super::process::Answer;
use super::setup::{EgressSetup, SETUP_BYTES_MAX};

/// The whole life of the process behind `wire::EGRESS_WORD`.
#[must_use]
pub fn main() -> ExitCode {
    let line = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(descriptor) => UnixStream::from(descriptor),
        Err(_) => return ExitCode::FAILURE,
    };
    match run(&line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let why = error.to_string();
            drop(answer(&line, &Answer::Failed { why }));
            ExitCode::FAILURE
        }
    }
}

fn run(line: &UnixStream) -> Result<(), EgressError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| EgressError::Start(errno.into()))?;
    let (setup, door) = receive(line)?;
    drop((setup, door));
    Err(EgressError::Message("the egress is not built yet"))
}

/// Takes the setup and the door from the caller.
fn receive(mut line: &UnixStream) -> Result<(EgressSetup, OwnedFd), EgressError> {
    let mut length = [0_u8; 8];
    let door = receive_door(line, &mut length)?;
    let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > SETUP_BYTES_MAX {
        return Err(EgressError::Message("the setup is too large"));
    }
    let mut bytes = Zeroizing::new(vec![0_u8; length]);
    line.read_exact(&mut bytes).map_err(EgressError::Talk)?;
    Ok((EgressSetup::unpack(&bytes)?, door))
}

fn receive_door(line: &UnixStream, length: &mut [u8]) -> Result<OwnedFd, EgressError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let expected = length.len();
    let got = recvmsg(
        line,
        &mut [IoSliceMut::new(length)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL,
    )
    .map_err(|errno| EgressError::Talk(errno.into()))?;
    let door = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match door {
        Some(door) if got.bytes == expected => Ok(door),
        _ => Err(EgressError::Message("the setup came without a door")),
    }
}

fn answer(mut line: &UnixStream, answer: &Answer) -> Result<(), EgressError> {
    let mut bytes =
        serde_json::to_vec(answer).or(Err(EgressError::Message("the answer cannot be written")))?;
    bytes.push(b'\n');
    line.write_all(&bytes).map_err(EgressError::Talk)
}
