//! `tagout plan`: the tasks that came due, as a matrix for GitHub Actions.
//! It must never print a word that a workflow could read as anything but a number, a repository's name or a task's name.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::broker::forge::github::{Endpoint, GitHub};
use crate::broker::job::asked::{POLICY_BYTES_MAX, POLICY_FILE};
use crate::broker::outputs;
use crate::broker::surroundings::Surroundings;
use crate::cli::PlanArgs;
use crate::console;
use crate::names::Repository;
use crate::outcome::Outcome;
use crate::policy::cron::{self, Cron};
use crate::policy::model::Policy;
use crate::policy::parse;

/// Jobs of the largest matrix that GitHub Actions takes.
pub const MATRIX_MAX: usize = 256;
/// Seconds before `--at` from which tasks are due where `--since` is not given.
const SINCE_SECONDS: u64 = 3600;
/// The prefix of branches that is looked at in a fleet.
const FLEET_PREFIX: &str = "tagout/";

/// One job of the matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Job {
    /// Unique in the matrix: the repository's number and the task.
    id: String,
    task: String,
    /// `owner/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    /// The part after the slash, as a token is minted for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository_id: Option<u64>,
}

#[derive(Serialize)]
struct Matrix {
    include: Vec<Job>,
}

/// What is looked at.
#[derive(Clone, Copy)]
struct Span {
    after_s: u64,
    until_s: u64,
}

type Fault = (Outcome, String);

/// Runs the command: the matrix on stdout, and what was left out on stderr.
#[must_use]
pub fn command(args: &PlanArgs) -> Outcome {
    let surroundings = Surroundings::read();
    match plan(args, &surroundings) {
        Ok(jobs) => shown(jobs, &surroundings),
        Err((outcome, sentence)) => {
            console::notice(&format!("tagout: {sentence}"));
            outcome
        }
    }
}

fn shown(mut jobs: Vec<Job>, surroundings: &Surroundings) -> Outcome {
    if jobs.len() > MATRIX_MAX {
        console::notice(&format!(
            "tagout: {} tasks are due and a matrix takes {MATRIX_MAX}; the rest is left out",
            jobs.len()
        ));
        jobs.truncate(MATRIX_MAX);
    }
    let count = jobs.len().to_string();
    let matrix =
        serde_json::to_string(&Matrix { include: jobs }).expect("plain texts and numbers are JSON");
    console::answer(&matrix);
    if let Some(file) = &surroundings.output
        && let Err(error) = outputs::set(file, &[("matrix", &matrix), ("count", &count)])
    {
        console::notice(&format!(
            "tagout: the step outputs could not be set: {error}"
        ));
        return Outcome::Internal;
    }
    Outcome::Clean
}

fn plan(args: &PlanArgs, surroundings: &Surroundings) -> Result<Vec<Job>, Fault> {
    let span = span(args)?;
    match &args.organization {
        Some(organization) => on_runtime(fleet(organization, span, surroundings)),
        None => on_runtime(single(args, span, surroundings)),
    }
}

fn on_runtime(work: impl Future<Output = Result<Vec<Job>, Fault>>) -> Result<Vec<Job>, Fault> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| (Outcome::Internal, format!("no runtime: {error}")))?
        .block_on(work)
}

fn span(args: &PlanArgs) -> Result<Span, Fault> {
    let read = |name: &str, text: &str| {
        cron::seconds(text).ok_or_else(|| {
            let sentence = format!("{name} {text} is no time; write it as 2026-01-31T10:20:30Z");
            (Outcome::Usage, sentence)
        })
    };
    let until_s = match &args.at {
        Some(text) => read("--at", text)?,
        None => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    };
    let after_s = match &args.since {
        Some(text) => read("--since", text)?,
        None => until_s.saturating_sub(SINCE_SECONDS),
    };
    if after_s > until_s || until_s - after_s > cron::SPAN_MINUTES_MAX * 60 {
        return Err((
            Outcome::Usage,
            "--since must be before --at, by 31 days at most".to_owned(),
        ));
    }
    Ok(Span { after_s, until_s })
}

/// The tasks of one policy that came due and have no open proposal.
fn due(policy: &Policy, span: Span, whose: &str, open: impl Fn(&str) -> bool) -> Vec<String> {
    let mut tasks = Vec::new();
    for (name, task) in &policy.tasks {
        let Some(line) = &task.schedule else { continue };
        let Some(cron) = Cron::read(line) else {
            console::notice(&format!(
                "tagout: {whose}: the cron line of {name} cannot be read; left out"
            ));
            continue;
        };
        if !cron.is_due(span.after_s, span.until_s) {
            continue;
        }
        if open(name) {
            console::notice(&format!(
                "tagout: {whose}: the proposal of {name} is still open; left out"
            ));
            continue;
        }
        tasks.push(name.clone());
    }
    if !tasks.is_empty() && policy.triggers.schedule_owner.is_none() {
        console::notice(&format!(
            "tagout: {whose}: the policy names no triggers.schedule.owner; left out"
        ));
        tasks.clear();
    }
    tasks
}

