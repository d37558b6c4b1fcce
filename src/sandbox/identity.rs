//! Who the run is where nothing can show it as somebody else (levels C and D): a run of root's gets a uid that nobody else
//! has, as at level A. It must never leave the uid to the next run while anything of this one lives.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::process::{Signal, WaitOptions};
use rustix::thread::CapabilitySet;

use super::helper::lease::Lease;
use super::walls::namespaces::Ids;
use super::walls::privileges;
use super::walls::sys::{self, Side};

/// What giving files away, writing them back and ending another user's processes takes.
const NEEDED: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::KILL);
/// Memory that all users of the machine share.
const SHARED_MEMORY: &str = "/dev/shm";
/// How often everything of the uid is killed at once; the kernel leaves nobody out, so once is enough.
const KILLS: usize = 2;

/// The uid of a run of root's.
#[derive(Debug)]
pub struct Leased {
    lease: Lease,
}

impl Leased {
    /// Takes one, after ending what a killed run left under it; none where the caller is not root.
    ///
    /// # Errors
    /// Why root must keep its own: in words for the report.
    pub fn take() -> Result<Option<Self>, String> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let own = rustix::thread::capabilities(None).map_err(|error| error.to_string())?;
        if !own.effective.contains(NEEDED) {
            return Err("root may not become another user here".to_owned());
        }
        let lease = Lease::take().map_err(|fault| fault.sentence())?;
        for stale in lease.stale().map_err(|error| error.to_string())? {
            stale.end_processes().map_err(|error| error.to_string())?;
        }
        Ok(Some(Self { lease }))
    }

    /// The uid and the gid of the same number.
    #[must_use]
    pub fn ids(&self) -> Ids {
        Ids {
            user: self.lease.id,
            group: self.lease.id,
        }
    }

    /// The first path that the uid cannot read or that it cannot pass through, found out as the uid.
    ///
    /// # Errors
    /// The uid is not known here, or no process can be made.
    pub fn closed(&self, readable: &[PathBuf], passed: &[PathBuf]) -> io::Result<Option<PathBuf>> {
        let reading = readable.iter().map(|path| {
            let folder = if path.is_dir() {
                Access::EXEC_OK
            } else {
                Access::empty()
            };
            (path, Access::READ_OK | folder)
        });
        let passing = passed.iter().map(|path| (path, Access::EXEC_OK));
        let asked: Vec<(&PathBuf, Access)> = passing.chain(reading).collect();
        let (answer, line) = io::pipe()?;
        let child = match sys::clone_process(0)? {
            Side::Child => sys::leave(ask(self.ids(), &asked, OwnedFd::from(line))),
            Side::Parent(child) => child,
        };
        drop(line);
        let mut number = [0_u8; 4];
        let length = rustix::io::read(&answer, &mut number)?;
        rustix::process::waitpid(Some(child), WaitOptions::empty())?;
        if length != number.len() {
            return Err(io::Error::other("no other uid is known here"));
        }
        let place = usize::try_from(u32::from_ne_bytes(number)).unwrap_or(usize::MAX);
        Ok(asked.get(place).map(|(path, _)| (*path).clone()))
    }

    /// Lets the uid pass through a folder of ours that is closed to everybody else; any other stays as it is.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(&self, folder: &Path) -> io::Result<Option<Opened>> {
        let meta = fs::symlink_metadata(folder)?;
        if !meta.is_dir() || meta.uid() != 0 || meta.mode() & 0o7777 != 0o700 {
            return Ok(None);
        }
        let opened = Opened {
            folder: folder.to_path_buf(),
            group: meta.gid(),
        };
        chown(folder, None, Some(self.lease.id))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o710))?;
        Ok(Some(opened))
    }

    /// The same for the run's private folder. The one around it is shared by the runs of root's, each in a closed one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open_scratch(&self, scratch: &Path) -> io::Result<Vec<Opened>> {
        if let Some(around) = scratch.parent() {
            fs::set_permissions(around, fs::Permissions::from_mode(0o711))?;
        }
        Ok(self.open(scratch)?.into_iter().collect())
    }

    /// Gives a tree of our own making to the uid. Nothing runs in it yet.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn give(&self, path: &Path) -> io::Result<()> {
        let mut waiting = vec![path.to_path_buf()];
        while let Some(path) = waiting.pop() {
            if fs::symlink_metadata(&path)?.is_dir() {
                for entry in fs::read_dir(&path)? {
                    waiting.push(entry?.path());
                }
            }
            lchown(&path, Some(self.lease.id), Some(self.lease.id))?;
        }
        Ok(())
    }

    /// Gives one folder, without what is in it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn give_folder(&self, folder: &Path) -> io::Result<()> {
        lchown(folder, Some(self.lease.id), Some(self.lease.id))
    }

    /// Kills everything that has the uid in one step, which no fork outruns, sees that nothing is left, and removes what it
    /// left in memory that is shared.
    ///
    /// # Errors
    /// Something is still there after a while.
    pub fn end_all(&self) -> io::Result<()> {
        for _ in 0..KILLS {
            match sys::clone_process(0)? {
                Side::Child => sys::leave(kill_all(self.ids())),
                Side::Parent(child) => {
                    rustix::process::waitpid(Some(child), WaitOptions::empty())?;
                }
            }
        }
        self.lease.end_processes()?;
        for entry in fs::read_dir(SHARED_MEMORY).into_iter().flatten().flatten() {
            if entry
                .metadata()
                .is_ok_and(|meta| meta.uid() == self.lease.id)
            {
                remove(&entry.path());
            }
        }
        Ok(())
    }
}

/// In a process of its own, which is the uid from here on.
fn ask(ids: Ids, asked: &[(&PathBuf, Access)], line: OwnedFd) -> i32 {
    if privileges::become_user(ids).is_err() {
        return 1;
    }
    let closed = asked
        .iter()
        .position(|(path, access)| rustix::fs::access(path.as_path(), *access).is_err());
    let place = closed.and_then(|place| u32::try_from(place).ok());
    let told = rustix::io::write(line, &place.unwrap_or(u32::MAX).to_ne_bytes());
    i32::from(told.is_err())
}

/// kill(2) with -1: every process that this uid may signal, itself excepted. With a privilege left it would be every process.
fn kill_all(ids: Ids) -> i32 {
    if privileges::become_user(ids).is_err() {
        return 1;
    }
    let own = [rustix::process::getuid(), rustix::process::geteuid()];
    let plain = own
        .iter()
        .all(|uid| !uid.is_root() && uid.as_raw() == ids.user);
    let bare = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.is_empty() && sets.permitted.is_empty());
    if !plain || !bare {
        return 1;
    }
    // ESRCH: there is none, as it should be.
    if let Err(_nobody) = sys::kill_own_uid(Signal::KILL.as_raw()) {}
    0
}

/// A file or a tree whose owner is gone. What cannot be removed is found by the next run that leases the uid.
fn remove(path: &Path) {
    let done = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_gone) => Ok(()),
    };
    if let Err(_stays) = done {}
}

/// A folder that was opened for the uid; dropping this closes it again.
#[derive(Debug)]
pub struct Opened {
    folder: PathBuf,
    group: u32,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let closed = fs::Permissions::from_mode(0o700);
        // One that is gone needs no closing.
        if let Err(_gone) = fs::set_permissions(&self.folder, closed) {}
        if let Err(_gone) = chown(&self.folder, None, Some(self.group)) {}
    }
}
