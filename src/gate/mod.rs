//! Who may start a run, judged on facts that GitHub's API gave, never on the payload's own claims.
//! It must never touch anything else of the repository before permission is established.
//!
//! The order is the security property, and the types keep it: `address` asks whether the event is for us at all,
//! `Addressed::questions` says whom the API is to be asked about, and only `admit`, given the answers, makes an `Admitted`.

mod address;
mod admit;
pub mod approval;
pub mod budget;
pub mod context;
pub mod pin;
mod principal;
pub mod refusal;
mod task;

use crate::event::{Account, Comment, IssueKind};
use crate::names::{Digest, ObjectId, Repository};
use crate::policy::model::Policy;

pub use address::{
    Addressed, FAILED_CI_TASK, Ignored, MARKER, Purpose, Question, address, label_word,
};
pub use admit::{Admitted, Thread, Withheld, admit, keyboard};

/// The account of `github-actions[bot]` on github.com, as which `GITHUB_TOKEN` writes (`api.github.com/users/github-actions[bot]`).
pub const GITHUB_ACTIONS_BOT: u64 = 41_898_282;

/// Bytes of the longest task text that is taken: 32 KiB.
pub const TASK_BYTES_MAX: usize = 32 * 1024;

/// What the runner says of this run (`GITHUB_*` variables), read by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runner {
    /// `GITHUB_REPOSITORY`.
    pub repository: Repository,
    /// `GITHUB_RUN_ATTEMPT`, 1 where it is not set.
    pub attempt: u32,
    /// `GITHUB_RUN_ID`, or `local`; a re-run keeps it.
    pub run: String,
    /// `GITHUB_TRIGGERING_ACTOR`: on a re-run, who pressed the button.
    pub triggering_actor: Option<String>,
}

/// The commit that the run starts from and whose policy was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The branch's name without `refs/heads/`.
    pub branch: String,
    /// Its commit at the time of the event.
    pub commit: ObjectId,
}

/// One answer to a `Question`, as the API gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// GitHub answered.
    Known(Standing),
    /// It did not: 404, 5xx, time-out, unreadable. Says why in a few words. Counts as a no.
    NotEstablished(String),
}

/// What the permission API said of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The account in the answer.
    pub account: Account,
    /// `role_name` as sent; an unknown one is a no.
    pub role: String,
}

/// The triggering comment, review or issue, fetched again by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refetched {
    /// As it is now.
    Now(Box<Comment>),
    /// It is gone.
    Gone,
    /// It could not be fetched. Says why in a few words.
    NotEstablished(String),
    /// The event has no comment.
    NotNeeded,
}

/// Everything that the API was asked, handed in so that the judgement is pure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What the runner says.
    pub runner: Runner,
    /// The base whose policy was read.
    pub base: Base,
    /// The answers by login as asked.
    pub answers: Vec<(String, Answer)>,
    /// The words fetched again.
    pub comment: Refetched,
    /// The pull request that the event is about.
    pub pull: pin::Pulled,
    /// The runs of today, by our own comments.
    pub ledger: budget::Ledger,
    /// The account that our token writes as, where it is known.
    pub own_account: Option<u64>,
}

/// Whether the answers so far let the event's principals start runs, so that more of the repository may be looked at.
#[must_use]
pub fn may_ask(addressed: &Addressed, policy: &Policy, facts: &Facts) -> bool {
    principal::requesters(addressed, policy, facts).is_ok()
}

/// A human or bot who asked for the run, with the number where it is known (always, but for the person at the keyboard).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The login of the day.
    pub login: String,
    /// The account's number.
    pub id: Option<u64>,
}

impl From<&Account> for Principal {
    fn from(account: &Account) -> Self {
        Self {
            login: account.login.clone(),
            id: Some(account.id),
        }
    }
}

/// The thread that an answer goes to, and what asked there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The issue or pull request.
    pub issue: u64,
    /// Which of both.
    pub kind: IssueKind,
    /// What asked.
    pub by: AskedBy,
}

/// What asked on a thread, by its number. GitHub counts each of these kinds by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedBy {
    /// A comment.
    Comment(u64),
    /// A review's text.
    Review(u64),
    /// A review's comment on a line.
    Line(u64),
    /// The issue itself, by a label or an assignment.
    Issue,
    /// A workflow run that failed.
    Run(u64),
}

impl AskedBy {
    /// Tells it from everything else that asks in this repository; `digest` tells one labelling from the next.
    #[must_use]
    pub fn key(self, digest: &Digest) -> String {
        let short = digest.as_str().get(..16).unwrap_or_default();
        match self {
            Self::Comment(id) => format!("comment-{id}"),
            Self::Review(id) => format!("review-{id}"),
            Self::Line(id) => format!("line-{id}"),
            Self::Issue => format!("issue-{short}"),
            Self::Run(id) => format!("run-{id}"),
        }
    }
}
