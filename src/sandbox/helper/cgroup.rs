//! The run's cgroup (version 2): memory and processes of everything inside as one sum, and one word that ends it all.
//! It must never change a cgroup that it did not make: what the machine does not offer is reported as not there.
//! What each file means is in the kernel's Documentation/admin-guide/cgroup-v2.rst. The cgroup is a leaf, so that it may hold
//! processes whatever is delegated; its controllers are those that the cgroup above hands down.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::super::walls::limits::{OURS, PROCESSES_HEADROOM};

/// Where a cgroup2 file system is looked for (cgroups(7)): alone, or beside version 1.
const MOUNTS: &[&str] = &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Longest wait for what was killed to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// A share of the processor below that of the machine's own work, which has 100.
const CPU_WEIGHT: u64 = 50;

/// Two sums: which of them the kernel holds, or which of them was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Memory, with what is swapped out.
    pub memory: bool,
    /// Processes and threads.
    pub processes: bool,
}

/// The cgroup.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// Opened early: later the helper may open nothing to write to. Not there before Linux 5.14.
    kill: Option<File>,
    /// What the kernel holds.
    pub held: Sums,
}

impl Cgroup {
    /// Makes the cgroup of a leased uid, after removing one that a killed helper left. None where there is no cgroup2.
    #[must_use]
    pub fn make(id: u32, memory_bytes: u64, processes: u64) -> Option<Self> {
        let path = place(id)?;
        if path.exists() && Self::of(path.clone()).end().is_err() {
            return None;
        }
        fs::create_dir(&path).ok()?;
        let mut cgroup = Self::of(path);
        cgroup.held = cgroup.bound(memory_bytes, processes, has_swap());
        Some(cgroup)
    }

    /// Ends and removes the cgroup of a leased uid, if there is one.
    ///
    /// # Errors
    /// It is still not empty after a while.
    pub fn remove(id: u32) -> io::Result<()> {
        match place(id) {
            Some(path) if path.exists() => Self::of(path).end(),
            Some(_) | None => Ok(()),
        }
    }

    fn of(path: PathBuf) -> Self {
        let kill = OpenOptions::new()
            .write(true)
            .open(path.join("cgroup.kill"));
        Self {
            path,
            kill: kill.ok(),
            held: Sums::default(),
        }
    }

    /// Sets what can be set. The files of a controller are there only if the cgroup above hands it down.
    fn bound(&self, memory_bytes: u64, processes: u64, swap: Swap) -> Sums {
        let memory = self.set("memory.max", memory_bytes);
        // What is swapped out is not in that sum. Without the file there is no account of it.
        let swapped = self.set("memory.swap.max", 0) || swap == Swap::None;
        // One process that dies alone leaves a run that is half alive.
        self.set("memory.oom.group", 1);
        // Ours are in it too. The sum is looked at besides, and what passes the limit is named and ended before it fails.
        let most = processes.saturating_add(OURS + PROCESSES_HEADROOM);
        let processes = self.set("pids.max", most);
        self.set("cpu.weight", CPU_WEIGHT);
        Sums {
            memory: memory && swapped,
            processes,
        }
    }

    /// The file must be there: in a cgroup none can be made.
    fn set(&self, name: &str, value: u64) -> bool {
        OpenOptions::new()
            .write(true)
            .open(self.path.join(name))
            .and_then(|mut file| file.write_all(value.to_string().as_bytes()))
            .is_ok()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a process into it, and with it all that come from it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add(&self, process: Pid) -> io::Result<()> {
        let number = process.as_raw_nonzero().to_string();
        fs::write(self.path.join("cgroup.procs"), number)
    }

    /// What the kernel has refused or ended the run for.
    #[must_use]
    pub fn full(&self) -> Sums {
        Sums {
            memory: self.counts("memory.events", "oom_kill"),
            processes: self.counts("pids.events", "max"),
        }
    }

    fn counts(&self, file: &str, event: &str) -> bool {
        let events = fs::read_to_string(self.path.join(file)).unwrap_or_default();
        events
            .lines()
            .filter_map(|line| line.split_once(' '))
            .any(|(name, count)| name == event && count.trim() != "0")
    }

    /// Kills what is in it, waits until it is empty, and removes it.
    ///
    /// # Errors
    /// It is still not empty after a while.
    pub fn end(&self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            // Where there is no such file nothing is left either: the first process has taken the others with it.
            if let Some(mut kill) = self.kill.as_ref() {
                drop(kill.write_all(b"1"));
            }
            match fs::remove_dir(&self.path) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) if Instant::now() > until => return Err(error),
                Err(_not_empty_yet) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

fn place(id: u32) -> Option<PathBuf> {
    let mount = MOUNTS
        .iter()
        .map(Path::new)
        .find(|mount| mount.join("cgroup.controllers").is_file())?;
    Some(mount.join(format!("tagout-{id}")))
}

/// Whether memory can go somewhere that no sum knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swap {
    None,
    Some,
}

/// The first line of `/proc/swaps` is its heading.
fn has_swap() -> Swap {
    match fs::read_to_string("/proc/swaps") {
        Ok(text) if text.lines().count() <= 1 => Swap::None,
        Ok(_) | Err(_) => Swap::Some,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files stands in for a cgroup: a file that is not there cannot be made by writing to it.
    fn cgroup(files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroup) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let cgroup = Cgroup::of(folder.path().to_path_buf());
        (folder, cgroup)
    }

    fn read(folder: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(folder.path().join(name)).unwrap()
    }

    #[test]
    fn controllers_that_are_handed_down_hold_their_sums() {
        let names = [
            "memory.max",
            "memory.swap.max",
            "memory.oom.group",
            "pids.max",
        ];
        let files = names.map(|name| (name, ""));
        let (folder, cgroup) = cgroup(&files);
        let held = cgroup.bound(1 << 20, 40, Swap::Some);
        assert!(held.memory && held.processes);
        assert_eq!(read(&folder, "memory.max"), "1048576");
        assert_eq!(read(&folder, "memory.swap.max"), "0");
        assert_eq!(read(&folder, "memory.oom.group"), "1");
        assert_eq!(read(&folder, "pids.max"), "170");
        assert!(!folder.path().join("cpu.weight").exists());
    }

    #[test]
    fn controllers_that_are_not_there_hold_nothing() {
        let (_folder, none) = cgroup(&[]);
        assert_eq!(none.bound(1, 1, Swap::None), Sums::default());
        let (_folder, pids) = cgroup(&[("pids.max", "max")]);
        let held = pids.bound(1, 1, Swap::None);
        assert!(!held.memory && held.processes);
        // Memory that can be swapped out uncounted is in no sum.
        let (_folder, memory) = cgroup(&[("memory.max", "max")]);
        assert!(!memory.bound(1, 1, Swap::Some).memory);
        assert!(memory.bound(1, 1, Swap::None).memory);
    }

    #[test]
    fn event_names_the_sum_that_was_reached() {
        let quiet = "low 0\nhigh 0\nmax 12\noom 0\noom_kill 0\noom_group_kill 0\n";
        let (folder, cgroup) = cgroup(&[("memory.events", quiet), ("pids.events", "max 0\n")]);
        assert_eq!(cgroup.full(), Sums::default());
        fs::write(
            folder.path().join("memory.events"),
            quiet.replace("oom_kill 0", "oom_kill 3"),
        )
        .unwrap();
        assert!(cgroup.full().memory && !cgroup.full().processes);
        fs::write(folder.path().join("pids.events"), "max 7\n").unwrap();
        assert!(cgroup.full().processes);
    }
}
