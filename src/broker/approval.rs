//! `tagout approval`: judges whether a human has released a pull request, and sets the light on its head.
//! It must never set green on a guess: what cannot be established is pending.

use std::path::Path;

use serde::Serialize;

use crate::broker::forge::github::error::ForgeError;
use crate::broker::forge::github::release::Ours;
use crate::broker::forge::github::status::{self, Light};
use crate::broker::forge::github::{Endpoint, GitHub, Identity};
use crate::broker::outputs;
use crate::broker::policies;
use crate::broker::surroundings::Surroundings;
use crate::cli::{ApprovalArgs, PublishedWith};
use crate::console;
use crate::event::{Event, EventError, IssueKind, Kind, PAYLOAD_BYTES_MAX};
use crate::gate::approval::{Code, Decision, Missing, decide};
use crate::names::{ObjectId, Repository};
use crate::outcome::Outcome;
use crate::policy::model::Policy;
use crate::policy::parse;

/// Why nothing could be judged.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Usage(String),
    #[error("the event cannot be read")]
    Event(#[from] EventError),
    #[error("{path} cannot be read")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the policy is wrong:\n{0}")]
    Policy(String),
    #[error("the approval could not be established")]
    Forge(#[from] ForgeError),
    #[error("no runtime can be started")]
    Runtime(#[source] std::io::Error),
}

impl Fault {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Usage(_) | Self::File { .. } | Self::Event(_) => Outcome::Usage,
            Self::Policy(_) => Outcome::PolicyInvalid,
            // GitHub did not say: that is pending, never approved.
            Self::Forge(_) => Outcome::Pending,
            Self::Runtime(_) => Outcome::Internal,
        }
    }
}

/// The object of `--json`.
#[derive(Debug, Serialize)]
struct Answer {
    outcome: &'static str,
    pull: Option<u64>,
    head: Option<String>,
    approved_by: Vec<String>,
    missing: Vec<Entry>,
    /// Whether any workflow of the repository could set the same green light.
    advisory: bool,
}

#[derive(Debug, Serialize)]
struct Entry {
    code: &'static str,
    sentence: String,
}

impl Answer {
    fn new(outcome: Outcome) -> Self {
        Self {
            outcome: outcome.word(),
            pull: None,
            head: None,
            approved_by: Vec::new(),
            missing: Vec::new(),
            advisory: false,
        }
    }
}

/// Runs the command: prints the decision, sets the light and the step output.
#[must_use]
pub fn command(args: &ApprovalArgs) -> Outcome {
    let surroundings = Surroundings::read();
    let (outcome, answer) = match judge(args, &surroundings) {
        Ok(end) => end,
        Err(fault) => {
            console::notice(&format!("tagout: {}", whole(&fault)));
            let mut answer = Answer::new(fault.outcome());
            answer.missing.push(Entry {
                code: Code::NotEstablished.word(),
                sentence: fault.to_string(),
            });
            (fault.outcome(), answer)
        }
    };
    if args.json {
        let text = serde_json::to_string(&answer).expect("plain texts and numbers are JSON");
        console::answer(&text);
    } else {
        console::answer(&spoken(&answer));
    }
    if let Some(file) = &surroundings.output
        && let Err(error) = outputs::set(file, &[("outcome", outcome.word())])
    {
        console::notice(&format!(
            "tagout: the step output could not be set: {error}"
        ));
    }
    outcome
}

fn judge(args: &ApprovalArgs, surroundings: &Surroundings) -> Result<(Outcome, Answer), Fault> {
    let event = event(args, surroundings)?;
    let repository = repository(event.as_ref(), surroundings)?;
    let endpoint = Endpoint::of(surroundings, &repository)
        .ok_or_else(|| Fault::Usage("GITHUB_TOKEN is not set".to_owned()))?;
    let wanted = wanted(args, event.as_ref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Fault::Runtime)?;
    runtime.block_on(async {
        let github = GitHub::connect(endpoint).await?;
        let policy = policy(args, surroundings, &github).await?;
        let publisher = match args.published_with {
            None => github.identity().await,
            Some(PublishedWith::GithubToken) => github.workflow_account().await?,
        };
        let court = Court {
            github: &github,
            policy: &policy,
            publisher: &publisher,
        };
        let (numbers, asked) = match wanted {
            Wanted::Number(number) => (vec![number], Asked::ByNumber),
            Wanted::OfEvent(numbers) => (numbers, Asked::ByEvent),
            Wanted::Head(head) => (github.pulls_at(&head).await?, Asked::ByEvent),
            Wanted::Own => (github.own_pulls(&publisher).await?, Asked::ByEvent),
            Wanted::Queued(queued) => return in_queue(&court, &queued).await,
            Wanted::Nothing => (Vec::new(), Asked::ByEvent),
        };
        let mut ends = Vec::new();
        for number in numbers {
            let judged = one(&court, number, asked).await?;
            ends.push(lit(&court, judged).await);
        }
        Ok(together(ends))
    })
}

