//! GitHub's payloads, read as GitHub sends them: examples by others, and the shapes that they have no example of.

use std::path::Path;

use serde_json::{Value, json};
use tagout::event::{AccountKind, Action, Event, EventError, IssueKind, Kind, PAYLOAD_BYTES_MAX};

use crate::github_server::contract::packages;

/// Every example of the package by others, with the event's name; none where npm is missing.
pub(crate) fn examples() -> Vec<(String, Value)> {
    let Some(modules) = packages() else {
        return Vec::new();
    };
    let file = modules.join(Path::new("webhooks-examples/api.github.com/index.json"));
    let text = std::fs::read(file).expect("the package holds it");
    let events: Vec<Value> = serde_json::from_slice(&text).expect("JSON");
    events
        .iter()
        .flat_map(|event| {
            let name = event["name"].as_str().expect("a name").to_owned();
            let examples = event["examples"].as_array().expect("a list").clone();
            examples
                .into_iter()
                .map(move |example| (name.clone(), example))
        })
        .collect()
}

fn read(name: &str, payload: &Value) -> Result<Event, EventError> {
    Event::read(name, payload.to_string().as_bytes())
}

#[test]
fn every_example_of_every_event_can_be_read() {
    for (name, example) in examples() {
        let event = read(&name, &example).unwrap_or_else(|error| {
            panic!("{name}: {error}: {:?}", std::error::Error::source(&error))
        });
        let used = matches!(
            name.as_str(),
            "issue_comment"
                | "schedule"
                | "workflow_dispatch"
                | "pull_request"
                | "pull_request_review"
                | "merge_group"
                | "workflow_run"
                | "issues"
                | "pull_request_review_comment"
                | "repository_dispatch"
        );
        assert_eq!(event.kind() == &Kind::Other, !used, "{name}");
        assert_eq!(event.name(), name);
    }
}

#[test]
fn examples_of_comments_tell_who_wrote_what_where() {
    for (name, example) in examples() {
        if name != "issue_comment" {
            continue;
        }
        let event = read(&name, &example).expect("readable");
        let Kind::Comment(commented) = event.kind() else {
            panic!("a comment");
        };
        let created = example["action"] == "created";
        assert_eq!(commented.action == Action::Created, created);
        assert_eq!(
            commented.comment.id,
            example["comment"]["id"].as_u64().expect("a number")
        );
        assert_eq!(
            commented.comment.body,
            example["comment"]["body"].as_str().expect("a text")
        );
        assert_eq!(
            commented.issue.kind,
            IssueKind::Issue,
            "no example is on a pull request"
        );
        // The example that is on a pull request is made here, as GitHub marks one: by the key `pull_request` in the issue.
        let mut pull = example.clone();
        pull["issue"]["pull_request"] = json!({"url": "https://api.github.com/repos/o/r/pulls/1"});
        let event = read(&name, &pull).expect("readable");
        let Kind::Comment(commented) = event.kind() else {
            panic!("a comment");
        };
        assert_eq!(commented.issue.kind, IssueKind::Pull);
        assert_eq!(
            Event::read_unnamed(pull.to_string().as_bytes())
                .expect("told")
                .name(),
            name
        );
    }
}

#[test]
fn schedule_tells_its_cron_line() {
    let payload = json!({"schedule": "17 4 * * 1", "workflow": ".github/workflows/tagout.yml",
        "repository": {"id": 9, "full_name": "o/r", "default_branch": "main"}});
    let event = read("schedule", &payload).expect("readable");
    assert_eq!(
        event.kind(),
        &Kind::Schedule {
            cron: "17 4 * * 1".to_owned()
        }
    );
    assert_eq!(event.base_branch(), Some("main"));
    assert!(event.sender().is_none());
    assert_eq!(
        Event::read_unnamed(payload.to_string().as_bytes())
            .expect("told")
            .name(),
        "schedule"
    );
}

#[test]
fn dispatch_tells_its_task_and_branch() {
    let payload = json!({"inputs": {"task": "update-deps", "other": 1}, "ref": "refs/heads/main",
        "repository": {"id": 9, "full_name": "o/r", "default_branch": "trunk"},
        "sender": {"login": "octocat", "id": 1, "type": "User"}});
    let event = read("workflow_dispatch", &payload).expect("readable");
    assert_eq!(event.base_branch(), Some("main"));
    let Kind::Dispatch { task, .. } = event.kind() else {
        panic!("a dispatch");
    };
    assert_eq!(task.as_deref(), Some("update-deps"));
    let tag = json!({"inputs": null, "ref": "refs/tags/main"});
    assert_eq!(
        read("workflow_dispatch", &tag)
            .expect("readable")
            .base_branch(),
        None
    );
}

#[test]
fn two_readings_agree_whatever_the_spacing_and_order() {
    let one = Event::read("push", br#"{"a": 1, "b": [1, 2]}"#).expect("readable");
    let two = Event::read("push", br#"{"b":[1,2],"a":1}"#).expect("readable");
    let other = Event::read("push", br#"{"b":[2,1],"a":1}"#).expect("readable");
    assert_eq!(one.digest(), two.digest());
    assert_ne!(one.digest(), other.digest());
}

#[test]
fn payload_that_is_none_is_an_error() {
    for bytes in [
        b"".as_slice(),
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"{\"comment\": 1}",
    ] {
        assert!(Event::read("issue_comment", bytes).is_err());
    }
    assert!(
        Event::read("push", b"{\"a\": [").is_err(),
        "an unused event is read all the same"
    );
    let long = vec![b' '; PAYLOAD_BYTES_MAX + 1];
    assert!(matches!(
        Event::read("push", &long),
        Err(EventError::TooLong(_))
    ));
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    assert!(Event::read("push", deep.as_bytes()).is_err());
    assert!(matches!(
        Event::read_unnamed(b"{}"),
        Err(EventError::Unnamed)
    ));
}

#[test]
fn repository_name_that_is_a_path_is_an_error() {
    let payload = json!({"repository": {"id": 9, "full_name": "../../x"}});
    assert!(matches!(
        read("push", &payload),
        Err(EventError::Word { .. })
    ));
}

#[test]
fn account_type_decides_and_not_the_login() {
    assert_eq!(AccountKind::from_word("User"), AccountKind::Human);
    assert_eq!(AccountKind::from_word("Bot"), AccountKind::Bot);
    assert_eq!(AccountKind::from_word("Mannequin"), AccountKind::Other);
    let payload = json!({"sender": {"login": "x[bot]", "id": 1, "type": "User"}});
    let event = read("push", &payload).expect("readable");
    assert_eq!(event.sender().expect("one").kind, AccountKind::Human);
}
