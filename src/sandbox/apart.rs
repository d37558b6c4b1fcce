//! The launcher as a process of its own, for a caller that held a secret: what is cloned inside must never have held it.
//! It must end with the caller, and the caller's environment must not go along.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use command_fds::{CommandFdExt, FdMapping};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Pid;

use super::hidden::{PLAN, REPORT};
use super::launch::refused;
use super::walls::sys;
use super::watch::PASSED;
use crate::wire::{HELPER_VARIABLE, LAUNCH_WORD, Network, Plan, WallsReport};

/// Where the door stands in the launcher, if there is one.
const DOOR: i32 = 5;
/// Largest report that is read, in bytes.
pub const REPORT_BYTES_MAX: usize = 4 << 20;
/// Bytes that one read of it takes at most.
const PART_BYTES: usize = 16 * 1024;

/// As `launch::run`, in a process that is started afresh and knows only the plan. The calling process must have one thread.
#[must_use]
pub fn run(plan: &Plan) -> WallsReport {
    match follow(plan) {
        Ok(report) => report,
        Err(error) => refused(plan, vec![format!("internal: the launcher: {error}")]),
    }
}

fn follow(plan: &Plan) -> io::Result<WallsReport> {
    // The signals wait from now on, and nothing that is sent while the launcher starts is lost.
    let passed: Vec<i32> = PASSED.iter().map(|signal| signal.as_raw()).collect();
    let signals = sys::signal_descriptor(&passed)?;
    let (plan_read, mut plan_write) = io::pipe()?;
    let (report_read, report_write) = io::pipe()?;
    let mut plan = plan.clone();
    let mut mappings = vec![
        mapping(plan_read.into(), PLAN),
        mapping(report_write.into(), REPORT),
    ];
    if let Network::Egress { door, .. } = &mut plan.network {
        let own = sys::borrow_descriptor(*door)?.try_clone_to_owned()?;
        mappings.push(mapping(own, DOOR));
        *door = DOOR;
    }
    let mut child = start(mappings)?;
    plan_write.write_all(&serde_json::to_vec(&plan)?)?;
    drop(plan_write);
    let text = read_report(&report_read.into(), &signals, Pid::from_child(&child))?;
    let status = child.wait()?;
    if text.is_empty() {
        return Err(io::Error::other(format!("it left no report ({status})")));
    }
    Ok(serde_json::from_slice(&text)?)
}

fn mapping(parent_fd: OwnedFd, child_fd: i32) -> FdMapping {
    FdMapping {
        parent_fd,
        child_fd,
    }
}

fn start(mappings: Vec<FdMapping>) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("tagout-launcher").arg(LAUNCH_WORD).env_clear();
    // They say where private folders are made, and where the helper of level A is.
    for name in ["TMPDIR", HELPER_VARIABLE] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .fd_mappings(mappings)
        .map_err(io::Error::other)?
        .spawn()
}

/// Reads to the launcher's end, and passes signals meanwhile. A key of the terminal reaches the launcher by itself.
fn read_report(report: &OwnedFd, signals: &OwnedFd, launcher: Pid) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let mut waited = [
            PollFd::new(report, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
        ];
        match poll(&mut waited, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = !waited[0].revents().is_empty();
        while let Some(signal) = sys::read_signal(signals.as_fd())? {
            if !signal.from_kernel {
                // One that has just ended hears nothing.
                drop(sys::send_signal(launcher, signal.number));
            }
        }
        if ready {
            let mut part = [0_u8; PART_BYTES];
            let length = rustix::io::read(report, &mut part)?;
            if length == 0 {
                return Ok(text);
            }
            if text.len() + length > REPORT_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            text.extend_from_slice(&part[..length]);
        }
    }
}
