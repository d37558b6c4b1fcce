//! GraphQL: who asks, and commits that GitHub signs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::world::{Commit, Token, World};
use super::super::{Answer, Request};
use super::text;

#[expect(
    clippy::too_many_lines,
    reason = "the refusals of one mutation, in a row"
)]
pub(super) fn graphql(request: &Request, world: &mut World, token: &Token) -> Answer {
    let query = text(&request.body, "query");
    let fault = |message: &str| {
        Answer::new(
            200,
            "",
            json!({"data": null, "errors": [{"message": message}]}),
        )
    };
    if query.contains("organization(") {
        return fleet(&request.body["variables"], world);
    }
    if query.contains("viewer") {
        let account = &world.accounts[&token.login];
        return Answer::new(
            200,
            "",
            json!({"data": {"viewer": {"login": account.login, "databaseId": account.id}}}),
        );
    }
    if query.contains("mergeQueue") {
        let nodes: Vec<Value> = world
            .queue
            .iter()
            .map(|(position, head, pull)| json!({"position": position, "headCommit": {"oid": head}, "pullRequest": {"number": pull}}))
            .collect();
        let queue = json!({"entries": {"nodes": nodes}});
        return Answer::new(
            200,
            "",
            json!({"data": {"repository": {"mergeQueue": queue}}}),
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

/// A page of the organisation's repositories. The cursor is the place of the next one.
fn fleet(variables: &Value, world: &World) -> Answer {
    let from: usize = variables["after"]
        .as_str()
        .map_or(0, |cursor| cursor.parse().unwrap_or(0));
    let size = usize::try_from(variables["page"].as_u64().unwrap_or(0)).unwrap_or(0);
    let to = world.fleet.len().min(from + size.min(100));
    let nodes: Vec<Value> = world.fleet[from..to]
        .iter()
        .enumerate()
        .map(|(at, (name, policy, open))| {
            let branches: Vec<Value> = open
                .iter()
                .map(|name| json!({"name": name, "associatedPullRequests": {"totalCount": 1}}))
                .collect();
            let policy = policy
                .as_ref()
                .map(|text| json!({"text": text, "byteSize": text.len(), "isTruncated": false}));
            json!({"databaseId": from + at + 1, "nameWithOwner": name, "policy": policy,
                "refs": {"totalCount": branches.len(), "nodes": branches}})
        })
        .collect();
    let page = json!({"hasNextPage": to < world.fleet.len(), "endCursor": to.to_string()});
    Answer::new(
        200,
        "",
        json!({"data": {"organization": {"repositories": {"pageInfo": page, "nodes": nodes}}}}),
    )
}
