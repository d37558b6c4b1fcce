//! The first process inside: runs the plan's commands in order and reaps what they leave.
//! It stands behind the same walls as they do, holds nothing that they may not have, and cannot be traced by them.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::channel::{Channel, Order, Report};
use super::limit::{Limit, Reached};
use super::meter::Meter;
use super::walls::sys;
use super::watch::PASSED;
use crate::outcome::sandbox_code;
use crate::wire::{Command, Limits};

/// What init needs once the walls stand.
#[derive(Debug)]
pub struct Init<'a> {
    /// To the launcher.
    pub channel: Channel,
    /// The commands in order.
    pub commands: &'a [Command],
    /// The whole environment of each, but for the command's own variables.
    pub environment: &'a BTreeMap<String, String>,
    /// Where they start.
    pub folder: &'a Path,
    /// The limits of the run.
    pub limits: &'a Limits,
    /// Whether the commands get the terminal on stdin.
    pub terminal: bool,
    /// A folder in memory that the run fills and nobody outside can look at; none where all folders are the host's.
    pub memory: Option<&'a Path>,
}

/// Signals of which a process dies only at a limit or at the wall before the kernel.
const TELLING: [Signal; 3] = [Signal::XFSZ, Signal::SYS, Signal::XCPU];

impl Init<'_> {
    /// Runs the commands until one fails; the answer is for `_exit`.
    #[must_use]
    pub fn run(&self) -> i32 {
        match self.try_run() {
            Ok(()) => 0,
            // The launcher is gone or the kernel refuses the simplest calls: nobody is left to tell.
            Err(_lost) => 1,
        }
    }

    fn try_run(&self) -> io::Result<()> {
        // Blocked, so that a signal to our process group, which is the commands' too, does not end us.
        let children = sys::signal_descriptor(&blocked())?;
        if self.terminal {
            // A terminal that was hung up meanwhile is noticed by whoever reads from it.
            if let Some(own) = sys::process_group()
                && let Err(_hung_up) = rustix::termios::tcsetpgrp(io::stdin(), own)
            {}
        }
        for (index, command) in self.commands.iter().enumerate() {
            while sys::read_signal(children.as_fd())?.is_some() {}
            let code = match self.start(command) {
                Ok(child) => {
                    self.channel.send(&Report::Started { index })?;
                    self.wait(&child, &children)?
                }
                Err(code) => i32::from(code),
            };
            if code != 0 {
                self.tell_cause()?;
            }
            self.channel.send(&Report::Ended { code })?;
            if code != 0 {
                break;
            }
        }
        Ok(())
    }

    /// A command that failed at a limit leaves others behind that show it, until we end.
    fn tell_cause(&self) -> io::Result<()> {
        if self.memory.is_some_and(is_full) {
            self.channel.send(&Report::Hindered(Limit::Disk))?;
        }
        // Orphans are our parent's where process ids are shared, and ours where we have none.
        let root = rustix::process::getppid().unwrap_or_else(rustix::process::getpid);
        if let Some(Reached::Ends(limit)) = Meter::new(root, self.limits, &[]).look() {
            self.channel.send(&Report::Hindered(limit))?;
        }
        Ok(())
    }

    fn start(&self, command: &Command) -> Result<Child, u8> {
        let mut environment = self.environment.clone();
        environment.extend(command.environment.iter().cloned());
        let name = command.argv.first().map_or("", String::as_str);
        let program = find(name, environment.get("PATH").map_or("", String::as_str))?;
        let mut started = std::process::Command::new(program);
        started
            .arg0(name)
            .args(command.argv.iter().skip(1))
            .env_clear()
            .envs(environment)
            .current_dir(self.folder)
            .stdin(Stdio::inherit());
        // A child that ends before its signal is blocked again is seen by the first look of `wait`.
        sys::without_blocked_signals(|| started.spawn())
            .and_then(|spawned| spawned)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => sandbox_code::NOT_FOUND,
                _ => sandbox_code::NOT_EXECUTABLE,
            })
    }

    /// Reaps everything that ends, passes signals on, and answers when the command itself has ended.
    fn wait(&self, child: &Child, children: &OwnedFd) -> io::Result<i32> {
        let command = Pid::from_child(child);
        let mut told = [false; TELLING.len()];
        loop {
            if let Some(code) = self.reap(command, &mut told)? {
                return Ok(code);
            }
            let mut waited = [
                PollFd::new(children, PollFlags::IN),
                PollFd::from_borrowed_fd(self.channel.as_fd(), PollFlags::IN),
            ];
            match poll(&mut waited, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            while sys::read_signal(children.as_fd())?.is_some() {}
            if !waited[1].revents().is_empty() {
                match self.channel.take::<Order>()? {
                    // A signal to a command that has just ended is lost, as it would be without us.
                    Some(Order::Signal { number }) => drop(sys::send_signal(command, number)),
                    // The launcher is gone: pid 1 ends, and with it everything inside.
                    Some(Order::End) | None => return Err(io::ErrorKind::BrokenPipe.into()),
                }
            }
        }
    }

    fn waiting(&self) -> WaitOptions {
        if self.terminal {
            WaitOptions::NOHANG | WaitOptions::UNTRACED
        } else {
            WaitOptions::NOHANG
        }
    }

    /// Reaps all that has ended; the answer is the command's code if it was among them. Each telling death is told once.
    fn reap(&self, command: Pid, told: &mut [bool; TELLING.len()]) -> io::Result<Option<i32>> {
        let mut ended = None;
        loop {
            match rustix::process::wait(self.waiting()) {
                // Nobody could wake what the terminal has stopped: the shell outside sees us, and we go on.
                Ok(Some((process, status))) if status.stopped() => {
                    drop(sys::send_signal(process, Signal::CONT.as_raw()));
                }
                Ok(Some((process, status))) => {
                    if process == command {
                        ended = Some(code(status));
                    }
                    let signal = status.terminating_signal();
                    let place = TELLING.iter().position(|one| Some(one.as_raw()) == signal);
                    if let (Some(signal), Some(false)) = (signal, place.map(|place| told[place])) {
                        told[place.unwrap_or_default()] = true;
                        self.channel.send(&Report::Killed { signal })?;
                    }
                }
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(ended),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Signals that are read and not suffered: those that are passed on, those of a terminal, and the deaths of children.
fn blocked() -> Vec<i32> {
    let others = [Signal::CHILD, Signal::TSTP, Signal::TTIN, Signal::TTOU];
    let all = PASSED.iter().copied().chain(others);
    all.map(Signal::as_raw).collect()
}

/// Whether nothing more fits. What was cleared up since is not seen.
fn is_full(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|system| system.f_bavail == 0 || system.f_favail == 0)
}

fn code(status: WaitStatus) -> i32 {
    status
        .exit_status()
        .or_else(|| {
            status
                .terminating_signal()
                .map(|signal| i32::from(sandbox_code::SIGNAL_BASE) + signal)
        })
        .unwrap_or(1)
}

/// Finds a program as a shell does: a name with a slash is a path, any other is looked for in `PATH`.
fn find(name: &str, path: &str) -> Result<PathBuf, u8> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let mut seen = sandbox_code::NOT_FOUND;
    for folder in path.split(':').filter(|folder| folder.starts_with('/')) {
        let candidate = Path::new(folder).join(name);
        if !candidate.is_file() {
            continue;
        }
        match rustix::fs::access(&candidate, rustix::fs::Access::EXEC_OK) {
            Ok(()) => return Ok(candidate),
            Err(_not_ours) => seen = sandbox_code::NOT_EXECUTABLE,
        }
    }
    Err(seen)
}
