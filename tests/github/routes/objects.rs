//! Git data: commits, trees, blobs and refs. Nothing may ever be forced.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::world::{Commit, Token, World, oid};
use super::super::{Answer, Request};
use super::commits::verification;
use super::{missing, text};

/// The paths, as GitHub's description names them.
pub(super) const TEMPLATES: &[&str] = &[
    GIT_COMMIT,
    GIT_COMMITS,
    GIT_TREES,
    GIT_BLOBS,
    GIT_REF,
    GIT_REFS,
    GIT_REFS_REF,
    GIT_TREE,
    GIT_BLOB,
];

const GIT_COMMIT: &str = "/repos/{owner}/{repo}/git/commits/{commit_sha}";
const GIT_TREE: &str = "/repos/{owner}/{repo}/git/trees/{tree_sha}";
const GIT_BLOB: &str = "/repos/{owner}/{repo}/git/blobs/{file_sha}";
const GIT_COMMITS: &str = "/repos/{owner}/{repo}/git/commits";
const GIT_TREES: &str = "/repos/{owner}/{repo}/git/trees";
const GIT_BLOBS: &str = "/repos/{owner}/{repo}/git/blobs";
const GIT_REF: &str = "/repos/{owner}/{repo}/git/ref/{ref}";
const GIT_REFS: &str = "/repos/{owner}/{repo}/git/refs";
const GIT_REFS_REF: &str = "/repos/{owner}/{repo}/git/refs/{ref}";

/// Answers a question; none where the path belongs to somebody else.
pub(super) fn read(world: &World, parts: &[&str]) -> Option<Answer> {
    Some(match parts {
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
        ["git", "trees", sha] => folder(world, sha).unwrap_or_else(|| missing(GIT_TREE)),
        ["git", "blobs", sha] => match world.blobs.get(*sha) {
            Some(bytes) => Answer::new(
                200,
                GIT_BLOB,
                json!({"sha": sha, "size": bytes.len(), "encoding": "base64", "content": STANDARD.encode(bytes), "node_id": "n", "url": "u"}),
            ),
            None => missing(GIT_BLOB),
        },
        _ => return None,
    })
}

/// The name of a folder of a tree; trees are kept flat here.
fn folder_id(id: &str, folder: &str) -> String {
    match folder {
        "" => id.to_owned(),
        folder => oid(&[id.as_bytes(), folder.as_bytes()]),
    }
}

/// What lies directly in the folder with this name.
fn folder(world: &World, sha: &str) -> Option<Answer> {
    let (id, tree, folder) = world.trees.iter().find_map(|(id, tree)| {
        let folders = tree
            .keys()
            .flat_map(|path| path.match_indices('/').map(|(at, _)| &path[..at]));
        let mut all = std::iter::once("").chain(folders);
        let folder = all.find(|folder| folder_id(id, folder) == sha)?;
        Some((id, tree, folder))
    })?;
    let mut entries = std::collections::BTreeMap::new();
    for (path, (mode, blob)) in tree {
        let inside = match folder {
            "" => Some(path.as_str()),
            folder => path
                .strip_prefix(folder)
                .and_then(|rest| rest.strip_prefix('/')),
        };
        let Some(inside) = inside else { continue };
        let entry = match inside.split_once('/') {
            None => {
                json!({"path": inside, "mode": mode, "type": "blob", "sha": blob, "size": world.blobs[blob].len(), "url": "u"})
            }
            Some((name, _)) => {
                let whole = if folder.is_empty() {
                    name.to_owned()
                } else {
                    format!("{folder}/{name}")
                };
                json!({"path": name, "mode": "040000", "type": "tree", "sha": folder_id(id, &whole), "url": "u"})
            }
        };
        entries.insert(entry["path"].to_string(), entry);
    }
    let entries: Vec<Value> = entries.into_values().collect();
    Some(Answer::new(
        200,
        GIT_TREE,
        json!({"sha": sha, "url": "u", "truncated": false, "tree": entries}),
    ))
}

/// The permission that a change of this path needs, and the path's template.
pub(super) fn needs(parts: &[&str]) -> Option<(&'static str, &'static str)> {
    Some(match parts {
        ["git", "commits"] => ("contents", GIT_COMMITS),
        ["git", "trees"] => ("contents", GIT_TREES),
        ["git", "blobs"] => ("contents", GIT_BLOBS),
        ["git", "refs"] => ("contents", GIT_REFS),
        ["git", "refs", ..] => ("contents", GIT_REFS_REF),
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
        _ => return None,
    })
}

fn git_commit(sha: &str, commit: &Commit) -> Value {
    json!({"sha": sha, "tree": {"sha": commit.tree}, "message": commit.message, "verification": verification(commit),
        "parents": commit.parents.iter().map(|it| json!({"sha": it})).collect::<Vec<_>>()})
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
        raw: None,
    }
}
