//! What is said of each wall before it is raised; the launcher tells it only if every step was taken.
//! It must never say more than what the documents say of the level.

use std::collections::BTreeMap;

use super::streams;
use super::walls::limits::Counted;
use super::walls::sys;
use crate::wire::{Limits, Plan, Wall};

/// What stands at level B once every step has been taken.
#[must_use]
pub fn of_new_root(plan: &Plan, root_uid: bool) -> BTreeMap<String, Wall> {
    let unix = if sys::landlock_abi() >= 9 {
        Wall::Enforced
    } else {
        Wall::Partial
    };
    let (uid, counted) = if root_uid {
        (Wall::Partial, Counted::Never)
    } else {
        (Wall::Enforced, Counted::Alone)
    };
    let mut walls = named(&[
        ("files", Wall::Enforced),
        ("metadata", Wall::Enforced),
        ("git", Wall::Enforced),
        ("environment", Wall::Enforced),
        ("network", Wall::Enforced),
        ("dns", Wall::Enforced),
        ("unix-sockets", unix),
        ("syscalls", Wall::Enforced),
        ("processes", Wall::Enforced),
        ("uid", uid),
    ]);
    walls.extend(of_limits(&plan.limits, counted));
    walls
}

/// What stands at level C. The run's processes are counted alone if it has a uid that nobody else has.
#[must_use]
pub fn of_shared(plan: &Plan, counted: Counted) -> BTreeMap<String, Wall> {
    let mut walls = of_new_root(plan, false);
    walls.extend(named(&[
        // /dev/shm and the user's terminals are shared.
        ("files", Wall::Partial),
        // chmod, chown, utimes and setxattr know no path that a filter could see.
        ("metadata", Wall::Absent),
        ("unix-sockets", Wall::Enforced),
        // The command lines of others are readable.
        ("processes", Wall::Partial),
        ("uid", Wall::Partial),
    ]));
    if counted == Counted::Alone {
        walls.extend(named(&[
            // No file outside belongs to the uid; those that everybody may write to can be given a new time.
            ("metadata", Wall::Partial),
            ("uid", Wall::Enforced),
        ]));
    }
    walls.extend(of_limits(&plan.limits, counted));
    walls
}

/// What stands at level D: system calls, the environment, and limits that need no more than that.
#[must_use]
pub fn bare(at_c: &BTreeMap<String, Wall>) -> BTreeMap<String, Wall> {
    at_c.iter()
        .map(|(name, wall)| {
            let wall = match name.as_str() {
                "syscalls" | "environment" => Wall::Enforced,
                // A daemon that listens on a unix socket may have a road.
                "network" => Wall::Partial,
                limit if limit.starts_with("limits.") => *wall,
                // One that root's run alone has.
                "uid" if *wall == Wall::Enforced => *wall,
                _ => Wall::Absent,
            };
            (name.clone(), wall)
        })
        .collect()
}

fn of_limits(limits: &Limits, counted: Counted) -> BTreeMap<String, Wall> {
    let processes = match counted {
        Counted::Alone => Wall::Enforced,
        Counted::WithOthers | Counted::Never => Wall::Partial,
    };
    // One process by the kernel, the sum by looking: children that nobody waits for are in no sum once they are gone.
    let cpu_time = match limits.cpu_time_ms {
        Some(_) => Wall::Partial,
        None => Wall::Absent,
    };
    let output = match limits.output_bytes {
        // What is written to a terminal goes to it directly.
        Some(_) if streams::has_terminal_for_output() => Wall::Partial,
        Some(_) => Wall::Enforced,
        None => Wall::Absent,
    };
    named(&[
        ("limits.wall-time", Wall::Enforced),
        ("limits.memory", Wall::Partial),
        ("limits.processes", processes),
        ("limits.cpu-time", cpu_time),
        ("limits.file-size", Wall::Enforced),
        ("limits.open-files", Wall::Enforced),
        ("limits.disk", Wall::Partial),
        ("limits.output", output),
    ])
}

fn named(walls: &[(&str, Wall)]) -> BTreeMap<String, Wall> {
    walls
        .iter()
        .map(|(name, wall)| ((*name).to_owned(), *wall))
        .collect()
}
