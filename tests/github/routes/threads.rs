//! Issues as threads: comments, reactions, labels, events.

use serde_json::{Value, json};

use super::super::world::{Issue, Token, World};
use super::super::{Answer, Request};
use super::repository::whole_user;
use super::{missing, page, text};

/// The paths, as GitHub's description names them.
pub(super) const TEMPLATES: &[&str] = &[
    COMMENT,
    COMMENTS,
    REACTIONS,
    LABELS,
    EVENTS,
    ISSUE,
    ALL_COMMENTS,
    LABEL,
    ISSUE_REACTIONS,
    LINE_REACTIONS,
];

const COMMENT: &str = "/repos/{owner}/{repo}/issues/comments/{comment_id}";
const COMMENTS: &str = "/repos/{owner}/{repo}/issues/{issue_number}/comments";
const REACTIONS: &str = "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions";
const LABELS: &str = "/repos/{owner}/{repo}/issues/{issue_number}/labels";
const ISSUE: &str = "/repos/{owner}/{repo}/issues/{issue_number}";
const ALL_COMMENTS: &str = "/repos/{owner}/{repo}/issues/comments";
const LABEL: &str = "/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}";
const ISSUE_REACTIONS: &str = "/repos/{owner}/{repo}/issues/{issue_number}/reactions";
const LINE_REACTIONS: &str = "/repos/{owner}/{repo}/pulls/comments/{comment_id}/reactions";
const EVENTS: &str = "/repos/{owner}/{repo}/issues/{issue_number}/events";

/// Answers a question; none where the path belongs to somebody else.
pub(super) fn read(request: &Request, world: &World, parts: &[&str]) -> Option<Answer> {
    Some(match parts {
        ["issues", "comments", id] => match world
            .comments
            .iter()
            .position(|it| it.id.to_string() == **id)
        {
            Some(at) => {
                let found = comment(world, at);
                Answer::new(200, COMMENT, shown(request, world, id, found))
            }
            None => missing(COMMENT),
        },
        ["issues", "comments"] => {
            let since = request.query.get("since").cloned().unwrap_or_default();
            let all: Vec<Value> = (0..world.comments.len())
                .filter(|at| world.comments[*at].updated_at >= since)
                .map(|at| comment(world, at))
                .collect();
            page(request, ALL_COMMENTS, all)
        }
        ["issues", number] => match number
            .parse()
            .ok()
            .and_then(|it: u64| world.issues.get(&it))
        {
            Some(found) => {
                let found = issue(world, number, found);
                Answer::new(200, ISSUE, shown(request, world, number, found))
            }
            None => missing(ISSUE),
        },
        ["issues", issue, "comments"] => {
            let all: Vec<Value> = (0..world.comments.len())
                .filter(|at| world.comments[*at].issue.to_string() == **issue)
                .map(|at| comment(world, at))
                .collect();
            page(request, COMMENTS, all)
        }
        ["issues", issue, "events"] => {
            let all = world
                .events
                .iter()
                .filter(|(pull, ..)| pull.to_string() == **issue)
                .map(|(_, event, at)| json!({"id": 1, "event": event, "created_at": at}))
                .collect();
            page(request, EVENTS, all)
        }
        _ => return None,
    })
}

/// The permission that a change of this path needs, and the path's template.
pub(super) fn needs(parts: &[&str]) -> Option<(&'static str, &'static str)> {
    Some(match parts {
        ["issues", _, "labels"] => ("issues", LABELS),
        ["issues", _, "labels", _] => ("issues", LABEL),
        ["issues", _, "reactions"] => ("issues", ISSUE_REACTIONS),
        ["pulls", "comments", _, "reactions"] => ("pull_requests", LINE_REACTIONS),
        ["issues", "comments", _] => ("issues", COMMENT),
        ["issues", "comments", _, "reactions"] => ("issues", REACTIONS),
        ["issues", _, "comments"] => ("issues", COMMENTS),
        _ => return None,
    })
}

