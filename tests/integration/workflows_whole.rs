//! The shipped workflows from end to end: `act` runs them with the real binary against a GitHub of our own.
//!
//! What stands in: the two actions that hand an artifact over are a folder that is copied, since they cannot be fetched
//! here; the reusable workflow is a plain one with its inputs filled in; and each job's own token is given by name, since `act`
//! has one for all. What else runs is `action.yml` and the workflows as they are shipped.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;

use serde_json::json;

use crate::github_server::world::{ACTIONS, TOKEN};
use crate::job_github::{READER, Scene};
use crate::workflows::{Stage, called, called_approval};

const POLICY: &str = "version: 1
agent: {use: command, command: [sh, -c, 'echo new > b.txt']}
";

/// A repository with a policy, a stage with the real binary, and what `act` must be told of them.
struct Whole {
    scene: Scene,
    stage: Stage,
    binary: (String, String),
}

impl Whole {
    fn new(role: &str) -> Self {
        let scene = Scene::with(
            role,
            &[("a.txt", "hello\n"), (".github/tagout.yml", POLICY)],
        );
        let stage = Stage::new("{}");
        let binary = stage.program(&fs::read(env!("CARGO_BIN_EXE_tagout")).unwrap());
        Self {
            scene,
            stage,
            binary,
        }
    }

    fn act(&self, workflow: &str, event: &str, payload: &str) -> Option<(bool, String)> {
        self.stage.write("whole.yml", workflow);
        let url = &self.scene.server.url;
        let mut more = vec![
            format!("--workflows={}", self.stage.path("whole.yml").display()),
            format!("--secret=READER={READER}"),
        ];
        let environment = [
            ("GITHUB_REPOSITORY", "o/r".to_owned()),
            ("GITHUB_API_URL", url.clone()),
            ("GITHUB_SERVER_URL", url.clone()),
            ("GITHUB_GRAPHQL_URL", format!("{url}/graphql")),
        ];
        more.extend(environment.map(|(name, value)| format!("--env={name}={value}")));
        let repo = self.scene.place.repo();
        self.stage.act_in(&repo, event, payload, &more)
    }

    /// The agent's workflow on the comment of the scene.
    fn agent(&self) -> Option<(bool, String)> {
        let workflow = called(&self.binary.0, &self.binary.1).replace(
            "phase: execute\n",
            "phase: execute\n          github-token: ${{ secrets.READER }}\n",
        );
        assert!(
            workflow.contains("secrets.READER"),
            "execute has a token of its own"
        );
        let event = fs::read_to_string(self.scene.place.out("event.json")).unwrap();
        self.act(&workflow, "issue_comment", &event)
    }

    /// The approval's workflow on the one pull request.
    fn approval(&self) -> Option<(bool, String)> {
        let workflow = called_approval(&self.binary.0, &self.binary.1);
        let world = self.scene.server.world();
        let pull = &world.pulls[0];
        let event = json!({
            "action": "synchronize", "number": pull.number,
            "pull_request": {"number": pull.number, "head": {"sha": pull.last_head}},
            "repository": {"id": 9, "full_name": "o/r", "default_branch": "main"},
            "sender": world.user("octocat"),
        });
        drop(world);
        self.act(&workflow, "pull_request_target", &event.to_string())
    }

    fn light(&self) -> Option<String> {
        let world = self.scene.server.world();
        let mut lights = world.statuses.iter();
        lights
            .rfind(|it| it.context == "tagout/approval")
            .map(|it| it.state.clone())
    }
}

#[test]
fn comment_becomes_a_draft_that_another_human_releases() {
    let whole = Whole::new("write");
    let Some((ok, log)) = whole.agent() else {
        return;
    };
    assert!(ok, "{log}");
    let mut world = whole.scene.server.world();
    let [pull] = world.pulls.as_slice() else {
        panic!("there is not one pull request: {log}");
    };
    assert!(pull.draft && pull.user == ACTIONS, "{pull:?}");
    let (head, number) = (pull.head.clone(), pull.number);
    assert_eq!(world.files(&head)["b.txt"].1, "new\n");
    world.human("rita", 8, "write");
    drop(world);
    assert_eq!(
        whole.light().as_deref(),
        Some("failure"),
        "red from the start"
    );

    let (ok, log) = whole.approval().unwrap();
    assert!(!ok && log.contains("approvals-missing"), "{log}");
    let mut world = whole.scene.server.world();
    world.review(number, "octocat", "APPROVED").unwrap();
    drop(world);
    let (ok, log) = whole.approval().unwrap();
    assert!(!ok && log.contains("approver-asked"), "{log}");
    assert_eq!(whole.light().as_deref(), Some("failure"));
    let mut world = whole.scene.server.world();
    world.review(number, "rita", "APPROVED").unwrap();
    drop(world);
    let (ok, log) = whole.approval().unwrap();
    assert!(ok, "{log}");
    assert_eq!(whole.light().as_deref(), Some("success"));
    assert!(!log.contains(TOKEN), "act masks what is a secret: {log}");
}

#[test]
fn comment_of_a_reader_starts_no_agent_and_is_answered_once() {
    let whole = Whole::new("read");
    let Some((ok, log)) = whole.agent() else {
        return;
    };
    assert!(!ok && log.contains("permission-too-low"), "{log}");
    let world = whole.scene.server.world();
    assert!(world.pulls.is_empty() && !world.refs.keys().any(|it| it.starts_with("tagout/")));
    let answers = world.comments.iter().filter(|it| it.user == ACTIONS);
    assert_eq!(answers.count(), 1);
}
