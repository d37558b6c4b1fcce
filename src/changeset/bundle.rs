//! The changes of a run as a document, `bundle.json`, that passes from `execute` to `publish`.
//! Nothing in it is believed because it arrived: its statements about the run are claims, its paths are checked again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::change::{Change, Changeset, FileMode, Operation};
use super::finding::Finding;
use super::path::RepoPath;
use crate::names::{Digest, Level, ObjectId};

/// The version of the document that we write, and the only one that we read.
pub const FORMAT: u32 = 1;
/// Most entries of `files`.
pub const FILES_MAX: usize = 10_000;
/// Most bytes of `bundle.json`.
pub const MANIFEST_BYTES_MAX: u64 = 16 << 20;
/// Most bytes of all blobs together.
pub const BLOBS_BYTES_MAX: u64 = 256 << 20;

/// What `execute` says about its run. Shown as "claimed by execute".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Claims {
    /// GITHUB_RUN_ID, or a word of our own.
    pub run: String,
    /// GITHUB_RUN_ATTEMPT, from one.
    pub attempt: u32,
    /// Digest of the event's bytes; none where a person at the keyboard asked.
    pub event: Option<Digest>,
    /// Digest of the policy's bytes.
    pub policy: Digest,
    /// The word in which the run ended so far.
    pub outcome: String,
    /// The level of the walls.
    pub level: Option<Level>,
    /// Each wall and how it stood.
    pub walls: BTreeMap<String, String>,
    /// The agent's title: untrusted text.
    pub title: String,
    /// The agent's summary: untrusted text.
    pub summary: String,
    /// What was refused on the way.
    pub denials: Vec<Denial>,
    /// What the verify commands ended in.
    pub verify: Vec<Verified>,
    /// What the model cost.
    pub bill: Bill,
    /// The last digest of the journal when the bundle was sealed.
    pub journal: Option<Digest>,
}

/// One refusal by a wall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Denial {
    /// Which wall.
    pub wall: String,
    /// What was tried.
    pub what: String,
    /// How often.
    pub count: u64,
    /// The policy line that would allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
    /// Where the policy decided it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// One command of `verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Verified {
    /// The command.
    pub command: String,
    /// Its exit code; none where it was not started.
    pub exit: Option<i32>,
}

/// What the model cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Bill {
    /// Turns.
    pub turns: u64,
    /// Tokens sent.
    pub input_tokens: u64,
    /// Tokens received.
    pub output_tokens: u64,
}

/// One changed file. `sha256` and `size` are absent for a deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FileEntry {
    /// Where.
    pub path: RepoPath,
    /// What happened.
    pub operation: Operation,
    /// The new mode.
    pub mode: Option<FileMode>,
    /// The old mode, a claim.
    pub old_mode: Option<FileMode>,
    /// Bytes.
    pub size: Option<u64>,
    /// The name of the blob.
    pub sha256: Option<Digest>,
}

/// The whole document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// `FORMAT`.
    pub format: u32,
    /// The commit that the changes are against.
    pub base: ObjectId,
    /// What `execute` says about its run.
    pub claims: Claims,
    /// The changes, sorted by path, each path once.
    pub files: Vec<FileEntry>,
    /// What the collector met and could not take along.
    pub set_aside: Vec<Finding>,
}

impl Manifest {
    /// The document for these changes.
    #[must_use]
    pub fn new(claims: Claims, changeset: &Changeset) -> Self {
        Self {
            format: FORMAT,
            base: changeset.base().clone(),
            claims,
            files: changeset.changes().iter().map(entry).collect(),
            set_aside: changeset.set_aside().to_vec(),
        }
    }
}

fn entry(change: &Change) -> FileEntry {
    FileEntry {
        path: change.path().clone(),
        operation: change.operation(),
        mode: change.mode(),
        old_mode: change.old_mode(),
        size: change.content().map(|blob| blob.bytes().len() as u64),
        sha256: change.content().map(|blob| blob.digest().clone()),
    }
}
