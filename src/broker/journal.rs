//! What happened, one line an event, each holding the digest of the line before it.
//! It must never hold a secret, and a line once written is never changed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::Digest;

/// Who says that something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// We saw it ourselves.
    Broker,
    /// The egress saw it.
    Egress,
    /// Something inside the walls said so; a claim.
    Inside,
}

/// One line of `journal.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Counts from one.
    pub seq: u64,
    /// RFC 3339, UTC.
    pub at: String,
    /// What kind of event.
    pub kind: String,
    /// Who says so.
    pub source: Source,
    /// SHA-256 of the line before, without its line feed; of nothing for the first.
    pub previous: Digest,
    /// What belongs to this kind.
    pub data: Value,
}

/// The journal could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file could not be made or written.
    #[error("cannot write the journal {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An event could not be put into JSON: our own bug.
    #[error("cannot write the event {kind} as JSON, which is a bug of tagout")]
    Encode {
        /// Its kind.
        kind: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Longest line in bytes; longer data is replaced by a note of its size.
pub const LINE_BYTES_MAX: usize = 256 * 1024;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    seq: u64,
    last: Digest,
}

impl Journal {
    /// Starts `journal.jsonl` in a run's folder.
    ///
    /// # Errors
    /// When the file is there already or cannot be made.
    pub fn create(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join("journal.jsonl");
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(|source| JournalError::Write {
                path: path.clone(),
                source,
            })?;
        Ok(Self {
            file,
            path,
            seq: 0,
            last: Digest::of(b""),
        })
    }

    /// Appends one event.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(
        &mut self,
        kind: &'static str,
        source: Source,
        data: &impl Serialize,
    ) -> Result<(), JournalError> {
        let encode = |source| JournalError::Encode { kind, source };
        let mut line = Line {
            seq: self.seq + 1,
            at: jiff::Timestamp::now().to_string(),
            kind: kind.to_owned(),
            source,
            previous: self.last.clone(),
            data: serde_json::to_value(data).map_err(encode)?,
        };
        let mut text = serde_json::to_string(&line).map_err(encode)?;
        if text.len() > LINE_BYTES_MAX {
            line.data = serde_json::json!({ "left-out-bytes": text.len() });
            text = serde_json::to_string(&line).map_err(encode)?;
        }
        self.last = Digest::of(text.as_bytes());
        self.seq = line.seq;
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .map_err(|source| JournalError::Write {
                path: self.path.clone(),
                source,
            })
    }

    /// The digest of the last line: what the proposal carries so that the chain can be authenticated.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.last
    }
}

/// What is wrong with a journal that was read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A line is not one of ours.
    #[error("line {0} cannot be read")]
    Unreadable(u64),
    /// A line does not follow the one before.
    #[error("line {0} does not follow the line before it")]
    Chain(u64),
}

/// Reads a journal's text and follows its chain. The chain alone shows consistency; only a digest kept elsewhere authenticates it.
///
/// # Errors
/// The first line that does not hold.
pub fn read(text: &str) -> Result<(Vec<Line>, Digest), Broken> {
    let mut last = Digest::of(b"");
    let mut lines = Vec::new();
    for (number, text) in (1_u64..).zip(text.lines()) {
        let line: Line = serde_json::from_str(text)
            .ok()
            .ok_or(Broken::Unreadable(number))?;
        if line.seq != number || line.previous != last {
            return Err(Broken::Chain(number));
        }
        last = Digest::of(text.as_bytes());
        lines.push(line);
    }
    Ok((lines, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal_of(kinds: &[&'static str]) -> (String, Digest) {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path()).unwrap();
        for kind in kinds {
            journal.append(kind, Source::Broker, &kind).unwrap();
        }
        let text = std::fs::read_to_string(folder.path().join("journal.jsonl")).unwrap();
        (text, journal.digest().clone())
    }

    #[test]
    fn chain_of_an_untouched_journal_holds() {
        let (text, digest) = journal_of(&["start", "gate", "end"]);
        let (lines, last) = read(&text).unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(last, digest);
    }

    #[test]
    fn changed_line_breaks_the_chain() {
        let (text, _) = journal_of(&["start", "gate", "end"]);
        assert_eq!(
            read(&text.replacen("gate", "gale", 1)).unwrap_err(),
            Broken::Chain(3)
        );
    }

    #[test]
    fn removed_line_breaks_the_chain() {
        let (text, _) = journal_of(&["start", "gate", "end"]);
        let without: String = text
            .lines()
            .enumerate()
            .filter(|(at, _)| *at != 1)
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        assert_eq!(read(&without).unwrap_err(), Broken::Chain(2));
    }

    #[test]
    fn journal_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Journal::create(folder.path()).unwrap();
        assert!(Journal::create(folder.path()).is_err());
    }
}
