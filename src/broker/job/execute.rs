//! Phase 1: the agent works in the walls, and what it changed is sealed as data.
//! It must never hold a credential that can write, and never look at the workspace before the whole tree is gone.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::asked::Asked;
use super::end::{End, causes};
use super::inside::{self, DOOR_FD, Ended, InsideError, Stream, TreeGone};
use super::record::Record;
use crate::broker::agents::{self, Prepared};
use crate::broker::attach;
use crate::broker::collect::{self, Bounds, Shown};
use crate::broker::egress::denials;
use crate::broker::egress::log::Event as Request;
use crate::broker::egress::process::{self, Handle};
use crate::broker::egress::setup::{EgressSetup, Proxy};
use crate::broker::journal::Source;
use crate::broker::launch::{self, Wanted};
use crate::broker::patterns;
use crate::broker::registries::{self, RegistriesError, Resolved};
use crate::broker::surroundings::Surroundings;
use crate::broker::workspace::{self, Workspace};
use crate::changeset::change::Changeset;
use crate::cli::JobArgs;
use crate::console;
use crate::names::{Level, Secret};
use crate::outcome::Outcome;
use crate::policy::model::{NetworkMode, Rule};
use crate::report::{AgentFacts, Bill, Walls};
use crate::sanitize;
use crate::wire::{Denied, Network, Plan, Wall, WallsReport};

/// What phase 1 made: the changes as data, and every secret that they must not hold.
#[derive(Debug)]
pub struct Worked {
    /// The changes.
    pub changeset: Changeset,
    /// What the run knew.
    pub secrets: Vec<Secret>,
    /// What `network.registries` came to.
    pub rules: Vec<Rule>,
    /// The files of its tools that the run finds in its HOME.
    pub home: Vec<(String, String)>,
    /// The proof that nothing of the tree is left.
    pub gone: TreeGone,
}

/// Runs the agent in the walls and collects what it changed.
///
/// # Errors
/// `End` where a wall cannot be raised, the agent fails, a limit is reached, or nothing was changed.
pub async fn work(
    asked: &Asked,
    args: &JobArgs,
    agent: &[String],
    surroundings: &Surroundings,
    record: &mut Record,
) -> Result<Worked, End> {
    probe(asked, record).await?;
    let registries = registries(asked, args, record)?;
    let rules = registries.rules;
    let setup = egress_setup(asked, args, rules.clone(), WithModel::Yes)?;
    let mut secrets: Vec<Secret> = setup
        .secret_values()
        .map(|(_, value)| value.clone())
        .collect();
    secrets.extend(surroundings.token.clone());
    let attached = attach::gather(asked, args, surroundings, record).await?;
    let prepared = agents::prepare(
        &asked.trusted.policy,
        agent,
        &asked.admitted,
        &attached.context,
        &setup,
    )
    .map_err(|error| End::of(Outcome::Usage, "agent-unusable", &error))?;
    let space = workspace(asked, args, record)?;
    let mut egress = start_egress(&setup, record, "egress")?;
    let mut plan = plan(asked, &space, &prepared, &setup, egress.as_ref());
    plan.home.clone_from(&registries.home);
    plan.read.extend(attached.folder);
    patterns::resolve(&mut plan)
        .map_err(|error| End::of(Outcome::Refused, "pattern-unresolved", &error))?;
    let door = egress.as_mut().and_then(Handle::take_door);
    let life = egress
        .as_ref()
        .map(Handle::life)
        .transpose()
        .map_err(|error| End::internal("egress-failed", &error))?;
    let began = Instant::now();
    let mut claims = agents::Claims::new(&prepared);
    let ended = inside::raise(
        &plan,
        door,
        life,
        asked.trusted.policy.limits.output_bytes,
        |stream, line| {
            if !claims.hear(stream == Stream::Out, line) {
                console::notice(&format!("agent | {}", sanitize::log_line(line)));
            }
        },
    )
    .await
    .map_err(|error| launcher_failed(&error))?;
    let wall_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let requests = stop_egress(egress, record)?;
    record.facts.agent = AgentFacts {
        program: prepared.program.clone(),
        exit: ended.report.commands.last().copied(),
        wall_ms,
        claimed_title: claims.title().map(str::to_owned),
        claimed_summary: claims.summary().map(str::to_owned),
    };
    tell(&ended, &requests, asked, record)?;
    if asked.trusted.policy.network.mode == NetworkMode::Report {
        record.facts.suggested_policy = denials::suggested_policy(requests.iter());
    }
    judge_end(&ended.report, claims.limit())?;
    let changeset = collect_changes(&space, &ended, asked, record)?;
    Ok(Worked {
        changeset,
        secrets,
        rules,
        home: registries.home,
        gone: ended.gone,
    })
}

