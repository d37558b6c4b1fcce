//! From an event to an admitted request: event shape, policy of the trusted commit, permission, in that order.
//! It must never touch anything else of the repository, the event's text or a secret before the gate has said yes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::end::{End, causes};
use super::record::Record;
use crate::broker::forge::github::{Endpoint, GitHub};
use crate::broker::git::Source as Repo;
use crate::broker::journal::Source;
use crate::broker::policies;
use crate::broker::refusals::Written;
use crate::broker::surroundings::Surroundings;
use crate::cli::{Forge, JobArgs};
use crate::event::{Event, Kind, PAYLOAD_BYTES_MAX};
use crate::gate::context::Context;
use crate::gate::refusal::{Code, Refusal};
use crate::gate::{self, Admitted, Base, Facts, Runner};
use crate::names::{Digest, ObjectId, Repository, Secret};
use crate::outcome::Outcome;
use crate::policy::model::{NetworkMode, Policy};
use crate::policy::parse::{self, Others, Places};
use crate::report::Arrangement;

/// Where the policy lies in a commit.
pub const POLICY_FILE: &str = ".github/tagout.yml";
/// Largest policy file that is read, in bytes.
pub const POLICY_BYTES_MAX: u64 = 256 * 1024;

/// What the report and the pull request say of such a run.
const ONLY_REPORTED: &str = "network.mode of the policy is report: what no rule allows was let pass to public addresses and only written down";

/// A policy, and the digest of the text that it was read from (of nothing, where the defaults hold).
#[derive(Debug)]
pub struct Trusted {
    /// The policy.
    pub policy: Policy,
    /// Where its keys are written.
    pub places: Places,
    /// SHA-256 of its text, and of those that it builds on.
    pub digest: Digest,
    /// The file as the user knows it.
    pub file: String,
}

impl Trusted {
    /// The policy with its places, to explain refusals.
    #[must_use]
    pub fn written(&self) -> Written<'_> {
        Written {
            policy: &self.policy,
            places: &self.places,
        }
    }
}

/// A request that the gate admitted, with the policy that bounds it.
#[derive(Debug)]
pub struct Asked {
    /// The gate's proof.
    pub admitted: Admitted,
    /// The policy of the trusted commit.
    pub trusted: Trusted,
    /// What of the thread the agent may be shown, beside its title and text.
    pub context: Context,
    /// GitHub, where the event came from there.
    pub github: Option<GitHub>,
}

/// A refusal that may be answered on the thread by whoever may write there.
#[derive(Debug)]
pub struct Refused {
    /// What the gate said.
    pub refusal: Refusal,
    /// Where it was asked.
    pub origin: Option<gate::Origin>,
    /// GitHub.
    pub github: Option<GitHub>,
}

/// Why there is no admitted request.
#[derive(Debug)]
pub enum NotAsked {
    /// The run is over.
    End(End),
    /// The gate said no.
    Refused(Box<Refused>),
}

impl From<End> for NotAsked {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

/// Where the policy and the base commit are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The repository on disk.
    Disk,
    /// The API: nothing is checked out where a credential can write.
    Api,
}

/// Asks the gate.
///
/// # Errors
/// `NotAsked` where the event is not ours, the policy is wrong, or the gate says no.
pub async fn ask(
    args: &JobArgs,
    surroundings: &Surroundings,
    reads: Reads,
    record: &mut Record,
) -> Result<Asked, NotAsked> {
    match payload(args, surroundings)? {
        None => keyboard(args, surroundings, record).map_err(NotAsked::from),
        Some(payload) => by_event(args, surroundings, reads, record, &payload).await,
    }
}

fn payload(args: &JobArgs, surroundings: &Surroundings) -> Result<Option<Vec<u8>>, End> {
    let Some(path) = args.event.as_ref().or(surroundings.event_path.as_ref()) else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| {
            file.take(PAYLOAD_BYTES_MAX as u64 + 1)
                .read_to_end(&mut bytes)
        })
        .map_err(|error| {
            End::new(
                Outcome::Usage,
                "event-unreadable",
                format!("cannot read the event {}: {error}", path.display()),
            )
        })?;
    Ok(Some(bytes))
}

