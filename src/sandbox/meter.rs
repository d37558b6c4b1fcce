//! The limits that no single process shows: memory and processes of the whole tree, and what it wrote to disk.
//! Looking must cost next to nothing; a folder is walked only when the file system has lost as much as the limit allows.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::process::Pid;

use crate::wire::Limits;

/// Time between two looks.
pub const PAUSE: Duration = Duration::from_millis(250);
/// Processes that one look counts at most; more are more than any limit allows.
const PROCESSES_MAX: usize = 100_000;
/// Entries that one walk looks at.
const ENTRIES_MAX: usize = 5_000_000;

/// Looks at one run.
#[derive(Debug)]
pub struct Meter {
    root: Pid,
    memory_bytes: u64,
    processes: u64,
    disk_bytes: u64,
    folders: Vec<Folder>,
    since: SystemTime,
}

/// A folder that the run writes to.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    free_bytes: Option<u64>,
}

impl Meter {
    /// For the tree that starts at `root` (which is ours and does not count) and writes to `folders`.
    #[must_use]
    pub fn new(root: Pid, limits: &Limits, folders: &[PathBuf]) -> Self {
        Self {
            root,
            memory_bytes: limits.memory_bytes,
            processes: limits.processes,
            disk_bytes: limits.disk_bytes,
            folders: folders
                .iter()
                .map(|path| Folder {
                    path: path.clone(),
                    free_bytes: free_bytes(path),
                })
                .collect(),
            // A second for clocks of file systems that count in whole ones.
            since: SystemTime::now() - Duration::from_secs(1),
        }
    }

    /// The name of a limit that is reached.
    #[must_use]
    pub fn look(&mut self) -> Option<&'static str> {
        let (processes, memory_bytes) = self.tree();
        if memory_bytes > self.memory_bytes {
            return Some("memory");
        }
        // Two of them are ours.
        if processes > self.processes.saturating_add(2) {
            return Some("processes");
        }
        let limit = self.disk_bytes;
        let since = self.since;
        let full = self
            .folders
            .iter_mut()
            .any(|folder| folder.is_over(limit, since));
        full.then_some("disk")
    }

    /// Threads and private memory of the whole tree.
    fn tree(&self) -> (u64, u64) {
        let (mut threads, mut kib) = (0_u64, 0_u64);
        let mut waiting = vec![self.root.as_raw_nonzero().get()];
        let mut seen = 0;
        while let Some(process) = waiting.pop() {
            seen += 1;
            if seen > PROCESSES_MAX {
                break;
            }
            let folder = format!("/proc/{process}");
            let Ok(tasks) = fs::read_dir(format!("{folder}/task")) else {
                continue;
            };
            for task in tasks.flatten() {
                threads += 1;
                let Ok(children) = fs::read_to_string(task.path().join("children")) else {
                    continue;
                };
                let numbers = children.split_ascii_whitespace();
                waiting.extend(numbers.filter_map(|number| number.parse::<i32>().ok()));
            }
            kib += memory_kib(&folder);
        }
        (threads, kib.saturating_mul(1024))
    }
}

/// Resident memory that belongs to no file (proc_pid_status(5); the number is in kibibytes). Shared memory would count once a process.
fn memory_kib(folder: &str) -> u64 {
    let Ok(text) = fs::read_to_string(format!("{folder}/status")) else {
        return 0;
    };
    let line = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.split_ascii_whitespace().next())
            .and_then(|number| number.parse::<u64>().ok())
            .unwrap_or(0)
    };
    line("RssAnon:")
}

fn free_bytes(path: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(path).ok()?;
    Some(system.f_bfree.saturating_mul(system.f_frsize))
}

impl Folder {
    /// Whether more than `limit` bytes were written here since. Others write to the same file system, so a loss of free
    /// bytes only says that it is time to count.
    fn is_over(&mut self, limit: u64, since: SystemTime) -> bool {
        let (Some(before), Some(now)) = (self.free_bytes, free_bytes(&self.path)) else {
            return false;
        };
        if before.saturating_sub(now) <= limit {
            return false;
        }
        if written_bytes(&self.path, since) > limit {
            return true;
        }
        // It was somebody else; the next count comes when as much is lost again.
        self.free_bytes = Some(now);
        false
    }
}

fn written_bytes(path: &Path, since: SystemTime) -> u64 {
    let since = since
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
    let mut waiting = vec![path.to_path_buf()];
    let (mut bytes, mut seen) = (0_u64, 0_usize);
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            seen += 1;
            if seen > ENTRIES_MAX {
                return u64::MAX;
            }
            let Ok(meta) = entry.path().symlink_metadata() else {
                continue;
            };
            if meta.is_dir() {
                waiting.push(entry.path());
            } else if meta.ctime() >= since {
                bytes = bytes.saturating_add(meta.blocks().saturating_mul(512));
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_tree_is_counted() {
        let limits = |memory_bytes, processes| Limits {
            memory_bytes,
            processes,
            file_bytes: 0,
            disk_bytes: u64::MAX,
            output_bytes: None,
            wall_time_ms: 0,
        };
        let own = rustix::process::getpid();
        assert_eq!(
            Meter::new(own, &limits(1, 1 << 40), &[]).look(),
            Some("memory")
        );
        assert_eq!(Meter::new(own, &limits(1 << 40, 1 << 40), &[]).look(), None);
    }
}