/// A merge queue asks about a commit of its own: each pull request in it is judged by its own head, and the queue's commit
/// is as red as the reddest. Where it cannot be established which ones it holds, it is red.
async fn in_queue(court: &Court<'_>, queued: &Queued) -> Result<(Outcome, Answer), Fault> {
    let head: ObjectId = queued.head.parse().map_err(ForgeError::Word)?;
    let numbers = match court
        .github
        .queued(&head, &queued.base, queued.number)
        .await
    {
        Ok(numbers) => numbers,
        Err(error) => {
            let words = "waiting: which pull requests the queue holds could not be established";
            set(court, &head, Light::Red, words).await;
            return Err(Fault::Forge(error));
        }
    };
    let mut ends = Vec::new();
    let mut words = Vec::new();
    for number in numbers {
        let judged = one(court, number, Asked::ByEvent).await?;
        words.push(format!("#{number} {}", judged.words));
        ends.push((judged.outcome, judged.answer));
    }
    let (outcome, mut answer) = together(ends);
    let light = match outcome {
        Outcome::Approved | Outcome::Ignored => Light::Green,
        _ => Light::Red,
    };
    if !set(court, &head, light, &words.join("; ")).await && light == Light::Green {
        answer.outcome = Outcome::ForgeFailed.word();
        return Ok((Outcome::ForgeFailed, answer));
    }
    Ok((outcome, answer))
}

/// Sets a light; whether that could be done.
async fn set(court: &Court<'_>, head: &ObjectId, light: Light, words: &str) -> bool {
    let github = court.github;
    let me = github.identity().await;
    let context = &court.policy.approval.context;
    let words = status::told(words, &me);
    match github.set_light(head, context, light, &words, None).await {
        Ok(()) => true,
        Err(error) => {
            console::notice(&format!("tagout: the light could not be set: {error}"));
            false
        }
    }
}

/// What every judgement needs.
struct Court<'a> {
    github: &'a GitHub,
    policy: &'a Policy,
    /// The account whose commits and pull requests are Tagout's.
    publisher: &'a Identity,
}

/// Which pull requests are to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// `--pull N`.
    Number(u64),
    /// The event names them.
    OfEvent(Vec<u64>),
    /// Those with this head.
    Head(String),
    /// All that we opened.
    Own,
    /// Those in a commit of a merge queue.
    Queued(Queued),
    /// The event is about none.
    Nothing,
}

/// What a merge queue's branch says: `refs/heads/gh-readonly-queue/main/pr-12-SHA`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Queued {
    number: u64,
    base: String,
    head: String,
}

fn wanted(args: &ApprovalArgs, event: Option<&Event>) -> Result<Wanted, Fault> {
    if let Some(number) = args.pull {
        return Ok(Wanted::Number(number));
    }
    let Some(event) = event else {
        return Err(Fault::Usage(
            "which pull request? Give --pull N, or an event".to_owned(),
        ));
    };
    Ok(match event.kind() {
        Kind::Pull { number, .. } => Wanted::OfEvent(vec![*number]),
        Kind::Reviewed(reviewed) => Wanted::OfEvent(vec![reviewed.pull.number]),
        Kind::Comment(commented) => match commented.issue.kind {
            IssueKind::Pull => Wanted::OfEvent(vec![commented.issue.number]),
            IssueKind::Issue => Wanted::Nothing,
        },
        Kind::Woken { pulls, head, .. } if pulls.is_empty() => Wanted::Head(head.clone()),
        Kind::Woken { pulls, .. } => Wanted::OfEvent(pulls.clone()),
        Kind::MergeGroup { reference, head } => match queued(reference, head) {
            Some(queued) => Wanted::Queued(queued),
            None => {
                return Err(Fault::Usage(
                    "the merge queue's branch names no pull request".to_owned(),
                ));
            }
        },
        Kind::Schedule { .. } | Kind::Dispatch { .. } => Wanted::Own,
        Kind::Called { .. } | Kind::Raised(_) | Kind::Other => Wanted::Nothing,
    })
}

