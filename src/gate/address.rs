//! Is the event for us, and what does it ask? Looks at the event and the trusted policy alone.
//! It must never answer a stranger: what is wrong with a request is said only after the permission is known.

use super::{GITHUB_ACTIONS_BOT, Origin, Runner};
use crate::event::{Account, Action, Commented, Event, IssueKind, Kind};
use crate::names::ObjectId;
use crate::policy::model::Policy;

/// What every text that we post carries, so that we never take our own words for an order.
pub const MARKER: &str = "<!-- tagout:";

/// Fewest digits that make a word a shortened commit id, as git does.
const SHORT_ID_CHARS_MIN: usize = 7;

/// An event that is for us. Nobody has been asked yet whether its author may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed {
    pub(super) event: Event,
    pub(super) principal: Source,
    pub(super) wish: Wish,
}

/// Who is asked about, by kind of event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The author of a comment.
    Comment(Box<Commented>),
    /// The one who pressed the button.
    Sender(Account),
    /// The event names nobody.
    Nobody,
    /// The owner that the policy names for scheduled runs.
    Owner(Option<String>),
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The words after the command.
    Text(String),
    /// A task of the policy: name and prompt.
    Named { name: String, prompt: String },
    /// A task that the policy does not have.
    Unknown,
    /// Two tasks with this cron line.
    Ambiguous,
    /// Exactly this head of a pull request.
    Head(ObjectId),
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
    #[error("only a newly written comment starts a run")]
    OtherAction,
    /// The first word is not the command.
    #[error("the comment does not begin with the command word")]
    NotAddressed,
    /// Our own words.
    #[error("the comment is one of our own")]
    OwnWords,
    /// A cron line that no task of the policy has.
    #[error("no task of the policy has this cron line")]
    OtherSchedule,
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
    let (principal, wish) = match event.kind() {
        Kind::Comment(commented) => (
            Source::Comment(commented.clone()),
            comment(commented, policy)?,
        ),
        Kind::Schedule { cron } => (
            Source::Owner(policy.triggers.schedule_owner.clone()),
            schedule(cron, policy)?,
        ),
        Kind::Dispatch { task, .. } => (
            event
                .sender()
                .map_or(Source::Nobody, |sender| Source::Sender(sender.clone())),
            task.as_deref()
                .and_then(|name| named(name, policy))
                .unwrap_or(Wish::Unknown),
        ),
        Kind::Pull { .. } | Kind::Woken { .. } | Kind::MergeGroup { .. } | Kind::Other => {
            return Err(Ignored::OtherEvent);
        }
    };
    Ok(Addressed {
        event: event.clone(),
        principal,
        wish,
    })
}

impl Addressed {
    /// Whom the permission API is to be asked about, each login once, those first with whom the run stands or falls.
    #[must_use]
    pub fn questions(&self, runner: &Runner) -> Vec<Question> {
        let mut questions: Vec<Question> = Vec::new();
        let mut ask = |login: &str, purpose| {
            if !questions.iter().any(|known| known.login == login) {
                questions.push(Question {
                    login: login.to_owned(),
                    purpose,
                });
            }
        };
        match &self.principal {
            Source::Comment(commented) => ask(&commented.comment.author.login, Purpose::Admission),
            Source::Sender(sender) => ask(&sender.login, Purpose::Admission),
            Source::Owner(Some(owner)) => ask(owner, Purpose::Admission),
            Source::Owner(None) | Source::Nobody => {}
        }
        if runner.attempt > 1
            && let Some(actor) = &runner.triggering_actor
        {
            ask(actor, Purpose::Admission);
        }
        if let Source::Comment(commented) = &self.principal
            && let Some(author) = &commented.issue.author
        {
            ask(&author.login, Purpose::Words);
        }
        questions
    }

    /// The comment to fetch again by its number, if the event has one.
    #[must_use]
    pub fn comment(&self) -> Option<u64> {
        self.origin().map(|origin| origin.comment)
    }

    /// Where an answer goes.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        match &self.principal {
            Source::Comment(commented) => Some(Origin {
                issue: commented.issue.number,
                kind: commented.issue.kind,
                comment: commented.comment.id,
            }),
            Source::Sender(_) | Source::Owner(_) | Source::Nobody => None,
        }
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }
}

fn comment(commented: &Commented, policy: &Policy) -> Result<Wish, Ignored> {
    match commented.action {
        Action::Created => {}
        Action::Other => return Err(Ignored::OtherAction),
    }
    let author = commented.comment.author.id;
    let trusted = policy.triggers.bots.contains(&author);
    if commented.comment.body.contains(MARKER) || (author == GITHUB_ACTIONS_BOT && !trusted) {
        return Err(Ignored::OwnWords);
    }
    let rest = after_command(&commented.comment.body, &policy.triggers.command)
        .ok_or(Ignored::NotAddressed)?;
    Ok(wish(rest, policy))
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
    let mut words = rest.split_whitespace();
    if let (Some("run"), Some(word), None) = (words.next(), words.next(), words.next()) {
        if let Ok(head) = word.parse::<ObjectId>() {
            return Wish::Head(head);
        }
        if word.len() >= SHORT_ID_CHARS_MIN && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Wish::HeadShort;
        }
    }
    Wish::Text(rest.replace("\r\n", "\n"))
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

/// Whether the thread is a pull request's.
pub(super) fn on_pull(origin: Option<Origin>) -> bool {
    match origin.map(|origin| origin.kind) {
        Some(IssueKind::Pull) => true,
        Some(IssueKind::Issue) | None => false,
    }
}
