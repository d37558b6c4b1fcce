//! Is the event for us, and what does it ask? Looks at the event and the trusted policy alone.
//! It must never answer a stranger: what is wrong with a request is said only after the permission is known.

use super::{AskedBy, GITHUB_ACTIONS_BOT, Origin, Runner};
use crate::event::{
    Account, Action, Comment, Commented, EndedRun, Event, Issue, IssueKind, Kind, Raised, RaisedBy,
    ReviewPlace, Reviewed,
};
use crate::names::ObjectId;
use crate::policy::model::Policy;

/// What every text that we post carries, so that we never take our own words for an order.
pub const MARKER: &str = "<!-- tagout:";

/// The task of the policy that a failed workflow run starts; without it such runs are ignored.
pub const FAILED_CI_TASK: &str = "failed-ci";

/// Fewest digits that make a word a shortened commit id, as git does.
const SHORT_ID_CHARS_MIN: usize = 7;

/// An event that is for us. Nobody has been asked yet whether its author may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed {
    pub(super) event: Event,
    pub(super) source: Source,
    pub(super) wish: Wish,
}

/// Who is asked about, by kind of event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The author of words on a thread.
    Words(Box<Said>),
    /// Whoever labelled or assigned an issue; the words are its author's.
    Raised(Box<Raised>, Account),
    /// The one who pressed the button or called the API.
    Sender(Account),
    /// Who started the workflow run that failed, and the pull request that it ran on.
    Run(Box<FailedRun>),
    /// The event names nobody.
    Nobody,
    /// The owner that the policy names for scheduled runs.
    Owner(Option<String>),
}

/// Words on a thread, and what they are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) words: Comment,
    pub(super) issue: Issue,
    pub(super) by: AskedBy,
    /// Where the event itself tells the head: the head, and the commit that the words are about.
    pub(super) head: Option<(String, Option<String>)>,
}

/// A workflow run that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FailedRun {
    pub(super) run: EndedRun,
    pub(super) head: String,
    pub(super) pull: Option<u64>,
    pub(super) actor: Account,
    pub(super) sender: Account,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The words after the command.
    Text(String),
    /// A task of the policy: name and prompt.
    Named { name: String, prompt: String },
    /// What the issue says.
    Issue,
    /// A task that the policy does not have.
    Unknown,
    /// Two tasks with this cron line.
    Ambiguous,
    /// Exactly this head of a pull request, and what to do there.
    Head { head: ObjectId, then: Box<Wish> },
    /// A shortened commit id.
    HeadShort,
}

/// Why an event is none of ours. Not a fault: the run ends in `ignored`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// Another kind of event.
    #[error("this event never starts a run")]
    OtherEvent,
    /// A comment that was edited, deleted or the like.
    #[error("only what is newly written starts a run")]
    OtherAction,
    /// The first word is not the command.
    #[error("the words do not begin with the command word")]
    NotAddressed,
    /// Our own words.
    #[error("the words are our own")]
    OwnWords,
    /// A cron line that no task of the policy has.
    #[error("no task of the policy has this cron line")]
    OtherSchedule,
    /// Another label, or assigned to somebody else.
    #[error("the issue was neither given our label nor assigned to us")]
    OtherLabel,
    /// A workflow run that is no task: it did not fail, or not on a branch of this repository, or nothing asks for it.
    #[error(
        "a workflow run starts a run only where it failed on a branch of this repository and the policy has the task {FAILED_CI_TASK}"
    )]
    OtherRun,
    /// A call without a task.
    #[error("the call names no task")]
    OtherCall,
}

/// An account that the permission API is to be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The login to ask about.
    pub login: String,
    /// What the answer is for.
    pub purpose: Purpose,
}

/// What an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The run stands or falls with it.
    Admission,
    /// Whether this author's words may be shown to the agent.
    Words,
}

/// Decides whether an event is for us.
///
/// # Errors
/// The reason why it is not; the run then ends in `ignored` and exit code 0.
pub fn address(event: &Event, policy: &Policy) -> Result<Addressed, Ignored> {
    let (source, wish) = match event.kind() {
        Kind::Comment(commented) => comment(commented, policy)?,
        Kind::Reviewed(reviewed) => review(reviewed, policy)?,
        Kind::Raised(raised) => (by_sender(event, Some(raised)), label(raised, policy)?),
        Kind::Schedule { cron } => (
            Source::Owner(policy.triggers.schedule_owner.clone()),
            schedule(cron, policy)?,
        ),
        Kind::Dispatch { task, .. } => {
            (by_sender(event, None), task_named(task.as_deref(), policy))
        }
        Kind::Called { task: None } => return Err(Ignored::OtherCall),
        Kind::Called { task } => (by_sender(event, None), task_named(task.as_deref(), policy)),
        Kind::Woken { pulls, head, ended } => {
            failed(event, ended.as_deref(), pulls, head, policy).ok_or(Ignored::OtherRun)?
        }
        Kind::Pull { .. } | Kind::MergeGroup { .. } | Kind::Other => {
            return Err(Ignored::OtherEvent);
        }
    };
    Ok(Addressed {
        event: event.clone(),
        source,
        wish,
    })
}

