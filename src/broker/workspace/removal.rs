//! Removes a tree that an agent wrote: locked folders, a million levels, names that no path can hold.
//! It must never follow a link out of the tree.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Removes a folder with everything in it. That it is not there is no error.
///
/// Folders are moved up to the top before they are emptied, so that neither our stack nor our descriptors depend on how
/// deep the tree is. Nobody else may be writing to it.
///
/// # Errors
/// The disk says no.
pub fn remove(path: &Path) -> Result<(), io::Error> {
    let top = match open_folder(CWD.as_fd(), path) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return std::fs::remove_file(path),
        Err(error) => return Err(error.into()),
    };
    let mut names = Names {
        prefix: free_prefix(&top)?,
        given: 0,
    };
    empty(&top, &top, &mut names)?;
    let mut done = 0;
    while done < names.given {
        let name = names.name(done);
        let folder = open_folder(top.as_fd(), Path::new(&name))?;
        empty(&folder, &top, &mut names)?;
        fs::unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
        done += 1;
    }
    drop(top);
    std::fs::remove_dir(path)
}

/// Names for folders that are moved to the top.
struct Names {
    prefix: String,
    given: u64,
}

impl Names {
    fn name(&self, number: u64) -> String {
        format!("{}{number}", self.prefix)
    }

    fn next(&mut self) -> String {
        self.given += 1;
        self.name(self.given - 1)
    }
}

/// A beginning that no name of the top has, whatever names the agent chose.
fn free_prefix(top: &OwnedFd) -> Result<String, io::Error> {
    let names = names_in(top)?;
    let mut prefix = "r".to_owned();
    while names
        .iter()
        .any(|(name, _)| name.to_bytes().starts_with(prefix.as_bytes()))
    {
        prefix.push('r');
    }
    Ok(prefix)
}

/// Opens a folder that may be locked by its mode.
fn open_folder(at: std::os::fd::BorrowedFd<'_>, name: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let seen = fs::openat(at, name, flags | OFlags::PATH, Mode::empty())?;
    let mode = Mode::from_raw_mode(fs::fstat(&seen)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        // A descriptor of O_PATH cannot be given to fchmod; its name under /proc is the folder itself.
        let own = format!("/proc/self/fd/{}", seen.as_raw_fd());
        fs::chmod(own, mode | Mode::RWXU)?;
    }
    fs::openat(&seen, ".", flags | OFlags::RDONLY, Mode::empty())
}

fn names_in(folder: &OwnedFd) -> Result<Vec<(CString, FileType)>, io::Error> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(names)
}

/// Deletes what is no folder, and moves every folder to the top.
fn empty(folder: &OwnedFd, top: &OwnedFd, names: &mut Names) -> Result<(), io::Error> {
    for (name, kind) in names_in(folder)? {
        let kind = match kind {
            FileType::Unknown => {
                let stat = fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            known => known,
        };
        if kind == FileType::Directory {
            // Moving a folder writes its `..`, so it must be writable itself.
            let path = Path::new(OsStr::from_bytes(name.to_bytes()));
            drop(open_folder(folder.as_fd(), path)?);
            fs::renameat(folder, &name, top, names.next())?;
        } else {
            fs::unlinkat(folder, &name, AtFlags::empty())?;
        }
    }
    Ok(())
}
