//! The launcher: tries the levels from the strongest down, starts the processes of one, passes signals, holds the limits
//! that only a sum can hold, and reports. It must never start a command behind weaker walls than the plan requires.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use super::audit::RefusedCall;
use super::channel::{Channel, Order, Report};
use super::helper::call::Call;
use super::keeper::Keeper;
use super::limit::{Limit, Reached};
use super::meter::{self, Meter};
use super::scene::Scene;
use super::shared::{Shared, bare_claims};
use super::stage::{self, Cast};
use super::supervisor::given::Reach;
use super::sweep;
use super::walls::namespaces::{self, Ids};
use super::walls::sys::{self, Side};
use super::walls::syscalls::{Filters, Ground};
use crate::names::Level;
use crate::outcome::sandbox_code;
use crate::scratch;
use crate::wire::{Denied, Network, Plan, Wall, WallsReport, Workspace};

/// Different refusals that are kept; further ones only count.
pub const DENIED_MAX: usize = 256;

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

/// What a process did that died of SIGSYS.
const KILLED_FOR: &str = "call the kernel as another architecture; the process was ended";

/// Runs the plan's commands behind the strongest walls that work here, with this process's standard streams.
/// The process must have one thread. The answer is complete when it comes: nothing of the tree is left.
#[must_use]
pub fn run(plan: &Plan) -> WallsReport {
    run_guarded(plan, Guard::None)
}

/// Whose end ends the run.
#[derive(Clone, Copy, Debug)]
pub enum Guard<'a> {
    /// Nobody's: a command that was started by a person or a script goes on as any other would.
    None,
    /// The reader of this pipe.
    Reader(BorrowedFd<'a>),
}

/// As `run`, and ends everything when the guard ends.
#[must_use]
pub fn run_guarded(plan: &Plan, guard: Guard<'_>) -> WallsReport {
    scratch::sweep_stale();
    let mut missing = Vec::new();
    if let Some(level) = plan.level.filter(|level| *level < plan.require) {
        let require = plan.require;
        missing.push(format!("level {level}: the policy requires {require}"));
    }
    for level in levels(plan) {
        match attempt(plan, level, guard) {
            Ok(ended) => return ended.report(plan, level, missing),
            Err(why) => missing.push(format!("level {level}: {why}")),
        }
    }
    refused(plan, missing)
}

/// The report of a run that was refused before any command was started.
#[must_use]
pub fn refused(plan: &Plan, missing: Vec<String>) -> WallsReport {
    let nothing = Ended {
        code: i32::from(sandbox_code::OURS),
        ..Ended::default()
    };
    WallsReport {
        level: None,
        denied: None,
        ..nothing.report(plan, Level::D, missing)
    }
}

/// The levels to try, strongest first.
fn levels(plan: &Plan) -> Vec<Level> {
    match plan.level {
        Some(level) if level >= plan.require => vec![level],
        Some(_) => Vec::new(),
        // The last comes up only if the policy asks for no more than that by name.
        None => [Level::A, Level::B, Level::C, Level::D]
            .into_iter()
            .filter(|level| *level >= plan.require)
            .collect(),
    }
}

fn attempt(plan: &Plan, level: Level, guard: Guard<'_>) -> Result<Ended, String> {
    match level {
        Level::B => namespaced(plan, guard),
        Level::C | Level::D => shared(plan, level, guard),
        Level::A => leased(plan, guard),
    }
}

/// Level A: the helper makes the outer process; all else is as at level B.
fn leased(plan: &Plan, guard: Guard<'_>) -> Result<Ended, String> {
    let ids = Ids::of_caller();
    let scene = Scene::of_leased_uid(plan, ids).map_err(|fault| fault.sentence())?;
    let call = Call::prepare(plan, &scene).map_err(|fault| fault.sentence())?;
    // The terminal is left behind: sudo gets none.
    let outer = |_, stage: &Channel, init| call.become_helper(stage, &init);
    let ended = kept(&scene, |keeper| {
        start((plan, &scene.written), 0, outer, guard, keeper)
    });
    let answer = call.answer();
    if let Some(fault) = answer.fault {
        // A helper that fails after the start ends the run as a signal would.
        return ended.map_err(|_silent| fault);
    }
    let mut ended = ended?;
    if answer.out_of_memory {
        ended.limit = ended.limit.or(Some(Limit::Memory));
    }
    for refused in answer.calls {
        ended.audited(&refused);
    }
    Ok(ended)
}

