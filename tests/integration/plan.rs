//! `tagout plan`: what is due, what is left out and why, and a fleet of a thousand repositories in a few requests.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::github_server::Server;
use crate::github_server::world::{ACTIONS, TOKEN};

/// Monday, 23 November 2026: the line `17 4 * * 1` came due in the hour before.
const AT: &str = "2026-11-23T05:00:00Z";
const POLICY: &str = "version: 1
triggers: {schedule: {owner: octocat}}
tasks:
  tidy: {schedule: '17 4 * * 1', prompt: Tidy up}
  later: {schedule: '17 4 * * 2', prompt: Later}
  never: {prompt: By hand}
";

fn plan(server: Option<&Server>, args: &[&str]) -> (Output, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagout"));
    command.arg("plan").args(args).env_clear();
    if let Some(server) = server {
        command.envs([
            ("GITHUB_REPOSITORY", "o/r"),
            ("GITHUB_TOKEN", TOKEN),
            ("GITHUB_API_URL", &server.url),
            ("GITHUB_GRAPHQL_URL", &format!("{}/graphql", server.url)),
        ]);
    }
    let done = command.output().unwrap();
    let matrix = serde_json::from_slice(&done.stdout).unwrap_or(Value::Null);
    (done, matrix)
}

fn policy_file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn due_task_is_planned_and_the_others_are_not() {
    let file = policy_file(POLICY);
    let policy = file.path().to_str().unwrap();
    let (done, matrix) = plan(None, &["--policy", policy, "--at", AT]);
    assert!(done.status.success());
    let due = json!({"include": [{"id": "tidy", "task": "tidy"}]});
    assert_eq!(matrix, due);
    let since = "2026-11-23T04:17:00Z";
    let (_, matrix) = plan(None, &["--policy", policy, "--at", AT, "--since", since]);
    assert_eq!(matrix, json!({"include": []}), "it was planned before");
}

#[test]
fn wrong_times_and_policies_are_told() {
    let file = policy_file(POLICY);
    let policy = file.path().to_str().unwrap();
    for times in [["--at", "yesterday"], ["--since", "2020-01-01T00:00:00Z"]] {
        let (done, _) = plan(None, &["--policy", policy, times[0], times[1]]);
        assert_eq!(done.status.code(), Some(2), "{times:?}");
        assert!(done.stdout.is_empty());
    }
    let wrong = policy_file("version: 1\ntaks: {}\n");
    let wrong = wrong.path().to_str().unwrap();
    let (done, _) = plan(None, &["--policy", wrong, "--at", AT]);
    assert_eq!(done.status.code(), Some(3));
    let ownerless = policy_file(&POLICY.replace("triggers: {schedule: {owner: octocat}}\n", ""));
    let ownerless = ownerless.path().to_str().unwrap();
    let (_, matrix) = plan(None, &["--policy", ownerless, "--at", AT]);
    assert_eq!(matrix, json!({"include": []}), "nobody to attribute it to");
}

#[test]
fn task_with_an_open_proposal_waits() {
    let file = policy_file(POLICY);
    let policy = file.path().to_str().unwrap();
    let server = Server::start();
    let mut world = server.world();
    world.human("octocat", 1, "write");
    world.push("main", "octocat", &[("a.txt", "x\n")]);
    world.push("tagout/task-tidy", "octocat", &[("b.txt", "x\n")]);
    drop(world);
    let (_, matrix) = plan(Some(&server), &["--policy", policy, "--at", AT]);
    assert_eq!(matrix["include"][0]["repository"], "o/r");
    let open = |login: &str| {
        let words = ("Tidy", "");
        server
            .world()
            .opened(login, "tagout/task-tidy", "main", words)
    };
    let strangers = open("octocat");
    let fork = open(ACTIONS);
    server.world().from_forks.push(fork);
    let (_, matrix) = plan(Some(&server), &["--policy", policy, "--at", AT]);
    assert_eq!(
        matrix["include"][0]["task"], "tidy",
        "{strangers} and {fork} have the name of the branch alone"
    );
    open(ACTIONS);
    let (done, matrix) = plan(Some(&server), &["--policy", policy, "--at", AT]);
    assert_eq!(matrix, json!({"include": []}));
    assert!(String::from_utf8_lossy(&done.stderr).contains("still open"));
}

#[test]
fn thousand_repositories_are_planned_in_twenty_requests() {
    let server = Server::start();
    let mut world = server.world();
    for number in 0..1000_u64 {
        let (policy, open) = match number {
            7 | 8 => (Some(POLICY.to_owned()), Vec::new()),
            9 => (Some(POLICY.to_owned()), vec!["task-tidy".to_owned()]),
            10 => (Some("version: 2\n".to_owned()), Vec::new()),
            11 => {
                let text = format!("{POLICY}extends: [.github/more.yml]\n");
                (Some(text), Vec::new())
            }
            _ => (None, Vec::new()),
        };
        world.fleet.push((format!("o/r{number}"), policy, open));
    }
    drop(world);
    let (done, matrix) = plan(Some(&server), &["--organization", "o", "--at", AT]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let found: Vec<&str> = matrix["include"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["repository"].as_str().unwrap())
        .collect();
    assert_eq!(found, ["o/r7", "o/r8"]);
    assert_eq!(matrix["include"][0]["id"], "8-tidy");
    assert!(
        said.contains("o/r9: the proposal of tidy is still open"),
        "{said}"
    );
    assert!(said.contains("o/r10: its policy is wrong"), "{said}");
    assert!(said.contains("o/r11: its policy builds on files"), "{said}");
    let asked = server.world().journal.len();
    assert_eq!(asked, 20);
}

#[test]
fn organisation_that_cannot_be_read_is_a_fault_and_no_matrix() {
    let server = Server::start();
    server.world().fail("POST", "/graphql", 403, 9);
    let (done, _) = plan(Some(&server), &["--organization", "o", "--at", AT]);
    assert_eq!(done.status.code(), Some(8));
    assert!(done.stdout.is_empty());
    let (done, _) = plan(None, &["--organization", "o", "--at", AT]);
    assert_eq!(done.status.code(), Some(2), "without a token");
    let (done, _) = plan(Some(&server), &["--organization", "o/../x", "--at", AT]);
    assert_eq!(done.status.code(), Some(2));
}
