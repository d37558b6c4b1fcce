//! Keeps materialised trees between runs, each under the digest of everything that made it.
//! It must never use a folder that somebody else can write to.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use git2::Oid;

use super::{Wanted, WorkspaceError, branch_or_main, is_private, removal};
use crate::names::Digest;

/// Changes whenever a tree is written in another way.
const FORMAT: &str = "tagout tree 1";
/// Most trees that are kept; the least recently used goes first.
const TREES_MAX: usize = 4;

/// A kept tree and the lock that keeps it.
pub(super) struct Kept {
    pub(super) tree: PathBuf,
    pub(super) lock: File,
    pub(super) found: bool,
}

/// The digest of everything that decides what is in the folder.
pub(super) fn key(tree: Oid, time_s: i64, wanted: &Wanted<'_>) -> Digest {
    let mut text = format!(
        "{FORMAT}\0{tree}\0{time_s}\0{}",
        branch_or_main(wanted.branch)
    );
    for pattern in wanted.hide {
        text.push('\0');
        text.push_str(pattern);
    }
    Digest::of(text.as_bytes())
}

/// Opens the tree under `key`, building it where it is not there yet.
pub(super) fn open(
    folder: &Path,
    key: &Digest,
    build: impl FnOnce(&Path) -> Result<(), WorkspaceError>,
) -> Result<Kept, WorkspaceError> {
    let failed = |source| WorkspaceError::disk("use the cache", folder, source);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    if !is_private(folder) {
        return Err(WorkspaceError::CacheNotPrivate(folder.to_owned()));
    }
    let tree = folder.join(key.as_str());
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .read(true)
        .open(folder.join(format!("{key}.lock")))
        .map_err(failed)?;
    lock.lock().map_err(failed)?;
    let found = tree.is_dir();
    if !found {
        let partial = folder.join(format!("{key}.partial"));
        removal::remove(&partial).map_err(failed)?;
        build(&partial)?;
        fs::rename(&partial, &tree).map_err(failed)?;
    }
    lock.set_modified(SystemTime::now()).map_err(failed)?;
    // From here on others may share it, and nobody may clear it.
    lock.lock_shared().map_err(failed)?;
    clear(folder, key).map_err(failed)?;
    Ok(Kept { tree, lock, found })
}

/// Removes the least recently used trees that nobody holds.
fn clear(folder: &Path, keep: &Digest) -> Result<(), std::io::Error> {
    let mut others = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_lock = path
            .extension()
            .is_some_and(|extension| extension == "lock");
        let is_ours = path.file_stem().is_some_and(|stem| stem == keep.as_str());
        if is_lock && !is_ours {
            others.push((fs::metadata(&path)?.modified()?, path));
        }
    }
    others.sort();
    let surplus = (others.len() + 1).saturating_sub(TREES_MAX);
    for (_, lock) in others.into_iter().take(surplus) {
        let held = File::open(&lock)?;
        match held.try_lock() {
            Ok(()) => {
                removal::remove(&lock.with_extension(""))?;
                removal::remove(&lock.with_extension("partial"))?;
                fs::remove_file(&lock)?;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}
