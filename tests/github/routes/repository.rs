//! What lies on the repository as a whole: branches, files, permissions, rules, pushes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::world::World;
use super::super::{Answer, Request};
use super::{missing, page};

/// The paths, as GitHub's description names them.
pub(super) const TEMPLATES: &[&str] = &[
    BRANCH,
    COMPARE,
    CONTENTS,
    PERMISSION,
    RULES,
    ACTIVITY,
    WORKFLOW_PERMISSIONS,
    RULESET,
    ENVIRONMENTS,
];

const BRANCH: &str = "/repos/{owner}/{repo}/branches/{branch}";
const COMPARE: &str = "/repos/{owner}/{repo}/compare/{basehead}";
const CONTENTS: &str = "/repos/{owner}/{repo}/contents/{path}";
const PERMISSION: &str = "/repos/{owner}/{repo}/collaborators/{username}/permission";
const RULES: &str = "/repos/{owner}/{repo}/rules/branches/{branch}";
const ACTIVITY: &str = "/repos/{owner}/{repo}/activity";
const RULESET: &str = "/repos/{owner}/{repo}/rulesets/{ruleset_id}";
const ENVIRONMENTS: &str = "/repos/{owner}/{repo}/environments";
const WORKFLOW_PERMISSIONS: &str = "/repos/{owner}/{repo}/actions/permissions/workflow";

/// Answers a question; none where the path belongs to somebody else.
pub(super) fn read(request: &Request, world: &World, parts: &[&str]) -> Option<Answer> {
    Some(match parts {
        ["branches", name @ ..] => match world.refs.get(&name.join("/")) {
            Some(head) => Answer::new(
                200,
                BRANCH,
                json!({"name": name.join("/"), "commit": {"sha": head}}),
            ),
            None => missing(BRANCH),
        },
        ["compare", range @ ..] => compare(world, &range.join("/")),
        ["contents", path @ ..] => contents(request, world, &path.join("/")),
        ["collaborators", login, "permission"] => match world.roles.get(*login) {
            Some(role) => {
                let mut person = world.user(login);
                // GitHub's example leaves out what its schema demands.
                person["role_name"] = json!(role);
                let legacy = match role.as_str() {
                    "triage" => "read",
                    "maintain" => "write",
                    other => other,
                };
                Answer::new(
                    200,
                    PERMISSION,
                    json!({"permission": legacy, "role_name": role, "user": person}),
                )
            }
            None => missing(PERMISSION),
        },
        ["activity"] => {
            let wanted = request.query.get("ref").cloned().unwrap_or_default();
            let mut all: Vec<Value> = world.pushes.iter().filter(|(branch, ..)| wanted == format!("refs/heads/{branch}"))
                .map(|(branch, login, after, at)| json!({"ref": format!("refs/heads/{branch}"), "actor": whole_user(world, login), "after": after, "timestamp": at, "activity_type": "push"}))
                .collect();
            all.reverse();
            page(request, ACTIVITY, all)
        }
        ["actions", "permissions", "workflow"] => {
            let (default, approve) = world.workflow_permissions;
            Answer::new(
                200,
                WORKFLOW_PERMISSIONS,
                json!({"default_workflow_permissions": default, "can_approve_pull_request_reviews": approve}),
            )
        }
        ["rules", "branches", ..] => rules(world),
        ["rulesets", "1"] => ruleset(world),
        ["environments"] => environments(world),
        _ => return None,
    })
}

fn rules(world: &World) -> Answer {
    let checks: Vec<Value> = world
        .required_checks
        .iter()
        .map(|it| match world.check_app {
            Some(app) => json!({"context": it, "integration_id": app}),
            None => json!({"context": it}),
        })
        .collect();
    let mut rules = Vec::new();
    if !checks.is_empty() {
        rules.push(json!({"type": "required_status_checks", "ruleset_id": 1, "parameters": {"required_status_checks": checks, "strict_required_status_checks_policy": false}}));
    }
    if let Some(strict) = world.review_rule {
        rules.push(json!({"type": "pull_request", "ruleset_id": 1, "parameters": {"dismiss_stale_reviews_on_push": strict,
            "require_last_push_approval": strict, "require_code_owner_review": strict, "required_approving_review_count": 1,
            "required_review_thread_resolution": false}}));
    }
    Answer::new(200, RULES, Value::Array(rules))
}

