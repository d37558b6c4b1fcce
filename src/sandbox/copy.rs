//! The private copy of a workspace at level C, and its way back.
//! It must never follow a symlink, never write back a protected path, and never touch the original before the tree is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid,
};
use rustix::io::Errno;

use super::walls::namespaces::Ids;
use crate::scratch;

/// Entries of one workspace.
pub const ENTRIES_MAX: usize = 1_000_000;
/// Folders within folders.
pub const DEPTH_MAX: usize = 256;

/// What tells whether an entry of the copy was changed. Nobody can set a change time, so it cannot be forged.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    kind: FileType,
    inode: u64,
    size: i64,
    mode: u32,
    changed: (i64, u64),
}

impl Stamp {
    fn of(meta: &Stat) -> Self {
        let kind = FileType::from_raw_mode(meta.st_mode);
        // A folder's own change time moves with its entries, which are looked at one by one.
        let folder = kind == FileType::Directory;
        Self {
            kind,
            inode: meta.st_ino,
            size: if folder { 0 } else { meta.st_size },
            mode: meta.st_mode,
            changed: if folder {
                (0, 0)
            } else {
                (meta.st_ctime, meta.st_ctime_nsec)
            },
        }
    }
}

/// A copy and what it looked like when it was made.
#[derive(Debug)]
pub struct Copied {
    original: OwnedFd,
    copy: OwnedFd,
    stamps: BTreeMap<PathBuf, Stamp>,
    left_out: Vec<PathBuf>,
}

/// What came back, or did not.
#[derive(Debug, Default)]
pub struct Returned {
    /// Paths that were changed and are protected.
    pub refused: Vec<PathBuf>,
    /// Paths that are no file, folder or symlink, or could not be written.
    pub lost: Vec<PathBuf>,
}

