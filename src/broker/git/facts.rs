//! What the checks need of the base commit, read from the repository that is trusted.
//! It must never take the old side of a change from whoever made the change.

use std::collections::BTreeSet;

use git2::Oid;

use super::{GitError, Source};
use crate::changeset::change::{Before, Blob, Changeset, FileMode};
use crate::changeset::workflows;
use crate::names::ObjectId;

/// Most bytes of an old content that is kept for the diff.
const OLD_BYTES_MAX: u64 = 8 << 20;
/// Most bytes of one workflow or attributes file.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Most workflows that are read.
const WORKFLOWS_MAX: usize = 500;

/// Facts for `changeset::checks::Known`.
#[derive(Clone, Debug, Default)]
pub struct BaseFacts {
    /// Paths in the folders that the change touches.
    pub base_paths: Vec<String>,
    /// The text of `.gitattributes` at the root.
    pub attributes: String,
    /// Scripts and local actions that a workflow runs.
    pub run_by_workflows: Vec<String>,
}

impl Source {
    /// The same changes with their old sides as this repository has them. A change of what is not there becomes an
    /// addition; a deletion of what is not there is no change and goes.
    ///
    /// # Errors
    /// The base commit cannot be read.
    pub fn with_before(&self, changeset: &Changeset) -> Result<Changeset, GitError> {
        let tree = self.tree(changeset.base())?;
        let mut changes = Vec::new();
        for change in changeset.changes() {
            let before = self.before(tree, change.path().as_str())?;
            if before.is_some() || change.content().is_some() {
                changes.push(change.clone().with_before(before));
            }
        }
        let set_aside = changeset.set_aside().to_vec();
        Ok(Changeset::new(changeset.base().clone(), changes, set_aside)
            .expect("each path was there once before"))
    }

    fn before(&self, tree: Oid, path: &str) -> Result<Option<Before>, GitError> {
        let Some((id, mode)) = self.entry(tree, path.as_bytes())? else {
            return Ok(None);
        };
        let mode = match mode {
            0o100_644 | 0o100_664 => FileMode::Regular,
            0o100_755 => FileMode::Executable,
            0o120_000 => FileMode::Symlink,
            // A folder or submodule at that path is not what the change replaces.
            _ => return Ok(None),
        };
        let content = match self.blob(id, OLD_BYTES_MAX) {
            Ok(bytes) => Some(Blob::new(bytes)),
            Err(GitError::ObjectTooLarge { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Some(Before { mode, content }))
    }

    /// Every path of a commit that lies directly in a folder that the change touches.
    ///
    /// # Errors
    /// The commit cannot be read.
    pub fn neighbours(
        &self,
        commit: &ObjectId,
        changeset: &Changeset,
    ) -> Result<Vec<String>, GitError> {
        let root = self.tree(commit)?;
        let mut folders = BTreeSet::from([String::new()]);
        for change in changeset.changes() {
            let path = change.path().as_str();
            folders.extend(
                path.match_indices('/')
                    .filter_map(|(at, _)| path.get(..at))
                    .map(str::to_owned),
            );
        }
        let mut paths = Vec::new();
        for folder in folders {
            for (name, _, _) in self.list(root, &folder)? {
                paths.push(if folder.is_empty() {
                    name
                } else {
                    format!("{folder}/{name}")
                });
            }
        }
        Ok(paths)
    }

    /// Names, ids and modes in a folder of a tree; nothing if there is no such folder. A name that is not UTF-8 is left out.
    pub(crate) fn list(
        &self,
        root: Oid,
        folder: &str,
    ) -> Result<Vec<(String, Oid, i32)>, GitError> {
        let id = if folder.is_empty() {
            root
        } else {
            match self.entry(root, folder.as_bytes())? {
                Some((id, 0o040_000)) => id,
                Some(_) | None => return Ok(Vec::new()),
            }
        };
        let tree = self
            .repo()
            .find_tree(id)
            .map_err(|source| super::object_error(id, source))?;
        Ok(tree
            .iter()
            .filter_map(|entry| {
                let name = std::str::from_utf8(entry.name_bytes()).ok()?.to_owned();
                Some((name, entry.id(), entry.filemode_raw()))
            })
            .collect())
    }

    /// Everything at once.
    ///
    /// # Errors
    /// The base commit cannot be read.
    pub fn base_facts(&self, changeset: &Changeset) -> Result<BaseFacts, GitError> {
        let base = changeset.base();
        let text = |path: &str| -> Result<String, GitError> {
            match self.read_file(base, path, TEXT_BYTES_MAX) {
                Ok(bytes) => Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()),
                Err(GitError::ObjectTooLarge { .. }) => Ok(String::new()),
                Err(error) => Err(error),
            }
        };
        let root = self.tree(base)?;
        let mut run = BTreeSet::new();
        let workflows = self.list(root, ".github/workflows")?;
        for (name, _, _) in workflows.iter().take(WORKFLOWS_MAX) {
            for candidate in workflows::runs(&text(&format!(".github/workflows/{name}"))?) {
                if self.entry(root, candidate.as_bytes())?.is_some() {
                    run.insert(candidate);
                }
            }
        }
        Ok(BaseFacts {
            base_paths: self.neighbours(base, changeset)?,
            attributes: text(".gitattributes")?,
            run_by_workflows: run.into_iter().collect(),
        })
    }
}