/// One end for several pull requests: as red as the reddest of them.
fn together(mut ends: Vec<(Outcome, Answer)>) -> (Outcome, Answer) {
    if ends.len() <= 1 {
        return ends
            .pop()
            .unwrap_or_else(|| (Outcome::Ignored, Answer::new(Outcome::Ignored)));
    }
    let worst = ends
        .iter()
        .map(|(outcome, _)| *outcome)
        .max_by_key(|outcome| match outcome {
            Outcome::Ignored => 0,
            Outcome::Approved => 1,
            Outcome::Pending => 2,
            _ => 3,
        })
        .unwrap_or(Outcome::Ignored);
    let mut whole = Answer::new(worst);
    for (_, end) in ends {
        let number = end.pull.unwrap_or_default();
        whole.advisory |= end.advisory;
        whole
            .missing
            .extend(end.missing.into_iter().map(|entry| Entry {
                code: entry.code,
                sentence: format!("pull request {number}: {}", entry.sentence),
            }));
    }
    (worst, whole)
}

/// How a pull request came to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// `--pull N`: it is judged whatever it is.
    ByNumber,
    /// An event: what is not Tagout's is none of our business.
    ByEvent,
}

/// One pull request as it was judged.
struct Judged {
    head: ObjectId,
    outcome: Outcome,
    light: Light,
    words: String,
    answer: Answer,
}

/// Judges one pull request by its own head.
async fn one(court: &Court<'_>, number: u64, asked: Asked) -> Result<Judged, Fault> {
    let Court {
        github,
        policy,
        publisher,
    } = court;
    let me = github.identity().await;
    let found = github.release_facts(number, policy, &me, publisher).await?;
    let established = found.facts.not_established.is_empty();
    let foreign = found.ours == Ours::No && asked == Asked::ByEvent && established;
    let (outcome, light, words, decision) = if foreign {
        let words = "not a proposal of Tagout".to_owned();
        (Outcome::Ignored, Light::Green, words, None)
    } else {
        let decision = decide(&found.facts, &policy.approval);
        let (outcome, light, words) = described(&decision);
        (outcome, light, words, Some(decision))
    };
    let mut answer = Answer::new(outcome);
    answer.pull = Some(number);
    answer.head = Some(found.facts.head.to_string());
    answer.advisory = status::is_advisory(&me);
    match decision {
        Some(Decision::Approved { by }) => answer.approved_by = by,
        Some(Decision::Pending { missing }) => {
            answer.missing = missing.into_iter().map(entry).collect();
        }
        None => {}
    }
    Ok(Judged {
        head: found.facts.head,
        outcome,
        light,
        words,
        answer,
    })
}

/// Sets the light of a pull request. A green one that nobody would see has released nothing.
async fn lit(court: &Court<'_>, judged: Judged) -> (Outcome, Answer) {
    let Judged {
        head,
        outcome,
        light,
        words,
        mut answer,
    } = judged;
    if !set(court, &head, light, &words).await && light == Light::Green {
        answer.outcome = Outcome::ForgeFailed.word();
        return (Outcome::ForgeFailed, answer);
    }
    (outcome, answer)
}

fn entry(missing: Missing) -> Entry {
    Entry {
        code: missing.code.word(),
        sentence: missing.sentence,
    }
}

fn described(decision: &Decision) -> (Outcome, Light, String) {
    match decision {
        Decision::Approved { by } => (
            Outcome::Approved,
            Light::Green,
            format!("released by {}", by.join(", ")),
        ),
        Decision::Pending { missing } => {
            let words: Vec<&str> = missing
                .iter()
                .map(|found| found.sentence.as_str())
                .collect();
            (
                Outcome::Pending,
                Light::Red,
                format!("waiting: {}", words.join("; ")),
            )
        }
    }
}