/// Without an event the person at the keyboard asks, and answers for it.
fn keyboard(
    args: &JobArgs,
    surroundings: &Surroundings,
    record: &mut Record,
) -> Result<Asked, End> {
    if surroundings.in_actions {
        return Err(End::new(
            Outcome::Refused,
            "event-missing",
            "in GitHub Actions a run is started by an event, and there is none",
        ));
    }
    let task = args.task.as_deref().ok_or_else(|| {
        End::new(
            Outcome::Usage,
            "task-missing",
            "there is neither an event nor a task; give --task or --event",
        )
    })?;
    let repo = open(&args.repo)?;
    let head = repo
        .head()
        .map_err(|error| End::of(Outcome::Usage, "base-unknown", &error))?;
    let commit = match &surroundings.sha {
        Some(sha) => object_id(sha)?,
        None => head.commit,
    };
    let branch = head.branch.unwrap_or_else(|| "HEAD".to_owned());
    let trusted = trusted(args, surroundings, Some(&repo), &commit)?;
    let admitted =
        gate::keyboard(task, None, Base { branch, commit }).map_err(|refusal| refused(&refusal))?;
    admit(record, &admitted, &trusted)?;
    Ok(Asked {
        admitted,
        trusted,
        context: Context::default(),
        github: None,
    })
}

/// The commit whose policy counts.
async fn trusted_commit(
    args: &JobArgs,
    surroundings: &Surroundings,
    github: &GitHub,
    event: &Event,
) -> Result<ObjectId, End> {
    match (event.kind(), event.base_branch()) {
        // A review runs on the merge ref: the default branch's commit is not in the environment.
        (Kind::Reviewed(_), Some(branch)) => github
            .branch_head(branch)
            .await
            .map_err(|error| End::of(Outcome::ForgeFailed, "base-unknown", &error)),
        _ => base_commit(args, surroundings),
    }
}

async fn by_event(
    args: &JobArgs,
    surroundings: &Surroundings,
    reads: Reads,
    record: &mut Record,
    payload: &[u8],
) -> Result<Asked, NotAsked> {
    let event = match &surroundings.event_name {
        Some(name) => Event::read(name, payload),
        None => Event::read_unnamed(payload),
    }
    .map_err(|error| End::of(Outcome::Refused, "event-unreadable", &error))?;
    record.say(
        "event",
        Source::Broker,
        &serde_json::json!({ "name": event.name(), "digest": event.digest() }),
    )?;
    let runner = runner(surroundings, &event)?;
    let github = connect(surroundings, &runner.repository).await?;
    let commit = trusted_commit(args, surroundings, &github, &event).await?;
    let trusted = match reads {
        Reads::Disk if !matches!(event.kind(), Kind::Reviewed(_)) => {
            let repo = open(&args.repo)?;
            trusted(args, surroundings, Some(&repo), &commit)?
        }
        Reads::Disk | Reads::Api => trusted_by_api(&github, &commit).await?,
    };
    let addressed = gate::address(&event, &trusted.policy)
        .map_err(|ignored| End::good(Outcome::Ignored, ignored.to_string()))?;
    if let Some(assignee) = addressed.assignee()
        && github.identity_by_reading().await.id != assignee
    {
        return Err(End::good(Outcome::Ignored, "the issue was assigned to somebody else").into());
    }
    let branch = event.base_branch().unwrap_or_default().to_owned();
    let mut facts = github
        .facts(
            &addressed,
            &trusted.policy,
            runner,
            Base { branch, commit },
            forge(args, surroundings),
        )
        .await;
    let origin = addressed.origin();
    let writes = reads == Reads::Api || record.facts.arrangement == Arrangement::OneProcess;
    match judged(addressed, &trusted.policy, &mut facts, &github, writes).await {
        Ok(admitted) => {
            admit(record, &admitted, &trusted)?;
            let policy = &trusted.policy;
            let context = context(&github, &admitted, policy, &mut facts, record).await;
            Ok(Asked {
                admitted,
                trusted,
                context,
                github: Some(github),
            })
        }
        Err(refusal) if refusal.code() == Code::AlreadyDone => {
            Err(End::good(Outcome::Ignored, refusal.sentence()).into())
        }
        Err(refusal) => {
            record.say(
                "gate",
                Source::Broker,
                &serde_json::json!({ "refused": refusal.code().word(), "sentence": refusal.sentence() }),
            )?;
            Err(NotAsked::Refused(Box::new(Refused {
                refusal,
                origin,
                github: Some(github),
            })))
        }
    }
}

