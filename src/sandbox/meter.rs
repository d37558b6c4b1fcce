//! The limits that no single process shows: memory, processes and processor time of the whole tree, and what it wrote to disk.
//! Looking must cost next to nothing; a folder is walked only when the file system has lost as much as the limit allows.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Pid;

use super::limit::{Limit, Reached};
use super::walls::limits::{OPEN_FILES_MAX, OURS};
use crate::wire::Limits;

/// Time between two looks while every sum is far from its limit.
pub const PAUSE: Duration = Duration::from_millis(50);
/// The same while one is past half of it.
pub const PAUSE_NEAR: Duration = Duration::from_millis(10);
/// The same while processes are nearly as many as may be: the kernel's own limit is close, and tells nobody.
pub const PAUSE_FULL: Duration = Duration::from_millis(2);
/// Looks at the start of a run that follow each other so quickly: a fork bomb is fast.
const LOOKS_EARLY: u32 = 10;
/// A look that took long waits for this many times as long, so that it never costs more than a twentieth of a processor.
const PAUSE_FACTOR: u32 = 20;
/// The same for the looks at a run that is nearly full.
const PAUSE_FACTOR_FULL: u32 = 3;
/// Processes that one look counts at most; more are more than any limit allows.
const PROCESSES_MAX: usize = 100_000;
/// Entries that one walk looks at.
const ENTRIES_MAX: usize = 5_000_000;
/// Bytes that every file and folder counts at least: inodes and names run out as well.
pub const ENTRY_BYTES_MIN: u64 = 16 * 1024;
/// Milliseconds of one tick in `/proc/PID/stat`: the kernel shows a hundredth of a second whatever it counts in (USER_HZ).
const TICK_MS: u64 = 10;

/// Looks at one run.
#[derive(Debug)]
pub struct Meter {
    root: Pid,
    limits: Limits,
    folders: Vec<Folder>,
    since: SystemTime,
    near: bool,
    full: bool,
    looks: u32,
    took: Duration,
}

/// A folder that the run writes to.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    free: Option<Free>,
}

/// What a file system has left.
#[derive(Clone, Copy, Debug)]
struct Free {
    bytes: u64,
    files: u64,
}

/// The sums of one look.
#[derive(Debug, Default)]
struct Sums {
    threads: u64,
    memory_bytes: u64,
    cpu_ms: u64,
    files_full: bool,
}

impl Meter {
    /// For the tree that starts at `root` (which is ours and does not count) and writes to `folders`.
    #[must_use]
    pub fn new(root: Pid, limits: &Limits, folders: &[PathBuf]) -> Self {
        Self {
            root,
            limits: limits.clone(),
            folders: folders
                .iter()
                .map(|path| Folder {
                    path: path.clone(),
                    free: free(path),
                })
                .collect(),
            // A second for clocks of file systems that count in whole ones.
            since: SystemTime::now() - Duration::from_secs(1),
            near: false,
            full: false,
            looks: 0,
            took: Duration::ZERO,
        }
    }

    /// How long to wait before the next look.
    #[must_use]
    pub fn pause(&self) -> Duration {
        if self.full {
            return PAUSE_FULL.max(self.took.saturating_mul(PAUSE_FACTOR_FULL));
        }
        let early = self.looks < LOOKS_EARLY;
        let least = if self.near || early {
            PAUSE_NEAR
        } else {
            PAUSE
        };
        least.max(self.took.saturating_mul(PAUSE_FACTOR))
    }

