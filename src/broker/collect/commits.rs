//! The changes between two commits of a repository, for `tagout check`.
//! It must never believe that a tree is tame because somebody has committed it.

use std::collections::{BTreeMap, BTreeSet};

use git2::Oid;

use super::{Bounds, CollectError, FINDINGS_MAX};
use crate::broker::git::{GitError, Source, object_error};
use crate::broker::workspace::TREE_DEPTH_MAX;
use crate::changeset::change::{Before, Blob, Change, Changeset, FileMode};
use crate::changeset::finding::{Code, Finding};
use crate::changeset::path::RepoPath;
use crate::names::ObjectId;

/// Most bytes of an old content that is kept for the diff.
const OLD_BYTES_MAX: u64 = 8 << 20;

/// What changed from `base` to `head`. A rename is a deletion and an addition.
///
/// # Errors
/// A commit cannot be read. What is wrong with the change itself is set aside in the changeset.
pub fn between(
    source: &Source,
    base: &ObjectId,
    head: &ObjectId,
    bounds: Bounds,
) -> Result<Changeset, CollectError> {
    let mut pairs = Pairs {
        source,
        bounds,
        bytes: 0,
        changes: Vec::new(),
        findings: Vec::new(),
    };
    let (old, new) = (source.tree(base)?, source.tree(head)?);
    pairs.folder(Some(old), Some(new), &[], 0)?;
    Ok(Changeset::new(base.clone(), pairs.changes, pairs.findings)?)
}

type Entries = BTreeMap<Vec<u8>, (Oid, i32)>;
type Leaf = Option<(Oid, i32)>;

struct Pairs<'a> {
    source: &'a Source,
    bounds: Bounds,
    bytes: u64,
    changes: Vec<Change>,
    findings: Vec<Finding>,
}

impl Pairs<'_> {
    fn folder(
        &mut self,
        old: Option<Oid>,
        new: Option<Oid>,
        path: &[u8],
        depth: usize,
    ) -> Result<(), GitError> {
        if old == new || self.is_full() {
            return Ok(());
        }
        if depth > TREE_DEPTH_MAX {
            self.aside(Code::PathTooLong, path, "the path is deeper than 128");
            return Ok(());
        }
        let (old, new) = (self.entries(old)?, self.entries(new)?);
        let names: BTreeSet<&Vec<u8>> = old.keys().chain(new.keys()).collect();
        for name in names {
            let pair = (old.get(name).copied(), new.get(name).copied());
            if pair.0 == pair.1 {
                continue;
            }
            let below = match path {
                [] => name.clone(),
                _ => [path, b"/", name].concat(),
            };
            let leaf = |side: Leaf| side.filter(|side| side.1 != 0o040_000);
            let tree = |side: Leaf| side.filter(|side| side.1 == 0o040_000).map(|side| side.0);
            if leaf(pair.0) != leaf(pair.1) {
                self.leaf(&below, leaf(pair.0), leaf(pair.1))?;
            }
            self.folder(tree(pair.0), tree(pair.1), &below, depth + 1)?;
        }
        Ok(())
    }

    fn entries(&self, tree: Option<Oid>) -> Result<Entries, GitError> {
        let Some(id) = tree else {
            return Ok(Entries::new());
        };
        let tree = self
            .source
            .repo()
            .find_tree(id)
            .map_err(|source| object_error(id, source))?;
        let entry = |entry: git2::TreeEntry<'_>| {
            (
                entry.name_bytes().to_vec(),
                (entry.id(), entry.filemode_raw()),
            )
        };
        Ok(tree.iter().map(entry).collect())
    }

    fn is_full(&self) -> bool {
        self.findings.len() >= FINDINGS_MAX || self.changes.len() > self.bounds.files
    }

    fn aside(&mut self, code: Code, path: &[u8], message: &str) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings
                .push(Finding::new(code, message).at(&String::from_utf8_lossy(path)));
        }
    }

    fn leaf(&mut self, path: &[u8], old: Leaf, new: Leaf) -> Result<(), GitError> {
        let is_submodule = |side: Leaf| side.is_some_and(|side| side.1 == 0o160_000);
        if is_submodule(old) || is_submodule(new) {
            self.aside(
                Code::SubmoduleChanged,
                path,
                "a submodule is added, changed or removed",
            );
            return Ok(());
        }
        let name = match RepoPath::from_bytes(path) {
            Ok(name) => name,
            Err(refused) => {
                self.aside(refused.code, path, refused.why);
                return Ok(());
            }
        };
        if self.changes.len() >= self.bounds.files {
            // One more than is allowed is enough for the checks to refuse it.
            let message = format!("more than {} files are changed", self.bounds.files);
            self.findings
                .push(Finding::new(Code::ChangesTooMany, message).mend("changes.limits.files"));
            self.bounds.files = 0;
            return Ok(());
        }
        let before = old.map(|old| self.before(old)).transpose()?;
        let Some((id, raw)) = new else {
            self.changes
                .extend(before.map(|before| Change::delete(name, before)));
            return Ok(());
        };
        let Some(content) = self.content(id, path)? else {
            return Ok(());
        };
        let mode = mode(raw);
        self.changes.push(match before {
            Some(before) => Change::modify(name, before, mode, content),
            None => Change::add(name, mode, content),
        });
        Ok(())
    }

    fn before(&self, (id, raw): (Oid, i32)) -> Result<Before, GitError> {
        let content = match self.source.blob(id, OLD_BYTES_MAX) {
            Ok(bytes) => Some(Blob::new(bytes)),
            Err(GitError::ObjectTooLarge { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Before {
            mode: mode(raw),
            content,
        })
    }

    fn content(&mut self, id: Oid, path: &[u8]) -> Result<Option<Blob>, GitError> {
        let bytes = self.source.blob_bytes(id)?;
        if bytes > self.bounds.file_bytes {
            let message = format!("{bytes} bytes, more than {}", self.bounds.file_bytes);
            self.aside(Code::FileTooLarge, path, &message);
            return Ok(None);
        }
        if self.bytes + bytes > self.bounds.bytes {
            let message = format!("the changes have more than {} bytes", self.bounds.bytes);
            self.aside(Code::ChangesTooLarge, path, &message);
            return Ok(None);
        }
        self.bytes += bytes;
        Ok(Some(Blob::new(self.source.blob(id, bytes)?)))
    }
}

/// What git makes of any mode that it did not write itself (`canon_mode` in git's cache.h).
fn mode(raw: i32) -> FileMode {
    match raw & 0o170_000 {
        0o120_000 => FileMode::Symlink,
        _ if raw & 0o100 != 0 => FileMode::Executable,
        _ => FileMode::Regular,
    }
}
