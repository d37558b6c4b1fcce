//! The launcher beside a run: starts the outer process, passes signals, holds the limits that only a sum can hold, and hears
//! how it ends. It must never be kept waiting by anything inside.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use super::channel::{Channel, Order, Report};
use super::ended::Ended;
use super::keeper::Keeper;
use super::limit::{Limit, Reached};
use super::meter::{self, Meter};
use super::walls::sys::{self, Side};
use crate::outcome::sandbox_code;
use crate::wire::{Network, Plan};

/// How long a command that was sent SIGTERM may take before everything is ended.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The code of a command of which nobody said how it ended: only SIGKILL leaves no word.
const KILLED: i32 = sandbox_code::SIGNAL_BASE as i32 + 9;

/// Signals that are passed to the command, unless the terminal sends them to it itself.
pub const PASSED: &[Signal] = &[
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
];

/// What ends a run beside its own end, its limits in here and its caller's signals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guard<'a> {
    /// The end of whoever reads from this pipe; none for a command that was started by a person or a script, which goes on as
    /// any other would.
    pub reader: Option<BorrowedFd<'a>>,
    /// What the relay of its output says.
    pub output: Option<BorrowedFd<'a>>,
}

/// Starts the outer process and stays with the run, which writes to the folders beside the plan, to its end.
pub(super) fn start(
    (plan, written): (&Plan, &[PathBuf]),
    flags: i32,
    outer: impl FnOnce(bool, &Channel, Channel) -> i32,
    guard: Guard<'_>,
    keeper: &mut Option<Keeper<'_>>,
) -> Result<Ended, String> {
    let lost = |error: io::Error| error.to_string();
    let (stage, stage_side) = Channel::pair().map_err(lost)?;
    let (init, init_side) = Channel::pair().map_err(lost)?;
    let terminal = has_terminal();
    let passed = PASSED.iter().map(|signal| signal.as_raw());
    let passed: Vec<i32> = if terminal {
        // We take the terminal back from the background.
        passed.chain([Signal::TTOU.as_raw()]).collect()
    } else {
        passed.collect()
    };
    let signals = sys::signal_descriptor(&passed).map_err(lost)?;
    let clone =
        sys::clone_process(flags).map_err(|error| format!("make the outer process: {error}"))?;
    let child = match clone {
        Side::Child => {
            drop((stage, init, signals));
            sys::leave(outer(terminal, &stage_side, init_side));
        }
        Side::Parent(child) => child,
    };
    drop((stage_side, init_side));
    match keeper.as_mut().map(Keeper::start) {
        Some(Ok(Side::Child)) => {
            drop((stage, init, signals));
            sys::leave(keeper.take().map_or(1, Keeper::keep));
        }
        Some(Err(error)) => {
            // Without its keeper the run must not go on; it ends with the channels.
            drop((stage, init));
            return Err(reap(child).err().unwrap_or(error).to_string());
        }
        Some(Ok(Side::Parent(_))) | None => {}
    }
    let mut watch = Watch {
        stage,
        init,
        signals,
        limits_end: Instant::now() + Duration::from_millis(plan.limits.wall_time_ms),
        command_end: None,
        ended: Ended::default(),
        fault: None,
        killing: None,
        meter: Meter::new(child, &plan.limits, written),
        next_look: Instant::now() + meter::PAUSE_NEAR,
    };
    let waited = watch.wait(plan, child, guard);
    let ended = watch.finish(waited, child);
    if terminal {
        // A terminal that was hung up meanwhile has nothing to give.
        if let Some(own) = sys::process_group()
            && let Err(_hung_up) = rustix::termios::tcsetpgrp(io::stdin(), own)
        {}
    }
    ended
}

/// Ends the outer process, and with it whatever it has started.
fn reap(child: Pid) -> io::Result<()> {
    rustix::process::kill_process(child, Signal::KILL)?;
    rustix::process::waitpid(Some(child), WaitOptions::empty())?;
    Ok(())
}