fn ruleset(world: &World) -> Answer {
    let mut body = json!({"id": 1, "name": "main", "source": "o/r", "enforcement": "active", "current_user_can_bypass": "never"});
    // Without the list the answer is not filled up, or GitHub's example would bring one along.
    let template = if world.bypass.is_some() { RULESET } else { "" };
    if let Some(bypass) = &world.bypass {
        let actors = bypass
            .iter()
            .map(|(kind, id)| json!({"actor_type": kind, "actor_id": id, "bypass_mode": "always"}));
        body["bypass_actors"] = actors.collect();
    }
    Answer::new(200, template, body)
}

fn environments(world: &World) -> Answer {
    let all: Vec<Value> = world
        .environments
        .iter()
        .map(|(name, every)| {
            let policy = json!({"protected_branches": true, "custom_branch_policies": false});
            json!({"name": name, "deployment_branch_policy": if *every { Value::Null } else { policy }})
        })
        .collect();
    Answer::new(
        200,
        ENVIRONMENTS,
        json!({"total_count": all.len(), "environments": all}),
    )
}

fn compare(world: &World, range: &str) -> Answer {
    let ends = range
        .split_once("...")
        .and_then(|(base, head)| Some((world.resolve(base)?, world.resolve(head)?)));
    let Some((base, head)) = ends else {
        return missing(COMPARE);
    };
    let word = match (
        world.is_ancestor(&base, &head),
        world.is_ancestor(&head, &base),
    ) {
        (true, true) => "identical",
        (true, false) => "ahead",
        (false, true) => "behind",
        (false, false) => "diverged",
    };
    Answer::new(
        200,
        COMPARE,
        json!({"status": word, "commits": [], "files": []}),
    )
}

fn contents(request: &Request, world: &World, path: &str) -> Answer {
    let found = request
        .query
        .get("ref")
        .and_then(|it| world.resolve(it))
        .and_then(|commit| world.trees[&world.commits[&commit].tree].get(path).cloned());
    match found {
        Some((_, blob)) => {
            let bytes = &world.blobs[&blob];
            Answer::new(
                200,
                CONTENTS,
                json!({"type": "file", "encoding": "base64", "size": bytes.len(), "path": path, "name": path, "sha": blob, "content": STANDARD.encode(bytes)}),
            )
        }
        None => folder(request, world, path),
    }
}

fn folder(request: &Request, world: &World, path: &str) -> Answer {
    let Some(commit) = request.query.get("ref").and_then(|it| world.resolve(it)) else {
        return missing(CONTENTS);
    };
    let entries: Vec<Value> = world.trees[&world.commits[&commit].tree]
        .iter()
        .filter(|(name, _)| name.strip_prefix(path).is_some_and(|rest| rest.starts_with('/') && !rest[1..].contains('/')))
        .map(|(name, (_, blob))| json!({"type": "file", "path": name, "name": name, "sha": blob, "size": 1, "url": "u", "html_url": null,
            "git_url": null, "download_url": null, "_links": {"self": "u", "git": null, "html": null}}))
        .collect();
    if entries.is_empty() {
        return missing(CONTENTS);
    }
    Answer::new(200, CONTENTS, Value::Array(entries))
}

/// An account with everything that GitHub's schema demands, where no example gives it.
pub(super) fn whole_user(world: &World, login: &str) -> Value {
    let mut user = world.user(login);
    for key in [
        "node_id",
        "avatar_url",
        "gravatar_id",
        "url",
        "html_url",
        "followers_url",
        "following_url",
        "gists_url",
        "starred_url",
        "subscriptions_url",
        "organizations_url",
        "repos_url",
        "events_url",
        "received_events_url",
    ] {
        user[key] = json!("https://github.com/x");
    }
    user["site_admin"] = json!(false);
    user
}