/// Makes a change; none where the path belongs to somebody else.
pub(super) fn write(
    request: &Request,
    world: &mut World,
    token: &Token,
    parts: &[&str],
) -> Option<Answer> {
    let body = &request.body;
    Some(match (request.method.as_str(), parts) {
        ("POST", ["issues", number, "labels"]) => {
            let all = world.labels.entry(number.parse().unwrap_or(0)).or_default();
            for label in body["labels"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                if !all.iter().any(|it| it == label) {
                    all.push(label.to_owned());
                }
            }
            let all: Vec<Value> = all.iter().map(|it| json!({"name": it})).collect();
            Answer::new(200, LABELS, Value::Array(all))
        }
        ("PATCH", ["issues", "comments", id]) => {
            let at = world.now();
            let Some(found) = world
                .comments
                .iter()
                .position(|it| it.id.to_string() == **id)
            else {
                return Some(missing(COMMENT));
            };
            world.comments[found].body = text(body, "body");
            world.comments[found].updated_at = at;
            Answer::new(200, COMMENT, comment(world, found))
        }
        ("POST", ["issues", issue, "comments"]) => {
            if text(body, "body").chars().count() > 65_536 {
                return Some(Answer::error(
                    422,
                    COMMENTS,
                    "body is too long (maximum is 65536 characters)",
                ));
            }
            world.comment(
                issue.parse().unwrap_or(0),
                &token.login,
                &text(body, "body"),
            );
            Answer::new(201, COMMENTS, comment(world, world.comments.len() - 1))
        }
        _ => return mark(request, world, token, parts),
    })
}

/// Takes a label off, or puts a reaction on something.
fn mark(request: &Request, world: &mut World, token: &Token, parts: &[&str]) -> Option<Answer> {
    let body = &request.body;
    Some(match (request.method.as_str(), parts) {
        ("DELETE", ["issues", number, "labels", label]) => {
            let all = world.labels.entry(number.parse().unwrap_or(0)).or_default();
            let before = all.len();
            all.retain(|it| it != label);
            if all.len() == before {
                return Some(missing(LABEL));
            }
            let all: Vec<Value> = all.iter().map(|it| json!({"name": it})).collect();
            Answer::new(200, LABEL, Value::Array(all))
        }
        (
            "POST",
            ["issues", "comments", id, "reactions"]
            | ["issues", id, "reactions"]
            | ["pulls", "comments", id, "reactions"],
        ) => {
            let template = match parts {
                ["pulls", ..] => LINE_REACTIONS,
                ["issues", "comments", ..] => REACTIONS,
                _ => ISSUE_REACTIONS,
            };
            let made = (
                id.parse().unwrap_or(0),
                token.login.clone(),
                text(body, "content"),
            );
            let fresh = !world.reactions.contains(&made);
            if fresh {
                world.reactions.push(made.clone());
            }
            Answer::new(
                if fresh { 201 } else { 200 },
                template,
                json!({"content": made.2, "user": world.user(&made.1)}),
            )
        }
        _ => return None,
    })
}

/// With the text as it is shown, for whoever asks for that.
fn shown(request: &Request, world: &World, number: &str, mut found: Value) -> Value {
    if request.accept == "application/vnd.github.full+json" {
        let html = number
            .parse()
            .ok()
            .and_then(|it: u64| world.rendered.get(&it));
        found["body_html"] = json!(html.cloned().unwrap_or_default());
    }
    found
}

/// GitHub's description has no example of an issue, so that all of it stands here.
fn issue(world: &World, number: &str, found: &Issue) -> Value {
    let user = whole_user(world, &found.user);
    let mut issue = json!({"number": number.parse::<u64>().unwrap_or(0), "id": 1, "node_id": "x", "title": found.title, "body": found.body,
        "user": user, "state": "open", "locked": false, "labels": [], "assignee": null, "milestone": null, "comments": 0,
        "closed_at": null, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "performed_via_github_app": null});
    for key in [
        "url",
        "html_url",
        "comments_url",
        "events_url",
        "labels_url",
        "repository_url",
    ] {
        issue[key] = json!("https://github.com/x");
    }
    issue
}

fn comment(world: &World, at: usize) -> Value {
    let found = &world.comments[at];
    json!({"id": found.id, "body": found.body, "user": world.user(&found.user), "created_at": found.created_at,
        "updated_at": found.updated_at, "performed_via_github_app": null,
        "issue_url": format!("https://api.github.com/repos/o/r/issues/{}", found.issue)})
}
