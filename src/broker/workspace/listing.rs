//! Reads the tree of a commit into a flat list, and bounds it before anything is written.
//! It must never pass on a name that leaves the folder or that git would not check out.

use std::collections::HashSet;

use git2::{ObjectType, Oid};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::{
    TREE_BYTES_MAX, TREE_DEPTH_MAX, TREE_ENTRIES_MAX, TREE_FILE_BYTES_MAX, WorkspaceError,
};
use crate::broker::git::{Source, object_error};
use crate::changeset::path::fold;

/// A file or link to write.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Relative to the root, as git has it.
    pub(super) path: Vec<u8>,
    pub(super) id: Oid,
    pub(super) bytes: u64,
    pub(super) kind: Kind,
    /// Whether this is the first file with these bytes, which goes into the pack.
    pub(super) packed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Regular,
    Executable,
    Symlink,
}

impl Kind {
    pub(super) fn mode(self) -> u32 {
        match self {
            Self::Regular => 0o100_644,
            Self::Executable => 0o100_755,
            Self::Symlink => 0o120_000,
        }
    }
}

/// A tree object of the repository inside.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    /// Empty for the root.
    pub(super) path: Vec<u8>,
    pub(super) id: Oid,
    /// The object's bytes.
    pub(super) object: Vec<u8>,
    /// Files, links and submodules below it, at any depth.
    pub(super) entries: usize,
    /// Folders directly in it.
    pub(super) folders: usize,
}

/// A whole tree as it is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    /// In git's order, which is the order of the index.
    pub(super) files: Vec<File>,
    /// Submodules, shown as empty folders.
    pub(super) submodules: Vec<(Vec<u8>, Oid)>,
    /// Every folder before what is in it; the root is first.
    pub(super) folders: Vec<Folder>,
}

/// Lists a tree without what `hide` names.
pub(super) fn list(source: &Source, tree: Oid, hide: &[String]) -> Result<Listing, WorkspaceError> {
    let mut walk = Walk {
        source,
        hide: globs(hide)?,
        seen: HashSet::new(),
        entries: 0,
        bytes: 0,
        listing: Listing::default(),
    };
    walk.folder(tree, Vec::new(), 0)?;
    // Git sorts a tree as if folders ended in a slash; the index sorts whole paths. Both agree but for the place of
    // a folder among files of the same beginning, so sort once more.
    walk.listing
        .files
        .sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(walk.listing)
}

/// The globs of `filesystem.deny`: `*` stays in one folder, `**` walks the tree, a folder hides what is in it.
pub(super) fn globs(patterns: &[String]) -> Result<GlobSet, WorkspaceError> {
    let unreadable = |pattern: &String| WorkspaceError::Pattern(pattern.clone());
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let plain = pattern.trim_start_matches("./").trim_end_matches('/');
        let glob = GlobBuilder::new(plain)
            .literal_separator(true)
            .build()
            .map_err(|_why| unreadable(pattern))?;
        set.add(glob);
    }
    set.build()
        .map_err(|why| WorkspaceError::Pattern(why.to_string()))
}

struct Walk<'a> {
    source: &'a Source,
    hide: GlobSet,
    seen: HashSet<Oid>,
    entries: usize,
    bytes: u64,
    listing: Listing,
}

impl Walk<'_> {
    /// Lists a folder and returns its object's id, which differs from `tree` where something is hidden.
    fn folder(&mut self, tree: Oid, path: Vec<u8>, depth: usize) -> Result<Oid, WorkspaceError> {
        if depth > TREE_DEPTH_MAX {
            return Err(too_large("folders deep", TREE_DEPTH_MAX as u64));
        }
        let place = self.listing.folders.len();
        let before = self.listing.files.len() + self.listing.submodules.len();
        self.listing.folders.push(Folder {
            path: path.clone(),
            id: tree,
            object: Vec::new(),
            entries: 0,
            folders: 0,
        });
        let found = self
            .source
            .repo()
            .find_tree(tree)
            .map_err(|source| object_error(tree, source))?;
        let mut object = Vec::new();
        let mut folders = 0;
        for entry in &found {
            let name = entry.name_bytes();
            check_name(name)?;
            let below = join(&path, name);
            if self.hide.is_match(String::from_utf8_lossy(&below).as_ref()) {
                continue;
            }
            self.count()?;
            let mode = entry.filemode_raw();
            let id = match mode {
                0o040_000 => {
                    folders += 1;
                    self.folder(entry.id(), below, depth + 1)?
                }
                0o160_000 => {
                    self.listing.submodules.push((below, entry.id()));
                    entry.id()
                }
                _ => self.file(entry.id(), below, mode)?,
            };
            object.extend_from_slice(format!("{mode:o} ").as_bytes());
            object.extend_from_slice(name);
            object.push(0);
            object.extend_from_slice(id.as_bytes());
        }
        let id = Oid::hash_object(ObjectType::Tree, &object)
            .map_err(|source| object_error(tree, source))?;
        let entries = self.listing.files.len() + self.listing.submodules.len() - before;
        let folder = self
            .listing
            .folders
            .get_mut(place)
            .expect("it was pushed above");
        folder.id = id;
        folder.object = object;
        folder.entries = entries;
        folder.folders = folders;
        Ok(id)
    }

    fn file(&mut self, id: Oid, path: Vec<u8>, mode: i32) -> Result<Oid, WorkspaceError> {
        let kind = match mode {
            // 100664 is what the first versions of git wrote.
            0o100_644 | 0o100_664 => Kind::Regular,
            0o100_755 => Kind::Executable,
            0o120_000 => Kind::Symlink,
            _ => {
                return Err(WorkspaceError::Mode {
                    path: String::from_utf8_lossy(&path).into_owned(),
                    mode,
                });
            }
        };
        let bytes = self.source.blob_bytes(id)?;
        if bytes > TREE_FILE_BYTES_MAX {
            return Err(too_large("bytes in one file", TREE_FILE_BYTES_MAX));
        }
        self.bytes += bytes;
        if self.bytes > TREE_BYTES_MAX {
            return Err(too_large("bytes", TREE_BYTES_MAX));
        }
        let packed = self.seen.insert(id);
        self.listing.files.push(File {
            path,
            id,
            bytes,
            kind,
            packed,
        });
        Ok(id)
    }

    fn count(&mut self) -> Result<(), WorkspaceError> {
        self.entries += 1;
        if self.entries > TREE_ENTRIES_MAX {
            return Err(too_large("entries", TREE_ENTRIES_MAX as u64));
        }
        Ok(())
    }
}

fn too_large(unit: &'static str, max: u64) -> WorkspaceError {
    WorkspaceError::TooLarge { unit, max }
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        return name.to_vec();
    }
    let mut path = Vec::with_capacity(folder.len() + 1 + name.len());
    path.extend_from_slice(folder);
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

/// The base commit was written by people, but not all of them mean well: a name that leaves the folder, or that
/// would be a repository in ours, is refused as git refuses it (`verify_path` in git's read-cache.c).
fn check_name(name: &[u8]) -> Result<(), WorkspaceError> {
    let text = String::from_utf8_lossy(name);
    let leaves = matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0);
    let folded = fold(&text);
    if leaves || name.len() > 255 || matches!(folded.as_str(), ".git" | "git~1") {
        return Err(WorkspaceError::Name(text.into_owned()));
    }
    Ok(())
}
