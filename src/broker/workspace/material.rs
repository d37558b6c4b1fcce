//! Writes a listed tree as plain files, and into packs for the repository inside.
//! It must never follow a link, and never write over anything.

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Mutex;

use git2::ObjectType;
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps};

use super::listing::{File, Kind, Listing};
use super::pack::PackWriter;
use super::{Wanted, WorkspaceError, throwaway};
use crate::broker::git::Source;

/// The time that every file of the tree gets, 2000-01-01. It lies before the index is written, so that git need not read
/// files whose size and time are as written ("racy git"), and after 1980, which zip archives demand.
pub(super) const FILE_TIME_S: i64 = 946_684_800;
/// Most bytes of files that go into one pack; its offsets must fit 31 bits.
const PACK_BYTES_MAX: u64 = 512 << 20;
/// Most files that one worker takes at a time.
const CHUNK_FILES_MAX: usize = 4096;
/// Most workers. More do not help: the disk is the bound.
const WORKERS_MAX: usize = 8;

/// How a path below the root is opened: never through a link, never out of it.
pub(super) const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// What the index needs to know of a written file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) place: usize,
    pub(super) stat: Stat,
}

/// Writes the tree and its repository into a new folder.
pub(super) fn build(
    source: &Source,
    listing: &Listing,
    wanted: &Wanted<'_>,
    into: &Path,
) -> Result<(), WorkspaceError> {
    super::make_folder(into, 0o755)?;
    let failed = |source| WorkspaceError::disk("write the tree into", into, source);
    let root = open_folder(into).map_err(failed)?;
    make_folders(&root, listing).map_err(failed)?;
    let git_dir = throwaway::make(into, super::branch_or_main(wanted.branch))?;
    let packs = git_dir.join("objects/pack");
    let mut written = write_files(source, listing, root.as_fd(), &packs)?;
    written.extend(write_links(source, listing, root.as_fd(), into)?);
    written.sort_unstable_by_key(|file| file.place);
    let time_s = source.commit_time_s(wanted.commit)?;
    throwaway::fill(&git_dir, listing, &written, time_s, wanted.branch)
}

fn open_folder(path: &Path) -> Result<OwnedFd, std::io::Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(CWD, path, flags, Mode::empty())?)
}

fn make_folders(root: &OwnedFd, listing: &Listing) -> Result<(), std::io::Error> {
    let named = listing.folders.iter().map(|folder| &folder.path);
    let empty = listing.submodules.iter().map(|(path, _)| path);
    for path in named.filter(|path| !path.is_empty()).chain(empty) {
        let path = std::ffi::OsStr::from_bytes(path);
        fs::mkdirat(root, path, Mode::from_raw_mode(0o755))?;
        // The caller's umask must not decide what the agent may read.
        fs::chmodat(root, path, Mode::from_raw_mode(0o755), AtFlags::empty())?;
    }
    Ok(())
}

/// Files of about one pack, by their places in the listing.
type Chunk = Vec<usize>;

