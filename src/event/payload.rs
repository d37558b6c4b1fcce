//! The shapes of GitHub's payloads, only the fields that are used.
//! It must never fail on a field that it does not know: payloads grow.

use serde::Deserialize;
use serde::de::DeserializeOwned;

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
struct RawAccount {
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
struct RawIssue {
    number: u64,
    title: String,
    body: Option<String>,
    user: Option<RawAccount>,
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
struct RawRunEvent {
    workflow_run: RawRun,
}

#[derive(Deserialize)]
struct RawRun {
    head_sha: String,
    #[serde(default)]
    pull_requests: Vec<RawRunPull>,
}

#[derive(Deserialize)]
struct RawRunPull {
    number: u64,
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
    merge_group: Option<serde::de::IgnoredAny>,
    workflow_run: Option<serde::de::IgnoredAny>,
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
            app: raw.comment.performed_via_github_app.map(|app| App {
                id: app.id,
                slug: app.slug,
            }),
        };
        let kind = if raw.issue.pull_request.is_some() {
            IssueKind::Pull
        } else {
            IssueKind::Issue
        };
        let issue = Issue {
            number: raw.issue.number,
            title: raw.issue.title,
            body: raw.issue.body.unwrap_or_default(),
            author: raw.issue.user.map(Account::from),
            kind,
        };
        Self {
            action,
            comment,
            issue,
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
        "schedule" => Kind::Schedule {
            cron: shape::<RawSchedule>(name, payload)?.schedule,
        },
        "workflow_dispatch" => dispatch(shape(name, payload)?),
        "pull_request" | "pull_request_target" | "pull_request_review" => {
            let pull = shape::<RawPullEvent>(name, payload)?.pull_request;
            Kind::Pull {
                number: pull.number,
                head: pull.head.sha,
            }
        }
        "workflow_run" => {
            let run = shape::<RawRunEvent>(name, payload)?.workflow_run;
            Kind::Woken {
                pulls: run.pull_requests.iter().map(|pull| pull.number).collect(),
                head: run.head_sha,
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
    let task = raw
        .inputs
        .and_then(|inputs| {
            inputs
                .get("task")
                .and_then(|task| task.as_str().map(str::to_owned))
        })
        .filter(|task| !task.is_empty());
    Kind::Dispatch {
        task,
        reference: raw.reference,
    }
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
