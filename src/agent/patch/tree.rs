//! The workspace on disk: reads files and commits all changes or none.
//! It must never follow a symlink, leave the workspace, or open anything but regular files.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Change, FILE_BYTES_MAX, PatchError, wrong};

/// Mode of a new file; the umask still applies.
pub(super) const MODE_NEW: u32 = 0o666;

/// A regular file's content and permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
}

/// The opened workspace.
pub(super) struct Tree {
    root: OwnedFd,
    path: PathBuf,
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn io(path: &str, deed: &'static str) -> impl FnOnce(Errno) -> PatchError {
    let path = path.to_owned();
    move |errno| match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::MLINK => PatchError::Path {
            path,
            why: "a part of the path is a symlink or not a folder",
        },
        _ => PatchError::Io {
            path,
            deed,
            source: errno.into(),
        },
    }
}

impl Tree {
    pub(super) fn open(path: &Path) -> Result<Self, PatchError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())
            .map_err(io(&path.to_string_lossy(), "opening the workspace"))?;
        Ok(Self {
            root,
            path: path.to_owned(),
        })
    }

    /// The path as parts below the workspace, joined by slashes.
    pub(super) fn relative(&self, path: &str) -> Result<String, PatchError> {
        let given = Path::new(path);
        let below = if given.is_absolute() {
            given
                .strip_prefix(&self.path)
                .map_err(|_outside| wrong(path, "it is outside the workspace"))?
        } else {
            given
        };
        let mut parts = Vec::new();
        for part in below.components() {
            match part {
                Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(wrong(path, "it is outside the workspace"));
                }
            }
        }
        if parts.is_empty() || path.ends_with('/') || path.contains('\0') {
            return Err(wrong(path, "it names no file"));
        }
        Ok(parts.join("/"))
    }

    /// The file, or none where there is nothing.
    pub(super) fn read(&self, path: &str) -> Result<Option<File>, PatchError> {
        let Some((folder, name)) = self.folder(path, None)? else {
            return Ok(None);
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let descriptor = match rustix::fs::openat(&folder, name, flags, Mode::empty()) {
            Ok(descriptor) => descriptor,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(io(path, "opening")(errno)),
        };
        let stat = rustix::fs::fstat(&descriptor).map_err(io(path, "looking at it"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(wrong(path, "it is not a regular file"));
        }
        let mut bytes = Vec::new();
        let source = |source| PatchError::Io {
            path: path.to_owned(),
            deed: "reading",
            source,
        };
        std::fs::File::from(descriptor)
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(source)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
            return Err(PatchError::TooLarge(format!(
                "{FILE_BYTES_MAX} bytes a file, and {path} has more"
            )));
        }
        Ok(Some(File {
            bytes,
            mode: stat.st_mode & 0o7777,
        }))
    }

    /// The folder of a path and the last name. With `made`, missing folders are made and noted there; else none.
    fn folder<'a>(
        &self,
        path: &'a str,
        mut made: Option<&mut Vec<String>>,
    ) -> Result<Option<(OwnedFd, &'a str)>, PatchError> {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = self.root.try_clone().map_err(|source| PatchError::Io {
            path: path.to_owned(),
            deed: "opening the workspace",
            source,
        })?;
        let mut so_far = String::new();
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            if !so_far.is_empty() {
                so_far.push('/');
            }
            so_far.push_str(part);
            let next = match rustix::fs::openat(&at, part, FOLDER, Mode::empty()) {
                Err(Errno::NOENT) => match made.as_deref_mut() {
                    None => return Ok(None),
                    Some(made) => {
                        rustix::fs::mkdirat(&at, part, Mode::from_raw_mode(0o777))
                            .map_err(io(path, "making its folder"))?;
                        made.push(so_far.clone());
                        rustix::fs::openat(&at, part, FOLDER, Mode::empty())
                    }
                },
                other => other,
            };
            at = next.map_err(io(path, "opening its folder"))?;
        }
        Ok(Some((at, name)))
    }

    /// Writes all changes, or puts back what was and says why not.
    pub(super) fn commit(
        &self,
        changes: &BTreeMap<String, Change>,
    ) -> Result<Vec<String>, PatchError> {
        let mut done: Vec<(&str, &Change)> = Vec::new();
        let mut made = Vec::new();
        let mut said = Vec::new();
        for (path, change) in changes {
            if change.before == change.after {
                continue;
            }
            let written = match &change.after {
                Some(file) => self.put(path, file, change.before.is_some(), &mut made),
                None => self.remove(path),
            };
            if let Err(error) = written {
                self.roll_back(&done, &made);
                return Err(error);
            }
            done.push((path, change));
            let word = match (&change.before, &change.after) {
                (None, _) => "A",
                (Some(_), Some(_)) => "M",
                (Some(_), None) => "D",
            };
            said.push(format!("{word} {path}"));
        }
        Ok(said)
    }

    /// A new file beside the old one, then renamed over it: a reader sees the old or the new, never half.
    fn put(
        &self,
        path: &str,
        file: &File,
        replaces: bool,
        made: &mut Vec<String>,
    ) -> Result<(), PatchError> {
        let (folder, name) = self
            .folder(path, Some(made))?
            .ok_or_else(|| wrong(path, "its folder is not there"))?;
        let beside = format!(".tagout-{:08x}", std::process::id());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = rustix::fs::openat(
            &folder,
            &beside,
            flags,
            Mode::from_raw_mode(file.mode & 0o777),
        )
        .map_err(io(path, "writing"))?;
        let finished = (|| {
            let mut out = std::fs::File::from(descriptor);
            out.write_all(&file.bytes)?;
            if replaces {
                // A fresh file had the umask taken off; the one that it replaces keeps its bits.
                rustix::fs::fchmod(out.as_fd(), Mode::from_raw_mode(file.mode & 0o7777))?;
            }
            rustix::fs::renameat(&folder, &beside, &folder, name)?;
            Ok(())
        })();
        finished.map_err(|source| {
            rustix::fs::unlinkat(&folder, &beside, AtFlags::empty()).ok();
            PatchError::Io {
                path: path.to_owned(),
                deed: "writing",
                source,
            }
        })
    }

    fn remove(&self, path: &str) -> Result<(), PatchError> {
        let (folder, name) = self
            .folder(path, None)?
            .ok_or_else(|| wrong(path, "there is no such file"))?;
        rustix::fs::unlinkat(&folder, name, AtFlags::empty()).map_err(io(path, "deleting"))
    }

    /// Puts back what a failed commit had done. What cannot be put back stays as it is; the first error is told.
    fn roll_back(&self, done: &[(&str, &Change)], made: &[String]) {
        for (path, change) in done.iter().rev() {
            let undone = match &change.before {
                Some(file) => self.put(path, file, true, &mut Vec::new()),
                None => self.remove(path),
            };
            drop(undone);
        }
        for folder in made.iter().rev() {
            if let Ok(Some((parent, name))) = self.folder(folder, None) {
                rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR).ok();
            }
        }
    }
}
