//! Puts collected changes into a tree that nobody but us has written to.
//! It must never follow a link, never leave the tree, and never be used on a tree that an agent has worked in.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::WorkspaceError;
use super::material::BENEATH;
use crate::changeset::change::{Change, Changeset, FileMode};

/// Applies the changes: what goes first, so that a file may stand where a folder was.
pub(super) fn apply(tree: &Path, changeset: &Changeset) -> Result<(), WorkspaceError> {
    let failed = |path: &str, source| WorkspaceError::disk("change", &tree.join(path), source);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root =
        fs::openat(CWD, tree, flags, Mode::empty()).map_err(|error| failed("", error.into()))?;
    for change in changeset.changes() {
        let path = change.path().as_str();
        take_away(root.as_fd(), path).map_err(|error| failed(path, error))?;
    }
    for change in changeset.changes() {
        let path = change.path().as_str();
        put(root.as_fd(), change).map_err(|error| failed(path, error))?;
    }
    Ok(())
}

/// Removes a file or link, and the folders that it leaves empty.
fn take_away(root: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    let mut rest = path;
    let mut flags = AtFlags::empty();
    loop {
        let Some((folder, name)) = opened(root, rest)? else {
            return Ok(());
        };
        match fs::unlinkat(&folder, name, flags) {
            Ok(()) => {}
            // Nothing there, a folder that is not empty yet, or one in the place of the file.
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::ISDIR | Errno::NOTDIR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let Some((above, _)) = rest.rsplit_once('/') else {
            return Ok(());
        };
        rest = above;
        flags = AtFlags::REMOVEDIR;
    }
}

fn put(root: BorrowedFd<'_>, change: &Change) -> io::Result<()> {
    let (Some(mode), Some(blob)) = (change.mode(), change.content()) else {
        return Ok(());
    };
    let path = change.path().as_str();
    make_folders(root, path)?;
    let Some((folder, name)) = opened(root, path)? else {
        return Err(Errno::NOENT.into());
    };
    let bits = match mode {
        FileMode::Regular => 0o644,
        FileMode::Executable => 0o755,
        FileMode::Symlink => {
            let target =
                <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(blob.bytes());
            return Ok(fs::symlinkat(target, &folder, name)?);
        }
    };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let bits = Mode::from_raw_mode(bits);
    let mut file: std::fs::File = fs::openat2(&folder, name, flags, bits, BENEATH)?.into();
    file.write_all(blob.bytes())?;
    // The caller's umask must not decide what is read inside.
    Ok(fs::fchmod(&file, bits)?)
}

fn make_folders(root: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    for (at, _) in path.match_indices('/') {
        let above = path.get(..at).unwrap_or_default();
        let Some((folder, name)) = opened(root, above)? else {
            return Err(Errno::NOENT.into());
        };
        let bits = Mode::from_raw_mode(0o755);
        match fs::mkdirat(&folder, name, bits) {
            Ok(()) => fs::chmodat(&folder, name, bits, AtFlags::empty())?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The folder of a path, opened beneath the root and through no link, and the path's last part. None where it is not there.
fn opened<'a>(root: BorrowedFd<'_>, path: &'a str) -> io::Result<Option<(OwnedFd, &'a str)>> {
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match fs::openat2(root, folder, flags, Mode::empty(), BENEATH) {
        Ok(folder) => Ok(Some((folder, name))),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changeset::change::{Before, Blob};
    use crate::changeset::path::RepoPath;

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).unwrap()
    }

    fn blob(text: &str) -> Blob {
        Blob::new(text.as_bytes().to_vec())
    }

    fn before(text: &str) -> Before {
        Before {
            mode: FileMode::Regular,
            content: Some(blob(text)),
        }
    }

    fn changed(tree: &Path, changes: Vec<Change>) -> Result<(), WorkspaceError> {
        let base = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        apply(tree, &Changeset::new(base, changes, Vec::new()).unwrap())
    }

    #[test]
    fn changes_stand_in_the_tree_with_their_modes() {
        let tree = tempfile::tempdir().unwrap();
        let at = |name: &str| tree.path().join(name);
        std::fs::create_dir_all(at("d/e")).unwrap();
        std::fs::write(at("d/e/f"), "old").unwrap();
        std::fs::write(at("a"), "old").unwrap();
        let changes = vec![
            Change::modify(path("a"), before("old"), FileMode::Executable, blob("new")),
            Change::delete(path("d/e/f"), before("old")),
            Change::add(path("d/e"), FileMode::Regular, blob("a file now")),
            Change::add(path("n/m"), FileMode::Symlink, blob("../a")),
        ];
        changed(tree.path(), changes).unwrap();
        assert_eq!(std::fs::read_to_string(at("a")).unwrap(), "new");
        assert_eq!(std::fs::read_to_string(at("d/e")).unwrap(), "a file now");
        assert_eq!(std::fs::read_to_string(at("n/m")).unwrap(), "new");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&at("a").metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn change_through_a_link_writes_nothing_outside() {
        let outside = tempfile::tempdir().unwrap();
        let tree = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), tree.path().join("l")).unwrap();
        let change = Change::add(path("l/x"), FileMode::Regular, blob("out"));
        assert!(changed(tree.path(), vec![change]).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
