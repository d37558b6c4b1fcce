//! What GitHub sends us, read into one closed set of events.
//! It must never decide who may do what; that is the gate's.

mod more;
mod payload;
mod reviews;

use crate::names::{Digest, NotValid, Repository};

pub use more::{EndedRun, Raised, RaisedBy, ReviewPlace, Reviewed};

/// Bytes of the largest payload that is read: 4 MiB.
/// GitHub caps webhooks at 25 MB (docs.github.com, "Webhook events and payloads"); an event with one comment needs under 1 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Characters of the longest comment body that GitHub stores.
pub const COMMENT_CHARS_MAX: usize = 65_536;

/// An event as it was sent, reduced to what is used. Nothing in it is proof of who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    name: String,
    digest: Digest,
    repository: Option<Home>,
    sender: Option<Account>,
    kind: Kind,
}

/// Why a payload cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It is longer than `PAYLOAD_BYTES_MAX`.
    #[error("the event's payload has {0} bytes, more than {PAYLOAD_BYTES_MAX}")]
    TooLong(usize),
    /// It is not JSON, or not of the event's shape.
    #[error("the payload of the event {name} cannot be read")]
    Shape {
        /// The event's name.
        name: String,
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
    /// A word in it is not what its type demands.
    #[error("the payload of the event {name} cannot be used")]
    Word {
        /// The event's name.
        name: String,
        /// Which word.
        #[source]
        source: NotValid,
    },
    /// No name was given and the payload tells none.
    #[error("the payload does not tell which event it is; set GITHUB_EVENT_NAME")]
    Unnamed,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `issue_comment`: somebody wrote, edited or deleted a comment on an issue or a pull request.
    Comment(Box<Commented>),
    /// `issues`: somebody labelled an issue, assigned it, or did something else with it.
    Raised(Box<Raised>),
    /// `pull_request_review`, `pull_request_review_comment`: somebody reviewed.
    Reviewed(Box<Reviewed>),
    /// `schedule`: a cron line of the workflow came due.
    Schedule {
        /// The cron line as written in the workflow.
        cron: String,
    },
    /// `workflow_dispatch`: somebody pressed the button or called the API.
    Dispatch {
        /// The input `task`, if there is one.
        task: Option<String>,
        /// The full ref that the workflow runs on, for example `refs/heads/main`.
        reference: String,
    },
    /// `repository_dispatch`: somebody called the API with a payload of their own.
    Called {
        /// The payload's `task`, if there is one.
        task: Option<String>,
    },
    /// Something about a pull request that may change its approval; never a task.
    Pull {
        /// The pull request's number.
        number: u64,
        /// The head's commit as the payload has it.
        head: String,
    },
    /// `workflow_run`: another workflow ended, as the one that reviews wake, which may not write itself.
    Woken {
        /// Open pull requests of this repository with the run's head, as GitHub lists them; may be empty.
        pulls: Vec<u64>,
        /// The run's head commit.
        head: String,
        /// The run itself, where the payload has it whole.
        ended: Option<Box<EndedRun>>,
    },
    /// `merge_group`: a queue asks for checks on a group of pull requests.
    MergeGroup {
        /// The group's head commit.
        head: String,
        /// The group's full ref.
        reference: String,
    },
    /// Anything else: ignored.
    Other,
}

/// A comment and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commented {
    /// What was done with it.
    pub action: Action,
    /// The comment.
    pub comment: Comment,
    /// The issue or pull request that it stands on.
    pub issue: Issue,
}

/// What was done with a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was written.
    Created,
    /// Edited, deleted, pinned or something newer.
    Other,
}

/// A comment's own words and who is said to have written them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Its number, unique on the server.
    pub id: u64,
    /// Its text as typed.
    pub body: String,
    /// Its author.
    pub author: Account,
    /// When the server saw it first, as sent.
    pub created_at: String,
    /// When the server saw it last changed, as sent.
    pub updated_at: String,
    /// The app that posted it on behalf of somebody.
    pub app: Option<App>,
}