/// Whether stdin is a terminal whose keys go to us, so that they must go to the command.
fn has_terminal() -> bool {
    sys::process_group().is_some_and(|own| rustix::termios::tcgetpgrp(io::stdin()) == Ok(own))
}

/// The launcher's view of one running sandbox.
struct Watch {
    stage: Channel,
    init: Channel,
    signals: OwnedFd,
    limits_end: Instant,
    command_end: Option<Instant>,
    ended: Ended,
    fault: Option<String>,
    killing: Option<Instant>,
    meter: Meter,
    next_look: Instant,
}

impl Watch {
    /// Waits until the outer process has ended and everything that was said has been read.
    fn wait(&mut self, plan: &Plan, child: Pid, guard: Guard<'_>) -> io::Result<()> {
        let gone = rustix::process::pidfd_open(child, PidfdFlags::empty())?;
        // The egress holds the other end of the door; nothing inside goes on without its judge.
        let door = match &plan.network {
            Network::Egress { door, .. } => Some(sys::borrow_descriptor(*door)?),
            Network::None => None,
        };
        let (mut stage_open, mut init_open) = (true, true);
        loop {
            let ready = self.look(&gone, [init_open, stage_open], (guard, door))?;
            if ready[1] {
                self.pass_signals()?;
            }
            if ready[2] && init_open {
                init_open = self.hear(plan, true)?;
            }
            if ready[3] && stage_open {
                stage_open = self.hear(plan, false)?;
            }
            if ready[0] && !(ready[2] && init_open) && !(ready[3] && stage_open) {
                return Ok(());
            }
            if ready[4] || ready[5] {
                self.end_all();
            }
            if let (true, Some(output)) = (ready[6], guard.output) {
                self.hear_relay(output);
            }
            self.watch_time();
        }
    }

