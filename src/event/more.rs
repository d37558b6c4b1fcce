//! Events beside comments that may start a run: labels, assignments, reviews, and a failed workflow run.
//! It must never say more of them than the payload does.

use super::{Account, Action, Comment, Issue};

/// `issues`: something was done with an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// What was done.
    pub by: RaisedBy,
    /// The issue, as sent.
    pub issue: Issue,
    /// When the server saw it last changed, which is when this was done.
    pub at: String,
}

/// What was done with an issue, of what may start a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RaisedBy {
    /// `labeled`, with the label's name.
    Label(String),
    /// `assigned`, with the account that it was assigned to.
    Assignment(Account),
    /// Anything else.
    Other,
}

/// `pull_request_review` or `pull_request_review_comment`: words of a review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    /// Whether it is new.
    pub action: Action,
    /// Its words; times are those of the submission.
    pub words: Comment,
    /// A whole review, or a comment on a line.
    pub place: ReviewPlace,
    /// The pull request, with its title and text as sent.
    pub pull: Issue,
    /// The head's commit when the event was made.
    pub head: String,
    /// The commit that the words are about.
    pub commit: Option<String>,
}

/// Where words of a review stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewPlace {
    /// The review's own text.
    Whole,
    /// A comment on a line.
    Line,
}

/// A workflow run that ended, with what the gate needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRun {
    /// Its number.
    pub id: u64,
    /// Which attempt ended.
    pub attempt: u32,
    /// The workflow's name.
    pub name: String,
    /// The event that started it, for example `push`.
    pub event: String,
    /// `failure`, `success` and others.
    pub conclusion: Option<String>,
    /// The branch that it ran on.
    pub branch: Option<String>,
    /// The repository of that branch.
    pub head_repository: Option<u64>,
    /// Who started this attempt.
    pub actor: Option<Account>,
    /// When the server saw it end.
    pub at: String,
}
