//! The change itself: one entry a path, with its bytes.
//! It must never hold a path that `RepoPath` has not accepted, nor two entries for one path.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::path::RepoPath;
use crate::names::{Digest, ObjectId};

/// The modes that git and GitHub keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileMode {
    /// 100644.
    Regular,
    /// 100755.
    Executable,
    /// 120000; the content is the target.
    Symlink,
}

impl FileMode {
    /// The mode in a git tree, as a number.
    #[must_use]
    pub fn git(self) -> u32 {
        match self {
            Self::Regular => 0o100_644,
            Self::Executable => 0o100_755,
            Self::Symlink => 0o120_000,
        }
    }

    /// The mode in a git tree, as GitHub's API and patches write it.
    #[must_use]
    pub fn octal(self) -> &'static str {
        match self {
            Self::Regular => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
        }
    }
}

/// What happened to a path. A rename is a deletion and an addition; a new mode alone is a modification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// It is new.
    Add,
    /// It has another content or mode.
    Modify,
    /// It is gone.
    Delete,
}

impl Operation {
    /// The word, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Modify => "modify",
            Self::Delete => "delete",
        }
    }
}

/// Bytes with their digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob {
    digest: Digest,
    bytes: Arc<[u8]>,
}

impl Blob {
    /// Takes the bytes and digests them.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            digest: Digest::of(&bytes),
            bytes: bytes.into(),
        }
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The bytes are the agent's; a log needs their name only.
        write!(f, "Blob({}, {} bytes)", self.digest, self.bytes.len())
    }
}

/// What was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// Its mode.
    pub mode: FileMode,
    /// Its bytes, where they are at hand.
    pub content: Option<Blob>,
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    path: RepoPath,
    before: Option<Before>,
    after: Option<(FileMode, Blob)>,
}

impl Change {
    /// A path that was not there.
    #[must_use]
    pub fn add(path: RepoPath, mode: FileMode, content: Blob) -> Self {
        Self {
            path,
            before: None,
            after: Some((mode, content)),
        }
    }

    /// A path with another content or mode.
    #[must_use]
    pub fn modify(path: RepoPath, before: Before, mode: FileMode, content: Blob) -> Self {
        Self {
            path,
            before: Some(before),
            after: Some((mode, content)),
        }
    }

    /// A path that is gone.
    #[must_use]
    pub fn delete(path: RepoPath, before: Before) -> Self {
        Self {
            path,
            before: Some(before),
            after: None,
        }
    }

    /// Where.
    #[must_use]
    pub fn path(&self) -> &RepoPath {
        &self.path
    }

    /// What happened.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match (&self.before, &self.after) {
            (None, _) => Operation::Add,
            (Some(_), Some(_)) => Operation::Modify,
            (Some(_), None) => Operation::Delete,
        }
    }

    /// The new mode; none for a deletion.
    #[must_use]
    pub fn mode(&self) -> Option<FileMode> {
        self.after.as_ref().map(|(mode, _)| *mode)
    }

    /// The new content; none for a deletion.
    #[must_use]
    pub fn content(&self) -> Option<&Blob> {
        self.after.as_ref().map(|(_, blob)| blob)
    }

    /// The old mode; none for an addition.
    #[must_use]
    pub fn old_mode(&self) -> Option<FileMode> {
        self.before.as_ref().map(|before| before.mode)
    }

    /// The old content; none for an addition, and where it is not at hand.
    #[must_use]
    pub fn old_content(&self) -> Option<&Blob> {
        self.before
            .as_ref()
            .and_then(|before| before.content.as_ref())
    }

    /// The same change with the old side as a trusted repository tells it.
    #[must_use]
    pub fn with_before(mut self, before: Option<Before>) -> Self {
        self.before = before;
        self
    }
}

/// Two entries for one path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is changed twice")]
pub struct ChangedTwice(pub RepoPath);

/// All changes against one base commit, sorted by path, each path once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changeset {
    base: ObjectId,
    changes: Vec<Change>,
    set_aside: Vec<Finding>,
}

impl Changeset {
    /// Takes the changes. `set_aside` is what the collector met and could not take along: it is part of the change,
    /// and the checks judge it, so that nothing is lost between the two.
    ///
    /// # Errors
    /// A path that stands twice.
    pub fn new(
        base: ObjectId,
        mut changes: Vec<Change>,
        set_aside: Vec<Finding>,
    ) -> Result<Self, ChangedTwice> {
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        if let Some(pair) = changes
            .windows(2)
            .find(|pair| matches!(pair, [one, other] if one.path == other.path))
        {
            return Err(ChangedTwice(
                pair.first().expect("a window of two").path.clone(),
            ));
        }
        Ok(Self {
            base,
            changes,
            set_aside,
        })
    }

    /// The commit that the changes are against.
    #[must_use]
    pub fn base(&self) -> &ObjectId {
        &self.base
    }

    /// The changes, sorted by path.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What the collector met and could not take along.
    #[must_use]
    pub fn set_aside(&self) -> &[Finding] {
        &self.set_aside
    }

    /// Whether nothing was changed, and nothing was met that would block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self
                .set_aside
                .iter()
                .all(|finding| finding.severity == super::finding::Severity::Note)
    }

    /// Bytes of all new contents.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.changes
            .iter()
            .filter_map(Change::content)
            .map(|blob| blob.bytes().len() as u64)
            .sum()
    }
}
