//! The shapes of GitHub's payloads, only the fields that are used.
//! It must never fail on a field that it does not know: payloads grow.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::reviews::{self, RawLineEvent, RawRaised, RawReviewEvent, RawRunEvent};
use super::{
    Account, AccountKind, Action, App, Comment, Commented, Event, EventError, Home, Issue,
    IssueKind, Kind,
};
use crate::names::{Digest, Repository};

#[derive(Deserialize)]
struct Envelope {
    repository: Option<RawHome>,
    sender: Option<RawAccount>,
}

#[derive(Deserialize)]
struct RawHome {
    id: u64,
    full_name: String,
    default_branch: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RawAccount {
    login: String,
    id: u64,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct RawCommented {
    action: String,
    comment: RawComment,
    issue: RawIssue,
}

#[derive(Deserialize)]
struct RawComment {
    id: u64,
    body: String,
    user: RawAccount,
    created_at: String,
    updated_at: String,
    performed_via_github_app: Option<RawApp>,
}

#[derive(Deserialize)]
struct RawApp {
    id: u64,
    slug: String,
}

#[derive(Deserialize)]
pub(super) struct RawIssue {
    number: u64,
    title: String,
    body: Option<String>,
    user: Option<RawAccount>,
    pub(super) updated_at: Option<String>,
    performed_via_github_app: Option<RawApp>,
    pull_request: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawSchedule {
    schedule: String,
}

#[derive(Deserialize)]
struct RawDispatch {
    inputs: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(rename = "ref")]
    reference: String,
}

#[derive(Deserialize)]
struct RawCall {
    client_payload: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct RawPullEvent {
    pull_request: RawPull,
}

#[derive(Deserialize)]
struct RawPull {
    number: u64,
    head: RawHead,
}

#[derive(Deserialize)]
struct RawHead {
    sha: String,
}

#[derive(Deserialize)]
struct RawMergeGroupEvent {
    merge_group: RawMergeGroup,
}

#[derive(Deserialize)]
struct RawMergeGroup {
    head_sha: String,
    head_ref: String,
}

/// Fields that tell one event from the others, for a payload without a name.
#[derive(Deserialize)]
struct Marks {
    comment: Option<serde::de::IgnoredAny>,
    issue: Option<serde::de::IgnoredAny>,
    schedule: Option<serde::de::IgnoredAny>,
    inputs: Option<serde::de::IgnoredAny>,
    workflow: Option<serde::de::IgnoredAny>,
    #[serde(rename = "ref")]
    reference: Option<serde::de::IgnoredAny>,
    pull_request: Option<serde::de::IgnoredAny>,
    review: Option<serde::de::IgnoredAny>,
    label: Option<serde::de::IgnoredAny>,
    assignee: Option<serde::de::IgnoredAny>,
    client_payload: Option<serde::de::IgnoredAny>,
    merge_group: Option<serde::de::IgnoredAny>,
    workflow_run: Option<serde::de::IgnoredAny>,
}

impl From<RawApp> for App {
    fn from(raw: RawApp) -> Self {
        Self {
            id: raw.id,
            slug: raw.slug,
        }
    }
}

impl From<RawIssue> for Issue {
    fn from(raw: RawIssue) -> Self {
        Self {
            number: raw.number,
            title: raw.title,
            body: raw.body.unwrap_or_default(),
            author: raw.user.map(Account::from),
            app: raw.performed_via_github_app.map(App::from),
            kind: match raw.pull_request {
                Some(_) => IssueKind::Pull,
                None => IssueKind::Issue,
            },
        }
    }
}

impl From<RawAccount> for Account {
    fn from(raw: RawAccount) -> Self {
        Self {
            login: raw.login,
            id: raw.id,
            kind: AccountKind::from_word(&raw.kind),
        }
    }
}

impl From<RawCommented> for Commented {
    fn from(raw: RawCommented) -> Self {
        let action = if raw.action == "created" {
            Action::Created
        } else {
            Action::Other
        };
        let comment = Comment {
            id: raw.comment.id,
            body: raw.comment.body,
            author: raw.comment.user.into(),
            created_at: raw.comment.created_at,
            updated_at: raw.comment.updated_at,
            app: raw.comment.performed_via_github_app.map(App::from),
        };
        Self {
            action,
            comment,
            issue: raw.issue.into(),
        }
    }
}

pub(super) fn read(name: &str, payload: &[u8]) -> Result<Event, EventError> {
    let value: serde_json::Value = shape(name, payload)?;
    let ordered = serde_json::to_vec(&value).map_err(|source| EventError::Shape {
        name: name.to_owned(),
        source,
    })?;
    let envelope: Envelope = shape(name, payload)?;
    let kind = match name {
        "issue_comment" => Kind::Comment(Box::new(shape::<RawCommented>(name, payload)?.into())),
        "issues" => reviews::raised(shape::<RawRaised>(name, payload)?),
        "repository_dispatch" => Kind::Called {
            task: shape::<RawCall>(name, payload)?
                .client_payload
                .and_then(|given| word_of(&given, "task")),
        },
        "pull_request_review" => reviews::review(shape::<RawReviewEvent>(name, payload)?),
        "pull_request_review_comment" => reviews::line(shape::<RawLineEvent>(name, payload)?),
        "workflow_run" => reviews::ended(shape::<RawRunEvent>(name, payload)?),
        "schedule" => Kind::Schedule {
            cron: shape::<RawSchedule>(name, payload)?.schedule,
        },
        "workflow_dispatch" => dispatch(shape(name, payload)?),
        "pull_request" | "pull_request_target" => {
            let pull = shape::<RawPullEvent>(name, payload)?.pull_request;
            Kind::Pull {
                number: pull.number,
                head: pull.head.sha,
            }
        }
        "merge_group" => {
            let group = shape::<RawMergeGroupEvent>(name, payload)?.merge_group;
            Kind::MergeGroup {
                head: group.head_sha,
                reference: group.head_ref,
            }
        }
        _ => Kind::Other,
    };
    Ok(Event {
        name: name.to_owned(),
        digest: Digest::of(&ordered),
        repository: envelope.repository.map(|raw| home(name, raw)).transpose()?,
        sender: envelope.sender.map(Account::from),
        kind,
    })
}

/// Tells the event from its fields, or nothing where two could be meant.
pub(super) fn name_of(payload: &[u8]) -> Result<Option<&'static str>, EventError> {
    let marks: Marks = shape("without a name", payload)?;
    let name = if marks.comment.is_some() && marks.issue.is_some() {
        "issue_comment"
    } else if marks.review.is_some() && marks.pull_request.is_some() {
        "pull_request_review"
    } else if marks.comment.is_some() && marks.pull_request.is_some() {
        "pull_request_review_comment"
    } else if marks.issue.is_some() && (marks.label.is_some() || marks.assignee.is_some()) {
        "issues"
    } else if marks.client_payload.is_some() {
        "repository_dispatch"
    } else if marks.workflow_run.is_some() {
        "workflow_run"
    } else if marks.merge_group.is_some() {
        "merge_group"
    } else if marks.pull_request.is_some() {
        "pull_request"
    } else if marks.schedule.is_some() {
        "schedule"
    } else if marks.inputs.is_some() || (marks.workflow.is_some() && marks.reference.is_some()) {
        "workflow_dispatch"
    } else {
        return Ok(None);
    };
    Ok(Some(name))
}

fn dispatch(raw: RawDispatch) -> Kind {
    let task = raw.inputs.and_then(|inputs| word_of(&inputs, "task"));
    Kind::Dispatch {
        task,
        reference: raw.reference,
    }
}

fn word_of(map: &serde_json::Map<String, serde_json::Value>, key: &str) -> Option<String> {
    map.get(key)
        .and_then(serde_json::Value::as_str)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn home(name: &str, raw: RawHome) -> Result<Home, EventError> {
    let repository = Repository::try_from(raw.full_name).map_err(|source| EventError::Word {
        name: name.to_owned(),
        source,
    })?;
    Ok(Home {
        id: raw.id,
        name: repository,
        default_branch: raw.default_branch,
    })
}

fn shape<T: DeserializeOwned>(name: &str, payload: &[u8]) -> Result<T, EventError> {
    serde_json::from_slice(payload).map_err(|source| EventError::Shape {
        name: name.to_owned(),
        source,
    })
}
