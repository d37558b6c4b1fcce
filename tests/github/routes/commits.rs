//! Commits as pages show them: author, statuses, pull requests.

use serde_json::{Value, json};

use super::super::world::{Commit, Status, Token, World};
use super::super::{Answer, Request};
use super::pulls::pull;
use super::{missing, page, text};

/// The paths, as GitHub's description names them.
pub(super) const TEMPLATES: &[&str] = &[COMMIT, COMMIT_STATUSES, COMMIT_PULLS, STATUSES];

const COMMIT: &str = "/repos/{owner}/{repo}/commits/{ref}";
const COMMIT_STATUSES: &str = "/repos/{owner}/{repo}/commits/{ref}/statuses";
const COMMIT_PULLS: &str = "/repos/{owner}/{repo}/commits/{commit_sha}/pulls";
const STATUSES: &str = "/repos/{owner}/{repo}/statuses/{sha}";

/// Answers a question; none where the path belongs to somebody else.
pub(super) fn read(request: &Request, world: &World, parts: &[&str]) -> Option<Answer> {
    Some(match parts {
        ["commits", name, "statuses"] => {
            let mut all: Vec<Value> = world
                .statuses
                .iter()
                .filter(|it| it.sha == **name)
                .map(|it| status(world, it))
                .collect();
            all.reverse();
            page(request, COMMIT_STATUSES, all)
        }
        ["commits", sha, "pulls"] => {
            let all = world
                .pulls
                .iter()
                .filter(|pull| pull.last_head == **sha)
                .map(|it| pull(world, it))
                .collect();
            page(request, COMMIT_PULLS, all)
        }
        ["commits", sha] => match world.commits.get(*sha) {
            Some(commit) => Answer::new(200, COMMIT, full_commit(world, sha, commit)),
            None => missing(COMMIT),
        },
        _ => return None,
    })
}

/// The permission that a change of this path needs, and the path's template.
pub(super) fn needs(parts: &[&str]) -> Option<(&'static str, &'static str)> {
    Some(match parts {
        ["statuses", _] => ("statuses", STATUSES),
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
        ("POST", ["statuses", sha]) => {
            let at = world.now();
            let made = Status {
                sha: (*sha).to_owned(),
                context: text(body, "context"),
                state: text(body, "state"),
                description: body["description"].as_str().map(str::to_owned),
                creator: token.login.clone(),
                created_at: at,
            };
            let answer = status(world, &made);
            world.statuses.push(made);
            Answer::new(201, STATUSES, answer)
        }
        _ => return None,
    })
}

fn status(world: &World, found: &Status) -> Value {
    json!({"context": found.context, "state": found.state, "description": found.description,
        "creator": world.user(&found.creator), "created_at": found.created_at, "updated_at": found.created_at})
}

pub(super) fn full_commit(world: &World, sha: &str, commit: &Commit) -> Value {
    let user = |login: &Option<String>| {
        login
            .as_ref()
            .map_or(Value::Null, |login| world.user(login))
    };
    json!({"sha": sha, "author": user(&commit.author), "committer": user(&commit.committer), "parents": commit.parents.iter().map(|it| json!({"sha": it})).collect::<Vec<_>>(),
        "commit": {"message": commit.message, "tree": {"sha": commit.tree}, "verification": verification(commit)}, "files": []})
}

pub(super) fn verification(commit: &Commit) -> Value {
    json!({"verified": commit.verified, "reason": if commit.verified { "valid" } else { "unsigned" }, "signature": null, "payload": null, "verified_at": null})
}
