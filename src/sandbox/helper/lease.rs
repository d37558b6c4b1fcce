//! A uid that belongs to one run alone: the first of a reserved range whose lock nobody holds.
//! It must never give out a uid while a process of its last holder lives.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::super::walls::Fault;

/// The first uid (and gid) of the range, which systemd's list of uids leaves free (60578 to 61183, UIDS-GIDS.md).
pub const FIRST: u32 = 60_600;
/// Runs at a time on one machine.
pub const LEASES_MAX: u32 = 64;
/// Where the locks are: a folder of root's.
pub const FOLDER: &str = "/run/tagout";
/// Longest wait for processes of a uid to end after they were killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a lock is taken anew because its file was removed meanwhile.
const ATTEMPTS_MAX: u32 = 8;

/// The lease. It ends with this value, or with the process that holds it.
#[derive(Debug)]
pub struct Lease {
    /// The uid, and the gid of the same number.
    pub id: u32,
    folder: OwnedFd,
    _lock: OwnedFd,
}

impl Lease {
    /// Takes a lease. Processes that still have its uid, because a helper was killed, are ended first.
    ///
    /// # Errors
    /// All are taken, or the folder is not root's alone.
    pub fn take() -> Result<Self, Fault> {
        let step = |error: io::Error| Fault::new("lease a uid", error);
        for _ in 0..ATTEMPTS_MAX {
            match Self::first_free() {
                Ok(Some(lease)) => {
                    lease.end_processes().map_err(step)?;
                    return Ok(lease);
                }
                Ok(None) => {
                    let used = format!("all {LEASES_MAX} uids from {FIRST} on are in use");
                    return Err(step(io::Error::other(used)));
                }
                // Another run removed the empty folder just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(step(error)),
            }
        }
        Err(step(io::ErrorKind::ResourceBusy.into()))
    }

    /// The leases of helpers that were killed: each is ours now, and what it left must be ended.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn stale(&self) -> io::Result<Vec<Self>> {
        let mut stale = Vec::new();
        for entry in fs::read_dir(FOLDER)?.flatten() {
            let id = entry
                .file_name()
                .to_str()
                .and_then(|file| file.strip_prefix("uid-")?.parse::<u32>().ok())
                .filter(|id| (FIRST..FIRST + LEASES_MAX).contains(id) && *id != self.id);
            let Some(id) = id else { continue };
            let folder = self.folder.try_clone()?;
            if let Some(lock) = lock(&folder, id)? {
                stale.push(Self {
                    id,
                    folder,
                    _lock: lock,
                });
            }
        }
        Ok(stale)
    }

    fn first_free() -> io::Result<Option<Self>> {
        let folder = open_folder()?;
        for id in FIRST..FIRST + LEASES_MAX {
            if let Some(lock) = lock(&folder, id)? {
                return Ok(Some(Self {
                    id,
                    folder,
                    _lock: lock,
                }));
            }
        }
        Ok(None)
    }

    /// Kills all processes of the uid, and waits until there are none.
    ///
    /// # Errors
    /// Some are still there after a while.
    pub fn end_processes(&self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let alive = processes(self.id)?;
            if alive.is_empty() {
                return Ok(());
            }
            for process in alive {
                // One that has just ended is what is wanted.
                if let Err(_gone) = rustix::process::kill_process(process, Signal::KILL) {}
            }
            if Instant::now() > until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The lock is still held: whoever waits for it will see that its file is another one.
        let file = name(self.id);
        if let Err(_gone) = rustix::fs::unlinkat(&self.folder, file, AtFlags::empty()) {}
        // Only an empty folder goes.
        if let Err(_in_use) = rustix::fs::rmdir(FOLDER) {}
    }
}

fn name(id: u32) -> String {
    format!("uid-{id}")
}

fn open_folder() -> io::Result<OwnedFd> {
    match rustix::fs::mkdir(FOLDER, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, FOLDER, flags, Mode::empty())?;
    let meta = rustix::fs::fstat(&folder)?;
    if meta.st_uid != 0 || meta.st_mode & 0o022 != 0 {
        return Err(io::Error::other(format!("{FOLDER} is not root's alone")));
    }
    Ok(folder)
}

/// The lock of one uid; none if somebody holds it.
fn lock(folder: &OwnedFd, id: u32) -> io::Result<Option<OwnedFd>> {
    let name = name(id);
    for _ in 0..ATTEMPTS_MAX {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, &name, flags, Mode::RUSR | Mode::WUSR)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let held = rustix::fs::fstat(&file)?;
        // The file that the name stands for now must be the one that is locked.
        match rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) if named.st_ino == held.st_ino && is_file(named.st_mode) => {
                return Ok(Some(file));
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn is_file(mode: u32) -> bool {
    FileType::from_raw_mode(mode) == FileType::RegularFile
}

/// The processes that have this uid. A folder of /proc belongs to the process's effective uid, or to root if it may not be
/// traced, so the list of uids is read (proc_pid_status(5)).
fn processes(id: u32) -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok());
        let Some(process) = number.and_then(Pid::from_raw) else {
            continue;
        };
        let owner = entry.metadata().map_or(0, |meta| meta.uid());
        if owner != 0 && owner != id {
            continue;
        }
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else {
            continue;
        };
        if has_uid(&status, id) {
            found.push(process);
        }
    }
    Ok(found)
}

/// Whether one of the four uids is this one. A zombie has nothing left that could act.
fn has_uid(status: &str, id: u32) -> bool {
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let zombie = line("State:").is_some_and(|state| state.trim_start().starts_with('Z'));
    let own = line("Uid:").is_some_and(|ids| {
        ids.split_ascii_whitespace()
            .any(|word| word.parse() == Ok(id))
    });
    own && !zombie
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_is_known_by_any_of_its_uids() {
        let status = "Name:\tx\nState:\tS (sleeping)\nUid:\t0\t0\t60600\t0\n";
        assert!(has_uid(status, 60_600));
        assert!(!has_uid(status, 60_601));
        assert!(!has_uid(&status.replace("S (", "Z ("), 60_600));
    }
}
