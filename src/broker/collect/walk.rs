//! Goes through the folder that an agent wrote to, beside the base commit's tree.
//! Every entry ends as a change, as a finding, or as nothing because it is what the base commit holds.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use git2::{ObjectType, Oid};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::base::{Base, Entry, join};
use super::file::{self, Held, TARGET_BYTES_MAX};
use super::ignored::Ignored;
use super::{Bounds, COPY_ENTRIES_MAX, CollectError, ENTRIES_MAX, FINDINGS_MAX, Shown};
use crate::broker::git::GitError;
use crate::broker::workspace::TREE_DEPTH_MAX;
use crate::changeset::change::{Blob, Change, FileMode};
use crate::changeset::finding::{Code, Finding};
use crate::changeset::path::{RepoPath, fold};

/// Why the walk ended early.
#[derive(Debug)]
pub(super) enum Stop {
    Git(GitError),
    Disk(io::Error),
}

impl Stop {
    pub(super) fn into_collect(self, path: &Path) -> CollectError {
        match self {
            Self::Git(error) => CollectError::Git(error),
            Self::Disk(source) => CollectError::Disk {
                path: path.to_owned(),
                source,
            },
        }
    }
}

impl From<GitError> for Stop {
    fn from(error: GitError) -> Self {
        Self::Git(error)
    }
}

/// A folder on the way: what the base commit holds there, and whether what is missing was deleted.
struct At<'p> {
    path: &'p [u8],
    tree: Option<Oid>,
    /// A copy, a replaced folder, or one below: nothing shows through from the base commit.
    whole: bool,
}