/// The issue or pull request that a comment stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Its number in the repository.
    pub number: u64,
    /// Its title: words of its author, to be shown only if these count.
    pub title: String,
    /// Its text: words of its author, to be shown only if these count.
    pub body: String,
    /// Its author; none where the account is gone.
    pub author: Option<Account>,
    /// The app that opened it on behalf of its author.
    pub app: Option<App>,
    /// Issue or pull request.
    pub kind: IssueKind,
}

impl Issue {
    /// Title and text as words of their author, for comparing them with what stands there now. Times are left out:
    /// an issue's change with every comment.
    #[must_use]
    pub fn words(&self) -> Comment {
        Comment {
            id: self.number,
            body: format!("{}\n\n{}", self.title, self.body),
            author: self.author.clone().unwrap_or_else(|| Account {
                login: String::new(),
                id: 0,
                kind: AccountKind::Other,
            }),
            created_at: String::new(),
            updated_at: String::new(),
            app: self.app.clone(),
        }
    }
}

/// GitHub's two kinds of numbered threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssueKind {
    /// An issue.
    Issue,
    /// A pull request.
    Pull,
}

/// An account as a payload or an answer names it. The number counts; a login can be re-registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name of the day.
    pub login: String,
    /// The number for ever.
    pub id: u64,
    /// A human's account or not.
    pub kind: AccountKind,
}

/// GitHub's account types, told apart by the field `type` and never by how a login ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountKind {
    /// `User`.
    Human,
    /// `Bot`.
    Bot,
    /// `Organization`, `Mannequin` or something newer.
    Other,
}

impl AccountKind {
    /// Reads GitHub's word; an unknown one is `Other`.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "User" => Self::Human,
            "Bot" => Self::Bot,
            _ => Self::Other,
        }
    }
}

/// The app named in `performed_via_github_app`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// The app's number (not its bot account's).
    pub id: u64,
    /// The app's short name; its bot account is `SLUG[bot]`.
    pub slug: String,
}

/// The repository that an event happened in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Its number.
    pub id: u64,
    /// `owner/name`.
    pub name: Repository,
    /// The default branch's name, where the payload has it.
    pub default_branch: Option<String>,
}

impl Event {
    /// Reads a payload under the name that GitHub gave it (`GITHUB_EVENT_NAME`). An event that is not used becomes `Kind::Other`.
    ///
    /// # Errors
    /// Too long, not JSON, or not of the shape that GitHub documents for this event.
    pub fn read(name: &str, payload: &[u8]) -> Result<Self, EventError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(EventError::TooLong(payload.len()));
        }
        payload::read(name, payload)
    }

    /// Reads a payload whose name is not known, going by the fields that only one event has.
    ///
    /// # Errors
    /// As `read`, and where the fields tell no event.
    pub fn read_unnamed(payload: &[u8]) -> Result<Self, EventError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(EventError::TooLong(payload.len()));
        }
        let name = payload::name_of(payload)?.ok_or(EventError::Unnamed)?;
        payload::read(name, payload)
    }

    /// GitHub's name of the event.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The digest of the payload with its keys in order, so that two jobs of one run agree whatever the spacing.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The repository that it happened in, where the payload has it.
    #[must_use]
    pub fn repository(&self) -> Option<&Home> {
        self.repository.as_ref()
    }

    /// Who caused it, where the payload has it.
    #[must_use]
    pub fn sender(&self) -> Option<&Account> {
        self.sender.as_ref()
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The branch whose policy counts, without `refs/heads/`: a dispatch names one, for everything else it is the
    /// default branch (a review runs on the merge ref, which its author may have changed). None where the payload has neither, or the ref is a tag.
    #[must_use]
    pub fn base_branch(&self) -> Option<&str> {
        match &self.kind {
            Kind::Dispatch { reference, .. } => reference.strip_prefix("refs/heads/"),
            Kind::Comment(_)
            | Kind::Raised(_)
            | Kind::Reviewed(_)
            | Kind::Called { .. }
            | Kind::Schedule { .. }
            | Kind::Pull { .. }
            | Kind::Woken { .. }
            | Kind::MergeGroup { .. }
            | Kind::Other => self
                .repository
                .as_ref()
                .and_then(|home| home.default_branch.as_deref()),
        }
    }
}