/// The gate's judgement. A job that may write judges again by the account that it really writes as.
async fn judged(
    addressed: gate::Addressed,
    policy: &Policy,
    facts: &mut Facts,
    github: &GitHub,
    writes: bool,
) -> Result<Admitted, Refusal> {
    let admitted = gate::admit(addressed.clone(), policy, facts)?;
    if writes && github.recount(&addressed, facts).await {
        return gate::admit(addressed, policy, facts);
    }
    Ok(admitted)
}

/// What may be shown of the thread; how much is not goes into the report.
async fn context(
    github: &GitHub,
    admitted: &Admitted,
    policy: &Policy,
    facts: &mut Facts,
    record: &mut Record,
) -> Context {
    let notes = &mut record.facts.notes;
    let context = match github.context(admitted, policy, facts).await {
        Ok(context) => context,
        Err(error) => {
            notes.push(format!(
                "the thread could not be read, and nothing of it was shown to the agent: {}",
                causes(&error)
            ));
            Context::default()
        }
    };
    let withheld: usize = context.withheld.values().sum();
    if withheld > 0 {
        let reasons: Vec<String> = context
            .withheld
            .iter()
            .map(|(why, count)| format!("{why} {count}"))
            .collect();
        notes.push(format!(
            "{withheld} texts of the thread were withheld from the agent: {}",
            reasons.join(", ")
        ));
    }
    context
}

/// How a gate's refusal ends a run.
#[must_use]
pub fn refused(refusal: &Refusal) -> End {
    End::new(Outcome::Refused, refusal.code().word(), refusal.sentence())
}

/// Writes down what was admitted, for the journal and the report.
fn admit(record: &mut Record, admitted: &Admitted, trusted: &Trusted) -> Result<(), End> {
    let request = &mut record.facts.request;
    request.requester.clone_from(&admitted.requester().login);
    admitted.task().clone_into(&mut request.task);
    request.repository = admitted.repository().map(ToString::to_string);
    request.issue = admitted.issue();
    request.base_branch = Some(admitted.base_branch().to_owned());
    request.base_commit = Some(admitted.base_commit().to_string());
    request.policy_digest = Some(trusted.digest.to_string());
    if trusted.policy.network.mode == NetworkMode::Report {
        record.facts.notes.push(ONLY_REPORTED.to_owned());
    }
    let withheld = admitted.withheld().len();
    if withheld > 0 {
        record.facts.notes.push(format!(
            "{withheld} texts by people below the permission threshold were withheld from the agent"
        ));
    }
    record.say(
        "gate",
        Source::Broker,
        &serde_json::json!({
            "admitted": admitted.requester().login,
            "task-id": admitted.task_id(),
            "base": admitted.base_commit(),
            "policy": trusted.digest,
        }),
    )
}

fn runner(surroundings: &Surroundings, event: &Event) -> Result<Runner, End> {
    let repository = match &surroundings.repository {
        Some(text) => text
            .parse()
            .map_err(|error| End::of(Outcome::Usage, "repository-unknown", &error))?,
        None => event
            .repository()
            .map(|home| home.name.clone())
            .ok_or_else(|| {
                End::new(
                    Outcome::Refused,
                    "repository-mismatch",
                    "the event names no repository",
                )
            })?,
    };
    let attempt = match &surroundings.run_attempt {
        Some(text) => text
            .parse()
            .map_err(|error| End::of(Outcome::Usage, "attempt-unknown", &error))?,
        None => 1,
    };
    Ok(Runner {
        run: surroundings
            .run_id
            .clone()
            .unwrap_or_else(|| "local".to_owned()),
        repository,
        attempt,
        triggering_actor: surroundings.triggering_actor.clone(),
    })
}

fn base_commit(args: &JobArgs, surroundings: &Surroundings) -> Result<ObjectId, End> {
    match &surroundings.sha {
        Some(sha) => object_id(sha),
        None => open(&args.repo)?
            .head()
            .map(|head| head.commit)
            .map_err(|error| End::of(Outcome::Usage, "base-unknown", &error)),
    }
}