impl Copied {
    /// Copies files, folders and symlinks of `original` into the empty folder `copy`. Paths for which `left_out` holds are
    /// neither copied nor written back. `owner` is who gets the copy, if not the caller.
    ///
    /// # Errors
    /// A tree that is too large or too deep, a full disk, or an entry that cannot be read.
    pub fn make(
        original: &Path,
        copy: &Path,
        left_out: Vec<PathBuf>,
        bytes_max: u64,
        owner: Option<Ids>,
    ) -> io::Result<Self> {
        let mut made = Self {
            original: open_root(original)?,
            copy: open_root(copy)?,
            stamps: BTreeMap::new(),
            left_out,
        };
        let mut left = bytes_max;
        let mut waiting = vec![PathBuf::new()];
        while let Some(folder) = waiting.pop() {
            let from = open_folder(&made.original, &folder)?;
            let to = open_folder(&made.copy, &folder)?;
            for name in names(&from)? {
                let path = folder.join(&name);
                if made.left_out.contains(&path) {
                    continue;
                }
                if made.stamps.len() >= ENTRIES_MAX || path.components().count() > DEPTH_MAX {
                    return Err(io::Error::other(
                        "the workspace has too many entries or is too deep",
                    ));
                }
                let meta = rustix::fs::statat(&from, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                let kind = FileType::from_raw_mode(meta.st_mode);
                match kind {
                    FileType::Directory => {
                        rustix::fs::mkdirat(&to, &name, Mode::from_raw_mode(meta.st_mode | 0o700))?;
                        waiting.push(path.clone());
                    }
                    FileType::RegularFile => {
                        let bytes = u64::try_from(meta.st_size).unwrap_or(u64::MAX);
                        left = left.checked_sub(bytes).ok_or_else(|| {
                            io::Error::other("it holds more than limits.disk allows")
                        })?;
                        copy_file(&from, &to, &name, &name, &meta)?;
                    }
                    FileType::Symlink => {
                        let target = rustix::fs::readlinkat(&from, &name, Vec::new())?;
                        rustix::fs::symlinkat(target, &to, &name)?;
                    }
                    // A socket or a pipe of the host would be a road to it.
                    FileType::Fifo
                    | FileType::Socket
                    | FileType::CharacterDevice
                    | FileType::BlockDevice
                    | FileType::Unknown => continue,
                }
                if let Some(owner) = owner {
                    own(&to, &name, owner)?;
                }
                let meta = rustix::fs::statat(&to, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                made.stamps.insert(path, Stamp::of(&meta));
            }
        }
        Ok(made)
    }

    /// Writes what was changed in the copy back to the original. Each file is replaced as a whole.
    ///
    /// # Errors
    /// The copy cannot be read. Single paths that fail are in the answer.
    pub fn write_back(&self, protected: &dyn Fn(&Path) -> bool) -> io::Result<Returned> {
        let mut returned = Returned::default();
        let mut seen = BTreeSet::new();
        let mut changed = Vec::new();
        let mut waiting = vec![PathBuf::new()];
        while let Some(folder) = waiting.pop() {
            let from = open_anyhow(&self.copy, &folder)?;
            for name in names(&from)? {
                let path = folder.join(&name);
                // What was never copied is ours or the run's own and stays here.
                if self.left_out.contains(&path) {
                    continue;
                }
                if seen.len() >= ENTRIES_MAX || path.components().count() > DEPTH_MAX {
                    return Err(io::Error::other(
                        "the workspace has grown too many entries or too deep",
                    ));
                }
                let meta = rustix::fs::statat(&from, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                let stamp = Stamp::of(&meta);
                if stamp.kind == FileType::Directory {
                    waiting.push(path.clone());
                }
                let same = self.stamps.get(&path) == Some(&stamp);
                seen.insert(path.clone());
                if !same {
                    changed.push((path, meta));
                }
            }
        }
        let gone = self
            .stamps
            .keys()
            .rev()
            .filter(|path| !seen.contains(*path));
        for path in gone {
            if protected(path) {
                returned.refused.push(path.clone());
            } else if self.remove(path).is_err() {
                returned.lost.push(path.clone());
            }
        }
        changed.sort_by(|a, b| a.0.cmp(&b.0));
        for (path, meta) in changed {
            if protected(&path) {
                returned.refused.push(path);
            } else if self.put(&path, &meta).is_err() {
                returned.lost.push(path);
            }
        }
        Ok(returned)
    }

    /// Removes a path from the original. A folder goes only when it is empty: what the host put there meanwhile stays.
    fn remove(&self, path: &Path) -> io::Result<()> {
        let parent = open_folder(&self.original, path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().unwrap_or(OsStr::new("."));
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => Ok(rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?),
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn put(&self, path: &Path, meta: &Stat) -> io::Result<()> {
        let above = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or(OsStr::new("."));
        let from = open_folder(&self.copy, above)?;
        let to = open_folder(&self.original, above)?;
        let mode = Mode::from_raw_mode(meta.st_mode & 0o777);
        let before = rustix::fs::statat(&to, name, AtFlags::SYMLINK_NOFOLLOW);
        let owner = owner_at(&to, before)?;
        let old = before.map(|meta| FileType::from_raw_mode(meta.st_mode));
        let fresh = OsString::from(format!(".tagout-{}-{}", std::process::id(), meta.st_ino));
        match FileType::from_raw_mode(meta.st_mode) {
            FileType::Directory => {
                if old != Ok(FileType::Directory) {
                    clear(&to, name, old)?;
                    rustix::fs::mkdirat(&to, name, mode)?;
                    give(&to, name, owner)?;
                }
                Ok(rustix::fs::chmodat(&to, name, mode, AtFlags::empty())?)
            }
            FileType::RegularFile => {
                let copied = copy_file(&from, &to, name, &fresh, meta)
                    .and_then(|()| give(&to, &fresh, owner));
                if let Err(error) = copied {
                    drop_quietly(&to, &fresh);
                    return Err(error);
                }
                if old == Ok(FileType::Directory) {
                    clear(&to, name, old)?;
                }
                Ok(rustix::fs::renameat(&to, &fresh, &to, name)?)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&from, name, Vec::new())?;
                if old == Ok(FileType::Directory) {
                    clear(&to, name, old)?;
                }
                rustix::fs::symlinkat(target, &to, &fresh)?;
                give(&to, &fresh, owner)?;
                Ok(rustix::fs::renameat(&to, &fresh, &to, name)?)
            }
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Whose an entry of the original is to be: as what it takes the place of, and what is new as the folder's own.
fn owner_at(folder: &OwnedFd, before: rustix::io::Result<Stat>) -> io::Result<Ids> {
    let meta = match before {
        Ok(meta) => meta,
        Err(_not_there) => rustix::fs::fstat(folder)?,
    };
    Ok(Ids {
        user: meta.st_uid,
        group: meta.st_gid,
    })
}

/// Root writes back into a folder that may be somebody else's. Nobody else can give a file away, or has to.
fn give(at: &OwnedFd, name: &OsStr, owner: Ids) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    match own(at, name, owner) {
        // Root of a container may lack the right or the uid: then what it writes is its own, as with every other program.
        Ok(()) | Err(Errno::PERM | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn own(at: &OwnedFd, name: &OsStr, owner: Ids) -> rustix::io::Result<()> {
    let (user, group) = (Uid::from_raw(owner.user), Gid::from_raw(owner.group));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(at, name, Some(user), Some(group), flags)
}

/// Removes what stands where something of another kind is to be.
fn clear(at: &OwnedFd, name: &OsStr, old: rustix::io::Result<FileType>) -> io::Result<()> {
    match old {
        Ok(FileType::Directory) => {
            let folder = open_folder(at, Path::new(name))?;
            scratch::empty(&folder)?;
            Ok(rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR)?)
        }
        Ok(_) => Ok(rustix::fs::unlinkat(at, name, AtFlags::empty())?),
        Err(_not_there) => Ok(()),
    }
}

fn drop_quietly(at: &OwnedFd, name: &OsStr) {
    if let Err(_never_made) = rustix::fs::unlinkat(at, name, AtFlags::empty()) {}
}

fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// Opens a folder below a root without following any symlink.
pub(super) fn open_folder(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    Ok(rustix::fs::openat2(
        root,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )?)
}

/// As `open_folder`, in our own copy, whose modes the run may have taken away.
fn open_anyhow(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    match open_folder(root, path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let parent = open_folder(root, path.parent().unwrap_or(Path::new("")))?;
            let name = path.file_name().unwrap_or(OsStr::new("."));
            rustix::fs::chmodat(&parent, name, Mode::RWXU, AtFlags::empty())?;
            open_folder(root, path)
        }
        opened => opened,
    }
}

fn names(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
        if names.len() > ENTRIES_MAX {
            return Err(io::Error::other("a folder has too many entries"));
        }
    }
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    Ok(names)
}

/// Copies content, mode and times; shares the blocks where the file system can.
fn copy_file(
    from: &OwnedFd,
    to: &OwnedFd,
    name: &OsStr,
    fresh: &OsStr,
    meta: &Stat,
) -> io::Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = match rustix::fs::openat(from, name, read, Mode::empty()) {
        Err(Errno::ACCESS) if meta.st_uid == rustix::process::geteuid().as_raw() => {
            // The run may have closed its own file; whoever owns it may open it again.
            rustix::fs::chmodat(from, name, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
            rustix::fs::openat(from, name, read, Mode::empty())?
        }
        opened => opened?,
    };
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, fresh, write, Mode::RUSR | Mode::WUSR)?;
    if rustix::fs::ioctl_ficlone(&target, &source).is_err() {
        let (mut source, mut target) = (File::from(source), File::from(target.try_clone()?));
        io::copy(&mut source, &mut target)?;
    }
    rustix::fs::fchmod(&target, Mode::from_raw_mode(meta.st_mode & 0o777))?;
    let time = |sec, nsec: u64| Timespec {
        tv_sec: sec,
        tv_nsec: i64::try_from(nsec).unwrap_or(0),
    };
    let times = Timestamps {
        last_access: time(meta.st_atime, meta.st_atime_nsec),
        last_modification: time(meta.st_mtime, meta.st_mtime_nsec),
    };
    Ok(rustix::fs::futimens(&target, &times)?)
}