    /// Waits for the outer process, signals, init's and the outer process's channel, and the guard's pipes, the
    /// door, or for the next look.
    fn look<'a>(
        &'a self,
        gone: &'a OwnedFd,
        open: [bool; 2],
        (guard, door): (Guard<'a>, Option<BorrowedFd<'a>>),
    ) -> io::Result<[bool; 7]> {
        let until = [Some(self.limits_end), self.command_end, self.killing];
        let next = until
            .into_iter()
            .flatten()
            .fold(self.next_look, Instant::min);
        let left = timespec(next.saturating_duration_since(Instant::now()));
        let nothing = || PollFd::new(gone, PollFlags::empty());
        // A closed channel always has its end to tell, and would let nobody wait.
        let channel = |channel, open| match open {
            true => PollFd::from_borrowed_fd(Channel::as_fd(channel), PollFlags::IN),
            false => nothing(),
        };
        // Nothing is asked of them a second time.
        let beside = |pipe: Option<BorrowedFd<'a>>, what| match pipe {
            Some(pipe) if self.killing.is_none() => PollFd::from_borrowed_fd(pipe, what),
            Some(_) | None => nothing(),
        };
        let mut waited = [
            PollFd::new(gone, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
            channel(&self.init, open[0]),
            channel(&self.stage, open[1]),
            beside(guard.reader, PollFlags::empty()),
            beside(door, PollFlags::empty()),
            beside(guard.output, PollFlags::IN),
        ];
        match poll(&mut waited, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(waited.map(|waited| !waited.revents().is_empty()))
    }

    /// Reads one report; whether the sender is still there.
    fn hear(&mut self, plan: &Plan, init: bool) -> io::Result<bool> {
        let channel = if init { &self.init } else { &self.stage };
        let Some(report) = channel.take::<Report>()? else {
            return Ok(false);
        };
        match report {
            Report::Raised { walls } => {
                self.ended.walls = walls;
                self.ended.raised = true;
                self.ended.code = KILLED;
            }
            // When the outer process fails, the inner one fails too, because it waits in vain.
            Report::Fault { sentence } if init => {
                self.fault.get_or_insert(sentence);
            }
            Report::Fault { sentence } => self.fault = Some(sentence),
            Report::Started { index } => {
                self.ended.code = KILLED;
                let limit = plan
                    .commands
                    .get(index)
                    .and_then(|command| command.wall_time_ms);
                self.command_end = limit.map(|limit| Instant::now() + Duration::from_millis(limit));
            }
            Report::Killed { signal } => self.ended.killed(signal),
            Report::Hindered(limit) => self.ended.hinder(limit),
            Report::Ended { code } => {
                self.command_end = None;
                self.ended.code = code;
                // A shell that saw its last program die of a signal ends so.
                self.ended
                    .killed(code - i32::from(sandbox_code::SIGNAL_BASE));
                if self.ended.commands.len() < plan.commands.len() {
                    self.ended.commands.push(code);
                }
            }
            Report::Denied(denied) => self.ended.deny(denied),
        }
        Ok(true)
    }

    /// The relay speaks only of the limit; one that is gone passes nothing on any more.
    fn hear_relay(&mut self, output: BorrowedFd<'_>) {
        if rustix::io::read(output, &mut [0_u8; 1]) == Ok(1) {
            self.ended.limit.get_or_insert(Limit::Output);
        }
        self.end_all();
    }

    fn pass_signals(&mut self) -> io::Result<()> {
        while let Some(signal) = sys::read_signal(self.signals.as_fd())? {
            let number = signal.number;
            // A process that ended meanwhile hears nothing, as it would without us.
            drop(self.init.send(&Order::Signal { number }));
            if number == Signal::TERM.as_raw() {
                let end = if self.ended.raised {
                    PATIENCE
                } else {
                    Duration::ZERO
                };
                self.killing.get_or_insert(Instant::now() + end);
                self.ended.code = i32::from(sandbox_code::SIGNAL_BASE) + number;
            }
        }
        Ok(())
    }

    fn watch_time(&mut self) {
        let now = Instant::now();
        let late = self.limits_end <= now || self.command_end.is_some_and(|end| end <= now);
        let mut reached = late.then_some(Reached::Ends(Limit::WallTime));
        if self.next_look <= now {
            reached = reached.or(self.meter.look());
            self.next_look = Instant::now() + self.meter.pause();
        }
        match reached {
            Some(Reached::Ends(limit)) if self.ended.limit.is_none() => {
                self.ended.limit = Some(limit);
                self.end_all();
            }
            Some(Reached::Hinders(limit)) => self.ended.hinder(limit),
            Some(Reached::Ends(_)) | None => {}
        }
        if self.killing.is_some_and(|end| end <= now) {
            self.end_all();
        }
    }

    fn end_all(&mut self) {
        // A closed channel means that the outer process is ending already.
        drop(self.stage.send(&Order::End));
        // The next look at the clock is only for an outer process that does not listen.
        let later = Instant::now() + PATIENCE;
        self.killing = Some(later);
        self.limits_end = later;
        self.command_end = None;
    }

    fn finish(mut self, waited: io::Result<()>, child: Pid) -> Result<Ended, String> {
        if waited.is_err() {
            // Its death takes pid 1 and everything inside with it.
            if let Err(_already_gone) = rustix::process::kill_process(child, Signal::KILL) {}
        }
        let reaped = rustix::process::waitpid(Some(child), WaitOptions::empty());
        if !self.ended.raised {
            let fault = self
                .fault
                .take()
                .unwrap_or_else(|| "it ended without a word".to_owned());
            return Err(fault);
        }
        // A fault after the start cannot be taken for an end of the command.
        if self.fault.is_some() && self.ended.code == 0 {
            self.ended.code = KILLED;
        }
        let unnamed = self.ended.limit.or(self.ended.hindered).is_none();
        if self.ended.code != 0 && unnamed && self.meter.has_file_at_limit() {
            self.ended.hinder(Limit::FileSize);
        }
        waited.map_err(|error| error.to_string())?;
        reaped.map_err(|error| io::Error::from(error).to_string())?;
        Ok(self.ended)
    }
}

pub(super) fn timespec(left: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    }
}
