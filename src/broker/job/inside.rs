//! Starts the launcher of the walls, waits for its end and reads its report.
//! It must never believe the report beyond what it claims of the inside, and never outlive the launcher's tree.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{ExitStatus, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::wire::{HELPER_VARIABLE, LAUNCH_WORD, Plan, WallsReport};

/// Largest report of the launcher, in bytes.
pub const REPORT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Longest line of output that is kept whole, in bytes; a longer one is cut.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// The descriptors that the launcher finds.
const PLAN_FD: i32 = 3;
const REPORT_FD: i32 = 4;
/// Where the door stands in the launcher, if there is one.
pub const DOOR_FD: i32 = 5;

/// The walls could not be asked for.
#[derive(Debug, thiserror::Error)]
pub enum InsideError {
    /// The launcher could not be started.
    #[error("cannot start the launcher of the walls")]
    Start(#[source] io::Error),
    /// The plan could not be handed over.
    #[error("cannot hand the plan to the launcher of the walls")]
    Plan(#[source] io::Error),
    /// Somebody stopped us.
    #[error("stopped by {0}; nothing is proposed")]
    Stopped(&'static str),
    /// The road out is gone; nothing inside may go on without its judge.
    #[error("the egress process ended before the run did")]
    EgressGone,
    /// The launcher ended without a report.
    #[error("the launcher of the walls ended without a report ({0})")]
    NoReport(ExitStatus),
    /// The report is not one.
    #[error("the report of the launcher of the walls cannot be read")]
    Report(#[source] serde_json::Error),
    /// Reading from it failed.
    #[error("cannot read from the launcher of the walls")]
    Read(#[source] io::Error),
}

/// The proof that nothing of the tree is left: made only when the launcher was reaped and said so.
#[derive(Debug)]
pub struct TreeGone(());

impl TreeGone {
    /// For tests of what comes after a run, on folders in which nothing was ever started. The program itself has no use for
    /// it, and `house::only_a_run_proves_that_its_tree_is_gone` sees to it that it never gets one.
    #[must_use]
    pub fn never_started() -> Self {
        Self(())
    }
}

/// How it ended inside.
#[derive(Debug)]
pub struct Ended {
    /// What the walls say.
    pub report: WallsReport,
    /// The proof for the collector.
    pub gone: TreeGone,
    /// Bytes of output that came and were not passed on.
    pub output_bytes_dropped: u64,
}

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// stdout.
    Out,
    /// stderr.
    Err,
}

/// Raises the walls as planned, runs the plan's commands in them and hands each line of output to `heard`.
///
/// Output beyond `output_bytes_max` is read and counted, not passed on: a full pipe must not stop what is inside.
/// `egress` becomes readable when the egress process is gone, which ends everything inside.
///
/// # Errors
/// When the launcher cannot be started or leaves no report, or the egress ends first.
pub async fn raise(
    plan: &Plan,
    door: Option<OwnedFd>,
    egress: Option<UnixStream>,
    output_bytes_max: u64,
    mut heard: impl FnMut(Stream, &str),
) -> Result<Ended, InsideError> {
    let (plan_read, plan_write) = io::pipe().map_err(InsideError::Start)?;
    let (report_read, report_write) = io::pipe().map_err(InsideError::Start)?;
    let mut mappings = vec![
        mapping(plan_read.into(), PLAN_FD),
        mapping(report_write.into(), REPORT_FD),
    ];
    mappings.extend(door.map(|door| mapping(door, DOOR_FD)));
    let mut child = launcher(mappings)?;
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();

    let text = serde_json::to_vec(plan).map_err(InsideError::Report)?;
    let mut lines = Lines::new(output_bytes_max);
    let (handed, report, (), ended) = tokio::join!(
        hand_over(plan_write.into(), text),
        read_report(report_read.into()),
        lines.follow(stdout, stderr, &mut heard),
        end(&mut child, egress),
    );
    let status = ended?;
    let report = report.map_err(InsideError::Read)?;
    if report.is_empty() {
        handed.map_err(InsideError::Plan)?;
        return Err(InsideError::NoReport(status));
    }
    Ok(Ended {
        report: serde_json::from_slice(&report).map_err(InsideError::Report)?,
        gone: TreeGone(()),
        output_bytes_dropped: lines.dropped,
    })
}

/// Waits for the launcher. Whoever stops us stops everything inside: the tree dies with its launcher.
async fn end(child: &mut Child, egress: Option<UnixStream>) -> Result<ExitStatus, InsideError> {
    let egress = egress
        .map(tokio::net::UnixStream::from_std)
        .transpose()
        .map_err(InsideError::Start)?;
    let gone = async {
        match &egress {
            Some(line) => line.readable().await.map(drop),
            None => std::future::pending().await,
        }
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(InsideError::Start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(InsideError::Start)?;
    let stopped = tokio::select! {
        // First: the launcher ends by itself when the egress is gone, and that is no end of the command.
        biased;
        _ = gone => InsideError::EgressGone,
        status = child.wait() => return status.map_err(InsideError::Read),
        _ = terminate.recv() => InsideError::Stopped("SIGTERM"),
        _ = interrupt.recv() => InsideError::Stopped("SIGINT"),
    };
    child.start_kill().map_err(InsideError::Read)?;
    child.wait().await.map_err(InsideError::Read)?;
    Err(stopped)
}

fn mapping(parent_fd: OwnedFd, child_fd: i32) -> FdMapping {
    FdMapping {
        parent_fd,
        child_fd,
    }
}

fn launcher(mappings: Vec<FdMapping>) -> Result<Child, InsideError> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(LAUNCH_WORD)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(helper) = std::env::var_os(HELPER_VARIABLE) {
        command.env(HELPER_VARIABLE, helper);
    }
    command
        .fd_mappings(mappings)
        .map_err(|collision| InsideError::Start(io::Error::other(collision)))?;
    command.spawn().map_err(InsideError::Start)
}

async fn hand_over(pipe: OwnedFd, text: Vec<u8>) -> io::Result<()> {
    let mut pipe = pipe::Sender::from_owned_fd(pipe)?;
    pipe.write_all(&text).await
}

async fn read_report(pipe: OwnedFd) -> io::Result<Vec<u8>> {
    let mut report = Vec::new();
    pipe::Receiver::from_owned_fd(pipe)?
        .take(REPORT_BYTES_MAX)
        .read_to_end(&mut report)
        .await?;
    Ok(report)
}

/// Follows both streams to their end, line by line, within a budget of bytes.
struct Lines {
    left: u64,
    dropped: u64,
}

impl Lines {
    fn new(output_bytes_max: u64) -> Self {
        Self {
            left: output_bytes_max,
            dropped: 0,
        }
    }

    async fn follow(
        &mut self,
        stdout: Option<ChildStdout>,
        stderr: Option<ChildStderr>,
        heard: &mut impl FnMut(Stream, &str),
    ) {
        let mut out = stdout.map(BufReader::new);
        let mut err = stderr.map(BufReader::new);
        let mut out_line = Vec::new();
        let mut err_line = Vec::new();
        loop {
            tokio::select! {
                open = part(&mut out, &mut out_line), if out.is_some() => {
                    self.pass(Stream::Out, &mut out_line, open, heard);
                    if !open { out = None; }
                }
                open = part(&mut err, &mut err_line), if err.is_some() => {
                    self.pass(Stream::Err, &mut err_line, open, heard);
                    if !open { err = None; }
                }
                else => break,
            }
        }
    }

    /// Passes every whole line, and an unfinished one when it is too long or the stream has ended.
    fn pass(
        &mut self,
        stream: Stream,
        buffer: &mut Vec<u8>,
        open: bool,
        heard: &mut impl FnMut(Stream, &str),
    ) {
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            self.say(stream, &line, heard);
        }
        if !buffer.is_empty() && (!open || buffer.len() >= LINE_BYTES_MAX) {
            let line = std::mem::take(buffer);
            self.say(stream, &line, heard);
        }
    }

    fn say(&mut self, stream: Stream, line: &[u8], heard: &mut impl FnMut(Stream, &str)) {
        let bytes = line.len() as u64;
        if bytes > self.left {
            self.left = 0;
            self.dropped += bytes;
            return;
        }
        self.left -= bytes;
        let text = String::from_utf8_lossy(line);
        heard(stream, text.trim_end_matches(['\n', '\r']));
    }
}

/// Reads what is there into the buffer; false at the end of the stream. Safe to drop: bytes are taken only when they are put into the buffer.
async fn part(
    reader: &mut Option<BufReader<impl AsyncRead + Unpin>>,
    buffer: &mut Vec<u8>,
) -> bool {
    let Some(reader) = reader else { return false };
    match reader.fill_buf().await {
        Ok([]) | Err(_) => false,
        Ok(bytes) => {
            let taken = bytes.len();
            buffer.extend_from_slice(bytes);
            reader.consume(taken);
            true
        }
    }
}