impl Addressed {
    /// Whom the permission API is to be asked about, each login once, those first with whom the run stands or falls.
    #[must_use]
    pub fn questions(&self, runner: &Runner) -> Vec<Question> {
        let mut questions: Vec<Question> = Vec::new();
        let mut ask = |login: &str, purpose| {
            if !login.is_empty() && !questions.iter().any(|known| known.login == login) {
                questions.push(Question {
                    login: login.to_owned(),
                    purpose,
                });
            }
        };
        match &self.source {
            Source::Words(said) => ask(&said.words.author.login, Purpose::Admission),
            Source::Sender(sender) | Source::Raised(_, sender) => {
                ask(&sender.login, Purpose::Admission);
            }
            Source::Run(failed) => {
                ask(&failed.actor.login, Purpose::Admission);
                ask(&failed.sender.login, Purpose::Admission);
            }
            Source::Owner(Some(owner)) => ask(owner, Purpose::Admission),
            Source::Owner(None) | Source::Nobody => {}
        }
        if runner.attempt > 1
            && let Some(actor) = &runner.triggering_actor
        {
            ask(actor, Purpose::Admission);
        }
        if let Some(author) = self.issue().and_then(|issue| issue.author.as_ref()) {
            ask(&author.login, Purpose::Words);
        }
        questions
    }

    /// The issue or pull request as the event has it.
    pub(super) fn issue(&self) -> Option<&Issue> {
        match &self.source {
            Source::Words(said) => Some(&said.issue),
            Source::Raised(raised, _) => Some(&raised.issue),
            Source::Sender(_) | Source::Run(_) | Source::Nobody | Source::Owner(_) => None,
        }
    }

    /// Where an answer goes, and what is to be fetched again.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        match &self.source {
            Source::Words(said) => Some(Origin {
                issue: said.issue.number,
                kind: said.issue.kind,
                by: said.by,
            }),
            Source::Raised(raised, _) => Some(Origin {
                issue: raised.issue.number,
                kind: raised.issue.kind,
                by: AskedBy::Issue,
            }),
            Source::Run(failed) => failed.pull.map(|issue| Origin {
                issue,
                kind: IssueKind::Pull,
                by: AskedBy::Run(failed.run.id),
            }),
            Source::Sender(_) | Source::Owner(_) | Source::Nobody => None,
        }
    }

    /// The account that the issue was assigned to: the event is for us only if it is the one that we write as.
    #[must_use]
    pub fn assignee(&self) -> Option<u64> {
        match &self.source {
            Source::Raised(raised, _) => match &raised.by {
                RaisedBy::Assignment(account) => Some(account.id),
                RaisedBy::Label(_) | RaisedBy::Other => None,
            },
            Source::Words(_)
            | Source::Run(_)
            | Source::Sender(_)
            | Source::Owner(_)
            | Source::Nobody => None,
        }
    }

    /// When the server saw what was asked; none where the event does not say, and then nothing rests on it.
    #[must_use]
    pub fn at(&self) -> Option<&str> {
        match &self.source {
            Source::Words(said) => Some(&said.words.created_at),
            Source::Raised(raised, _) => Some(&raised.at),
            Source::Run(failed) => Some(&failed.run.at),
            Source::Sender(_) | Source::Owner(_) | Source::Nobody => None,
        }
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }
}

fn by_sender(event: &Event, raised: Option<&Raised>) -> Source {
    match (event.sender(), raised) {
        (None, _) => Source::Nobody,
        (Some(sender), Some(raised)) => Source::Raised(Box::new(raised.clone()), sender.clone()),
        (Some(sender), None) => Source::Sender(sender.clone()),
    }
}

fn comment(commented: &Commented, policy: &Policy) -> Result<(Source, Wish), Ignored> {
    let said = Said {
        words: commented.comment.clone(),
        issue: commented.issue.clone(),
        by: AskedBy::Comment(commented.comment.id),
        head: None,
    };
    let wish = said_to_us(commented.action, &said.words, policy)?;
    Ok((Source::Words(Box::new(said)), wish))
}

fn review(reviewed: &Reviewed, policy: &Policy) -> Result<(Source, Wish), Ignored> {
    let by = match reviewed.place {
        ReviewPlace::Whole => AskedBy::Review(reviewed.words.id),
        ReviewPlace::Line => AskedBy::Line(reviewed.words.id),
    };
    let said = Said {
        words: reviewed.words.clone(),
        issue: reviewed.pull.clone(),
        by,
        head: Some((reviewed.head.clone(), reviewed.commit.clone())),
    };
    let wish = said_to_us(reviewed.action, &said.words, policy)?;
    Ok((Source::Words(Box::new(said)), wish))
}

fn said_to_us(action: Action, words: &Comment, policy: &Policy) -> Result<Wish, Ignored> {
    match action {
        Action::Created => {}
        Action::Other => return Err(Ignored::OtherAction),
    }
    let trusted = policy.triggers.bots.contains(&words.author.id);
    if words.body.contains(MARKER) || (words.author.id == GITHUB_ACTIONS_BOT && !trusted) {
        return Err(Ignored::OwnWords);
    }
    let rest = after_command(&words.body, &policy.triggers.command).ok_or(Ignored::NotAddressed)?;
    Ok(wish(rest, policy))
}

