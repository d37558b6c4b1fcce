//! One JSON line a request: what was asked, which rule answered, what went each way.
//! A secret, a query or a body must never be in it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

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

/// The log of a process: nothing that is inside can stop it, forge a line or fill the disk with it.
#[derive(Debug)]
pub(super) struct Log {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// The first line of each kind of refusal, counting how many came.
    refused: HashMap<(String, String, String), (Event, u64)>,
}

impl Log {
    pub(super) fn new(file: File) -> Self {
        Self {
            state: Mutex::new(State {
                file,
                refused: HashMap::new(),
            }),
        }
    }

    /// Writes a line, or counts it where its kind has had its share.
    pub(super) fn write(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if event.verdict == Decision::Deny && state.folds(event) {
            return;
        }
        state.line(event);
    }

    /// Writes what was only counted. Call it when nothing is served any more.
    pub(super) fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = std::mem::take(&mut state.refused);
        for (mut event, count) in refused.into_values() {
            if count > LINES_PER_KIND_MAX {
                event.count = count - LINES_PER_KIND_MAX;
                state.line(&event);
            }
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

    fn line(&mut self, event: &Event) {
        // A log on a full disk must not stop the run; the reader sees the gap by the report's counts.
        if let Ok(mut line) = serde_json::to_vec(event) {
            line.push(b'\n');
            drop(self.file.write_all(&line));
        }
    }
}

/// Reads a log back, line by line. A line that cannot be read is an error of its own and the next follows.
pub fn read(file: File) -> impl Iterator<Item = io::Result<Event>> {
    let mut reader = BufReader::new(file);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        match reader.by_ref().take(limit).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_slice(&line).map_err(io::Error::from)),
            Err(error) => Some(Err(error)),
        }
    })
}