/// Raises the walls around nothing, so that what is missing is known before a secret is read.
async fn probe(asked: &Asked, record: &mut Record) -> Result<(), End> {
    let folder = record.folder().join("probe");
    make_folder(&folder)?;
    let plan = launch::plan(Wanted {
        policy: &asked.trusted.policy,
        level: None,
        workspace: crate::wire::Workspace::InPlace { path: folder },
        commands: Vec::new(),
        network: Network::None,
        bound_output: false,
    });
    let ended = inside::raise(&plan, None, None, 64 * 1024, |_, line| {
        console::notice(line)
    })
    .await
    .map_err(|error| launcher_failed(&error))?;
    record.say("walls", Source::Broker, &ended.report)?;
    match ended.report.level {
        Some(level) if level >= asked.trusted.policy.require => Ok(()),
        Some(_) | None => {
            record.facts.walls.missing.clone_from(&ended.report.missing);
            Err(missing(&ended.report, asked.trusted.policy.require))
        }
    }
}

pub(super) fn launcher_failed(error: &InsideError) -> End {
    match error {
        InsideError::Stopped(_) => End::of(Outcome::AgentFailed, "stopped", error),
        InsideError::EgressGone => End::internal("egress-died", error),
        InsideError::Start(_)
        | InsideError::Plan(_)
        | InsideError::NoReport(_)
        | InsideError::Report(_)
        | InsideError::Read(_) => End::internal("launcher-failed", error),
    }
}

fn missing(report: &WallsReport, require: Level) -> End {
    let reasons = if report.missing.is_empty() {
        "no reason is known".to_owned()
    } else {
        report.missing.join("; ")
    };
    End::new(
        Outcome::WallsMissing,
        "walls-missing",
        format!("the policy requires level {require}, which cannot be raised here: {reasons}"),
    )
}

/// Asks the tools of this runner for the registries that the policy lets them read, before any secret is at hand.
fn registries(asked: &Asked, args: &JobArgs, record: &mut Record) -> Result<Resolved, End> {
    let trusted = &asked.trusted;
    if trusted.policy.network.registries.is_empty() {
        return Ok(Resolved::default());
    }
    let folder = record.folder().join("registries");
    make_folder(&folder)?;
    let named = [
        Some(args.repo.clone()),
        std::env::var_os("GITHUB_WORKSPACE").map(PathBuf::from),
    ];
    let repositories: Vec<PathBuf> = named
        .into_iter()
        .flatten()
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    let resolved = registries::resolve(&registries::Wanted {
        policy: &trusted.policy,
        policy_file: &trusted.file,
        level: None,
        repositories: &repositories,
        resolve: &args.resolve,
        folder: Some(&folder),
    })
    .map_err(|error| match &error {
        RegistriesError::NoWalls { .. } => End::of(Outcome::WallsMissing, "walls-missing", &error),
        RegistriesError::Silent { .. } => End::of(Outcome::Refused, "registry-unknown", &error),
        RegistriesError::Unfit { .. } => End::of(Outcome::Refused, "registry-unfit", &error),
        RegistriesError::Ask { .. } | RegistriesError::Egress(_) => {
            End::internal("registry-failed", &error)
        }
    })?;
    record.say("registries", Source::Broker, &resolved.found)?;
    let notes = resolved.found.iter();
    record
        .facts
        .notes
        .extend(notes.map(|found| format!("network.registries: {found}")));
    Ok(resolved)
}

/// Whether the road out leads to the model too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WithModel {
    /// For the agent.
    Yes,
    /// For commands that have no business with it.
    No,
}

