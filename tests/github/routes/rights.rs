//! What a token may do: requests that GitHub denies to whoever lacks the permission and finds impossible for everybody
//! else, and what it says of the token's owner.

use serde_json::{Value, json};

use super::super::world::{Token, World};
use super::super::{Answer, Request};
use super::HOME;

/// The paths in use, as GitHub's description names them.
pub(super) const TEMPLATES: &[&str] = &[REPO, LABELS, DEPLOYMENTS, RULESETS];

/// Rulesets are never written here; the documents hold some.
const RULESETS: &str = "/repos/{owner}/{repo}/rulesets";

const REPO: &str = "/repos/{owner}/{repo}";
const LABELS: &str = "/repos/{owner}/{repo}/labels";
const DEPLOYMENTS: &str = "/repos/{owner}/{repo}/deployments";

/// Answers those of these requests that nothing here can carry out.
pub(super) fn answer(
    request: &Request,
    world: &World,
    token: &Token,
    parts: &[&str],
) -> Option<Answer> {
    if request.method != "POST" {
        return None;
    }
    let word = |key: &str| request.body[key].as_str().unwrap_or_default();
    let (needs, template, message) = match parts {
        ["labels"] if word("name").is_empty() => ("issues", LABELS, "Validation Failed"),
        ["deployments"] if world.resolve(word("ref")).is_none() => {
            ("deployments", DEPLOYMENTS, "No ref found")
        }
        // GitHub's description names no refusal of these two.
        ["check-runs"] if !world.commits.contains_key(word("head_sha")) => {
            ("checks", "", "No commit found for SHA")
        }
        ["statuses", sha] if !world.commits.contains_key(*sha) => {
            ("statuses", "", "No commit found for SHA")
        }
        _ => return None,
    };
    Some(if token.writes.contains(&needs) {
        Answer::error(422, template, message)
    } else {
        Answer::error(403, template, "Resource not accessible by integration")
    })
}

/// The repository, with what GitHub says of the token's owner: nothing to an App's token, and by role to a person's.
pub(super) fn home(request: &Request, world: &World, token: &Token) -> Answer {
    let person = world
        .accounts
        .get(&token.login)
        .is_some_and(|account| account.kind == "User");
    let role = world.roles.get(&token.login).map_or("", String::as_str);
    let has = |roles: &[&str]| person && roles.contains(&role);
    let permissions = json!({"pull": true, "triage": has(&["triage", "write", "maintain", "admin"]),
        "push": has(&["write", "maintain", "admin"]), "maintain": has(&["maintain", "admin"]), "admin": has(&["admin"])});
    let body: Value = json!({"id": HOME, "name": "r", "full_name": "o/r", "default_branch": "main", "owner": world.user("o"), "language": null,
        "source": {"language": null}, "allow_auto_merge": world.auto_merge, "permissions": permissions});
    let mut answer = Answer::new(200, REPO, body);
    let scopes = request.token.as_ref().and_then(|it| world.scopes.get(it));
    if let Some(scopes) = scopes {
        let header = ("x-oauth-scopes".to_owned(), scopes.clone());
        answer.headers.push(header);
    }
    answer
}
