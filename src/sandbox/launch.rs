//! The launcher: tries the levels from the strongest down, and reports how the run ended.
//! It must never start a command behind weaker walls than the plan requires.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::channel::Channel;
use super::claims;
use super::ended::Ended;
use super::helper::call::Call;
use super::keeper::Keeper;
use super::limit::Limit;
use super::relay::Relay;
use super::scene::Scene;
use super::shared::Shared;
use super::stage::{self, Cast};
use super::streams;
use super::supervisor::given::Reach;
use super::sweep;
use super::walls::limits::Counted;
use super::walls::namespaces::{self, Ids};
use super::walls::sys;
use super::walls::syscalls::{Filters, Ground};
use super::watch::{Guard, PATIENCE, start};
use crate::names::Level;
use crate::outcome::sandbox_code;
use crate::scratch;
use crate::wire::{Network, Plan, WallsReport};

/// Runs the plan's commands behind the strongest walls that work here, with this process's standard streams.
/// The process must have one thread. The answer is complete when it comes: nothing of the tree is left.
#[must_use]
pub fn run(plan: &Plan) -> WallsReport {
    run_guarded(plan, Guard::default())
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
    let began = Instant::now();
    let relay = match Relay::start(plan.limits.output_bytes) {
        Ok(relay) => relay,
        Err(error) => {
            missing.push(format!("limits.output: {error}"));
            return refused(plan, missing);
        }
    };
    let guard = Guard {
        output: relay.as_ref().map(Relay::news),
        ..guard
    };
    let mut report = strongest(plan, guard, missing);
    if let Some(relay) = relay {
        let mut until = Instant::now() + PATIENCE;
        if report.limit.is_none() {
            // Whoever reads slowly may do so as long as the run itself might have gone on.
            until = until.max(began + Duration::from_millis(plan.limits.wall_time_ms));
        }
        match relay.finish(until) {
            Ok(true) if report.level.is_some() => {
                report.exit = i32::from(sandbox_code::LIMIT);
                if report.limit.as_deref() != Some(Limit::Output.name()) {
                    report.limit = Some(Limit::Output.name().to_owned());
                    let denied = report.denied.get_or_insert_default();
                    denied.push(Limit::Output.denied());
                }
            }
            Ok(_) => {}
            Err(error) => report.missing.push(format!("limits.output: {error}")),
        }
    }
    report
}

/// The run behind the first level that works.
fn strongest(plan: &Plan, guard: Guard<'_>, mut missing: Vec<String>) -> WallsReport {
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
    if answer.out_of_processes {
        ended.hinder(Limit::Processes);
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
        user: None,
        counted: if ids.user == 0 {
            Counted::Never
        } else {
            Counted::Alone
        },
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
    let shared = Shared::prepare(plan).map_err(|fault| fault.sentence())?;
    if shared.leased_ids().is_some() {
        streams::open_pipes_to_the_run();
    }
    let filters = Filters::compile(Ground::Shared, false).map_err(|fault| fault.sentence())?;
    let walls = match level {
        Level::D => claims::bare(&shared.walls),
        Level::A | Level::B | Level::C => shared.walls.clone(),
    };
    let cast = Cast {
        plan,
        ids,
        filters: &filters,
        root: None,
        trees: &[],
        rules: (level != Level::D).then_some(shared.rules.as_slice()),
        environment: &shared.environment,
        folder: &shared.folder,
        walls: &walls,
        private: &shared.private,
        written: &shared.private,
        launcher: own_numbers(),
        reach: Reach::here(),
        terminal: false,
        user: shared.leased_ids(),
        counted: shared.counted,
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
    shared.end_uid().map_err(lost)?;
    let mut ended = ended?;
    ended.kept_uid.clone_from(&shared.kept_uid);
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