pub(super) fn egress_setup(
    asked: &Asked,
    args: &JobArgs,
    rules: Vec<Rule>,
    model: WithModel,
) -> Result<EgressSetup, End> {
    let trusted = &asked.trusted;
    let refused = |error: &dyn std::error::Error| End::of(Outcome::Usage, "egress-setup", error);
    let mut network = trusted.policy.network.clone();
    network.allow.extend(rules);
    let mut setup = EgressSetup::new(&trusted.file, network);
    if let (Some(model), WithModel::Yes) = (&trusted.policy.agent.model, model) {
        setup = setup.with_model(model.clone(), trusted.policy.agent.tokens);
    }
    let path = |name: &str| std::env::var_os(name).map(std::path::PathBuf::from);
    setup
        .with_resolve(&args.resolve)
        .map_err(|error| refused(&error))?
        .with_roots(path("SSL_CERT_FILE"), path("SSL_CERT_DIR"))
        .with_proxy(Proxy::of_run())
        .map_err(|error| refused(&error))?
        .with_secrets(&args.secrets, &|name| std::env::var(name).ok())
        .map_err(|error| refused(&error))
}

pub(super) fn start_egress(
    setup: &EgressSetup,
    record: &Record,
    name: &str,
) -> Result<Option<Handle>, End> {
    let folder = record.folder().join(name);
    make_folder(&folder)?;
    process::spawn(setup, &folder)
        .map(Some)
        .map_err(|error| End::internal("egress-failed", &error))
}

pub(super) fn stop_egress(
    egress: Option<Handle>,
    record: &mut Record,
) -> Result<Vec<Request>, End> {
    let Some(egress) = egress else {
        return Ok(Vec::new());
    };
    let requests = egress
        .finish()
        .map_err(|error| End::internal("egress-died", &error))?;
    for request in &requests {
        record.say("request", Source::Egress, request)?;
    }
    Ok(requests)
}

fn workspace(asked: &Asked, args: &JobArgs, record: &Record) -> Result<Workspace, End> {
    let folder = record.folder().join("work");
    make_folder(&folder)?;
    let cache = cache_folder();
    Workspace::prepare(&workspace::Wanted {
        branch: asked.admitted.base_branch(),
        hide: &asked.trusted.policy.filesystem.deny,
        cache: cache.as_deref(),
        ..workspace::Wanted::new(&args.repo, asked.admitted.base_commit(), &folder)
    })
    .map_err(|error| End::of(Outcome::Refused, "workspace-unusable", &error))
}

/// Where materialised trees are kept between runs (XDG Base Directory Specification); none without a home.
fn cache_folder() -> Option<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let caches = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(caches.join("tagout"))
}

fn plan(
    asked: &Asked,
    space: &Workspace,
    prepared: &Prepared,
    setup: &EgressSetup,
    egress: Option<&Handle>,
) -> Plan {
    let mut plan = launch::plan(Wanted {
        policy: &asked.trusted.policy,
        level: None,
        workspace: space.view(),
        commands: prepared.commands.clone(),
        network: egress.map_or(Network::None, |egress| egress.network(DOOR_FD)),
        bound_output: true,
    });
    plan.read.extend(prepared.read.iter().cloned());
    plan.environment.extend(setup.placeholders());
    plan.environment
        .extend(prepared.environment.iter().cloned());
    plan
}