/// The pull request that a merge queue's branch is named after, and the base branch.
fn queued(reference: &str, head: &str) -> Option<Queued> {
    let name = reference.strip_prefix("refs/heads/").unwrap_or(reference);
    let (base, last) = name.strip_prefix("gh-readonly-queue/")?.rsplit_once('/')?;
    Some(Queued {
        number: last.strip_prefix("pr-")?.split('-').next()?.parse().ok()?,
        base: base.to_owned(),
        head: head.to_owned(),
    })
}

fn spoken(answer: &Answer) -> String {
    let mut text = answer.outcome.to_owned();
    if let Some(pull) = answer.pull {
        text.push_str(&format!(": pull request {pull}"));
    }
    if !answer.approved_by.is_empty() {
        text.push_str(&format!(", released by {}", answer.approved_by.join(", ")));
    }
    for missing in &answer.missing {
        text.push_str(&format!("\n  {}: {}", missing.code, missing.sentence));
    }
    if answer.advisory {
        text.push_str(
            "\n  note: set with GITHUB_TOKEN, this check is advice: any workflow with statuses: write could set it too",
        );
    }
    text
}

fn whole(fault: &dyn std::error::Error) -> String {
    let mut text = fault.to_string();
    let mut source = fault.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn event(args: &ApprovalArgs, surroundings: &Surroundings) -> Result<Option<Event>, Fault> {
    let given = args.event.as_deref();
    let Some(path) = given.or(surroundings.event_path.as_deref()) else {
        return Ok(None);
    };
    let payload = bounded(path, PAYLOAD_BYTES_MAX)?;
    let event = match &surroundings.event_name {
        Some(name) => Event::read(name, &payload)?,
        None => Event::read_unnamed(&payload)?,
    };
    Ok(Some(event))
}

/// A file with at most `limit_bytes` bytes and one more, so that what reads it sees that it is too long.
fn bounded(path: &Path, limit_bytes: usize) -> Result<Vec<u8>, Fault> {
    use std::io::Read as _;
    let fault = |source| Fault::File {
        path: path.display().to_string(),
        source,
    };
    let mut bytes = Vec::new();
    let limit = u64::try_from(limit_bytes)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    std::fs::File::open(path)
        .map_err(fault)?
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(fault)?;
    Ok(bytes)
}

fn repository(event: Option<&Event>, surroundings: &Surroundings) -> Result<Repository, Fault> {
    let named = surroundings.repository.clone();
    let told = event
        .and_then(Event::repository)
        .map(|home| home.name.clone());
    match (named, told) {
        (Some(named), told) => {
            let named: Repository = named
                .parse()
                .map_err(|error| Fault::Usage(format!("GITHUB_REPOSITORY: {error}")))?;
            match told {
                Some(told) if told != named => Err(Fault::Usage(
                    "the event is not of the repository in GITHUB_REPOSITORY".to_owned(),
                )),
                Some(_) | None => Ok(named),
            }
        }
        (None, Some(told)) => Ok(told),
        (None, None) => Err(Fault::Usage("GITHUB_REPOSITORY is not set".to_owned())),
    }
}

/// The policy: the default branch's, by the API; or a file, outside of GitHub Actions only.
async fn policy(
    args: &ApprovalArgs,
    surroundings: &Surroundings,
    github: &GitHub,
) -> Result<Policy, Fault> {
    /// Bytes of the largest policy file that is read.
    const POLICY_BYTES_MAX: usize = 256 * 1024;
    let (name, bytes, others) = match &args.policy {
        Some(_) if surroundings.in_actions => {
            return Err(Fault::Usage(
                "--policy is not for GitHub Actions: there the default branch's policy counts"
                    .to_owned(),
            ));
        }
        Some(path) => {
            let bytes = bounded(path, POLICY_BYTES_MAX)?;
            let others = policies::others_on_disk(path, &String::from_utf8_lossy(&bytes));
            (path.display().to_string(), Some(bytes), others)
        }
        None => {
            let branch = github.default_branch().await?;
            let commit = github.branch_head(&branch).await?;
            let (file, others) = github.policy_files(&commit).await?;
            (".github/tagout.yml".to_owned(), file, others)
        }
    };
    let Some(bytes) = bytes else {
        return Ok(Policy::default());
    };
    let text = String::from_utf8(bytes)
        .map_err(|error| Fault::Policy(format!("{name}: it is not UTF-8: {error}")))?;
    parse::parse_whole(&name, &text, &others).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Fault::Policy(lines.join("\n"))
    })
}
