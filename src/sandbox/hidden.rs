//! The hidden word `__launch`: the launcher as a process of its own, started by the broker.
//! It must end with everything inside when the broker ends, however that ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use super::launch::run_guarded;
use super::walls::sys;
use super::watch::Guard;
use crate::console;
use crate::wire::{Network, Plan, WallsReport};

/// Where the plan is read from, as JSON until the end of the file.
pub(super) const PLAN: i32 = 3;
/// Where the report is written to, as JSON.
pub(super) const REPORT: i32 = 4;
/// Largest plan in bytes.
pub const PLAN_BYTES_MAX: u64 = 16 << 20;

/// Reads the plan, runs it and writes the report. The exit code says only whether there is a report.
#[must_use]
pub fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::notice(&format!("tagout: internal: the launcher: {error}"));
            ExitCode::from(crate::outcome::sandbox_code::OURS)
        }
    }
}

fn serve() -> io::Result<()> {
    let plan = sys::adopt_descriptor(PLAN)?;
    let report = sys::adopt_descriptor(REPORT)?;
    let plan = read_plan(plan)?;
    keep_inside(&report)?;
    if let Network::Egress { door, .. } = &plan.network {
        // It is used by its number; only commands must not inherit it.
        let door = sys::borrow_descriptor(*door)?;
        rustix::io::fcntl_setfd(door, rustix::io::FdFlags::CLOEXEC)?;
    }
    // The broker's end of the report pipe closes with the broker, whatever killed it.
    let guard = Guard {
        reader: Some(report.as_fd()),
        output: None,
    };
    let text = serde_json::to_vec::<WallsReport>(&run_guarded(&plan, guard))?;
    File::from(report).write_all(&text)
}

fn read_plan(plan: OwnedFd) -> io::Result<Plan> {
    keep_inside(&plan)?;
    let mut text = Vec::new();
    File::from(plan)
        .take(PLAN_BYTES_MAX + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > PLAN_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(serde_json::from_slice(&text)?)
}

fn keep_inside(descriptor: &OwnedFd) -> io::Result<()> {
    rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
    Ok(())
}
