//! The operations of GitHub's API that are in use, each with what GitHub would refuse; one file a resource.

mod actions;
mod commits;
mod graphql;
mod objects;
mod pulls;
mod repository;
mod rights;
mod threads;

use serde_json::Value;

use super::world::{Token, World};
use super::{Answer, Request};

/// The paths in use, as GitHub's description names them.
pub(crate) fn templates() -> Vec<&'static str> {
    [
        &[USER, USERS],
        actions::TEMPLATES,
        commits::TEMPLATES,
        objects::TEMPLATES,
        pulls::TEMPLATES,
        repository::TEMPLATES,
        rights::TEMPLATES,
        threads::TEMPLATES,
    ]
    .concat()
}

const USER: &str = "/user";
const USERS: &str = "/users/{username}";

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
        return graphql::graphql(request, world, &token);
    }
    if path == "/user" {
        return match world.accounts.get(&token.login) {
            Some(account) if account.kind == "User" => Answer::new(200, USER, account.json()),
            _ => Answer::error(403, USER, "Resource not accessible by integration"),
        };
    }
    if let Some(login) = path.strip_prefix("/users/") {
        return match world.accounts.get(login) {
            Some(account) => Answer::new(200, USERS, account.json()),
            None => missing(USERS),
        };
    }
    let Some(rest) = path.strip_prefix("/repos/o/r") else {
        return Answer::error(404, "", "Not Found");
    };
    let parts: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
    if let Some(answer) = rights::answer(request, world, &token, &parts) {
        return answer;
    }
    match request.method.as_str() {
        "GET" if parts == [""] => rights::home(request, world, &token),
        "GET" => read(request, world, &parts),
        _ => write(request, world, &token, &parts),
    }
}

fn missing(template: &'static str) -> Answer {
    Answer::error(404, template, "Not Found")
}

fn read(request: &Request, world: &World, parts: &[&str]) -> Answer {
    repository::read(request, world, parts)
        .or_else(|| threads::read(request, world, parts))
        .or_else(|| actions::read(world, parts))
        .or_else(|| objects::read(world, parts))
        .or_else(|| commits::read(request, world, parts))
        .or_else(|| pulls::read(request, world, parts))
        .unwrap_or_else(|| missing(""))
}

fn write(request: &Request, world: &mut World, token: &Token, parts: &[&str]) -> Answer {
    let found = objects::needs(parts)
        .or_else(|| threads::needs(parts))
        .or_else(|| commits::needs(parts))
        .or_else(|| pulls::needs(parts));
    let Some((needs, template)) = found else {
        return missing("");
    };
    if !token.writes.contains(&needs) {
        let mut answer = Answer::error(403, template, "Resource not accessible by integration");
        answer.headers.push((
            "x-accepted-github-permissions".to_owned(),
            format!("{needs}=write"),
        ));
        return answer;
    }
    objects::write(request, world, token, parts)
        .or_else(|| threads::write(request, world, token, parts))
        .or_else(|| commits::write(request, world, token, parts))
        .or_else(|| pulls::write(request, world, token, parts))
        .unwrap_or_else(|| missing(""))
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
