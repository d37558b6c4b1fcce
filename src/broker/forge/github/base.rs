//! What stood in the base commit before, read by API: the job that can write checks out nothing.
//! It must never take an old side from the bundle, nor leave one out that it could not read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::GitHub;
use super::error::ForgeError;
use crate::broker::git::facts::BaseFacts;
use crate::changeset::change::{Before, Blob, Changeset, FileMode};
use crate::changeset::workflows;
use crate::names::NotValid;

/// Bytes of the largest old content that is kept for the diff, as from a repository on disk.
const OLD_BYTES_MAX: u64 = 8 << 20;
/// Bytes of the largest workflow or attributes file.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Workflows that are read.
const WORKFLOWS_MAX: usize = 500;
/// Folders that are listed for one change.
const FOLDERS_MAX: usize = 1_000;

#[derive(Deserialize)]
struct RawTree {
    tree: Vec<RawEntry>,
    truncated: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct RawEntry {
    path: String,
    mode: String,
    sha: String,
    size: Option<u64>,
}

#[derive(Deserialize)]
struct RawBlob {
    content: String,
}

/// The folders of one tree, each listed once.
struct Folders<'a> {
    github: &'a GitHub,
    root: String,
    known: BTreeMap<String, Vec<RawEntry>>,
}

impl Folders<'_> {
    /// What lies in a folder; nothing where there is no such folder.
    async fn list(&mut self, folder: &str) -> Result<&[RawEntry], ForgeError> {
        let mut id = self.root.clone();
        let mut at = String::new();
        let mut parts = folder.split('/').filter(|part| !part.is_empty());
        loop {
            if !self.known.contains_key(&at) {
                if self.known.len() >= FOLDERS_MAX {
                    let what = "the folders of the base commit".to_owned();
                    return Err(ForgeError::TooMany {
                        what,
                        pages_max: FOLDERS_MAX,
                    });
                }
                let entries = self.github.tree(&id).await?;
                self.known.insert(at.clone(), entries);
            }
            let entries = self.known.get(&at).map_or(&[][..], Vec::as_slice);
            let Some(part) = parts.next() else { break };
            let inner = entries.iter().find(|entry| entry.path == part);
            match inner.filter(|entry| entry.mode == "040000") {
                Some(entry) => id.clone_from(&entry.sha),
                None => return Ok(&[]),
            }
            if !at.is_empty() {
                at.push('/');
            }
            at.push_str(part);
        }
        Ok(self.known.get(&at).map_or(&[][..], Vec::as_slice))
    }

    async fn entry(&mut self, path: &str) -> Result<Option<RawEntry>, ForgeError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let entries = self.list(folder).await?;
        Ok(entries.iter().find(|entry| entry.path == name).cloned())
    }

    /// The text of a file, for looking through it; empty where there is none, or one that is too long.
    async fn text(&mut self, path: &str) -> Result<String, ForgeError> {
        let entry = self.entry(path).await?;
        let readable = |entry: &RawEntry| {
            is_file(&entry.mode) && entry.size.is_some_and(|size| size <= TEXT_BYTES_MAX)
        };
        match entry.filter(readable) {
            Some(entry) => {
                let bytes = self.github.blob(&entry.sha).await?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            None => Ok(String::new()),
        }
    }

    async fn before(&mut self, path: &str) -> Result<Option<Before>, ForgeError> {
        let Some(entry) = self.entry(path).await? else {
            return Ok(None);
        };
        let mode = match entry.mode.as_str() {
            "100644" | "100664" => FileMode::Regular,
            "100755" => FileMode::Executable,
            "120000" => FileMode::Symlink,
            // A folder or submodule at that path is not what the change replaces.
            _ => return Ok(None),
        };
        let content = if entry.size.is_some_and(|size| size <= OLD_BYTES_MAX) {
            Some(Blob::new(self.github.blob(&entry.sha).await?))
        } else {
            None
        };
        Ok(Some(Before { mode, content }))
    }
}

impl GitHub {
    /// The changes with their old sides as the base commit has them, and what lies around them there. A change of what is
    /// not there becomes an addition; a deletion of what is not there is no change and goes.
    ///
    /// # Errors
    /// Whatever cannot be read: nothing is judged by half.
    pub async fn with_base(
        &self,
        changeset: &Changeset,
    ) -> Result<(Changeset, BaseFacts), ForgeError> {
        let mut folders = Folders {
            github: self,
            root: self.tree_of(changeset.base()).await?.to_string(),
            known: BTreeMap::new(),
        };
        let mut changes = Vec::new();
        let mut touched = BTreeSet::from([String::new()]);
        for change in changeset.changes() {
            let path = change.path().as_str();
            let parts = path.match_indices('/');
            touched.extend(
                parts
                    .filter_map(|(at, _)| path.get(..at))
                    .map(str::to_owned),
            );
            let before = folders.before(path).await?;
            if before.is_some() || change.content().is_some() {
                changes.push(change.clone().with_before(before));
            }
        }
        let mut base_paths = Vec::new();
        for folder in touched {
            let slash = if folder.is_empty() { "" } else { "/" };
            let entries = folders.list(&folder).await?;
            base_paths.extend(
                entries
                    .iter()
                    .map(|entry| format!("{folder}{slash}{}", entry.path)),
            );
        }
        let facts = BaseFacts {
            base_paths,
            attributes: folders.text(".gitattributes").await?,
            run_by_workflows: run_by_workflows(&mut folders).await?,
        };
        let set_aside = changeset.set_aside().to_vec();
        let changeset = Changeset::new(changeset.base().clone(), changes, set_aside)
            .expect("each path was there once before");
        Ok((changeset, facts))
    }

    async fn tree(&self, id: &str) -> Result<Vec<RawEntry>, ForgeError> {
        let path = self.path(&format!("git/trees/{id}"));
        let found: RawTree = self.caller.get(&path).await?;
        if found.truncated {
            let what = "the files of one folder".to_owned();
            return Err(ForgeError::TooMany { what, pages_max: 1 });
        }
        Ok(found.tree)
    }

    async fn blob(&self, id: &str) -> Result<Vec<u8>, ForgeError> {
        let path = self.path(&format!("git/blobs/{id}"));
        let found: RawBlob = self.caller.get(&path).await?;
        let text: String = found.content.split_ascii_whitespace().collect();
        super::commit::from_base64(&text).ok_or_else(|| {
            ForgeError::Word(NotValid::new("file in the repository", "it is not base64"))
        })
    }
}

fn is_file(mode: &str) -> bool {
    matches!(mode, "100644" | "100664" | "100755")
}

/// Scripts and local actions that a workflow of the base runs, those that exist.
async fn run_by_workflows(folders: &mut Folders<'_>) -> Result<Vec<String>, ForgeError> {
    let names: Vec<String> = folders
        .list(".github/workflows")
        .await?
        .iter()
        .take(WORKFLOWS_MAX)
        .map(|entry| entry.path.clone())
        .collect();
    let mut run = BTreeSet::new();
    for name in names {
        let text = folders.text(&format!(".github/workflows/{name}")).await?;
        for candidate in workflows::runs(&text) {
            if folders.entry(&candidate).await?.is_some() {
                run.insert(candidate);
            }
        }
    }
    Ok(run.into_iter().collect())
}
