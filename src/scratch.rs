//! A private folder of one run, which is gone when the run is, and which the next run removes if we were killed.
//! It must never follow a symlink or touch what another user owns.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Stale folders that one run removes at most; the rest waits for the next.
const STALE_MAX: usize = 16;
/// Entries that a removal looks at before it gives up.
pub const ENTRIES_MAX: usize = 20_000_000;
/// Attempts at a free name, of which runs that end at the same time may spoil some.
const NAMES_MAX: u32 = 256;

/// The folder. Dropping it removes it; a lock on it, which dies with the process, tells others that it is in use.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    lock: OwnedFd,
}

impl Scratch {
    /// Makes a folder for this run below `/tmp/tagout-UID` (or the system's temporary folder) and removes stale ones.
    ///
    /// # Errors
    /// The temporary folder is not writable, or somebody else's folder stands where ours belongs.
    pub fn new() -> io::Result<Self> {
        let home = home();
        let mut swept = false;
        for number in 0..NAMES_MAX {
            match rustix::fs::mkdir(&home, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            match rustix::fs::lstat(&home) {
                Ok(meta) if belongs_to_us(&meta) => {}
                // Another run that ended just now removed the empty home. So it may at each step below.
                Err(Errno::NOENT) => continue,
                Ok(_) | Err(_) => {
                    return Err(io::Error::other(format!("{} is not ours", home.display())));
                }
            }
            if !swept {
                sweep(&home);
                swept = true;
            }
            let name = format!("run-{}-{number}", std::process::id());
            let path = home.join(&name);
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST | Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            }
            let lock = match open_folder(CWD, &path) {
                Ok(lock) => lock,
                // A sweep of another run took it before it had a lock.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            // The same between the two calls; then its name is free again.
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
                && path.exists()
            {
                return Ok(Self { path, lock });
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run; there is nobody to tell.
        drop(empty(&self.lock));
        drop(fs::remove_dir(&self.path));
        drop(self.path.parent().map(fs::remove_dir));
    }
}

/// Removes the folders of runs that were killed, if there are any.
pub fn sweep_stale() {
    let home = home();
    if is_ours(&home) {
        sweep(&home);
        // Only an empty one goes.
        drop(fs::remove_dir(home));
    }
}

fn home() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    std::env::temp_dir().join(format!("tagout-{user}"))
}

fn is_ours(path: &Path) -> bool {
    rustix::fs::lstat(path).is_ok_and(|meta| belongs_to_us(&meta))
}

fn belongs_to_us(meta: &Stat) -> bool {
    FileType::from_raw_mode(meta.st_mode) == FileType::Directory
        && meta.st_uid == rustix::process::geteuid().as_raw()
        && meta.st_mode & 0o022 == 0
}

fn sweep(home: &Path) {
    let Ok(entries) = fs::read_dir(home) else {
        return;
    };
    for entry in entries.flatten().take(STALE_MAX) {
        let path = entry.path();
        let Ok(folder) = open_folder(CWD, &path) else {
            continue;
        };
        // Whoever holds the lock lives.
        if rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
            drop(empty(&folder));
            drop(fs::remove_dir(&path));
        }
    }
}

fn open_folder(
    at: impl std::os::fd::AsFd,
    path: impl rustix::path::Arg,
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// Empties a folder whatever is in it: depth, modes and names are the choice of whoever wrote it. Folders are moved up
/// to the top before they are emptied, so that neither the stack nor the descriptors grow with the depth.
///
/// # Errors
/// An entry that cannot be removed, or more entries than `ENTRIES_MAX`.
pub fn empty(top: &OwnedFd) -> io::Result<()> {
    let mut moved = 0_u64;
    let mut seen = 0_usize;
    loop {
        let folders = remove_files(top, top, &mut moved, &mut seen)?;
        if folders.is_empty() {
            return Ok(());
        }
        for name in folders {
            let folder = open_whatever_mode(top, &name)?;
            remove_files(&folder, top, &mut moved, &mut seen)?;
            rustix::fs::unlinkat(top, &*name, AtFlags::REMOVEDIR)?;
        }
    }
}

fn open_whatever_mode(top: &OwnedFd, name: &std::ffi::CStr) -> rustix::io::Result<OwnedFd> {
    // The mode is set without following a symlink, because only folders get here and the tree has no writer any more.
    rustix::fs::chmodat(top, name, Mode::RWXU, AtFlags::empty())?;
    open_folder(top, name)
}

/// Removes every entry that is no folder. Folders of `from` are moved to `top`, or returned if `from` is the top.
fn remove_files(
    from: &OwnedFd,
    top: &OwnedFd,
    moved: &mut u64,
    seen: &mut usize,
) -> io::Result<Vec<std::ffi::CString>> {
    use std::os::fd::AsRawFd;
    let is_top = from.as_raw_fd() == top.as_raw_fd();
    let mut folders = Vec::new();
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        *seen += 1;
        if *seen > ENTRIES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        match rustix::fs::unlinkat(from, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::ISDIR) if is_top => folders.push(name.to_owned()),
            Err(Errno::ISDIR) => {
                rustix::fs::chmodat(from, name, Mode::RWXU, AtFlags::empty())?;
                loop {
                    *moved += 1;
                    let place = format!(".tagout-{moved}");
                    match rustix::fs::renameat_with(
                        from,
                        name,
                        top,
                        place,
                        rustix::fs::RenameFlags::NOREPLACE,
                    ) {
                        Ok(()) => break,
                        Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_goes_with_its_deep_and_closed_content() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().to_path_buf();
        let mut deep = path.clone();
        for _ in 0..40 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("f"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", deep.join("l")).unwrap();
        rustix::fs::chmod(&deep, Mode::empty()).unwrap();
        drop(scratch);
        assert!(!path.exists());
        assert!(Path::new("/etc/passwd").exists());
    }

    #[test]
    fn runs_that_come_and_go_at_once_do_not_disturb_each_other() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let scratch = Scratch::new().unwrap();
                        assert!(scratch.path().is_dir());
                    }
                });
            }
        });
    }

    #[test]
    fn folder_of_a_dead_run_is_swept_and_that_of_a_living_one_is_not() {
        let living = Scratch::new().unwrap();
        let stale = living.path().parent().unwrap().join("run-stale");
        fs::create_dir(&stale).unwrap();
        sweep_stale();
        assert!(living.path().exists());
        assert!(!stale.exists());
    }
}
