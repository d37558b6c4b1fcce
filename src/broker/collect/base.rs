//! What the base commit holds, folder by folder.

use git2::{Oid, Tree};
use globset::GlobSet;

use crate::broker::git::{GitError, Source, object_error};
use crate::changeset::change::{Before, Blob, FileMode};
use crate::names::ObjectId;

/// Most bytes of an old content that is kept for the diff.
const OLD_BYTES_MAX: u64 = 8 << 20;

/// The base commit without what is hidden from the agent.
pub(super) struct Base<'a> {
    source: &'a Source,
    root: Oid,
    hidden: &'a GlobSet,
}

/// What lay at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    File(Oid, FileMode),
    Folder(Oid),
    Submodule,
}

impl<'a> Base<'a> {
    pub(super) fn new(
        source: &'a Source,
        commit: &ObjectId,
        hidden: &'a GlobSet,
    ) -> Result<Self, GitError> {
        Ok(Self {
            source,
            root: source.tree(commit)?,
            hidden,
        })
    }

    pub(super) fn root(&self) -> Oid {
        self.root
    }

    /// One folder.
    pub(super) fn folder(&self, id: Oid) -> Result<Folder<'_>, GitError> {
        let tree = self
            .source
            .repo()
            .find_tree(id)
            .map_err(|source| object_error(id, source))?;
        Ok(Folder { base: self, tree })
    }

    /// The old side of a change.
    pub(super) fn before(&self, id: Oid, mode: FileMode) -> Result<Before, GitError> {
        let content = match self.source.blob(id, OLD_BYTES_MAX) {
            Ok(bytes) => Some(Blob::new(bytes)),
            Err(GitError::ObjectTooLarge { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Before { mode, content })
    }

    pub(super) fn bytes(&self, id: Oid) -> Result<u64, GitError> {
        self.source.blob_bytes(id)
    }

    pub(super) fn content(&self, id: Oid, bytes_max: u64) -> Result<Vec<u8>, GitError> {
        self.source.blob(id, bytes_max)
    }
}

/// One folder of the base commit.
pub(super) struct Folder<'a> {
    base: &'a Base<'a>,
    tree: Tree<'a>,
}

impl Folder<'_> {
    /// What lay under a name; `path` is the whole path, to know whether it is hidden.
    pub(super) fn get(&self, name: &[u8], path: &[u8]) -> Option<Entry> {
        let entry = self.tree.get_name_bytes(name)?;
        if self.is_hidden(path) {
            return None;
        }
        kind(entry.id(), entry.filemode_raw())
    }

    /// Names and what lay there.
    pub(super) fn list(&self, path: &[u8]) -> Vec<(Vec<u8>, Entry)> {
        self.tree
            .iter()
            .filter(|entry| !self.is_hidden(&join(path, entry.name_bytes())))
            .filter_map(|entry| {
                Some((
                    entry.name_bytes().to_vec(),
                    kind(entry.id(), entry.filemode_raw())?,
                ))
            })
            .collect()
    }

    fn is_hidden(&self, path: &[u8]) -> bool {
        !self.base.hidden.is_empty()
            && self
                .base
                .hidden
                .is_match(String::from_utf8_lossy(path).as_ref())
    }
}

fn kind(id: Oid, mode: i32) -> Option<Entry> {
    match mode {
        0o040_000 => Some(Entry::Folder(id)),
        0o100_644 | 0o100_664 => Some(Entry::File(id, FileMode::Regular)),
        0o100_755 => Some(Entry::File(id, FileMode::Executable)),
        0o120_000 => Some(Entry::File(id, FileMode::Symlink)),
        0o160_000 => Some(Entry::Submodule),
        // The workspace was not prepared from a tree with any other mode.
        _ => None,
    }
}

/// A path below a folder; the root is empty.
pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        return name.to_vec();
    }
    [folder, b"/", name].concat()
}