/// Puts down what is known of the inside: the walls' report, the agent's claims, what was refused.
fn tell(
    ended: &Ended,
    requests: &[Request],
    asked: &Asked,
    record: &mut Record,
) -> Result<(), End> {
    let report = &ended.report;
    record.say("inside", Source::Inside, report)?;
    record.facts.walls = Walls {
        level: report.level,
        abi: report.abi,
        walls: report.walls.clone(),
        missing: report.missing.clone(),
        denied: report.denied.as_ref().map(|all| {
            let all = all.iter().cloned();
            all.map(|one| asked.trusted.written().explain(one))
                .collect()
        }),
        limit: report.limit.clone(),
    };
    let denied = denials::aggregate(requests.iter());
    record
        .facts
        .network
        .extend(denied.into_iter().map(Into::into));
    let asked: Vec<u64> = requests
        .iter()
        .filter_map(|request| request.tokens)
        .collect();
    if !asked.is_empty() {
        record.facts.bill = Some(Bill {
            requests: asked.len() as u64,
            tokens: asked.iter().sum(),
        });
    }
    if ended.output_bytes_dropped > 0 {
        record.facts.notes.push(format!(
            "{} bytes of output were read and not shown: the policy's limit was reached",
            ended.output_bytes_dropped
        ));
    }
    let unraised: Vec<&str> = record
        .facts
        .walls
        .walls
        .iter()
        .filter(|(_, wall)| !matches!(wall, Wall::Enforced))
        .map(|(name, _)| name.as_str())
        .collect();
    if !unraised.is_empty() {
        record
            .facts
            .notes
            .push(format!("not fully enforced here: {}", unraised.join(", ")));
    }
    Ok(())
}

fn judge_end(report: &WallsReport, agent_limit: Option<&str>) -> Result<(), End> {
    if report.level.is_none() {
        return Err(End::new(
            Outcome::WallsMissing,
            "walls-missing",
            report.missing.join("; "),
        ));
    }
    if let Some(limit) = report.limit.as_deref().or(agent_limit) {
        return Err(End::new(
            Outcome::LimitReached,
            "limit-reached",
            format!("the limit {limit} was reached; what was changed until then is not proposed"),
        ));
    }
    if report.exit != 0 {
        return Err(End::new(
            Outcome::AgentFailed,
            "agent-failed",
            format!("the agent ended with exit code {}", report.exit),
        ));
    }
    Ok(())
}

fn collect_changes(
    space: &Workspace,
    ended: &Ended,
    asked: &Asked,
    record: &mut Record,
) -> Result<Changeset, End> {
    let shown = Shown::from(ended.report.level.unwrap_or(Level::D));
    let bounds = Bounds::from(&asked.trusted.policy.changes);
    let changeset = collect::collect(&ended.gone, space, shown, bounds)
        .map_err(|error| End::of(Outcome::Internal, "collect-failed", &error))?;
    let changeset = match shown {
        Shown::UserOverlay | Shown::TrustedOverlay => changeset,
        Shown::Copy => without_read_only(changeset, asked, record),
    };
    record.say(
        "changes",
        Source::Broker,
        &serde_json::json!({
            "files": changeset.changes().len(),
            "bytes": changeset.bytes(),
            "set-aside": changeset.set_aside().len(),
        }),
    )?;
    if changeset.is_empty() {
        return Err(End::good(Outcome::NoChanges, "the agent changed nothing"));
    }
    Ok(changeset)
}

/// Without mounts a read-only path of the workspace can be written in the private copy. As in place, what was written
/// there is left out, and told.
fn without_read_only(changeset: Changeset, asked: &Asked, record: &mut Record) -> Changeset {
    let read_only = &asked.trusted.policy.filesystem.read_only;
    let below = |path: &str| {
        read_only.iter().any(|fixed| {
            path.strip_prefix(fixed.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let (dropped, kept): (Vec<_>, Vec<_>) = changeset
        .changes()
        .iter()
        .cloned()
        .partition(|change| below(change.path().as_str()));
    if dropped.is_empty() {
        return changeset;
    }
    let rows = dropped.iter().map(|change| Denied {
        wall: "files".to_owned(),
        what: format!(
            "{} {} (written in the private copy, left out)",
            change.operation().word(),
            change.path()
        ),
        count: 1,
        allow: None,
        at: None,
    });
    let written = asked.trusted.written();
    let rows = rows.map(|row| written.explain(row));
    record.facts.network.extend(rows);
    Changeset::new(
        changeset.base().clone(),
        kept,
        changeset.set_aside().to_vec(),
    )
    .expect("each path was there once before")
}

pub(super) fn make_folder(path: &Path) -> Result<(), End> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(|error| {
            End::new(
                Outcome::Internal,
                "run-folder-unwritable",
                format!("cannot make {}: {}", path.display(), causes(&error)),
            )
        })
}
