//! Starts the egress as a process of its own and holds it: for single-threaded callers and for the broker alike.
//! Its death must end the run, and ours must end it; it must never inherit an environment.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use super::error::EgressError;
use super::log::{self, Event};
use super::setup::EgressSetup;
use crate::wire;

/// Longest wait for the process to be ready, and for it to end.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer of the process in bytes.
pub const READY_BYTES_MAX: usize = 64 << 10;

/// The one line with which the process answers its setup.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(super) enum Answer {
    /// It serves.
    Ready {
        /// The run's CA as PEM.
        ca: String,
        /// Where the explicit proxy listens.
        listening: Option<std::net::SocketAddr>,
        /// The explicit proxy's URL, with the run's password if one is asked for.
        proxy: Option<String>,
    },
    /// It does not, and why.
    Failed {
        /// One sentence.
        why: String,
    },
}

/// A process that has its setup and is getting ready.
#[derive(Debug)]
pub struct Starting {
    child: Guard,
    line: UnixStream,
    door: OwnedFd,
    ca_bundle: PathBuf,
    log: PathBuf,
    placeholders: Vec<(String, String)>,
    ports: Vec<u16>,
}

/// A process that serves.
#[derive(Debug)]
pub struct Handle {
    child: Guard,
    line: UnixStream,
    door: Option<OwnedFd>,
    ca: String,
    ca_bundle: PathBuf,
    log: PathBuf,
    listening: Option<std::net::SocketAddr>,
    proxy: Option<String>,
    placeholders: Vec<(String, String)>,
    ports: Vec<u16>,
}

/// Kills what is left of the process when its holder goes.
#[derive(Debug)]
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}

/// Starts the process and waits until it serves. `folder` is private to the run; the CA bundle and the log are put there.
///
/// # Errors
/// It cannot be started, or says why it does not serve.
pub fn spawn(setup: &EgressSetup, folder: &Path) -> Result<Handle, EgressError> {
    start(Path::new("/proc/self/exe"), setup, folder)?.ready()
}

/// First half of `spawn`, so that the caller can raise the walls meanwhile. `program` is this binary.
///
/// # Errors
/// The process cannot be started or takes no setup.
pub fn start(program: &Path, setup: &EgressSetup, folder: &Path) -> Result<Starting, EgressError> {
    let (log, own) = match &setup.log {
        Some(log) => (log.clone(), false),
        None => (folder.join("egress.jsonl"), true),
    };
    let log_file = File::options()
        .create_new(own)
        .create(true)
        .append(true)
        .open(&log)
        .map_err(|cause| EgressError::File {
            path: log.clone(),
            cause,
        })?;
    let ca_bundle = folder.join("ca-bundle.pem");
    let mut setup = setup.clone();
    setup.open.ca_bundle.clone_from(&ca_bundle);
    let (door, their_door) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno| EgressError::Start(errno.into()))?;
    let (line, their_line) = UnixStream::pair().map_err(EgressError::Start)?;
    let child = Command::new(program)
        .arg0("tagout-egress")
        .arg(wire::EGRESS_WORD)
        .env_clear()
        .current_dir("/")
        .stdin(OwnedFd::from(their_line))
        .stdout(log_file)
        .stderr(Stdio::inherit())
        // An interrupt typed at the terminal is for the caller; the egress ends with it, and after its log is whole.
        .process_group(0)
        .spawn()
        .map_err(EgressError::Start)?;
    let child = Guard(child);
    hand_over(&line, &setup, their_door.as_fd())?;
    Ok(Starting {
        child,
        line,
        door,
        ca_bundle,
        log,
        placeholders: setup.placeholders(),
        ports: setup.ports(),
    })
}

