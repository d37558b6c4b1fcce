//! Reads what an agent changed, after its whole process tree is gone, as plain data.
//! It must never follow a link, wait for a FIFO, run git, or read a file twice: only the copy in memory is judged later.
//!
//! `walk` goes through the folder, `base` tells what was there before, `file` reads one entry, `ignored` knows what
//! the base commit's `.gitignore` files leave out.

mod base;
pub mod commits;
mod file;
mod ignored;
mod walk;

use std::path::PathBuf;

use crate::broker::git::{GitError, Source};
use crate::broker::job::inside::TreeGone;
use crate::broker::workspace::Workspace;
use crate::changeset::bundle::{BLOBS_BYTES_MAX, FILES_MAX};
use crate::changeset::change::{ChangedTwice, Changeset};
use crate::names::Level;
use crate::policy::model::Changes;

/// Most entries of one folder, and of the whole walk where it follows the change (levels A and B).
pub const ENTRIES_MAX: usize = 500_000;
/// Most entries of a whole copy (level C).
pub const COPY_ENTRIES_MAX: usize = 2_000_000;
/// Most findings that are kept; the rest are counted.
pub const FINDINGS_MAX: usize = 200;
/// Most bytes of one file that are read, whatever the policy says.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Why the changes cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The base commit cannot be read.
    #[error("cannot read the base commit")]
    Git(#[from] GitError),
    /// The folder with the changes cannot be opened.
    #[error("cannot read the changes in {}", path.display())]
    Disk {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A bug of ours: one path came twice.
    #[error("the collector is wrong")]
    Twice(#[from] ChangedTwice),
}

/// How the workspace was shown, which decides what its folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The upper folder of an overlay that was mounted with `userxattr`: only `user.overlay.*` marks count.
    UserOverlay,
    /// The upper folder of an overlay that root mounted without it: only `trusted.overlay.*` marks count.
    TrustedOverlay,
    /// A whole copy.
    Copy,
}

impl From<Level> for Shown {
    /// The walls mount with `userxattr` at A and B, and copy at C; D has no view and is read like a copy.
    fn from(level: Level) -> Self {
        match level {
            Level::A | Level::B => Self::UserOverlay,
            Level::C | Level::D => Self::Copy,
        }
    }
}

/// How much is read. What is beyond is a finding, not memory.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Changed paths.
    pub files: usize,
    /// Bytes of all contents.
    pub bytes: u64,
    /// Bytes of one content.
    pub file_bytes: u64,
}

impl From<&Changes> for Bounds {
    fn from(changes: &Changes) -> Self {
        Self {
            files: usize::try_from(changes.files).map_or(FILES_MAX, |files| files.min(FILES_MAX)),
            bytes: changes.bytes.min(BLOBS_BYTES_MAX),
            file_bytes: changes.file_bytes.min(FILE_BYTES_MAX),
        }
    }
}

/// Collects what was changed in a workspace. The cost follows the change at levels A and B, the tree at level C.
///
/// # Errors
/// The folder or the base commit cannot be read. What is wrong with the change itself is set aside in the changeset.
pub fn collect(
    _gone: &TreeGone,
    workspace: &Workspace,
    shown: Shown,
    bounds: Bounds,
) -> Result<Changeset, CollectError> {
    let source = Source::open(workspace.repo())?;
    let base = base::Base::new(&source, workspace.base(), workspace.hidden())?;
    let mut walk = walk::Walk::new(&base, shown, bounds);
    walk.root(workspace.upper())
        .map_err(|error| error.into_collect(workspace.upper()))?;
    let (changes, set_aside) = walk.finish();
    Ok(Changeset::new(
        workspace.base().clone(),
        changes,
        set_aside,
    )?)
}