async fn single(
    args: &PlanArgs,
    span: Span,
    surroundings: &Surroundings,
) -> Result<Vec<Job>, Fault> {
    let file = args
        .policy
        .clone()
        .unwrap_or_else(|| Path::new(POLICY_FILE).to_owned());
    let name = file.display().to_string();
    let mut text = String::new();
    File::open(&file)
        .and_then(|opened| opened.take(POLICY_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| {
            (
                Outcome::PolicyInvalid,
                format!("cannot read {name}: {error}"),
            )
        })?;
    let policy = parse::parse_whole(&name, &text, &super::policies::others_on_disk(&file, &text))
        .map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        (Outcome::PolicyInvalid, lines.join("\n"))
    })?;
    let repository: Option<Repository> = surroundings
        .repository
        .as_ref()
        .and_then(|name| name.parse().ok());
    let endpoint = repository
        .as_ref()
        .and_then(|repository| Endpoint::of(surroundings, repository));
    let open = match endpoint {
        Some(endpoint) => open_branches(endpoint).await?,
        None => {
            console::notice(
                "tagout: without GITHUB_REPOSITORY and GITHUB_TOKEN open proposals are not known",
            );
            Vec::new()
        }
    };
    let prefix = &policy.pull_request.branch_prefix;
    let tasks = due(&policy, span, &name, |task| {
        open.contains(&format!("{prefix}task-{task}"))
    });
    Ok(tasks
        .into_iter()
        .map(|task| Job {
            id: task.clone(),
            task,
            name: repository.as_ref().map(|it| it.name().to_owned()),
            repository: repository.as_ref().map(ToString::to_string),
            repository_id: None,
        })
        .collect())
}

async fn open_branches(endpoint: Endpoint) -> Result<Vec<String>, Fault> {
    let failed = |error: &dyn std::error::Error| {
        (
            Outcome::ForgeFailed,
            format!("open proposals cannot be read: {error}"),
        )
    };
    let github = GitHub::connect(endpoint)
        .await
        .map_err(|error| failed(&error))?;
    github.open_heads().await.map_err(|error| failed(&error))
}

async fn fleet(
    organization: &str,
    span: Span,
    surroundings: &Surroundings,
) -> Result<Vec<Job>, Fault> {
    let failed = |error: &dyn std::error::Error| {
        let cause = crate::broker::job::end::causes(error);
        (Outcome::ForgeFailed, format!("{organization}: {cause}"))
    };
    // Only for the address and the token: the repositories are those of the answer.
    let home: Repository = format!("{organization}/.github")
        .parse()
        .map_err(|_error| {
            (
                Outcome::Usage,
                "--organization is not a name of one".to_owned(),
            )
        })?;
    let endpoint = Endpoint::of(surroundings, &home)
        .ok_or_else(|| (Outcome::Usage, "GITHUB_TOKEN is not set".to_owned()))?;
    let github = GitHub::connect(endpoint)
        .await
        .map_err(|error| failed(&error))?;
    let members = github
        .fleet(organization)
        .await
        .map_err(|error| failed(&error))?;
    let mut jobs = Vec::new();
    for member in members {
        let (Some(text), Ok(repository)) = (&member.policy, member.name.parse::<Repository>())
        else {
            continue;
        };
        if !parse::extend::files(text).is_empty() {
            console::notice(&format!(
                "tagout: {}: its policy builds on files, which are not read here; left out",
                member.name
            ));
            continue;
        }
        let Ok(policy) = parse::parse(POLICY_FILE, text) else {
            let name = &member.name;
            console::notice(&format!("tagout: {name}: its policy is wrong; left out"));
            continue;
        };
        if !member.whole || policy.pull_request.branch_prefix != FLEET_PREFIX {
            console::notice(&format!(
                "tagout: {}: its open proposals are not all known; left out",
                member.name
            ));
            continue;
        }
        let open = |task: &str| member.open.contains(&format!("task-{task}"));
        for task in due(&policy, span, &member.name, open) {
            jobs.push(Job {
                id: format!("{}-{task}", member.id),
                task,
                name: Some(repository.name().to_owned()),
                repository: Some(repository.to_string()),
                repository_id: Some(member.id),
            });
        }
    }
    Ok(jobs)
}
