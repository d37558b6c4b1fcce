//! One JSON line a request: what was asked, which rule answered, what went each way.
//! A secret, a query or a body must never be in it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use serde::{Deserialize, Serialize};

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
