//! The operations of GitHub's API that are in use, each with what GitHub would refuse.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::world::{Commit, Pull, Status, Token, World};
use super::{Answer, Request};

/// The paths in use, as GitHub's description names them.
pub(crate) const TEMPLATES: &[&str] = &[
    REPO,
    BRANCH,
    COMPARE,
    CONTENTS,
    PERMISSION,
    COMMENT,
    COMMENTS,
    REACTIONS,
    GIT_COMMIT,
    GIT_COMMITS,
    GIT_TREES,
    GIT_BLOBS,
    GIT_REF,
    GIT_REFS,
    GIT_REFS_REF,
    COMMIT,
    COMMIT_STATUSES,
    STATUSES,
    PULLS,
    PULL,
    LABELS,
    REVIEWERS,
    RULES,
    USER,
    REVIEWS,
    PULL_COMMITS,
    ACTIVITY,
    COMMIT_PULLS,
    EVENTS,
    WORKFLOW_PERMISSIONS,
];

const REPO: &str = "/repos/{owner}/{repo}";
const BRANCH: &str = "/repos/{owner}/{repo}/branches/{branch}";
const COMPARE: &str = "/repos/{owner}/{repo}/compare/{basehead}";
const CONTENTS: &str = "/repos/{owner}/{repo}/contents/{path}";
const PERMISSION: &str = "/repos/{owner}/{repo}/collaborators/{username}/permission";
const COMMENT: &str = "/repos/{owner}/{repo}/issues/comments/{comment_id}";
const COMMENTS: &str = "/repos/{owner}/{repo}/issues/{issue_number}/comments";
const REACTIONS: &str = "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions";
const GIT_COMMIT: &str = "/repos/{owner}/{repo}/git/commits/{commit_sha}";
const GIT_COMMITS: &str = "/repos/{owner}/{repo}/git/commits";
const GIT_TREES: &str = "/repos/{owner}/{repo}/git/trees";
const GIT_BLOBS: &str = "/repos/{owner}/{repo}/git/blobs";
const GIT_REF: &str = "/repos/{owner}/{repo}/git/ref/{ref}";
const GIT_REFS: &str = "/repos/{owner}/{repo}/git/refs";
const GIT_REFS_REF: &str = "/repos/{owner}/{repo}/git/refs/{ref}";
const COMMIT: &str = "/repos/{owner}/{repo}/commits/{ref}";
const COMMIT_STATUSES: &str = "/repos/{owner}/{repo}/commits/{ref}/statuses";
const COMMIT_PULLS: &str = "/repos/{owner}/{repo}/commits/{commit_sha}/pulls";
const STATUSES: &str = "/repos/{owner}/{repo}/statuses/{sha}";
const PULLS: &str = "/repos/{owner}/{repo}/pulls";
const PULL: &str = "/repos/{owner}/{repo}/pulls/{pull_number}";
const PULL_COMMITS: &str = "/repos/{owner}/{repo}/pulls/{pull_number}/commits";
const REVIEWS: &str = "/repos/{owner}/{repo}/pulls/{pull_number}/reviews";
const REVIEWERS: &str = "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers";
const LABELS: &str = "/repos/{owner}/{repo}/issues/{issue_number}/labels";
const EVENTS: &str = "/repos/{owner}/{repo}/issues/{issue_number}/events";
const RULES: &str = "/repos/{owner}/{repo}/rules/branches/{branch}";
const ACTIVITY: &str = "/repos/{owner}/{repo}/activity";
const WORKFLOW_PERMISSIONS: &str = "/repos/{owner}/{repo}/actions/permissions/workflow";
const USER: &str = "/user";

/// The repository's number.
const HOME: u64 = 9;

/// Answers one request, with its effect on the world.
pub(crate) fn answer(request: &Request, world: &mut World) -> Answer {
    let known = request
        .token
        .as_ref()
        .and_then(|token| world.tokens.get(token));
    let Some(token) = known.cloned() else {
        return Answer::error(401, "", "Bad credentials");
    };
    // On GitHub Enterprise Server everything lives below `/api`.
    let path = request
        .path
        .strip_prefix("/api/v3")
        .or_else(|| request.path.strip_prefix("/api"));
    let path = path.unwrap_or(&request.path);
    if path == "/graphql" {
        return graphql(request, world, &token);
    }
    if path == "/user" {
        return match world.accounts.get(&token.login) {
            Some(account) if account.kind == "User" => Answer::new(200, USER, account.json()),
            _ => Answer::error(403, USER, "Resource not accessible by integration"),
        };
    }
    let Some(rest) = path.strip_prefix("/repos/o/r") else {
        return Answer::error(404, "", "Not Found");
    };
    let parts: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
    match request.method.as_str() {
        "GET" => read(request, world, &parts),
        _ => write(request, world, &token, &parts),
    }
}