pub(super) struct Walk<'a> {
    base: &'a Base<'a>,
    shown: Shown,
    bounds: Bounds,
    ignored: Ignored,
    ignored_count: usize,
    entries: usize,
    bytes: u64,
    depth: usize,
    changes: Vec<Change>,
    findings: Vec<Finding>,
    more_findings: usize,
    /// Set once a limit is reached: nothing more is read.
    full: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(base: &'a Base<'a>, shown: Shown, bounds: Bounds) -> Self {
        Self {
            base,
            shown,
            bounds,
            ignored: Ignored::default(),
            ignored_count: 0,
            entries: 0,
            bytes: 0,
            depth: 0,
            changes: Vec::new(),
            findings: Vec::new(),
            more_findings: 0,
            full: false,
        }
    }

    pub(super) fn root(&mut self, path: &Path) -> Result<(), Stop> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| Stop::Disk(error.into()))?;
        let at = At {
            path: b"",
            tree: Some(self.base.root()),
            whole: self.shown == Shown::Copy,
        };
        self.folder(&root, &at)
    }

    pub(super) fn finish(mut self) -> (Vec<Change>, Vec<Finding>) {
        if self.more_findings > 0 {
            self.findings.push(Finding::new(
                Code::ChangesTooMany,
                format!("{} more findings are not listed", self.more_findings),
            ));
        }
        if self.ignored_count > 0 {
            self.findings.push(Finding::new(
                Code::IgnoredLeftOut,
                format!(
                    "{} files or folders are left out because the base commit's .gitignore names them",
                    self.ignored_count
                ),
            ));
        }
        (self.changes, self.findings)
    }

    fn finding(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }

    fn note(&mut self, code: Code, path: &[u8], message: &str) {
        self.finding(Finding::new(code, message).at(&String::from_utf8_lossy(path)));
    }

    fn folder(&mut self, folder: &OwnedFd, at: &At<'_>) -> Result<(), Stop> {
        let names = match file::names(folder, ENTRIES_MAX) {
            Ok(Some(names)) => names,
            Ok(None) => return self.too_many(at.path),
            Err(error) => return self.unreadable(at.path, error),
        };
        self.ignored.enter(self.base, at.tree, at.path);
        let result = self.entries(folder, at, &names);
        self.ignored.leave();
        result
    }

    fn entries(&mut self, folder: &OwnedFd, at: &At<'_>, names: &[Vec<u8>]) -> Result<(), Stop> {
        let base = self.base;
        let before = at.tree.map(|tree| base.folder(tree)).transpose()?;
        for name in names {
            if self.full {
                return Ok(());
            }
            // The repository at the top is ours and throw-away.
            if at.path.is_empty() && name == b".git" {
                continue;
            }
            self.entries += 1;
            let most = match self.shown {
                Shown::Copy => COPY_ENTRIES_MAX,
                Shown::UserOverlay | Shown::TrustedOverlay => ENTRIES_MAX,
            };
            if self.entries > most {
                return self.too_many(at.path);
            }
            let path = join(at.path, name);
            let old = before.as_ref().and_then(|before| before.get(name, &path));
            match Held::new(folder.as_fd(), name) {
                Ok(held) => self.entry(&held, &path, old, at.whole)?,
                Err(error) => self.unreadable(&path, error)?,
            }
        }
        if let Some(before) = before.filter(|_| at.whole) {
            for (name, old) in before.list(at.path) {
                if names.binary_search(&name).is_err() {
                    self.deleted(&join(at.path, &name), old)?;
                }
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        held: &Held,
        path: &[u8],
        old: Option<Entry>,
        whole: bool,
    ) -> Result<(), Stop> {
        let kind = held.kind();
        let is_overlay = self.shown != Shown::Copy;
        if is_overlay && held.is_whiteout() {
            return match old {
                Some(old) => self.deleted(path, old),
                None => Ok(()),
            };
        }
        if old.is_none() && self.ignored.matches(path, kind == FileType::Directory) {
            self.ignored_count += 1;
            return Ok(());
        }
        match kind {
            FileType::Directory => self.subfolder(held, path, old, whole),
            FileType::RegularFile => self.regular(held, path, old),
            FileType::Symlink => self.link(held, path, old),
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => {
                self.note(Code::NotAFile, path, "it is a FIFO, a socket or a device");
                Ok(())
            }
        }
    }

    fn subfolder(
        &mut self,
        held: &Held,
        path: &[u8],
        old: Option<Entry>,
        whole: bool,
    ) -> Result<(), Stop> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        if fold(&String::from_utf8_lossy(name)) == ".git" {
            self.note(
                Code::PathGit,
                path,
                "it is a repository inside the repository",
            );
            return Ok(());
        }
        if self.depth >= TREE_DEPTH_MAX {
            self.note(Code::PathTooLong, path, "the path is deeper than 128");
            return Ok(());
        }
        let folder = match held.open_folder() {
            Ok(folder) => folder,
            Err(error) => return self.unreadable(path, error),
        };
        let tree = match old {
            Some(Entry::Folder(tree)) => Some(tree),
            Some(Entry::Submodule) => return self.submodule(&folder, path),
            Some(old @ Entry::File(..)) => {
                self.deleted(path, old)?;
                None
            }
            None => None,
        };
        let whole = whole || tree.is_none() || self.is_opaque(&folder);
        self.depth += 1;
        let result = self.folder(&folder, &At { path, tree, whole });
        self.depth -= 1;
        result
    }

    /// A submodule is shown as an empty folder, and must be one afterwards.
    fn submodule(&mut self, folder: &OwnedFd, path: &[u8]) -> Result<(), Stop> {
        if !file::names(folder, 1).is_ok_and(|names| names.is_some_and(|names| names.is_empty())) {
            self.note(
                Code::SubmoduleChanged,
                path,
                "files lie in the folder of a submodule",
            );
        }
        Ok(())
    }

    /// Whether the overlay replaced the folder. Only the mark of the mount's own mode counts: the agent can plant the other.
    fn is_opaque(&self, folder: &OwnedFd) -> bool {
        let name = match self.shown {
            Shown::UserOverlay => "user.overlay.opaque",
            Shown::TrustedOverlay => "trusted.overlay.opaque",
            Shown::Copy => return false,
        };
        file::attribute(folder, name).as_deref() == Some(b"y")
    }

    fn regular(&mut self, held: &Held, path: &[u8], old: Option<Entry>) -> Result<(), Stop> {
        if held.stat.st_nlink > 1 {
            self.note(Code::HardLink, path, "the file has more than one link");
            return Ok(());
        }
        let mode = if held.stat.st_mode & 0o100 == 0 {
            FileMode::Regular
        } else {
            FileMode::Executable
        };
        let opened = match held.open_file() {
            Ok(opened) => opened,
            Err(error) => return self.unreadable(path, error),
        };
        if self.is_marked(&opened) {
            self.note(
                Code::OverlayMark,
                path,
                "the overlay says that its content lies elsewhere",
            );
            return Ok(());
        }
        let same_size = match old {
            Some(Entry::File(id, old_mode)) if old_mode != FileMode::Symlink => {
                (self.base.bytes(id)? == held.bytes()).then_some((id, old_mode == mode))
            }
            Some(_) | None => None,
        };
        if held.bytes() > self.bounds.file_bytes {
            // Too large to keep; it may still be what the base commit holds.
            return match same_size.map(|(id, same)| (file::is_blob(opened, held.bytes(), id), same))
            {
                Some((Ok(true), true)) => Ok(()),
                Some((Err(_), _)) => self.unreadable(path, Errno::IO),
                Some((Ok(_), _)) | None => {
                    self.has_room(path, held.bytes());
                    Ok(())
                }
            };
        }
        let Ok(bytes) = file::read(opened, held.bytes()) else {
            return self.unreadable(path, Errno::IO);
        };
        if let Some((id, true)) = same_size
            && Oid::hash_object(ObjectType::Blob, &bytes).is_ok_and(|found| found == id)
        {
            return Ok(());
        }
        if held.stat.st_mode & 0o7000 != 0 {
            self.note(
                Code::ModeDropped,
                path,
                "a setuid, setgid or sticky bit is left out",
            );
        }
        if self.has_room(path, held.bytes()) {
            self.changed(path, old, mode, bytes)
        } else {
            Ok(())
        }
    }

    /// Marks of overlay features that we switch off; a file with one does not hold its own content.
    fn is_marked(&self, opened: &OwnedFd) -> bool {
        let names: &[&str] = match self.shown {
            Shown::UserOverlay => &["user.overlay.metacopy", "user.overlay.redirect"],
            Shown::TrustedOverlay => &["trusted.overlay.metacopy", "trusted.overlay.redirect"],
            Shown::Copy => &[],
        };
        names
            .iter()
            .any(|name| file::attribute(opened, name).is_some())
    }

    fn link(&mut self, held: &Held, path: &[u8], old: Option<Entry>) -> Result<(), Stop> {
        let target = match held.target() {
            Ok(target) if target.len() <= TARGET_BYTES_MAX => target,
            Ok(_) => return self.unreadable(path, Errno::NAMETOOLONG),
            Err(error) => return self.unreadable(path, error),
        };
        if let Some(Entry::File(id, FileMode::Symlink)) = old
            && self.base.content(id, TARGET_BYTES_MAX as u64)? == target
        {
            return Ok(());
        }
        if !self.has_room(path, target.len() as u64) {
            return Ok(());
        }
        self.changed(path, old, FileMode::Symlink, target)
    }

    fn changed(
        &mut self,
        path: &[u8],
        old: Option<Entry>,
        mode: FileMode,
        bytes: Vec<u8>,
    ) -> Result<(), Stop> {
        let name = match RepoPath::from_bytes(path) {
            Ok(name) => name,
            Err(refused) => {
                self.note(refused.code, path, refused.why);
                return Ok(());
            }
        };
        self.bytes += bytes.len() as u64;
        let content = Blob::new(bytes);
        let change = match old {
            Some(Entry::File(id, old_mode)) => {
                Change::modify(name, self.base.before(id, old_mode)?, mode, content)
            }
            Some(old @ Entry::Folder(_)) => {
                self.deleted(path, old)?;
                Change::add(name, mode, content)
            }
            Some(Entry::Submodule) => {
                self.note(Code::SubmoduleChanged, path, "a submodule is replaced");
                return Ok(());
            }
            None => Change::add(name, mode, content),
        };
        self.push(change);
        Ok(())
    }

    /// A path is gone, with everything below it.
    fn deleted(&mut self, path: &[u8], old: Entry) -> Result<(), Stop> {
        if self.full {
            return Ok(());
        }
        match old {
            Entry::Submodule => {
                self.note(Code::SubmoduleChanged, path, "a submodule is removed");
            }
            Entry::Folder(tree) => {
                for (name, below) in self.base.folder(tree)?.list(path) {
                    self.deleted(&join(path, &name), below)?;
                }
            }
            Entry::File(id, mode) => match RepoPath::from_bytes(path) {
                Ok(name) => {
                    if self.has_room(path, 0) {
                        let before = self.base.before(id, mode)?;
                        self.push(Change::delete(name, before));
                    }
                }
                Err(refused) => self.note(refused.code, path, refused.why),
            },
        }
        Ok(())
    }

    fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Whether one more change of so many bytes is within the bounds.
    fn has_room(&mut self, path: &[u8], bytes: u64) -> bool {
        if self.changes.len() >= self.bounds.files {
            self.full = true;
            self.finding(
                Finding::new(
                    Code::ChangesTooMany,
                    format!("more than {} files are changed", self.bounds.files),
                )
                .mend("changes.limits.files"),
            );
            return false;
        }
        if bytes > self.bounds.file_bytes {
            let message = format!("{bytes} bytes, more than {}", self.bounds.file_bytes);
            self.finding(
                Finding::new(Code::FileTooLarge, message)
                    .at(&String::from_utf8_lossy(path))
                    .mend("changes.limits.file-bytes"),
            );
            return false;
        }
        if self.bytes + bytes > self.bounds.bytes {
            self.full = true;
            self.finding(
                Finding::new(
                    Code::ChangesTooLarge,
                    format!("the changes have more than {} bytes", self.bounds.bytes),
                )
                .mend("changes.limits.bytes"),
            );
            return false;
        }
        true
    }

    fn too_many(&mut self, path: &[u8]) -> Result<(), Stop> {
        self.full = true;
        self.note(
            Code::ChangesTooMany,
            path,
            "the folder holds more entries than are read",
        );
        Ok(())
    }

    fn unreadable(&mut self, path: &[u8], error: Errno) -> Result<(), Stop> {
        let message = format!("it cannot be read: {}", io::Error::from(error));
        self.note(Code::Unreadable, path, &message);
        Ok(())
    }
}
