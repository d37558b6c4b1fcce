//! The shapes of labels, reviews and ended workflow runs, only the fields that are used.
//! It must never fail on a field that it does not know: payloads grow.

use serde::Deserialize;

use super::payload::{RawAccount, RawIssue};
use super::{
    Account, AccountKind, Action, Comment, EndedRun, IssueKind, Kind, Raised, RaisedBy,
    ReviewPlace, Reviewed,
};

#[derive(Deserialize)]
pub(super) struct RawRaised {
    action: String,
    issue: RawIssue,
    label: Option<RawLabel>,
    assignee: Option<RawAccount>,
}

#[derive(Deserialize)]
struct RawLabel {
    name: String,
}

#[derive(Deserialize)]
pub(super) struct RawReviewEvent {
    action: String,
    review: RawReview,
    pull_request: RawReviewed,
}

#[derive(Deserialize)]
pub(super) struct RawLineEvent {
    action: String,
    comment: RawLine,
    pull_request: RawReviewed,
}

#[derive(Deserialize)]
struct RawReview {
    id: u64,
    body: Option<String>,
    user: Option<RawAccount>,
    submitted_at: Option<String>,
    commit_id: Option<String>,
}

#[derive(Deserialize)]
struct RawLine {
    id: u64,
    body: String,
    user: Option<RawAccount>,
    created_at: String,
    updated_at: String,
    commit_id: Option<String>,
}

#[derive(Deserialize)]
struct RawReviewed {
    #[serde(flatten)]
    issue: RawIssue,
    head: RawHead,
}

#[derive(Deserialize)]
struct RawHead {
    sha: String,
}

#[derive(Deserialize)]
pub(super) struct RawRunEvent {
    workflow_run: RawRun,
}

#[derive(Deserialize)]
struct RawRun {
    id: Option<u64>,
    #[serde(default)]
    run_attempt: u32,
    name: Option<String>,
    #[serde(default)]
    event: String,
    conclusion: Option<String>,
    updated_at: Option<String>,
    head_branch: Option<String>,
    head_sha: String,
    head_repository: Option<RawId>,
    actor: Option<RawAccount>,
    triggering_actor: Option<RawAccount>,
    #[serde(default)]
    pull_requests: Vec<RawRunPull>,
}

#[derive(Deserialize)]
struct RawId {
    id: u64,
}

#[derive(Deserialize)]
struct RawRunPull {
    number: u64,
}

pub(super) fn raised(raw: RawRaised) -> Kind {
    let by = match (raw.action.as_str(), raw.label, raw.assignee) {
        ("labeled", Some(label), _) => RaisedBy::Label(label.name),
        ("assigned", _, Some(assignee)) => RaisedBy::Assignment(assignee.into()),
        _ => RaisedBy::Other,
    };
    let at = raw.issue.updated_at.clone().unwrap_or_default();
    Kind::Raised(Box::new(Raised {
        by,
        issue: raw.issue.into(),
        at,
    }))
}

pub(super) fn review(raw: RawReviewEvent) -> Kind {
    let at = raw.review.submitted_at.unwrap_or_default();
    let words = Comment {
        id: raw.review.id,
        body: raw.review.body.unwrap_or_default(),
        author: author(raw.review.user),
        created_at: at.clone(),
        updated_at: at,
        app: None,
    };
    let new = raw.action == "submitted";
    let place = ReviewPlace::Whole;
    reviewed(new, words, place, raw.pull_request, raw.review.commit_id)
}

pub(super) fn line(raw: RawLineEvent) -> Kind {
    let words = Comment {
        id: raw.comment.id,
        body: raw.comment.body,
        author: author(raw.comment.user),
        created_at: raw.comment.created_at,
        updated_at: raw.comment.updated_at,
        app: None,
    };
    let new = raw.action == "created";
    let place = ReviewPlace::Line;
    reviewed(new, words, place, raw.pull_request, raw.comment.commit_id)
}

fn reviewed(
    new: bool,
    words: Comment,
    place: ReviewPlace,
    raw: RawReviewed,
    commit: Option<String>,
) -> Kind {
    let mut pull: super::Issue = raw.issue.into();
    pull.kind = IssueKind::Pull;
    Kind::Reviewed(Box::new(Reviewed {
        action: if new { Action::Created } else { Action::Other },
        words,
        place,
        pull,
        head: raw.head.sha,
        commit,
    }))
}

/// An account that is gone is nobody's: no permission can be asked for it.
fn author(raw: Option<RawAccount>) -> Account {
    raw.map_or_else(
        || Account {
            login: String::new(),
            id: 0,
            kind: AccountKind::Other,
        },
        Account::from,
    )
}

pub(super) fn ended(raw: RawRunEvent) -> Kind {
    let run = raw.workflow_run;
    let ended = run.id.map(|id| EndedRun {
        id,
        attempt: run.run_attempt,
        name: run.name.unwrap_or_default(),
        event: run.event,
        conclusion: run.conclusion,
        branch: run.head_branch,
        head_repository: run.head_repository.map(|repository| repository.id),
        actor: run.triggering_actor.or(run.actor).map(Account::from),
        at: run.updated_at.unwrap_or_default(),
    });
    Kind::Woken {
        pulls: run.pull_requests.iter().map(|pull| pull.number).collect(),
        head: run.head_sha,
        ended: ended.map(Box::new),
    }
}