fn missing(template: &'static str) -> Answer {
    Answer::error(404, template, "Not Found")
}

#[expect(
    clippy::too_many_lines,
    reason = "a long list of plain cases, one an operation"
)]
fn read(request: &Request, world: &mut World, parts: &[&str]) -> Answer {
    match parts {
        [""] => Answer::new(
            200,
            REPO,
            json!({"id": HOME, "name": "r", "full_name": "o/r", "default_branch": "main", "owner": world.user("o"), "language": null, "source": {"language": null}, "allow_auto_merge": world.auto_merge}),
        ),
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
        ["git", "commits", sha] => match world.commits.get(*sha) {
            Some(commit) => Answer::new(200, GIT_COMMIT, git_commit(sha, commit)),
            None => missing(GIT_COMMIT),
        },
        ["git", "ref", name @ ..] => {
            let name = name.join("/");
            match name
                .strip_prefix("heads/")
                .and_then(|branch| world.refs.get(branch))
            {
                Some(head) => Answer::new(
                    200,
                    GIT_REF,
                    json!({"ref": format!("refs/{name}"), "object": {"type": "commit", "sha": head}}),
                ),
                None => missing(GIT_REF),
            }
        }
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
        ["pulls"] => {
            let wanted = request.query.get("head").cloned();
            let all = world
                .pulls
                .iter()
                .filter(|it| {
                    it.open
                        || request
                            .query
                            .get("state")
                            .is_some_and(|state| state == "all")
                })
                .filter(|it| {
                    wanted
                        .as_ref()
                        .is_none_or(|head| *head == format!("o:{}", it.head))
                })
                .map(|it| pull(world, it))
                .collect();
            page(request, PULLS, all)
        }
        ["pulls", number] => match world
            .pulls
            .iter()
            .find(|it| it.number.to_string() == **number)
        {
            Some(found) => {
                let mut body = pull(world, found);
                body["commits"] = json!(world.commits_of(found).len());
                Answer::new(200, PULL, body)
            }
            None => missing(PULL),
        },
        ["pulls", number, "commits"] => {
            let Some(found) = world
                .pulls
                .iter()
                .find(|it| it.number.to_string() == **number)
            else {
                return missing(PULL_COMMITS);
            };
            let all = world
                .commits_of(found)
                .iter()
                .map(|sha| full_commit(world, sha, &world.commits[sha]))
                .collect();
            page(request, PULL_COMMITS, all)
        }
        ["pulls", number, "reviews"] => {
            let all = world.reviews.iter().filter(|it| it.pull.to_string() == **number)
                .map(|it| json!({"id": it.id, "user": world.user(&it.user), "state": it.state, "commit_id": it.commit, "submitted_at": it.at}))
                .collect();
            page(request, REVIEWS, all)
        }
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
        ["rules", "branches", ..] => {
            let checks: Vec<Value> = world
                .required_checks
                .iter()
                .map(|it| json!({"context": it}))
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
        _ => missing(""),
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "a long list of plain cases, one an operation"
)]
fn write(request: &Request, world: &mut World, token: &Token, parts: &[&str]) -> Answer {
    let body = &request.body;
    let (needs, template) = match parts {
        ["git", "commits"] => ("contents", GIT_COMMITS),
        ["git", "trees"] => ("contents", GIT_TREES),
        ["git", "blobs"] => ("contents", GIT_BLOBS),
        ["git", "refs"] => ("contents", GIT_REFS),
        ["git", "refs", ..] => ("contents", GIT_REFS_REF),
        ["statuses", _] => ("statuses", STATUSES),
        ["pulls"] => ("pull_requests", PULLS),
        ["pulls", _] => ("pull_requests", PULL),
        ["pulls", _, "requested_reviewers"] => ("pull_requests", REVIEWERS),
        ["issues", _, "labels"] => ("issues", LABELS),
        ["issues", "comments", _] => ("issues", COMMENT),
        ["issues", "comments", _, "reactions"] => ("issues", REACTIONS),
        ["issues", _, "comments"] => ("issues", COMMENTS),
        _ => return missing(""),
    };
    if !token.writes.contains(&needs) {
        let mut answer = Answer::error(403, template, "Resource not accessible by integration");
        answer.headers.push((
            "x-accepted-github-permissions".to_owned(),
            format!("{needs}=write"),
        ));
        return answer;
    }
    match (request.method.as_str(), parts) {
        ("POST", ["git", "blobs"]) => {
            let bytes = STANDARD.decode(text(body, "content")).unwrap_or_default();
            let sha = world.blob(&bytes);
            Answer::new(201, GIT_BLOBS, json!({"sha": sha}))
        }
        ("POST", ["git", "trees"]) => make_tree(world, body),
        ("POST", ["git", "commits"]) => make_commit(world, body, token),
        ("POST", ["git", "refs"]) => make_ref(world, body, token),
        ("PATCH", ["git", "refs", name @ ..]) => move_ref(world, body, token, &name.join("/")),
        ("DELETE", ["git", "refs", name @ ..]) => delete_ref(world, &name.join("/")),
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
        ("POST", ["pulls"]) => open_pull(world, body, token),
        ("PATCH", ["pulls", number]) => {
            let Some(at) = world
                .pulls
                .iter()
                .position(|it| it.number.to_string() == **number)
            else {
                return missing(PULL);
            };
            for (key, field) in [("title", 0), ("body", 1)] {
                if let Some(value) = body[key].as_str() {
                    let found = &mut world.pulls[at];
                    if field == 0 {
                        found.title = value.to_owned()
                    } else {
                        found.body = value.to_owned()
                    }
                }
            }
            Answer::new(200, PULL, pull(world, &world.pulls[at]))
        }
        ("POST", ["pulls", number, "requested_reviewers"]) => {
            let names = body["reviewers"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned);
            world
                .reviewers
                .entry(number.parse().unwrap_or(0))
                .or_default()
                .extend(names);
            let Some(found) = world
                .pulls
                .iter()
                .find(|it| it.number.to_string() == **number)
            else {
                return missing(REVIEWERS);
            };
            Answer::new(201, REVIEWERS, pull(world, found))
        }
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
                return missing(COMMENT);
            };
            world.comments[found].body = text(body, "body");
            world.comments[found].updated_at = at;
            Answer::new(200, COMMENT, comment(world, found))
        }
        ("POST", ["issues", issue, "comments"]) => {
            if text(body, "body").chars().count() > 65_536 {
                return Answer::error(
                    422,
                    COMMENTS,
                    "body is too long (maximum is 65536 characters)",
                );
            }
            world.comment(
                issue.parse().unwrap_or(0),
                &token.login,
                &text(body, "body"),
            );
            Answer::new(201, COMMENTS, comment(world, world.comments.len() - 1))
        }
        _ => missing(""),
    }
}