fn namespaced(plan: &Plan, guard: Guard<'_>) -> Result<Ended, String> {
    let ids = Ids::of_caller();
    let scene = Scene::of_new_root(plan, ids).map_err(|fault| fault.sentence())?;
    let filters = Filters::compile(Ground::Own, false).map_err(|fault| fault.sentence())?;
    let cast = Cast {
        plan,
        ids,
        filters: &filters,
        root: Some(&scene.root),
        trees: &[],
        rules: Some(&scene.rules),
        environment: &scene.environment,
        folder: &scene.folder,
        walls: &scene.walls,
        private: &[],
        written: &scene.written,
        launcher: own_numbers(),
        reach: Reach::Taken,
        terminal: false,
    };
    let outer = |terminal, stage: &Channel, init| {
        let cast = &Cast { terminal, ..cast };
        stage::outer(cast, stage, init)
    };
    kept(&scene, |keeper| {
        let written = (plan, scene.written.as_slice());
        start(written, namespaces::OUTER, outer, guard, keeper)
    })
}

/// Starts a run in a new root, with the keeper of its protected paths beside it, and puts those paths right afterwards.
fn kept(
    scene: &Scene,
    start: impl FnOnce(&mut Option<Keeper<'_>>) -> Result<Ended, String>,
) -> Result<Ended, String> {
    let keeper = scene.protected.as_ref().map(Keeper::prepare);
    let keeper = keeper.transpose().map_err(|error| error.to_string())?;
    let mut keeper = keeper.flatten();
    let ended = start(&mut keeper);
    let found = keeper.map(|keeper| keeper.dismiss(ended.is_ok()));
    let mut ended = ended?;
    for denied in found.into_iter().flatten() {
        ended.deny(denied);
    }
    Ok(ended)
}

fn shared(plan: &Plan, level: Level, guard: Guard<'_>) -> Result<Ended, String> {
    if level == Level::D && !matches!(plan.network, Network::None) {
        return Err("it has no network, and the policy allows hosts or names a model".to_owned());
    }
    let ids = Ids::of_caller();
    let shared = Shared::prepare(plan, ids).map_err(|fault| fault.sentence())?;
    let filters = Filters::compile(Ground::Shared, false).map_err(|fault| fault.sentence())?;
    let cast = Cast {
        plan,
        ids,
        filters: &filters,
        root: None,
        trees: &[],
        rules: (level != Level::D).then_some(shared.rules.as_slice()),
        environment: &shared.environment,
        folder: &shared.folder,
        walls: &if level == Level::D {
            bare_claims(&shared.walls)
        } else {
            shared.walls.clone()
        },
        private: &shared.private,
        written: &shared.private,
        launcher: own_numbers(),
        reach: Reach::here(),
        terminal: false,
    };
    let lost = |error: io::Error| error.to_string();
    // The egress is a child of ours and no part of the run.
    let spared = sweep::children().map_err(lost)?;
    sweep::adopt_orphans().map_err(lost)?;
    let outer = |terminal, stage: &Channel, init| {
        let cast = &Cast { terminal, ..cast };
        match level {
            Level::D => stage::outer_bare(cast, stage, init),
            Level::A | Level::B | Level::C => stage::outer_shared(cast, stage, init),
        }
    };
    let ended = start((plan, &shared.private), 0, outer, guard, &mut None);
    // The outer process has swept; if it was killed, its orphans are ours.
    sweep::sweep(&spared).map_err(lost)?;
    let mut ended = ended?;
    for denied in shared.write_back().map_err(lost)? {
        ended.deny(denied);
    }
    Ok(ended)
}

/// The launcher's process and process group.
fn own_numbers() -> [Pid; 2] {
    let own = rustix::process::getpid();
    // A group from outside of this pid namespace has no number that a signal could be sent to.
    [own, sys::process_group().unwrap_or(own)]
}

/// Starts the outer process and stays with the run, which writes to the folders beside the plan, to its end.
fn start(
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

/// How a run ended.
#[derive(Debug, Default)]
struct Ended {
    code: i32,
    walls: BTreeMap<String, Wall>,
    denied: Vec<Denied>,
    limit: Option<Limit>,
    /// A limit that made calls fail; it is the run's if the run failed.
    hindered: Option<Limit>,
    commands: Vec<i32>,
    raised: bool,
}

impl Ended {
    fn report(mut self, plan: &Plan, level: Level, missing: Vec<String>) -> WallsReport {
        if self.code != 0 {
            self.limit = self.limit.or(self.hindered);
        }
        if let Some(limit) = self.limit.filter(|limit| Some(*limit) != self.hindered) {
            self.deny(limit.denied());
        }
        WallsReport {
            level: Some(level),
            abi: sys::landlock_abi(),
            workspace: match (&plan.workspace, level) {
                (Workspace::InPlace { .. }, Level::A | Level::B) => "in-place",
                (Workspace::InPlace { .. }, Level::C | Level::D)
                | (Workspace::Copy { .. } | Workspace::View { .. }, _) => "copied",
            }
            .to_owned(),
            walls: self.walls,
            // Refusals by the file system and by most system calls are seen by nobody, so none known is not none at all.
            denied: (!self.denied.is_empty()).then_some(self.denied),
            exit: if self.limit.is_some() {
                i32::from(sandbox_code::LIMIT)
            } else {
                self.code
            },
            limit: self.limit.map(|limit| limit.name().to_owned()),
            missing,
            commands: self.commands,
        }
    }

    /// A limit that a program met inside.
    fn hinder(&mut self, limit: Limit) {
        if self.hindered.is_none_or(|known| known != limit) {
            self.hindered.get_or_insert(limit);
            self.deny(limit.denied());
        }
    }

    /// A process inside died of this signal, or a shell says so by its exit code.
    fn killed(&mut self, signal: i32) {
        if signal == Signal::XFSZ.as_raw() {
            self.hinder(Limit::FileSize);
        } else if signal == Signal::SYS.as_raw()
            && !self.denied.iter().any(|denied| denied.wall == "syscalls")
        {
            self.deny(Denied {
                wall: "syscalls".to_owned(),
                what: KILLED_FOR.to_owned(),
                count: 1,
                allow: None,
                at: None,
            });
        }
    }

    /// What the kernel's audit says of a system call.
    fn audited(&mut self, refused: &RefusedCall) {
        if !refused.killed {
            self.deny(Denied {
                wall: "syscalls".to_owned(),
                what: refused.what(),
                count: refused.count,
                allow: None,
                at: None,
            });
            return;
        }
        // Exit codes told of those that a shell saw die; the audit tells of all.
        self.killed(Signal::SYS.as_raw());
        let known = self
            .denied
            .iter_mut()
            .find(|known| known.what == KILLED_FOR);
        if let Some(known) = known {
            known.count = known.count.max(refused.count);
        }
    }

    fn deny(&mut self, denied: Denied) {
        let same = |old: &&mut Denied| old.wall == denied.wall && old.what == denied.what;
        if let Some(old) = self.denied.iter_mut().find(same) {
            old.count = old.count.saturating_add(denied.count);
        } else if self.denied.len() < DENIED_MAX {
            self.denied.push(denied);
        }
    }
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
        let guard = match guard {
            Guard::Reader(pipe) => Some(pipe),
            Guard::None => None,
        };
        // The egress holds the other end of the door; nothing inside goes on without its judge.
        let door = match &plan.network {
            Network::Egress { door, .. } => Some(sys::borrow_descriptor(*door)?),
            Network::None => None,
        };
        let life = [guard, door];
        let (mut stage_open, mut init_open) = (true, true);
        loop {
            let ready = self.look(&gone, [init_open, stage_open], life)?;
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
            self.watch_time();
        }
    }

    /// Waits for the outer process, signals, init's and the outer process's channel, and the end of those on whose life the
    /// run depends, or for the next look.
    fn look(
        &self,
        gone: &OwnedFd,
        open: [bool; 2],
        life: [Option<BorrowedFd<'_>>; 2],
    ) -> io::Result<[bool; 6]> {
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
        let life = life.map(|one| match one {
            Some(one) if self.killing.is_none() => {
                PollFd::from_borrowed_fd(one, PollFlags::empty())
            }
            Some(_) | None => nothing(),
        });
        let [guard, door] = life;
        let mut waited = [
            PollFd::new(gone, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
            channel(&self.init, open[0]),
            channel(&self.stage, open[1]),
            guard,
            door,
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

fn timespec(left: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    }
}
