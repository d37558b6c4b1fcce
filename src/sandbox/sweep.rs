//! The end of a run without process ids of its own (level C): everything that came from us is killed until nothing is left.
//! It must never kill a process that it did not inherit.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions};

/// Longest time that a sweep may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Makes orphans of the calling process's descendants its children, so that none can leave the tree.
///
/// # Errors
/// What prctl(2) says.
pub fn adopt_orphans() -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// The children of the calling process.
///
/// # Errors
/// /proc cannot be read.
pub fn children() -> io::Result<Vec<Pid>> {
    let own = rustix::process::getpid().as_raw_nonzero();
    match fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        Ok(text) => Ok(text
            .split_ascii_whitespace()
            .filter_map(|word| word.parse().ok())
            .filter_map(Pid::from_raw)
            .collect()),
        // A kernel without CONFIG_PROC_CHILDREN: every process is asked for its parent.
        Err(_not_built) => scan(own.get()),
    }
}

fn scan(own: i32) -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // The name in brackets may hold anything, so the parent is counted from the last bracket.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1))
            .and_then(|word| word.parse().ok());
        if parent == Some(own) {
            found.extend(Pid::from_raw(number));
        }
    }
    Ok(found)
}

/// The children of another process. Without CONFIG_PROC_CHILDREN none: they become ours when it dies.
fn children_of(process: Pid) -> Vec<Pid> {
    let number = process.as_raw_nonzero();
    let Ok(tasks) = fs::read_dir(format!("/proc/{number}/task")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let numbers = text.split_ascii_whitespace();
        found.extend(
            numbers
                .filter_map(|word| word.parse().ok())
                .filter_map(Pid::from_raw),
        );
    }
    found
}

/// Kills and reaps all children but `spared`, and theirs, until none is left. Each round goes through the whole tree, for a
/// fork bomb grows faster than its generations die one by one.
///
/// # Errors
/// Some are still there after `PATIENCE`: the run may not be sealed.
pub fn sweep(spared: &[Pid]) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut waiting: Vec<Pid> = children()?
            .into_iter()
            .filter(|child| !spared.contains(child))
            .collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let direct = waiting.clone();
        while let Some(process) = waiting.pop() {
            // Looked for before it dies: afterwards they are ours, and only the next round would find them.
            let below = children_of(process);
            kill(process);
            waiting.extend(below);
        }
        for child in direct {
            if let Err(_reaped) = rustix::process::waitpid(Some(child), WaitOptions::empty()) {}
        }
        if Instant::now() > until {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// First it loses the means to make more of its kind, then its life. Both may come too late for one that ends.
fn kill(process: Pid) {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(_gone) = rustix::process::prlimit(Some(process), Resource::Nproc, none) {}
    if let Err(_gone) = rustix::process::kill_process(process, Signal::KILL) {}
}