fn object_id(text: &str) -> Result<ObjectId, End> {
    text.parse()
        .map_err(|error| End::of(Outcome::Usage, "base-unknown", &error))
}

/// Opens the repository that the run is about.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn open(path: &Path) -> Result<Repo, End> {
    Repo::open(path).map_err(|error| End::of(Outcome::Usage, "repository-unreadable", &error))
}

async fn connect(surroundings: &Surroundings, repository: &Repository) -> Result<GitHub, End> {
    let nothing = || Secret::new(String::new());
    let token = surroundings.token.clone().unwrap_or_else(nothing);
    let endpoint = Endpoint::at(surroundings, repository, token);
    GitHub::connect(endpoint)
        .await
        .map_err(|error| End::of(Outcome::ForgeFailed, "github-unreachable", &error))
}

/// The policy of the base commit, or the file that the person at the keyboard named.
fn trusted(
    args: &JobArgs,
    surroundings: &Surroundings,
    repo: Option<&Repo>,
    commit: &ObjectId,
) -> Result<Trusted, End> {
    if let Some(path) = &args.policy {
        if surroundings.in_actions {
            return Err(End::new(
                Outcome::Usage,
                "policy-not-trusted",
                "in GitHub Actions the policy comes from the base commit; --policy is for a person at the keyboard",
            ));
        }
        let text = read_policy(path)?;
        let others = policies::others_on_disk(path, &String::from_utf8_lossy(&text));
        return parsed(&path.display().to_string(), Some(text), &others);
    }
    let Some(repo) = repo else {
        return parsed(POLICY_FILE, None, &Others::new());
    };
    let unreadable =
        |error: &dyn std::error::Error| End::of(Outcome::PolicyInvalid, "policy-unreadable", error);
    let bytes = repo
        .read_file(commit, POLICY_FILE, POLICY_BYTES_MAX)
        .map_err(|error| unreadable(&error))?;
    let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default());
    let others = policies::others_in(repo, commit, &text).map_err(|error| unreadable(&error))?;
    parsed(POLICY_FILE, bytes, &others)
}

async fn trusted_by_api(github: &GitHub, commit: &ObjectId) -> Result<Trusted, End> {
    let (bytes, others) = github
        .policy_files(commit)
        .await
        .map_err(|error| End::of(Outcome::ForgeFailed, "policy-unreadable", &error))?;
    parsed(POLICY_FILE, bytes, &others)
}

fn read_policy(path: &Path) -> Result<Vec<u8>, End> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(POLICY_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            End::new(
                Outcome::PolicyInvalid,
                "policy-unreadable",
                format!("cannot read {}: {error}", path.display()),
            )
        })?;
    Ok(bytes)
}

fn parsed(file: &str, bytes: Option<Vec<u8>>, others: &Others) -> Result<Trusted, End> {
    let Some(bytes) = bytes else {
        return Ok(Trusted {
            policy: Policy::default(),
            places: Places::none(),
            digest: Digest::of(b""),
            file: file.to_owned(),
        });
    };
    let digest = digest(&bytes, others);
    let text = String::from_utf8(bytes).map_err(|error| {
        End::new(
            Outcome::PolicyInvalid,
            "policy-not-utf8",
            format!("{file}:1:1: {}", causes(&error)),
        )
    })?;
    let (policy, places) = parse::parse_whole_placed(file, &text, others).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        End::new(Outcome::PolicyInvalid, "policy-invalid", lines.join("\n"))
    })?;
    Ok(Trusted {
        policy,
        places,
        digest,
        file: file.to_owned(),
    })
}

/// Of the policy's text alone, or of it and the digests of all that it builds on, by their paths.
fn digest(bytes: &[u8], others: &Others) -> Digest {
    let own = Digest::of(bytes);
    if others.is_empty() {
        return own;
    }
    let mut all = own.to_string();
    for (path, text) in others {
        all.push_str(&format!("\n{path} {}", Digest::of(text.as_bytes())));
    }
    Digest::of(all.as_bytes())
}

/// Where the proposal goes.
#[must_use]
pub fn forge(args: &JobArgs, surroundings: &Surroundings) -> Forge {
    args.forge.unwrap_or(if surroundings.in_actions {
        Forge::Github
    } else {
        Forge::Local
    })
}