/// The label is the command without its slash, alone or with a task's name: `tagout`, `tagout:update-deps`.
fn label(raised: &Raised, policy: &Policy) -> Result<Wish, Ignored> {
    match &raised.by {
        RaisedBy::Label(name) => {
            let word = label_word(&policy.triggers.command);
            match name.strip_prefix(word) {
                Some("") => Ok(Wish::Issue),
                Some(rest) => match rest.strip_prefix(':') {
                    Some(task) => Ok(task_named(Some(task.trim()), policy)),
                    None => Err(Ignored::OtherLabel),
                },
                None => Err(Ignored::OtherLabel),
            }
        }
        RaisedBy::Assignment(_) => Ok(Wish::Issue),
        RaisedBy::Other => Err(Ignored::OtherAction),
    }
}

/// The label's first word: the command without what no label begins with.
#[must_use]
pub fn label_word(command: &str) -> &str {
    command.trim_start_matches(|letter: char| !letter.is_alphanumeric())
}

/// A run is a task only if it failed on a branch of this repository that is not one of our own, after a push or for a
/// pull request: what others started by words has a principal of its own, and our own branches would feed themselves.
fn failed(
    event: &Event,
    ended: Option<&EndedRun>,
    pulls: &[u64],
    head: &str,
    policy: &Policy,
) -> Option<(Source, Wish)> {
    let task = named(FAILED_CI_TASK, policy)?;
    let run = ended?;
    let home = event.repository()?;
    let branch = run.branch.as_deref()?;
    let failed = run.conclusion.as_deref() == Some("failure");
    let by_code = matches!(run.event.as_str(), "push" | "pull_request");
    let here = run.head_repository == Some(home.id);
    let own = branch.starts_with(&policy.pull_request.branch_prefix);
    let on_default = home.default_branch.as_deref() == Some(branch);
    if !failed || !by_code || !here || own || (pulls.is_empty() && !on_default) {
        return None;
    }
    let (Some(actor), Some(sender)) = (run.actor.clone(), event.sender()) else {
        return Some((Source::Nobody, task));
    };
    let failed = FailedRun {
        run: run.clone(),
        head: head.to_owned(),
        pull: if on_default {
            None
        } else {
            pulls.first().copied()
        },
        actor,
        sender: sender.clone(),
    };
    Some((Source::Run(Box::new(failed)), task))
}

/// The text after the command, if the first word of the first line is the command and nothing else.
///
/// The comment must begin with it: what stands first on the first line cannot be inside a quotation, a fence, HTML or a
/// link, since each of these opens with a character of its own. Up to three spaces are plain text (CommonMark 4.4, four
/// make a code block).
fn after_command<'a>(body: &'a str, command: &str) -> Option<&'a str> {
    let text = body.trim_start_matches(' ');
    let plain = body.len() - text.len() <= 3;
    let rest = text.strip_prefix(command)?;
    let whole = rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']);
    (plain && whole && !command.is_empty()).then(|| rest.trim())
}

fn wish(rest: &str, policy: &Policy) -> Wish {
    if let Some(wish) = named(rest, policy) {
        return wish;
    }
    if let Some(after) = rest
        .strip_prefix("run")
        .filter(|it| it.starts_with([' ', '\t']))
    {
        let after = after.trim_start();
        let (word, then) = after
            .split_once(|letter: char| letter.is_whitespace())
            .unwrap_or((after, ""));
        if let Ok(head) = word.parse::<ObjectId>() {
            let then = then.trim();
            let then = named(then, policy).unwrap_or_else(|| text(then));
            return Wish::Head {
                head,
                then: Box::new(then),
            };
        }
        let hexadecimal = word.bytes().all(|byte| byte.is_ascii_hexdigit());
        if word.len() >= SHORT_ID_CHARS_MIN && hexadecimal && then.trim().is_empty() {
            return Wish::HeadShort;
        }
    }
    text(rest)
}

fn text(words: &str) -> Wish {
    Wish::Text(words.replace("\r\n", "\n"))
}

fn task_named(name: Option<&str>, policy: &Policy) -> Wish {
    name.and_then(|name| named(name, policy))
        .unwrap_or(Wish::Unknown)
}

fn named(name: &str, policy: &Policy) -> Option<Wish> {
    policy.tasks.get(name).map(|task| Wish::Named {
        name: name.to_owned(),
        prompt: task.prompt.clone(),
    })
}

fn schedule(cron: &str, policy: &Policy) -> Result<Wish, Ignored> {
    let mut due = policy
        .tasks
        .iter()
        .filter(|(_, task)| task.schedule.as_deref() == Some(cron));
    match (due.next(), due.next()) {
        (None, _) => Err(Ignored::OtherSchedule),
        (Some(_), Some(_)) => Ok(Wish::Ambiguous),
        (Some((name, task)), None) => Ok(Wish::Named {
            name: name.clone(),
            prompt: task.prompt.clone(),
        }),
    }
}
