//! Issues as threads: comments, reactions, labels, events.

use serde_json::{Value, json};

use super::super::world::{Token, World};
use super::super::{Answer, Request};
use super::{missing, page, text};

/// The paths, as GitHub's description names them.
pub(super) const TEMPLATES: &[&str] = &[COMMENT, COMMENTS, REACTIONS, LABELS, EVENTS];

const COMMENT: &str = "/repos/{owner}/{repo}/issues/comments/{comment_id}";
const COMMENTS: &str = "/repos/{owner}/{repo}/issues/{issue_number}/comments";
const REACTIONS: &str = "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions";
const LABELS: &str = "/repos/{owner}/{repo}/issues/{issue_number}/labels";
const EVENTS: &str = "/repos/{owner}/{repo}/issues/{issue_number}/events";

/// Answers a question; none where the path belongs to somebody else.
pub(super) fn read(request: &Request, world: &World, parts: &[&str]) -> Option<Answer> {
    Some(match parts {
        ["issues", "comments", id] => match world
            .comments
            .iter()
            .position(|it| it.id.to_string() == **id)
        {
            Some(at) => Answer::new(200, COMMENT, comment(world, at)),
            None => missing(COMMENT),
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
        ("POST", ["issues", "comments", id, "reactions"]) => {
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
                REACTIONS,
                json!({"content": made.2, "user": world.user(&made.1)}),
            )
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
        _ => return None,
    })
}

fn comment(world: &World, at: usize) -> Value {
    let found = &world.comments[at];
    json!({"id": found.id, "body": found.body, "user": world.user(&found.user), "created_at": found.created_at,
        "updated_at": found.updated_at, "performed_via_github_app": null})
}
