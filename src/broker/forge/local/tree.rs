//! The tree of the proposal: the base commit's with the changes put in, as objects in memory.

use std::collections::BTreeMap;

use git2::{ObjectType, Oid};

use super::LocalError;
use crate::broker::git::{Source, object_error};
use crate::changeset::change::{Change, Changeset};

const TREE_MODE: i32 = 0o040_000;

/// Objects that the proposal needs, and the tree on top.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) root: Oid,
    pub(super) objects: BTreeMap<Oid, (ObjectType, Vec<u8>)>,
}

/// Puts the changes into a tree.
pub(super) fn build(
    source: &Source,
    base: Oid,
    changeset: &Changeset,
) -> Result<Built, LocalError> {
    let mut builder = Builder {
        source,
        objects: BTreeMap::new(),
    };
    let changes: Vec<(&str, &Change)> = changeset
        .changes()
        .iter()
        .map(|change| (change.path().as_str(), change))
        .collect();
    let root = match builder.folder(Some(base), &changes)? {
        Some(root) => root,
        None => builder.object(ObjectType::Tree, Vec::new())?,
    };
    Ok(Built {
        root,
        objects: builder.objects,
    })
}

struct Builder<'a> {
    source: &'a Source,
    objects: BTreeMap<Oid, (ObjectType, Vec<u8>)>,
}

impl Builder<'_> {
    /// A folder with the changes whose paths are given from it on; none if nothing is left in it.
    fn folder(
        &mut self,
        old: Option<Oid>,
        changes: &[(&str, &Change)],
    ) -> Result<Option<Oid>, LocalError> {
        let mut entries = self.entries(old)?;
        let mut below: BTreeMap<&str, Vec<(&str, &Change)>> = BTreeMap::new();
        let mut here = Vec::new();
        for (path, change) in changes {
            match path.split_once('/') {
                Some((name, rest)) => below.entry(name).or_default().push((rest, change)),
                None => here.push((*path, *change)),
            }
        }
        // What goes makes room first: a file may become a folder and a folder a file.
        for (name, change) in here.iter().filter(|(_, change)| change.content().is_none()) {
            match entries.remove(name.as_bytes()) {
                Some((_, mode)) if mode != TREE_MODE => {}
                Some(_) | None => return Err(does_not_fit(change, "it is no file there")),
            }
        }
        for (name, changes) in below {
            let old = match entries.get(name.as_bytes()) {
                Some((id, TREE_MODE)) => Some(*id),
                None => None,
                Some(_) => {
                    let (_, change) = changes.first().expect("a group is not empty");
                    return Err(does_not_fit(change, "a file or submodule stands above it"));
                }
            };
            match self.folder(old, &changes)? {
                Some(id) => entries.insert(name.as_bytes().to_vec(), (id, TREE_MODE)),
                None => entries.remove(name.as_bytes()),
            };
        }
        for (name, change) in here {
            let (Some(mode), Some(content)) = (change.mode(), change.content()) else {
                continue;
            };
            let held = entries.get(name.as_bytes()).map(|(_, mode)| *mode);
            if matches!(held, Some(TREE_MODE | 0o160_000)) {
                return Err(does_not_fit(change, "a folder or submodule stands there"));
            }
            let id = self.object(ObjectType::Blob, content.bytes().to_vec())?;
            let mode = i32::try_from(mode.git()).expect("a mode of git fits 31 bits");
            entries.insert(name.as_bytes().to_vec(), (id, mode));
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let bytes = tree_bytes(entries);
        self.object(ObjectType::Tree, bytes).map(Some)
    }

    fn entries(&self, tree: Option<Oid>) -> Result<BTreeMap<Vec<u8>, (Oid, i32)>, LocalError> {
        let Some(id) = tree else {
            return Ok(BTreeMap::new());
        };
        let tree = self
            .source
            .repo()
            .find_tree(id)
            .map_err(|source| object_error(id, source))?;
        Ok(tree
            .iter()
            .map(|entry| {
                (
                    entry.name_bytes().to_vec(),
                    (entry.id(), entry.filemode_raw()),
                )
            })
            .collect())
    }

    fn object(&mut self, kind: ObjectType, bytes: Vec<u8>) -> Result<Oid, LocalError> {
        let id = Oid::hash_object(kind, &bytes)
            .map_err(|source| object_error(Oid::ZERO_SHA1, source))?;
        self.objects.insert(id, (kind, bytes));
        Ok(id)
    }
}

/// A tree object: sorted as if the names of folders ended in a slash (gitformat-tree).
fn tree_bytes(entries: BTreeMap<Vec<u8>, (Oid, i32)>) -> Vec<u8> {
    let mut sorted: Vec<_> = entries.into_iter().collect();
    let key = |name: &[u8], mode: i32| {
        let mut key = name.to_vec();
        if mode == TREE_MODE {
            key.push(b'/');
        }
        key
    };
    sorted.sort_by_key(|(name, (_, mode))| key(name, *mode));
    let mut bytes = Vec::new();
    for (name, (id, mode)) in sorted {
        bytes.extend_from_slice(format!("{mode:o} ").as_bytes());
        bytes.extend_from_slice(&name);
        bytes.push(0);
        bytes.extend_from_slice(id.as_bytes());
    }
    bytes
}

fn does_not_fit(change: &Change, why: &'static str) -> LocalError {
    LocalError::DoesNotFit {
        path: change.path().to_string(),
        why,
    }
}