    /// A limit that is reached now.
    #[must_use]
    pub fn look(&mut self) -> Option<Reached> {
        let began = Instant::now();
        self.looks = self.looks.saturating_add(1);
        let sums = self.tree();
        let processes = sums.threads.saturating_sub(OURS);
        let half = |sum: u64, limit: u64| sum > limit / 2;
        self.near = half(sums.memory_bytes, self.limits.memory_bytes)
            || half(processes, self.limits.processes);
        self.full = processes
            > self
                .limits
                .processes
                .saturating_sub(self.limits.processes / 4);
        let cpu_over = self
            .limits
            .cpu_time_ms
            .is_some_and(|limit| sums.cpu_ms >= limit);
        let reached = if sums.memory_bytes > self.limits.memory_bytes {
            Some(Reached::Ends(Limit::Memory))
        } else if processes > self.limits.processes {
            Some(Reached::Ends(Limit::Processes))
        } else if cpu_over {
            Some(Reached::Ends(Limit::CpuTime))
        } else if self.disk_is_over() {
            Some(Reached::Ends(Limit::Disk))
        } else {
            sums.files_full
                .then_some(Reached::Hinders(Limit::OpenFiles))
        };
        self.took = began.elapsed();
        reached
    }

    fn disk_is_over(&mut self) -> bool {
        let (limit, since) = (self.limits.disk_bytes, self.since);
        self.folders
            .iter_mut()
            .any(|folder| folder.is_over(limit, since))
    }

    /// Whether a file of exactly the largest size was left: its program was refused the byte after it. Asked once, for a
    /// run that failed.
    #[must_use]
    pub fn has_file_at_limit(&self) -> bool {
        let limit = self.limits.file_bytes;
        self.folders.iter().any(|folder| {
            let mut found = false;
            walk(&folder.path, self.since, &mut |meta| {
                found |= meta.is_file() && meta.len() >= limit;
                !found
            });
            found
        })
    }

    /// Threads, private memory and processor time of the whole tree.
    fn tree(&self) -> Sums {
        let mut sums = Sums::default();
        let mut waiting = vec![self.root.as_raw_nonzero().get()];
        let mut seen = 0;
        while let Some(process) = waiting.pop() {
            seen += 1;
            // Counting on would only give a fork bomb more time.
            if seen > PROCESSES_MAX || sums.threads > self.limits.processes.saturating_add(OURS) {
                break;
            }
            let folder = format!("/proc/{process}");
            let Ok(tasks) = fs::read_dir(format!("{folder}/task")) else {
                continue;
            };
            for task in tasks.flatten() {
                sums.threads += 1;
                let Ok(children) = fs::read_to_string(task.path().join("children")) else {
                    continue;
                };
                let numbers = children.split_ascii_whitespace();
                waiting.extend(numbers.filter_map(|number| number.parse::<i32>().ok()));
            }
            sums.add_status(&folder);
            if self.limits.cpu_time_ms.is_some() {
                sums.cpu_ms += cpu_ms(&folder);
            }
        }
        sums
    }
}

impl Sums {
    /// Resident and swapped memory that belongs to no file (proc_pid_status(5); the numbers are in kibibytes). Shared
    /// memory would count once a process.
    fn add_status(&mut self, folder: &str) {
        let Ok(text) = fs::read_to_string(format!("{folder}/status")) else {
            return;
        };
        let line = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.split_ascii_whitespace().next())
                .and_then(|number| number.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let kib = line("RssAnon:").saturating_add(line("VmSwap:"));
        self.memory_bytes = self.memory_bytes.saturating_add(kib.saturating_mul(1024));
        // The table of descriptors grows by doubling, so only a large one is counted.
        if line("FDSize:") >= OPEN_FILES_MAX && !self.files_full {
            let open = fs::read_dir(format!("{folder}/fd")).map_or(0, Iterator::count);
            self.files_full = open as u64 >= OPEN_FILES_MAX;
        }
    }
}

/// Processor time of a process and of all children that it has waited for (proc_pid_stat(5), fields 14 to 17).
fn cpu_ms(folder: &str) -> u64 {
    let Ok(text) = fs::read_to_string(format!("{folder}/stat")) else {
        return 0;
    };
    // The name in brackets may hold anything, so fields are counted from the last bracket.
    let Some((_, rest)) = text.rsplit_once(") ") else {
        return 0;
    };
    let ticks: u64 = rest
        .split(' ')
        .skip(11)
        .take(4)
        .filter_map(|word| word.parse::<u64>().ok())
        .sum();
    ticks.saturating_mul(TICK_MS)
}