/// Sends length and door in one message, then the setup. The socket stays open: its end tells the process that we are gone.
fn hand_over(
    mut line: &UnixStream,
    setup: &EgressSetup,
    door: BorrowedFd<'_>,
) -> Result<(), EgressError> {
    let bytes = setup.pack()?;
    let length = (bytes.len() as u64).to_le_bytes();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let doors = [door];
    if !control.push(SendAncillaryMessage::ScmRights(&doors)) {
        return Err(EgressError::Message("the door does not fit a message"));
    }
    let sent = sendmsg(
        line,
        &[IoSlice::new(&length)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .map_err(|errno| EgressError::Talk(errno.into()))?;
    if sent != length.len() {
        return Err(EgressError::Message("the setup's length was cut"));
    }
    line.write_all(&bytes).map_err(EgressError::Talk)
}

impl Starting {
    /// Second half of `spawn`.
    ///
    /// # Errors
    /// The process does not answer within `PATIENCE`, or says why it does not serve.
    pub fn ready(self) -> Result<Handle, EgressError> {
        self.line
            .set_read_timeout(Some(PATIENCE))
            .map_err(EgressError::Talk)?;
        match read_answer(&self.line)? {
            Answer::Ready {
                ca,
                listening,
                proxy,
            } => Ok(Handle {
                child: self.child,
                line: self.line,
                door: Some(self.door),
                ca,
                ca_bundle: self.ca_bundle,
                log: self.log,
                listening,
                proxy,
                placeholders: self.placeholders,
                ports: self.ports,
            }),
            Answer::Failed { why } => Err(EgressError::Refused(why)),
        }
    }
}

fn read_answer(line: &UnixStream) -> Result<Answer, EgressError> {
    let mut answer = Vec::new();
    let mut byte = [0_u8; 1024];
    let mut line = line;
    while !answer.ends_with(b"\n") {
        match line.read(&mut byte).map_err(EgressError::Talk)? {
            0 => return Err(EgressError::Message("the egress process ended at once")),
            count => answer.extend_from_slice(&byte[..count]),
        }
        if answer.len() > READY_BYTES_MAX {
            return Err(EgressError::Message("the answer is too large"));
        }
    }
    serde_json::from_slice(&answer).or(Err(EgressError::Message("the answer is not JSON")))
}

impl Handle {
    /// The end of the door for the walls: a unix SOCK_SEQPACKET socket, close-on-exec. It can be taken once.
    pub fn take_door(&mut self) -> Option<OwnedFd> {
        self.door.take()
    }

    /// The road out as the walls are told of it, once they hold the door as descriptor `door`.
    #[must_use]
    pub fn network(&self, door: i32) -> wire::Network {
        wire::Network::Egress {
            door,
            ports: self.ports.clone(),
            ca_bundle: self.ca_bundle.clone(),
            proxy: self.proxy.clone(),
        }
    }

    /// The run's CA as PEM.
    #[must_use]
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// A PEM file of the system's roots and the run's CA.
    #[must_use]
    pub fn ca_bundle(&self) -> &Path {
        &self.ca_bundle
    }

    /// Where the explicit proxy listens, if one was asked for.
    #[must_use]
    pub fn listening(&self) -> Option<std::net::SocketAddr> {
        self.listening
    }

    /// The explicit proxy's URL with the run's password, if one was asked for.
    #[must_use]
    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// Variables and the placeholders that stand for their values inside.
    #[must_use]
    pub fn placeholders(&self) -> &[(String, String)] {
        &self.placeholders
    }

    /// A line that becomes readable when the process is gone, for a caller that waits for more than one thing; not blocking.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn life(&self) -> io::Result<UnixStream> {
        let line = self.line.try_clone()?;
        line.set_nonblocking(true)?;
        Ok(line)
    }

    /// Whether the process is gone, and how. Gone before `finish` means that the run must end.
    ///
    /// # Errors
    /// The kernel cannot tell.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.0.try_wait()
    }

    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// The log so far, one event a request, oldest first.
    ///
    /// # Errors
    /// The file is gone.
    pub fn events(&self) -> Result<impl Iterator<Item = io::Result<Event>> + use<>, EgressError> {
        let file = File::open(&self.log).map_err(|cause| EgressError::File {
            path: self.log.clone(),
            cause,
        })?;
        Ok(log::read(file))
    }

    /// Ends the process after its log is whole, and returns the log. Call it when nothing inside runs any more.
    ///
    /// # Errors
    /// The process was gone before, does not end within `PATIENCE`, or the log cannot be read.
    pub fn finish(mut self) -> Result<Vec<Event>, EgressError> {
        if let Some(status) = self.ended().map_err(EgressError::Talk)? {
            return Err(EgressError::Refused(format!("it ended early, {status}")));
        }
        // Whoever watched the line shares this flag.
        self.line
            .set_nonblocking(false)
            .map_err(EgressError::Talk)?;
        self.line
            .shutdown(Shutdown::Write)
            .map_err(EgressError::Talk)?;
        self.line
            .set_read_timeout(Some(PATIENCE))
            .map_err(EgressError::Talk)?;
        let mut rest = [0_u8; 64];
        while self.line.read(&mut rest).map_err(EgressError::Talk)? > 0 {}
        let status = self.child.0.wait().map_err(EgressError::Talk)?;
        if !status.success() {
            return Err(EgressError::Refused(format!("it ended badly, {status}")));
        }
        self.events()?
            .collect::<io::Result<Vec<Event>>>()
            .map_err(EgressError::Talk)
    }
}
