//! The policy's own tests on what the agent made: a second, fresh sandbox on the base plus the collected changes.
//! It must never start before the agent's tree is gone, nor show it anything that the agent left but those changes.

use super::asked::Asked;
use super::end::End;
use super::execute::{self, WithModel, Worked};
use super::inside::{self, DOOR_FD};
use super::record::Record;
use crate::broker::egress::process::Handle;
use crate::broker::journal::Source;
use crate::broker::launch::{self, Wanted};
use crate::broker::patterns;
use crate::broker::workspace::{self, Workspace, removal};
use crate::changeset::change::Changeset;
use crate::cli::JobArgs;
use crate::console;
use crate::outcome::Outcome;
use crate::report::Verified;
use crate::sanitize;
use crate::wire::{Command, Network, Plan};

/// Runs the policy's `verify` commands, each only if the one before ended in 0. How they end is told; it stops nothing.
///
/// # Errors
/// The sandbox cannot be raised, or the changes cannot be laid out. A command that fails is no error.
pub async fn verify(
    asked: &Asked,
    args: &JobArgs,
    worked: &Worked,
    record: &mut Record,
) -> Result<(), End> {
    let policy = &asked.trusted.policy;
    if policy.verify.is_empty() {
        return Ok(());
    }
    removal::remove(&record.folder().join("work"))
        .map_err(|error| End::internal("workspace-left", &error))?;
    let space = laid_out(asked, args, &worked.changeset, record)?;
    let setup = execute::egress_setup(asked, args, worked.rules.clone(), WithModel::No)?;
    let mut egress = execute::start_egress(&setup, record, "verify-egress")?;
    let mut plan = plan(asked, &space, egress.as_ref());
    plan.environment.extend(setup.placeholders());
    plan.home.clone_from(&worked.home);
    patterns::resolve(&mut plan)
        .map_err(|error| End::of(Outcome::Refused, "pattern-unresolved", &error))?;
    let door = egress.as_mut().and_then(Handle::take_door);
    let life = egress
        .as_ref()
        .map(Handle::life)
        .transpose()
        .map_err(|error| End::internal("egress-failed", &error))?;
    let bound = policy.limits.output_bytes;
    let ended = inside::raise(&plan, door, life, bound, |_, line| {
        console::notice(&format!("verify | {}", sanitize::log_line(line)));
    })
    .await
    .map_err(|error| execute::launcher_failed(&error))?;
    execute::stop_egress(egress, record)?;
    if ended.report.level.is_none() {
        let why = ended.report.missing.join("; ");
        return Err(End::new(Outcome::WallsMissing, "walls-missing", why));
    }
    if let Some(limit) = &ended.report.limit {
        let note = format!("verify reached the limit {limit}");
        record.facts.notes.push(note);
    }
    record.facts.verified = results(&policy.verify, &ended.report.commands);
    let facts = record.facts.verified.clone();
    record.say("verify", Source::Inside, &facts)
}

/// The base commit in a folder of its own, taken from no cache, with the changes put in.
fn laid_out(
    asked: &Asked,
    args: &JobArgs,
    changeset: &Changeset,
    record: &Record,
) -> Result<Workspace, End> {
    let folder = record.folder().join("verify");
    execute::make_folder(&folder)?;
    let wanted = workspace::Wanted {
        branch: asked.admitted.base_branch(),
        hide: &asked.trusted.policy.filesystem.deny,
        ..workspace::Wanted::new(&args.repo, asked.admitted.base_commit(), &folder)
    };
    Workspace::prepare_with(&wanted, changeset)
        .map_err(|error| End::of(Outcome::Refused, "workspace-unusable", &error))
}

fn plan(asked: &Asked, space: &Workspace, egress: Option<&Handle>) -> Plan {
    let policy = &asked.trusted.policy;
    let commands = policy.verify.iter().map(|line| Command {
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        wall_time_ms: None,
        environment: Vec::new(),
    });
    launch::plan(Wanted {
        policy,
        level: None,
        workspace: space.view(),
        commands: commands.collect(),
        network: egress.map_or(Network::None, |egress| egress.network(DOOR_FD)),
        bound_output: true,
    })
}

/// Each command with its exit code; none for those that were not started after one that failed.
fn results(commands: &[String], exits: &[i32]) -> Vec<Verified> {
    let mut exits = exits.iter().copied();
    commands
        .iter()
        .map(|command| Verified {
            command: command.clone(),
            exit: exits.next(),
        })
        .collect()
}
