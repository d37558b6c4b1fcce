//! The judgement itself: from an event that is for us and the facts about it to an `Admitted`, or to a refusal.
//! It must never take a missing answer for a yes.

use super::address::{Addressed, Source};
use super::budget::{self, Asking, Entry};
use super::pin::{Target, pin};
use super::principal::{requesters, unchanged};
use super::refusal::{Code, Refusal};
use super::task::{task, text, words};
use super::{Base, Facts, Origin, Principal};
use crate::event::{IssueKind, RaisedBy};
use crate::names::{Digest, ObjectId, Repository};
use crate::policy::model::{NetworkMode, Policy};

/// Proof that the gate said yes, and to what. Only `admit` and `keyboard` make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    requester: Principal,
    rerunner: Option<Principal>,
    task: String,
    task_name: Option<String>,
    thread: Option<Thread>,
    origin: Option<Origin>,
    repository: Option<Repository>,
    base: Base,
    default_base: bool,
    target: Target,
    at: Option<String>,
    label: Option<String>,
    entry: Option<Entry>,
    failed_run: Option<(u64, u32)>,
    event_digest: Option<Digest>,
    event_name: Option<String>,
    withheld: Vec<Withheld>,
}

/// The words of an issue that may be shown to the agent, because their author may start runs too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Title, not yet sanitised.
    pub title: String,
    /// Text, not yet sanitised.
    pub body: String,
    /// Their author.
    pub author: Principal,
}

/// Words that were not shown to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// What: for example `title and text of issue 7`.
    pub what: String,
    /// Whose, if the account still exists.
    pub author: Option<Principal>,
    /// Why, in a few words.
    pub why: String,
}

impl Admitted {
    /// Who asked for the run; may never approve its outcome.
    #[must_use]
    pub fn requester(&self) -> &Principal {
        &self.requester
    }

    /// Who started this attempt, if it is a re-run by somebody else; counts as a requester too.
    #[must_use]
    pub fn rerunner(&self) -> Option<&Principal> {
        self.rerunner.as_ref()
    }

    /// What the agent is asked to do; words of the requester or of the policy, not yet sanitised.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.task
    }

    /// The name of the policy's task, if one was picked.
    #[must_use]
    pub fn task_name(&self) -> Option<&str> {
        self.task_name.as_deref()
    }

    /// Names the task among all of this repository: `issue-7`, `pull-8`, `task-update-deps`, the task of the proposal that
    /// is updated, or `keyboard-` and a digest of the words.
    #[must_use]
    pub fn task_id(&self) -> String {
        if let Target::Own { task, .. } = &self.target {
            return task.clone();
        }
        match (&self.origin, &self.task_name) {
            (Some(origin), _) => match origin.kind {
                IssueKind::Issue => format!("issue-{}", origin.issue),
                IssueKind::Pull => format!("pull-{}", origin.issue),
            },
            (None, Some(name)) => format!("task-{name}"),
            (None, None) => {
                let digest = Digest::of(self.task.as_bytes());
                format!("keyboard-{}", digest.as_str().get(..8).unwrap_or_default())
            }
        }
    }

    /// Title and text of the issue, if their author's words count.
    #[must_use]
    pub fn thread(&self) -> Option<&Thread> {
        self.thread.as_ref()
    }

    /// The issue's number, if there is one.
    #[must_use]
    pub fn issue(&self) -> Option<u64> {
        self.origin.map(|origin| origin.issue)
    }

    /// What asked, and where answers go.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// The repository; none for a person at the keyboard.
    #[must_use]
    pub fn repository(&self) -> Option<&Repository> {
        self.repository.as_ref()
    }

    /// The branch that the proposal is for, without `refs/heads/`.
    #[must_use]
    pub fn base_branch(&self) -> &str {
        &self.base.branch
    }

    /// The commit that the agent works on, fixed at the event.
    #[must_use]
    pub fn base_commit(&self) -> &ObjectId {
        &self.base.commit
    }

    /// Where the proposal goes.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// When the server saw what was asked; thread items from then on are not shown.
    #[must_use]
    pub fn at(&self) -> Option<&str> {
        self.at.as_deref()
    }

    /// The label that asked, to be taken off again: one labelling is one run.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// The line about this run for the ledger of our own comments.
    #[must_use]
    pub fn entry(&self) -> Option<&Entry> {
        self.entry.as_ref()
    }

    /// The workflow run that failed, and which attempt of it, where one asked.
    #[must_use]
    pub fn failed_run(&self) -> Option<(u64, u32)> {
        self.failed_run
    }

    /// Whether the base is the default branch; another one is named in the report.
    #[must_use]
    pub fn on_default_branch(&self) -> bool {
        self.default_base
    }

    /// The event's digest; none for a person at the keyboard.
    #[must_use]
    pub fn event_digest(&self) -> Option<&Digest> {
        self.event_digest.as_ref()
    }

    /// GitHub's name of the event; none for a person at the keyboard.
    #[must_use]
    pub fn event_name(&self) -> Option<&str> {
        self.event_name.as_deref()
    }

    /// What was not shown to the agent, and why.
    #[must_use]
    pub fn withheld(&self) -> &[Withheld] {
        &self.withheld
    }
}

