//! One entry of an agent's folder: opened without following, waiting or trusting.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use git2::Oid;
use rustix::fs::{self, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use sha1::{Digest as _, Sha1};

/// Longest target of a link, in bytes; Linux allows no more.
pub(super) const TARGET_BYTES_MAX: usize = 4096;
/// Bytes read at a time.
const PIECE_BYTES: usize = 128 << 10;

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// An entry, held by a descriptor that can neither be read nor swapped.
pub(super) struct Held {
    fd: OwnedFd,
    pub(super) stat: Stat,
}

impl Held {
    /// Takes hold of a name in a folder.
    pub(super) fn new(folder: BorrowedFd<'_>, name: &[u8]) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // A link itself may be held, though none is followed.
        let resolve = BENEATH.difference(ResolveFlags::NO_SYMLINKS);
        let fd = fs::openat2(
            folder,
            OsStr::from_bytes(name),
            flags,
            Mode::empty(),
            resolve,
        )?;
        let stat = fs::fstat(&fd)?;
        Ok(Self { fd, stat })
    }

    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// What overlayfs leaves for a deletion: a character device 0:0.
    pub(super) fn is_whiteout(&self) -> bool {
        self.kind() == FileType::CharacterDevice && self.stat.st_rdev == 0
    }

    pub(super) fn bytes(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or_default()
    }

    pub(super) fn target(&self) -> Result<Vec<u8>, Errno> {
        Ok(fs::readlinkat(&self.fd, "", Vec::new())?.into_bytes())
    }

    /// Opens the folder that is held, whatever its mode: the agent is gone, and the folder is ours.
    pub(super) fn open_folder(&self) -> Result<OwnedFd, Errno> {
        self.open(OFlags::DIRECTORY, Mode::RUSR | Mode::XUSR)
    }

    /// Opens the regular file that is held.
    pub(super) fn open_file(&self) -> Result<OwnedFd, Errno> {
        self.open(OFlags::NONBLOCK | OFlags::NOCTTY, Mode::RUSR)
    }

    fn open(&self, flags: OFlags, needed: Mode) -> Result<OwnedFd, Errno> {
        // The name under /proc is the held file itself, whatever lies at its old name now.
        let own = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
        match fs::open(&own, flags, Mode::empty()) {
            Err(Errno::ACCESS) => {
                let mode = Mode::from_raw_mode(self.stat.st_mode);
                fs::chmod(&own, mode | needed)?;
                fs::open(&own, flags, Mode::empty())
            }
            opened => opened,
        }
    }
}

/// An extended attribute's first bytes; none where it is not set.
pub(super) fn attribute(file: impl AsFd, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 16];
    let count = fs::fgetxattr(file, name, value.as_mut_slice()).ok()?;
    value.truncate(count);
    Some(value)
}

/// Names in a folder without `.` and `..`, at most `max`; none if there are more.
pub(super) fn names(folder: &OwnedFd, max: usize) -> Result<Option<Vec<Vec<u8>>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            if names.len() == max {
                return Ok(None);
            }
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(Some(names))
}

/// Whether the bytes are those of a blob, in constant memory. The caller has compared the sizes.
pub(super) fn is_blob(file: OwnedFd, bytes: u64, id: Oid) -> io::Result<bool> {
    let mut file = std::fs::File::from(file);
    let mut sum = Sha1::new();
    sum.update(format!("blob {bytes}\0"));
    let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(bytes).unwrap_or(PIECE_BYTES).max(1))];
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok(sum.finalize().as_slice() == id.as_bytes());
        }
        sum.update(piece.get(..count).unwrap_or_default());
    }
}

/// All bytes of a file; an error if it has grown meanwhile.
pub(super) fn read(file: OwnedFd, bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
    std::fs::File::from(file)
        .take(bytes + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 == bytes {
        Ok(content)
    } else {
        Err(io::Error::other("the file changed while it was read"))
    }
}