fn chunks(listing: &Listing) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut chunk = Chunk::new();
    let mut bytes = 0;
    for (place, file) in listing.files.iter().enumerate() {
        if file.kind == Kind::Symlink {
            continue;
        }
        let full = bytes + file.bytes > PACK_BYTES_MAX || chunk.len() >= CHUNK_FILES_MAX;
        if full && !chunk.is_empty() {
            chunks.push(std::mem::take(&mut chunk));
            bytes = 0;
        }
        bytes += file.bytes;
        chunk.push(place);
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

/// Writes the regular files with a few workers, each with its own handle on the objects.
fn write_files(
    source: &Source,
    listing: &Listing,
    root: BorrowedFd<'_>,
    packs: &Path,
) -> Result<Vec<Written>, WorkspaceError> {
    let queue = Mutex::new(chunks(listing));
    let work = |source: Source| -> Result<Vec<Written>, WorkspaceError> {
        let mut written = Vec::new();
        loop {
            let next = queue.lock().expect("no worker panics with it").pop();
            let Some(chunk) = next else {
                return Ok(written);
            };
            write_chunk(&source, listing, &chunk, root, packs, &mut written)?;
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let handles = (0..cores.min(WORKERS_MAX))
        .map(|_| source.again())
        .collect::<Result<Vec<_>, _>>()?;
    let mut all = Vec::with_capacity(listing.files.len());
    std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = handles
            .into_iter()
            .map(|handle| scope.spawn(move || work(handle)))
            .collect();
        for worker in workers {
            all.extend(worker.join().expect("no worker panics")?);
        }
        Ok(all)
    })
}

fn write_chunk(
    source: &Source,
    listing: &Listing,
    chunk: &[usize],
    root: BorrowedFd<'_>,
    packs: &Path,
    written: &mut Vec<Written>,
) -> Result<(), WorkspaceError> {
    let files = || {
        chunk
            .iter()
            .filter_map(|place| listing.files.get(*place).map(|file| (*place, file)))
    };
    let count = files().filter(|(_, file)| file.packed).count();
    let failed = |source| WorkspaceError::disk("write a pack into", packs, source);
    let mut pack = PackWriter::new(packs, count).map_err(failed)?;
    for (place, file) in files() {
        let bytes = source.blob(file.id, file.bytes)?;
        if file.packed {
            pack.add(ObjectType::Blob, file.id, &bytes)
                .map_err(failed)?;
        }
        let stat = write_file(root, file, &bytes).map_err(|source| {
            let path = Path::new(std::ffi::OsStr::from_bytes(&file.path));
            WorkspaceError::disk("write", path, source)
        })?;
        written.push(Written { place, stat });
    }
    pack.finish().map_err(failed)
}

fn write_file(root: BorrowedFd<'_>, file: &File, bytes: &[u8]) -> Result<Stat, std::io::Error> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(file.kind.mode() & 0o777);
    let path = std::ffi::OsStr::from_bytes(&file.path);
    let mut opened: std::fs::File = fs::openat2(root, path, flags, mode, BENEATH)?.into();
    opened.write_all(bytes)?;
    fs::futimens(&opened, &times())?;
    let stat = fs::fstat(&opened)?;
    if Mode::from_raw_mode(stat.st_mode) != mode {
        fs::fchmod(&opened, mode)?;
    }
    Ok(stat)
}

fn times() -> Timestamps {
    let time = Timespec {
        tv_sec: FILE_TIME_S,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Links come last, so that no path above is ever resolved while one exists.
fn write_links(
    source: &Source,
    listing: &Listing,
    root: BorrowedFd<'_>,
    into: &Path,
) -> Result<Vec<Written>, WorkspaceError> {
    let mut written = Vec::new();
    for (place, file) in listing.files.iter().enumerate() {
        if file.kind != Kind::Symlink {
            continue;
        }
        let target = source.blob(file.id, 4096)?;
        let stat = write_link(root, &file.path, &target)
            .map_err(|source| WorkspaceError::disk("write a link into", into, source))?;
        written.push(Written { place, stat });
    }
    Ok(written)
}

fn write_link(root: BorrowedFd<'_>, path: &[u8], target: &[u8]) -> Result<Stat, std::io::Error> {
    let (folder, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (path.get(..at), path.get(at + 1..)),
        None => (Some(&b"."[..]), Some(path)),
    };
    let folder = std::ffi::OsStr::from_bytes(folder.unwrap_or_default());
    let name = std::ffi::OsStr::from_bytes(name.unwrap_or_default());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = fs::openat2(root, folder, flags, Mode::empty(), BENEATH)?;
    fs::symlinkat(std::ffi::OsStr::from_bytes(target), &folder, name)?;
    fs::utimensat(&folder, name, &times(), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?)
}
