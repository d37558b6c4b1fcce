//! Pull requests, their commits, reviews and reviewers.

use serde_json::{Value, json};

use super::super::world::{Line, Pull, Review, Token, World};
use super::super::{Answer, Request};
use super::commits::full_commit;
use super::{HOME, missing, page, text};

/// The paths, as GitHub's description names them.
pub(super) const TEMPLATES: &[&str] = &[
    PULLS,
    PULL,
    PULL_COMMITS,
    REVIEWS,
    REVIEWERS,
    REVIEW,
    LINE,
    LINES,
];

const PULLS: &str = "/repos/{owner}/{repo}/pulls";
const PULL: &str = "/repos/{owner}/{repo}/pulls/{pull_number}";
const PULL_COMMITS: &str = "/repos/{owner}/{repo}/pulls/{pull_number}/commits";
const REVIEWS: &str = "/repos/{owner}/{repo}/pulls/{pull_number}/reviews";
const REVIEW: &str = "/repos/{owner}/{repo}/pulls/{pull_number}/reviews/{review_id}";
const LINE: &str = "/repos/{owner}/{repo}/pulls/comments/{comment_id}";
const LINES: &str = "/repos/{owner}/{repo}/pulls/{pull_number}/comments";
const REVIEWERS: &str = "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers";

/// Answers a question; none where the path belongs to somebody else.
pub(super) fn read(request: &Request, world: &World, parts: &[&str]) -> Option<Answer> {
    Some(match parts {
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
                return Some(missing(PULL_COMMITS));
            };
            let all = world
                .commits_of(found)
                .iter()
                .map(|sha| full_commit(world, sha, &world.commits[sha]))
                .collect();
            page(request, PULL_COMMITS, all)
        }
        ["pulls", number, "reviews"] => {
            let all = world
                .reviews
                .iter()
                .filter(|it| it.pull.to_string() == **number)
                .map(|it| review(world, it))
                .collect();
            page(request, REVIEWS, all)
        }
        _ => return review_words(request, world, parts),
    })
}

/// Reviews and their comments on lines, one by one.
fn review_words(request: &Request, world: &World, parts: &[&str]) -> Option<Answer> {
    Some(match parts {
        ["pulls", "comments", id] => {
            match world.lines.iter().find(|it| it.id.to_string() == **id) {
                Some(found) => Answer::new(200, LINE, line(world, found)),
                None => missing(LINE),
            }
        }
        ["pulls", number, "comments"] => {
            let all = world
                .lines
                .iter()
                .filter(|it| it.pull.to_string() == **number)
                .map(|it| line(world, it))
                .collect();
            page(request, LINES, all)
        }
        ["pulls", _, "reviews", id] => {
            match world.reviews.iter().find(|it| it.id.to_string() == **id) {
                Some(found) => Answer::new(200, REVIEW, review(world, found)),
                None => missing(REVIEW),
            }
        }
        _ => return None,
    })
}

/// The permission that a change of this path needs, and the path's template.
pub(super) fn needs(parts: &[&str]) -> Option<(&'static str, &'static str)> {
    Some(match parts {
        ["pulls"] => ("pull_requests", PULLS),
        ["pulls", _] => ("pull_requests", PULL),
        ["pulls", _, "requested_reviewers"] => ("pull_requests", REVIEWERS),
        ["pulls", _, "reviews"] => ("pull_requests", REVIEWS),
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
        ("POST", ["pulls"]) => open_pull(world, body, token),
        ("PATCH", ["pulls", number]) => {
            let Some(at) = world
                .pulls
                .iter()
                .position(|it| it.number.to_string() == **number)
            else {
                return Some(missing(PULL));
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
        ("POST", ["pulls", number, "reviews"]) => {
            let state = match text(body, "event").as_str() {
                "REQUEST_CHANGES" => "CHANGES_REQUESTED",
                "COMMENT" => "COMMENTED",
                // Nothing of ours may ever approve.
                other => return Some(Answer::error(422, REVIEWS, other)),
            };
            let number = number.parse().unwrap_or(0);
            match world.review_saying(number, &token.login, state, &text(body, "body")) {
                Ok(()) => Answer::new(
                    200,
                    REVIEWS,
                    json!({"id": 1, "user": world.user(&token.login), "state": state, "body": text(body, "body"), "commit_id": text(body, "commit_id")}),
                ),
                Err(message) => Answer::error(422, REVIEWS, message),
            }
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
                return Some(missing(REVIEWERS));
            };
            Answer::new(201, REVIEWERS, pull(world, found))
        }
        _ => return None,
    })
}

fn review(world: &World, it: &Review) -> Value {
    json!({"id": it.id, "user": world.user(&it.user), "body": it.body, "state": it.state, "commit_id": it.commit, "submitted_at": it.at})
}

fn line(world: &World, it: &Line) -> Value {
    json!({"id": it.id, "user": world.user(&it.user), "body": it.body, "path": it.path, "line": it.line, "commit_id": it.commit,
        "original_commit_id": it.commit, "created_at": it.at, "updated_at": it.at})
}

pub(super) fn pull(world: &World, found: &Pull) -> Value {
    let fork = world.from_forks.contains(&found.number);
    let end = |name: &str, sha: &str, id: u64| json!({"ref": name, "label": format!("o:{name}"), "sha": sha, "repo": {"id": id}, "user": world.user("o")});
    let base = world.refs.get(&found.base).cloned().unwrap_or_default();
    json!({"number": found.number, "title": found.title, "body": found.body, "draft": found.draft, "user": world.user(&found.user),
        "state": if found.open { "open" } else { "closed" }, "head": end(&found.head, &found.last_head, if fork { HOME + 1 } else { HOME }), "base": end(&found.base, &base, HOME),
        "html_url": format!("https://github.com/o/r/pull/{}", found.number), "labels": [], "requested_reviewers": [], "requested_teams": []})
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