fn text(body: &Value, key: &str) -> String {
    body[key].as_str().unwrap_or_default().to_owned()
}

/// One page of a list, with the link to the next one.
fn page(request: &Request, template: &'static str, all: Vec<Value>) -> Answer {
    let number = |key: &str, default: usize| {
        request
            .query
            .get(key)
            .and_then(|it| it.parse().ok())
            .unwrap_or(default)
    };
    let (size, at) = (number("per_page", 30).min(100), number("page", 1));
    let more = all.len() > size * at;
    let part: Vec<Value> = all.into_iter().skip(size * (at - 1)).take(size).collect();
    let mut answer = Answer::new(200, template, Value::Array(part));
    if more {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (key, value) in &request.query {
            if key != "page" {
                query.append_pair(key, value);
            }
        }
        query.append_pair("page", &(at + 1).to_string());
        answer.headers.push((
            "link".to_owned(),
            format!(
                "<http://127.0.0.1{}?{}>; rel=\"next\"",
                request.path,
                query.finish()
            ),
        ));
    }
    answer
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

fn comment(world: &World, at: usize) -> Value {
    let found = &world.comments[at];
    json!({"id": found.id, "body": found.body, "user": world.user(&found.user), "created_at": found.created_at,
        "updated_at": found.updated_at, "performed_via_github_app": null})
}

fn status(world: &World, found: &Status) -> Value {
    json!({"context": found.context, "state": found.state, "description": found.description,
        "creator": world.user(&found.creator), "created_at": found.created_at, "updated_at": found.created_at})
}

/// An account with everything that GitHub's schema demands, where no example gives it.
fn whole_user(world: &World, login: &str) -> Value {
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

fn verification(commit: &Commit) -> Value {
    json!({"verified": commit.verified, "reason": if commit.verified { "valid" } else { "unsigned" }, "signature": null, "payload": null, "verified_at": null})
}

fn git_commit(sha: &str, commit: &Commit) -> Value {
    json!({"sha": sha, "tree": {"sha": commit.tree}, "message": commit.message, "verification": verification(commit),
        "parents": commit.parents.iter().map(|it| json!({"sha": it})).collect::<Vec<_>>()})
}

fn full_commit(world: &World, sha: &str, commit: &Commit) -> Value {
    let user = |login: &Option<String>| {
        login
            .as_ref()
            .map_or(Value::Null, |login| world.user(login))
    };
    json!({"sha": sha, "author": user(&commit.author), "committer": user(&commit.committer), "parents": commit.parents.iter().map(|it| json!({"sha": it})).collect::<Vec<_>>(),
        "commit": {"message": commit.message, "tree": {"sha": commit.tree}, "verification": verification(commit)}, "files": []})
}

fn pull(world: &World, found: &Pull) -> Value {
    let end = |name: &str, sha: &str| json!({"ref": name, "label": format!("o:{name}"), "sha": sha, "repo": {"id": HOME}, "user": world.user("o")});
    let base = world.refs.get(&found.base).cloned().unwrap_or_default();
    json!({"number": found.number, "title": found.title, "body": found.body, "draft": found.draft, "user": world.user(&found.user),
        "state": if found.open { "open" } else { "closed" }, "head": end(&found.head, &found.last_head), "base": end(&found.base, &base),
        "html_url": format!("https://github.com/o/r/pull/{}", found.number), "labels": [], "requested_reviewers": [], "requested_teams": []})
}

fn make_tree(world: &mut World, body: &Value) -> Answer {
    let Some(mut tree) = world.trees.get(&text(body, "base_tree")).cloned() else {
        return Answer::error(404, GIT_TREES, "Not Found");
    };
    for entry in body["tree"].as_array().into_iter().flatten() {
        let path = text(entry, "path");
        let mode = text(entry, "mode");
        if entry["sha"].is_null() && entry.get("content").is_none() {
            if tree.remove(&path).is_none() {
                return Answer::error(422, GIT_TREES, "GitRPC::BadObjectState");
            }
        } else if let Some(content) = entry["content"].as_str() {
            let blob = world.blob(content.as_bytes());
            tree.insert(path, (mode, blob));
        } else {
            tree.insert(path, (mode, text(entry, "sha")));
        }
    }
    let sha = world.tree(tree);
    Answer::new(201, GIT_TREES, json!({"sha": sha, "tree": []}))
}

fn make_commit(world: &mut World, body: &Value, token: &Token) -> Answer {
    let parents: Vec<String> = body["parents"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let whole = world.trees.contains_key(&text(body, "tree"))
        && parents.iter().all(|it| world.commits.contains_key(it));
    if !whole {
        return Answer::error(422, GIT_COMMITS, "Tree or parent does not exist");
    }
    // Only for a bot, and only where neither author nor committer is given, GitHub signs.
    let bot = world.accounts[&token.login].kind == "Bot";
    let signed = bot && body.get("author").is_none() && body.get("committer").is_none();
    let commit = Commit {
        tree: text(body, "tree"),
        parents,
        message: text(body, "message"),
        author: Some(token.login.clone()),
        committer: Some(if signed {
            "web-flow".to_owned()
        } else {
            token.login.clone()
        }),
        verified: signed,
    };
    let sha = world.commit(commit.clone());
    Answer::new(201, GIT_COMMITS, git_commit(&sha, &commit))
}

fn make_ref(world: &mut World, body: &Value, token: &Token) -> Answer {
    let name = text(body, "ref");
    let sha = text(body, "sha");
    let Some(branch) = name.strip_prefix("refs/heads/") else {
        return Answer::error(422, GIT_REFS, "Reference name is not valid");
    };
    if world.refs.contains_key(branch) {
        return Answer::error(422, GIT_REFS, "Reference already exists");
    }
    if !world.commits.contains_key(&sha) {
        return Answer::error(422, GIT_REFS, "Object does not exist");
    }
    world.refs_made.push(branch.to_owned());
    world.set_ref(branch, &token.login, &sha);
    Answer::new(
        201,
        GIT_REFS,
        json!({"ref": name, "object": {"type": "commit", "sha": sha}}),
    )
}

fn move_ref(world: &mut World, body: &Value, token: &Token, name: &str) -> Answer {
    let Some((branch, head)) = name
        .strip_prefix("heads/")
        .and_then(|it| Some((it.to_owned(), world.refs.get(it)?.clone())))
    else {
        return Answer::error(422, GIT_REFS_REF, "Reference does not exist");
    };
    let sha = text(body, "sha");
    assert_ne!(body["force"], json!(true), "nothing may ever be forced");
    if !world.is_ancestor(&head, &sha) {
        return Answer::error(422, GIT_REFS_REF, "Update is not a fast forward");
    }
    world.set_ref(&branch, &token.login, &sha);
    Answer::new(
        200,
        GIT_REFS_REF,
        json!({"ref": format!("refs/{name}"), "object": {"type": "commit", "sha": sha}}),
    )
}

fn delete_ref(world: &mut World, name: &str) -> Answer {
    let branch = name.trim_start_matches("heads/").to_owned();
    if world.refs.remove(&branch).is_none() {
        return Answer::error(422, GIT_REFS_REF, "Reference does not exist");
    }
    for pull in &mut world.pulls {
        if pull.head == branch {
            pull.open = false;
        }
    }
    Answer {
        status: 204,
        template: GIT_REFS_REF,
        body: None,
        headers: Vec::new(),
    }
}

fn open_pull(world: &mut World, body: &Value, token: &Token) -> Answer {
    let (head, base) = (text(body, "head"), text(body, "base"));
    let refused = |message: &str| {
        Answer::new(
            422,
            PULLS,
            json!({"message": "Validation Failed", "errors": [{"resource": "PullRequest", "code": "custom", "message": message}], "documentation_url": "https://docs.github.com/rest"}),
        )
    };
    let Some(last_head) = world.refs.get(&head).cloned() else {
        return refused("head is invalid");
    };
    let Some(target) = world.refs.get(&base).cloned() else {
        return refused("base is invalid");
    };
    if world
        .pulls
        .iter()
        .any(|it| it.open && it.head == head && it.base == base)
    {
        return refused("A pull request already exists for o:head.");
    }
    if world.is_ancestor(&last_head, &target) {
        return refused("No commits between base and head");
    }
    if body["draft"] == json!(true) && !world.drafts_supported {
        return refused("Draft pull requests are not supported in this repository.");
    }
    let number = world.number();
    world.pulls.push(Pull {
        number,
        title: text(body, "title"),
        body: text(body, "body"),
        head,
        base,
        user: token.login.clone(),
        draft: body["draft"] == json!(true),
        open: true,
        maintainer_can_modify: body["maintainer_can_modify"] != json!(false),
        last_head,
    });
    Answer::new(201, PULLS, pull(world, &world.pulls[world.pulls.len() - 1]))
}

#[expect(
    clippy::too_many_lines,
    reason = "the refusals of one mutation, in a row"
)]
fn graphql(request: &Request, world: &mut World, token: &Token) -> Answer {
    let query = text(&request.body, "query");
    let fault = |message: &str| {
        Answer::new(
            200,
            "",
            json!({"data": null, "errors": [{"message": message}]}),
        )
    };
    if query.contains("viewer") {
        let account = &world.accounts[&token.login];
        return Answer::new(
            200,
            "",
            json!({"data": {"viewer": {"login": account.login, "databaseId": account.id}}}),
        );
    }
    if !query.contains("createCommitOnBranch") || !world.graphql_supported {
        return fault("unknown field");
    }
    if !token.writes.contains(&"contents") {
        return fault("Resource not accessible by integration");
    }
    let input = &request.body["variables"]["input"];
    let branch = text(&input["branch"], "branchName");
    let expected = text(input, "expectedHeadOid");
    let Some(head) = world.refs.get(&branch).cloned() else {
        return fault("A ref does not exist");
    };
    if input["branch"]["repositoryNameWithOwner"] != json!("o/r") || head != expected {
        return fault("Expected branch to point to another commit");
    }
    let mut tree = world.trees[&world.commits[&head].tree].clone();
    for entry in input["fileChanges"]["deletions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        if tree.remove(&text(entry, "path")).is_none() {
            return fault("A path was requested for deletion which does not exist");
        }
    }
    for entry in input["fileChanges"]["additions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let Ok(bytes) = STANDARD.decode(text(entry, "contents")) else {
            return fault("not base64");
        };
        let blob = world.blob(&bytes);
        tree.insert(text(entry, "path"), ("100644".to_owned(), blob));
    }
    let tree = world.tree(tree);
    let message = format!(
        "{}\n\n{}",
        text(&input["message"], "headline"),
        text(&input["message"], "body")
    );
    let sha = world.commit(Commit {
        tree: tree.clone(),
        parents: vec![head],
        message,
        author: Some(token.login.clone()),
        committer: Some("web-flow".to_owned()),
        verified: true,
    });
    world.set_ref(&branch, &token.login, &sha);
    Answer::new(
        200,
        "",
        json!({"data": {"createCommitOnBranch": {"commit": {"oid": sha, "tree": {"oid": tree}, "signature": {"isValid": true}}}}}),
    )
}