fn free(path: &Path) -> Option<Free> {
    let system = rustix::fs::statvfs(path).ok()?;
    Some(Free {
        bytes: system.f_bfree.saturating_mul(system.f_frsize),
        files: system.f_ffree,
    })
}

impl Folder {
    /// What the file system has lost since, bytes and files together. Others write to it too.
    fn lost(&self) -> u64 {
        let (Some(before), Some(now)) = (self.free, free(&self.path)) else {
            return 0;
        };
        let files = before.files.saturating_sub(now.files);
        before
            .bytes
            .saturating_sub(now.bytes)
            .saturating_add(files.saturating_mul(ENTRY_BYTES_MIN))
    }

    /// Whether more than `limit` bytes were written here since. Others write to the same file system, so a loss only says
    /// that it is time to count.
    fn is_over(&mut self, limit: u64, since: SystemTime) -> bool {
        if self.lost() <= limit {
            return false;
        }
        let mut bytes = 0_u64;
        let whole = walk(&self.path, since, &mut |meta| {
            let own = if meta.is_dir() {
                0
            } else {
                meta.blocks().saturating_mul(512)
            };
            bytes = bytes.saturating_add(own.max(ENTRY_BYTES_MIN));
            bytes <= limit
        });
        if !whole {
            return true;
        }
        // It was somebody else; the next count comes when as much is lost again.
        self.free = free(&self.path);
        false
    }
}

/// Shows every entry that changed since, without following any link, until `more` has seen enough. False if it has, or if
/// there are too many.
fn walk(path: &Path, since: SystemTime, more: &mut dyn FnMut(&Metadata) -> bool) -> bool {
    let since = since
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
    let mut waiting = vec![path.to_path_buf()];
    let mut seen = 0_usize;
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            seen += 1;
            if seen > ENTRIES_MAX {
                return false;
            }
            let Ok(meta) = entry.path().symlink_metadata() else {
                continue;
            };
            if meta.is_dir() {
                waiting.push(entry.path());
            }
            if meta.ctime() >= since && !more(&meta) {
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            memory_bytes: 1 << 40,
            processes: 1 << 40,
            cpu_time_ms: None,
            file_bytes: 1 << 40,
            disk_bytes: 1 << 40,
            output_bytes: None,
            wall_time_ms: 0,
        }
    }

    fn look(limits: &Limits, folders: &[PathBuf]) -> Option<Reached> {
        Meter::new(rustix::process::getpid(), limits, folders).look()
    }

    #[test]
    fn own_tree_is_counted() {
        assert_eq!(look(&limits(), &[]), None);
        let memory = Limits {
            memory_bytes: 1,
            ..limits()
        };
        assert_eq!(look(&memory, &[]), Some(Reached::Ends(Limit::Memory)));
        let time = Limits {
            cpu_time_ms: Some(0),
            ..limits()
        };
        assert_eq!(look(&time, &[]), Some(Reached::Ends(Limit::CpuTime)));
    }

    #[test]
    fn empty_files_count_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits {
            disk_bytes: 20 * ENTRY_BYTES_MIN,
            ..limits()
        };
        let mut meter = Meter::new(rustix::process::getpid(), &limits, &[folder.path().into()]);
        for number in 0..19 {
            fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        // Whatever others do on this file system: these are too few.
        assert_eq!(meter.look(), None);
        let full = Free {
            bytes: u64::MAX,
            files: u64::MAX,
        };
        meter.folders[0].free = Some(full);
        assert_eq!(meter.look(), None);
        for number in 19..30 {
            fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        meter.folders[0].free = Some(full);
        assert_eq!(meter.look(), Some(Reached::Ends(Limit::Disk)));
    }
}
