//! One JSON line a request: what was asked, which rule answered, what went each way.
//! A secret, a query or a body must never be in it, and no request may pass that it cannot hold.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::broker::journal;

/// Longest line of a log in bytes; a longer one is not ours.
pub const LINE_BYTES_MAX: usize = 16 << 10;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It was forwarded.
    Allow,
    /// The policy or a rule of the road refused it.
    Deny,
    /// It would have been refused; `network.mode: report` let it pass.
    Report,
    /// It was allowed, but the other side or a limit ended it.
    Fail,
}

/// How it travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// In clear.
    Clear,
    /// Over TLS that was opened and judged request by request.
    Inspected,
    /// Over TLS that was passed through unread.
    Tunnel,
}

/// One request, one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// Milliseconds since the Unix epoch when it arrived.
    pub at_ms: u64,
    /// What became of it.
    pub verdict: Decision,
    /// The stable code of a refusal or failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The rule that answered, `file:line`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The method; empty where no request could be read.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path without the query.
    pub path: String,
    /// First digits of the query's SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The status that the agent got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes of URL, headers and body that went out.
    pub sent: u64,
    /// Bytes of body that came back.
    pub received: u64,
    /// Milliseconds from first byte to last.
    pub ms: u64,
    /// The class of the address that was dialled, or refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// How it travelled.
    pub tls: Tls,
    /// Whether it came over HTTP/2.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub h2: bool,
    /// Model tokens that it was charged, if it went to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// How many requests this line stands for: above one when a flood was folded.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
}

fn one() -> u64 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to skip_serializing_if"
)]
fn is_one(count: &u64) -> bool {
    *count == 1
}

/// Refusals of one kind and host that get a line each; later ones are folded into one line at the end.
const LINES_PER_KIND_MAX: u64 = 200;
/// Kinds of refusals that are told apart while folding.
const KINDS_MAX: usize = 2000;

/// Room on the disk that is taken ahead of the lines, in bytes: a full disk shows before a request is let through, and what
/// is under way then still gets its line.
const ROOM_BYTES: u64 = 1 << 20;

/// The log of a process: nothing that is inside can stop it, forge a line or fill the disk with it.
///
/// It writes where the request ends, under one lock: while the disk stalls, requests stall with it. When a line cannot be
/// written, or room for the next ones cannot be had, the log is broken, nothing more is let through, and the process ends.
#[derive(Debug)]
pub(super) struct Log {
    state: Mutex<State>,
    broken: AtomicBool,
    /// Told when it breaks.
    breaks: Notify,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Bytes that are certain to find room; none where the file is of a kind that cannot promise.
    room: Option<u64>,
    /// The first line of each kind of refusal, counting how many came.
    refused: HashMap<(String, String, String), (Event, u64)>,
}

impl Log {
    /// A log at the end of a file.
    ///
    /// # Errors
    /// There is no room for it.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let mut state = State {
            file,
            room: Some(0),
            refused: HashMap::new(),
        };
        state.make_room()?;
        Ok(Self {
            state: Mutex::new(state),
            broken: AtomicBool::new(false),
            breaks: Notify::new(),
        })
    }

    /// Whether a request may still be let through: its line will find room.
    pub(super) fn holds(&self) -> bool {
        !self.broken.load(Ordering::Acquire)
    }

    /// Waits until the log is broken.
    pub(super) async fn broken(&self) {
        self.breaks.notified().await;
    }

    /// Writes a line, or counts it where its kind has had its share.
    pub(super) fn write(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if event.verdict == Decision::Deny && state.folds(event) {
            return;
        }
        self.judge(state.line(event));
    }

    /// Writes what was only counted, and gives back the room that was not used. Call it when nothing is served any more.
    pub(super) fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = std::mem::take(&mut state.refused);
        for (mut event, count) in refused.into_values() {
            if count > LINES_PER_KIND_MAX {
                event.count = count - LINES_PER_KIND_MAX;
                self.judge(state.line(&event));
            }
        }
        if state.room.is_some_and(|room| room > 0) {
            // Room that stays taken is no fault of the log.
            drop(
                state
                    .file
                    .metadata()
                    .and_then(|file| state.file.set_len(file.len())),
            );
        }
    }

    fn judge(&self, written: io::Result<()>) {
        if written.is_err() {
            self.broken.store(true, Ordering::Release);
            self.breaks.notify_one();
        }
    }
}

impl State {
    fn folds(&mut self, event: &Event) -> bool {
        let code = event.code.clone().unwrap_or_default();
        let mut key = (code, event.method.clone(), event.host.clone());
        if self.refused.len() >= KINDS_MAX && !self.refused.contains_key(&key) {
            key = ("other".to_owned(), String::new(), String::new());
        }
        let (_, count) = self
            .refused
            .entry(key)
            .or_insert_with(|| (event.clone(), 0));
        *count += 1;
        *count > LINES_PER_KIND_MAX
    }

    fn line(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        if let Some(room) = &mut self.room {
            *room = room.saturating_sub(line.len() as u64);
            if *room < ROOM_BYTES / 2 {
                return self.make_room();
            }
        }
        Ok(())
    }

    /// Takes room behind the end of the file without making it longer (fallocate(2)).
    fn make_room(&mut self) -> io::Result<()> {
        let Ok(end) = self.file.seek(SeekFrom::End(0)) else {
            // A pipe or a terminal.
            self.room = None;
            return Ok(());
        };
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, end, ROOM_BYTES) {
            Ok(()) => self.room = Some(ROOM_BYTES),
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) => {
                return Err(errno.into());
            }
            // A file system or device that cannot promise room.
            Err(_) => self.room = None,
        }
        Ok(())
    }
}

/// Reads a log back, line by line. A line that cannot be read is an error of its own and the next follows.
pub fn read(file: File) -> impl Iterator<Item = io::Result<Event>> {
    lines(file, LINE_BYTES_MAX).map(|line| serde_json::from_slice(&line?).map_err(io::Error::from))
}

/// Reads the requests of a log, or of a run's journal; none for a line of the journal that tells of something else.
pub(super) fn recorded(file: File) -> impl Iterator<Item = io::Result<Option<Event>>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Line {
        Event(Box<Event>),
        Journal(journal::Line),
    }
    lines(file, journal::LINE_BYTES_MAX).map(|line| match serde_json::from_slice(&line?)? {
        Line::Event(event) => Ok(Some(*event)),
        Line::Journal(line) if line.kind == "request" && line.source == journal::Source::Egress => {
            Ok(Some(serde_json::from_value(line.data)?))
        }
        Line::Journal(_) => Ok(None),
    })
}

fn lines(file: File, bytes_max: usize) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    let mut reader = BufReader::new(file);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
        match reader.by_ref().take(limit).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(Ok(line)),
            Err(error) => Some(Err(error)),
        }
    })
}