/// Judges an addressed event. The permission comes first, before any word of the request is weighed.
///
/// # Errors
/// The first rule that does not hold, as a `Refusal`.
pub fn admit(addressed: Addressed, policy: &Policy, facts: &Facts) -> Result<Admitted, Refusal> {
    let home = addressed
        .event
        .repository()
        .filter(|home| home.name == facts.runner.repository)
        .ok_or_else(|| {
            Refusal::new(
                Code::RepositoryMismatch,
                "the event is not of the repository that this run is in",
            )
        })?;
    let repository = home.name.clone();
    let (requester, rerunner) = requesters(&addressed, policy, facts)?;
    match &addressed.source {
        Source::Words(said) => unchanged(&said.words, &facts.comment)?,
        Source::Raised(raised, _) => unchanged(&raised.issue.words(), &facts.comment)?,
        Source::Sender(_) | Source::Run(_) | Source::Owner(_) | Source::Nobody => {}
    }
    let entry = entry(&addressed, rerunner.as_ref().unwrap_or(&requester), facts)?;
    let pinned = pin(&addressed, policy, facts)?;
    match &addressed.source {
        Source::Words(_) | Source::Raised(..) | Source::Run(_) => enforced(policy)?,
        Source::Sender(_) | Source::Owner(_) | Source::Nobody => {}
    }
    let (thread, withheld) = words(&addressed, policy, facts);
    let origin = addressed.origin();
    let label = label(&addressed);
    let at = addressed.at().map(str::to_owned);
    let failed_run = match &addressed.source {
        Source::Run(failed) => Some((failed.run.id, failed.run.attempt)),
        Source::Words(_)
        | Source::Raised(..)
        | Source::Sender(_)
        | Source::Owner(_)
        | Source::Nobody => None,
    };
    let (task, task_name) = task(addressed.wish, thread.as_ref())?;
    Ok(Admitted {
        requester,
        rerunner,
        task,
        task_name,
        thread,
        origin,
        repository: Some(repository),
        base: pinned.base,
        default_base: pinned.default_base,
        target: pinned.target,
        at,
        label,
        entry,
        failed_run,
        event_digest: Some(addressed.event.digest().clone()),
        event_name: Some(addressed.event.name().to_owned()),
        withheld,
    })
}

/// Holds what asks on a thread against the budgets, and gives its line for the ledger.
fn entry(
    addressed: &Addressed,
    actor: &Principal,
    facts: &Facts,
) -> Result<Option<Entry>, Refusal> {
    let (Some(origin), Some(at)) = (addressed.origin(), addressed.at()) else {
        return Ok(None);
    };
    let key = origin.by.key(addressed.event.digest());
    let asking = Asking {
        key: &key,
        actor,
        at,
        run: &facts.runner.run,
        issue: origin.issue,
    };
    budget::judge(asking, &facts.ledger)?;
    Ok(Some(Entry {
        key,
        actor: actor.id.unwrap_or_default(),
        at: at.to_owned(),
        run: facts.runner.run.clone(),
    }))
}

fn label(addressed: &Addressed) -> Option<String> {
    match &addressed.source {
        Source::Raised(raised, _) => match &raised.by {
            RaisedBy::Label(name) => Some(name.clone()),
            RaisedBy::Assignment(_) | RaisedBy::Other => None,
        },
        Source::Words(_)
        | Source::Run(_)
        | Source::Sender(_)
        | Source::Owner(_)
        | Source::Nobody => None,
    }
}

/// Admits the person at the keyboard, who needs no permission but the one to run programs here.
/// The caller must have made sure that there is no event and that GITHUB_ACTIONS is not `true`.
///
/// # Errors
/// An empty or overlong task.
pub fn keyboard(task: &str, login: Option<&str>, base: Base) -> Result<Admitted, Refusal> {
    Ok(Admitted {
        requester: Principal {
            login: login.unwrap_or("keyboard").to_owned(),
            id: None,
        },
        rerunner: None,
        task: text(task)?,
        task_name: None,
        thread: None,
        origin: None,
        repository: None,
        base,
        default_base: true,
        target: Target::Branch,
        at: None,
        label: None,
        entry: None,
        failed_run: None,
        event_digest: None,
        event_name: None,
        withheld: Vec::new(),
    })
}

/// Whoever comments or labels chooses the agent's words; under `network.mode: report` those words could choose where data
/// goes.
fn enforced(policy: &Policy) -> Result<(), Refusal> {
    match policy.network.mode {
        NetworkMode::Enforce => Ok(()),
        NetworkMode::Report => Err(Refusal::new(
            Code::ReportMode,
            "the policy's network.mode is report, under which no words on a thread start a run",
        )),
    }
}
