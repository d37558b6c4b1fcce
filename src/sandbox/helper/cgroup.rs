//! The run's cgroup (version 2): memory and processes of everything inside as one sum, and one word that ends it all.
//! It must never change a cgroup that it did not make: what the machine does not offer is reported as not there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::super::walls::limits::PROCESSES_HEADROOM;

/// Where a cgroup2 file system is looked for (cgroups(7)): alone, or beside version 1.
const MOUNTS: &[&str] = &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Longest wait for what was killed to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// A share of the processor below that of the machine's own work, which has 100.
const CPU_WEIGHT: u64 = 50;

/// The cgroup.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// Whether the kernel holds the sum of the memory.
    pub memory: bool,
}

impl Cgroup {
    /// Makes the cgroup of a leased uid, after removing one that a killed helper left. None where there is no cgroup2.
    #[must_use]
    pub fn make(id: u32, memory_bytes: u64, processes: u64) -> Option<Self> {
        let mut cgroup = Self::of(id)?;
        if cgroup.path.exists() && cgroup.end().is_err() {
            return None;
        }
        fs::create_dir(&cgroup.path).ok()?;
        cgroup.memory = cgroup.set("memory.max", memory_bytes);
        // What is swapped out would not count.
        cgroup.set("memory.swap.max", 0);
        // One process that dies alone leaves a run that is half alive.
        cgroup.set("memory.oom.group", 1);
        // Two of them are ours. The sum is looked at besides, and only what passes the limit can be named and ended.
        let processes = processes.saturating_add(2 + PROCESSES_HEADROOM);
        cgroup.set("pids.max", processes);
        cgroup.set("cpu.weight", CPU_WEIGHT);
        Some(cgroup)
    }

    /// Ends and removes the cgroup of a leased uid, if there is one.
    ///
    /// # Errors
    /// It is still not empty after a while.
    pub fn remove(id: u32) -> io::Result<()> {
        Self::of(id).map_or(Ok(()), |cgroup| cgroup.end())
    }

    fn of(id: u32) -> Option<Self> {
        let mount = MOUNTS
            .iter()
            .map(Path::new)
            .find(|mount| mount.join("cgroup.controllers").is_file())?;
        Some(Self {
            path: mount.join(format!("tagout-{id}")),
            memory: false,
        })
    }

    fn set(&self, name: &str, value: u64) -> bool {
        fs::write(self.path.join(name), value.to_string()).is_ok()
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

    /// Whether the kernel ended the run because its memory was full.
    #[must_use]
    pub fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        events
            .lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .any(|count| count != "0")
    }

    /// Kills what is in it, waits until it is empty, and removes it.
    ///
    /// # Errors
    /// It is still not empty after a while.
    pub fn end(&self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            // Before Linux 5.14 there is no such file, and an empty cgroup needs no killing.
            drop(fs::write(self.path.join("cgroup.kill"), "1"));
            match fs::remove_dir(&self.path) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) if Instant::now() > until => return Err(error),
                Err(_not_empty_yet) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}
