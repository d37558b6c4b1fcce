//! The main job against a GitHub of our own: from a comment to a draft pull request, in one process and in two jobs.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::github_server::Server;
use crate::github_server::world::{ACTIONS, TOKEN, Token};
use crate::job::{Place, answer};

/// Reads, and may write nothing: what the execute job is given.
pub(crate) const READER: &str = "reader-token";

/// A repository on disk, the same one on the server, and a comment by octocat.
pub(crate) struct Scene {
    pub(crate) place: Place,
    pub(crate) server: Server,
    pub(crate) head: String,
}

impl Scene {
    pub(crate) fn new(role: &str) -> Self {
        Self::with(role, &[("a.txt", "hello\n")])
    }

    pub(crate) fn with(role: &str, files: &[(&str, &str)]) -> Self {
        let place = Place::with(files);
        let head = place.git(&["rev-parse", "HEAD"]).trim().to_owned();
        let server = Server::start();
        let mut world = server.world();
        world.human("octocat", 1, role);
        world.human("reporter", 3, "read");
        let reader = Token {
            login: ACTIONS.to_owned(),
            writes: Vec::new(),
        };
        world.tokens.insert(READER.to_owned(), reader);
        // The server names commits in its own way; this one must have the name that git gave it.
        let made = world.push("main", "octocat", files);
        let commit = world.commits[&made].clone();
        world.commits.insert(head.clone(), commit);
        world.set_ref("main", "octocat", &head);
        drop(world);
        let scene = Self {
            place,
            server,
            head,
        };
        scene.ask("/tagout add a file");
        scene
    }

    /// A comment of octocat's on issue 7, and the event of it; gives its number.
    pub(crate) fn ask(&self, body: &str) -> u64 {
        let mut world = self.server.world();
        let comment = world.comment(7, "octocat", body);
        let found = world.comments.last().unwrap().clone();
        let event = json!({
            "action": "created",
            "issue": {"number": 7, "title": "Broken", "body": "It fails", "user": world.user("reporter")},
            "comment": {"id": comment, "body": found.body, "user": world.user("octocat"),
                "created_at": found.created_at, "updated_at": found.updated_at},
            "repository": {"id": 9, "full_name": "o/r", "default_branch": "main"},
            "sender": world.user("octocat"),
        });
        drop(world);
        fs::write(self.place.out("event.json"), event.to_string()).unwrap();
        comment
    }

    pub(crate) fn tagout(&self, token: &str, args: &[&str]) -> (i32, Value) {
        self.tagout_on("issue_comment", token, args)
    }

    pub(crate) fn tagout_on(&self, event: &str, token: &str, args: &[&str]) -> (i32, Value) {
        self.tagout_as_run("42", event, token, args)
    }

    pub(crate) fn tagout_as_run(
        &self,
        run: &str,
        event: &str,
        token: &str,
        args: &[&str],
    ) -> (i32, Value) {
        let mut command = self.command(event, token);
        command.env("GITHUB_RUN_ID", run);
        answer(&command.args(args).output().unwrap())
    }

    fn command(&self, event: &str, token: &str) -> Command {
        let url = &self.server.url;
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagout"));
        command
            .current_dir(self.place.repo())
            .env_clear()
            .envs([
                ("PATH", "/usr/bin:/bin"),
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_EVENT_NAME", event),
                ("GITHUB_REPOSITORY", "o/r"),
                ("GITHUB_SHA", &self.head),
                ("GITHUB_API_URL", url),
                ("GITHUB_GRAPHQL_URL", &format!("{url}/graphql")),
                ("GITHUB_SERVER_URL", url),
                ("GITHUB_TOKEN", token),
                ("GITHUB_RUN_ID", "42"),
                ("GITHUB_RUN_ATTEMPT", "1"),
            ])
            .env("GITHUB_EVENT_PATH", self.place.out("event.json"))
            .env("GITHUB_OUTPUT", self.place.out("output"))
            .env("GITHUB_STEP_SUMMARY", self.place.out("summary"))
            .env("RUNNER_TEMP", self.place.out("home"));
        command
    }
}

#[test]
fn comment_of_a_writer_becomes_a_draft_pull_request() {
    let scene = Scene::new("write");
    let (code, json) = scene.tagout(
        TOKEN,
        &["run", "--json", "--", "sh", "-c", "echo new > b.txt"],
    );
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("proposed")),
        "{json}"
    );
    let world = scene.server.world();
    let [pull] = world.pulls.as_slice() else {
        panic!("there is not one pull request: {:?}", world.pulls);
    };
    assert!(pull.draft && pull.open);
    let files = world.files(&pull.head);
    assert_eq!(files["b.txt"].1, "new\n");
    assert_eq!(files.len(), 2);
    let red = world
        .statuses
        .iter()
        .find(|status| status.context == "tagout/approval");
    assert_eq!(
        red.map(|status| status.state.as_str()),
        Some("failure"),
        "red from the start"
    );
    let ours = world
        .comments
        .iter()
        .filter(|comment| comment.user == ACTIONS);
    assert_eq!(ours.count(), 1, "one comment, edited in place");
    drop(world);
    let outputs = fs::read_to_string(scene.place.out("output")).unwrap();
    for name in ["outcome", "pull-request", "run-dir"] {
        assert!(outputs.contains(&format!("{name}<<")), "{outputs}");
    }
    let summary = fs::read_to_string(scene.place.out("summary")).unwrap();
    assert!(summary.contains("b.txt"), "{summary}");
}

#[test]
fn comment_of_a_reader_ends_in_4_and_writes_an_answer_at_most() {
    let scene = Scene::new("read");
    let (code, json) = scene.tagout(
        TOKEN,
        &["run", "--json", "--", "sh", "-c", "echo new > b.txt"],
    );
    assert_eq!(
        (code, json["code"].as_str()),
        (4, Some("permission-too-low")),
        "{json}"
    );
    for write in scene.server.writes() {
        assert!(write.contains("/issues/7/comments"), "{write}");
    }
}

#[test]
fn two_jobs_need_no_write_in_the_first_and_no_checkout_in_the_second() {
    let scene = Scene::new("write");
    let bundle = scene.place.out("bundle");
    let bundle = bundle.to_str().unwrap();
    let (code, sealed) = scene.tagout(
        READER,
        &[
            "execute",
            "--json",
            "--bundle",
            bundle,
            "--",
            "sh",
            "-c",
            "echo new > b.txt",
        ],
    );
    assert_eq!(
        (code, sealed["outcome"].as_str()),
        (0, Some("sealed")),
        "{sealed}"
    );
    assert_eq!(scene.server.writes(), Vec::<String>::new());
    fs::remove_dir_all(scene.place.repo()).unwrap();
    fs::create_dir(scene.place.repo()).unwrap();
    let digest = sealed["digest"].as_str().unwrap();
    let (code, json) = scene.tagout(
        TOKEN,
        &["publish", "--json", "--bundle", bundle, "--digest", digest],
    );
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("proposed")),
        "{json}"
    );
    assert_eq!(scene.server.world().pulls.len(), 1);
}

#[test]
fn failure_in_the_first_job_is_told_by_the_second() {
    let scene = Scene::new("write");
    let bundle = scene.place.out("bundle");
    let bundle = bundle.to_str().unwrap();
    let (code, ended) = scene.tagout(
        READER,
        &[
            "execute",
            "--json",
            "--bundle",
            bundle,
            "--",
            "sh",
            "-c",
            "echo x > b.txt; exit 3",
        ],
    );
    assert_eq!(
        (code, ended["outcome"].as_str()),
        (6, Some("agent-failed")),
        "{ended}"
    );
    let digest = ended["digest"].as_str().unwrap();
    let (code, told) = scene.tagout(
        TOKEN,
        &["publish", "--json", "--bundle", bundle, "--digest", digest],
    );
    assert_eq!(
        (code, told["outcome"].as_str()),
        (6, Some("agent-failed")),
        "{told}"
    );
    let world = scene.server.world();
    assert!(world.pulls.is_empty());
    let ours: Vec<_> = world
        .comments
        .iter()
        .filter(|comment| comment.user == ACTIONS)
        .collect();
    assert!(
        ours.len() == 1 && ours[0].body.contains("agent-failed"),
        "{ours:?}"
    );
}

#[test]
fn secret_in_a_change_is_not_handed_over() {
    let scene = Scene::new("write");
    let bundle = scene.place.out("bundle");
    let write = format!("echo {READER} > b.txt");
    let (code, ended) = scene.tagout(
        READER,
        &[
            "execute",
            "--json",
            "--bundle",
            bundle.to_str().unwrap(),
            "--",
            "sh",
            "-c",
            &write,
        ],
    );
    assert_eq!(
        (code, ended["outcome"].as_str()),
        (7, Some("changes-refused")),
        "{ended}"
    );
    let left: Vec<_> = fs::read_dir(&bundle)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["bundle.json"]);
    assert!(
        !fs::read_to_string(bundle.join("bundle.json"))
            .unwrap()
            .contains(READER)
    );
}

/// A policy with one task that comes due, attributed to octocat.
const TASKS: &str = "version: 1
triggers: {schedule: {owner: octocat}}
tasks: {tidy: {schedule: '17 4 * * 1', prompt: Tidy up}}
";

#[test]
fn task_that_comes_due_becomes_a_draft_pull_request() {
    let scene = Scene::with("write", &[(".github/tagout.yml", TASKS)]);
    let event = json!({
        "schedule": "17 4 * * 1",
        "repository": {"id": 9, "full_name": "o/r", "default_branch": "main"},
    });
    fs::write(scene.place.out("event.json"), event.to_string()).unwrap();
    let (code, json) = scene.tagout_on(
        "schedule",
        TOKEN,
        &["run", "--json", "--", "sh", "-c", "echo x > b.txt"],
    );
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("proposed")),
        "{json}"
    );
    assert_eq!(json["branch"], "tagout/task-tidy");
}

#[test]
fn dispatch_names_a_task_of_the_policy() {
    let scene = Scene::with("write", &[(".github/tagout.yml", TASKS)]);
    let sender = scene.server.world().user("octocat");
    let mut event = json!({
        "inputs": {"task": "tidy"}, "ref": "refs/heads/main", "sender": sender,
        "repository": {"id": 9, "full_name": "o/r", "default_branch": "main"},
    });
    fs::write(scene.place.out("event.json"), event.to_string()).unwrap();
    let run = ["run", "--json", "--", "sh", "-c", "echo x > b.txt"];
    let (code, json) = scene.tagout_on("workflow_dispatch", TOKEN, &run);
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("proposed")),
        "{json}"
    );

    event["inputs"]["task"] = json!("rm -rf");
    fs::write(scene.place.out("event.json"), event.to_string()).unwrap();
    let (code, json) = scene.tagout_on("workflow_dispatch", TOKEN, &run);
    assert_eq!(
        (code, json["outcome"].as_str()),
        (4, Some("refused")),
        "{json}"
    );
}

/// A bundle folder, and execute with this token.
fn execute(scene: &Scene, token: &str) -> (i32, Value) {
    let bundle = scene.place.out("bundle");
    let write = format!(
        "echo ran > {}; echo new > b.txt",
        scene.place.out("ran").display()
    );
    let args = [
        "execute",
        "--json",
        "--bundle",
        bundle.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        &write,
    ];
    scene.tagout(token, &args)
}

/// A token that reads, and may write this.
fn token_that_writes(scene: &Scene, name: &str, login: &str, writes: &[&'static str]) {
    let token = Token {
        login: login.to_owned(),
        writes: writes.to_vec(),
    };
    scene.server.world().tokens.insert(name.to_owned(), token);
}

#[test]
fn no_agent_is_started_beside_a_token_that_can_write_anything() {
    for permission in [
        "contents",
        "issues",
        "pull_requests",
        "statuses",
        "checks",
        "deployments",
    ] {
        let scene = Scene::new("write");
        token_that_writes(&scene, "writer", ACTIONS, &[permission]);
        let (code, json) = execute(&scene, "writer");
        assert_eq!(
            (code, json["code"].as_str()),
            (4, Some("token-can-write")),
            "{json}"
        );
        let message = json["message"].as_str().unwrap();
        assert!(message.contains(&permission.replace('_', "-")), "{message}");
        assert_eq!(
            scene.server.writes(),
            Vec::<String>::new(),
            "asking changes nothing"
        );
        assert!(json["level"].is_null(), "no wall was even tried: {json}");
    }
}

#[test]
fn no_agent_is_started_beside_a_persons_token() {
    let scene = Scene::new("write");
    token_that_writes(&scene, "classic", "reporter", &[]);
    scene
        .server
        .world()
        .scopes
        .insert("classic".to_owned(), "read:org, repo".to_owned());
    let (code, json) = execute(&scene, "classic");
    assert_eq!(
        (code, json["code"].as_str()),
        (4, Some("token-can-write")),
        "{json}"
    );

    let scene = Scene::new("write");
    scene.server.world().human("rita", 8, "write");
    token_that_writes(&scene, "fine-grained", "rita", &[]);
    let (code, json) = execute(&scene, "fine-grained");
    assert_eq!(
        (code, json["code"].as_str()),
        (4, Some("token-can-write")),
        "{json}"
    );
}

#[test]
fn token_that_cannot_be_asked_about_starts_no_agent() {
    let scene = Scene::new("write");
    scene.server.world().fail("POST", "/check-runs", 503, 9);
    let (code, json) = execute(&scene, READER);
    assert_eq!(
        (code, json["code"].as_str()),
        (4, Some("token-not-established")),
        "{json}"
    );
}

#[test]
fn token_under_another_name_is_asked_about_too() {
    let scene = Scene::new("write");
    let mut command = scene.command("issue_comment", READER);
    let bundle = scene.place.out("bundle");
    command.env("GH_TOKEN", TOKEN);
    command
        .args(["execute", "--json", "--bundle"])
        .arg(&bundle)
        .args(["--", "true"]);
    let (code, json) = answer(&command.output().unwrap());
    assert_eq!(
        (code, json["code"].as_str()),
        (4, Some("token-can-write")),
        "{json}"
    );
    assert!(
        json["message"].as_str().unwrap().contains("GH_TOKEN"),
        "{json}"
    );
}

#[test]
fn token_that_only_reads_lets_the_agent_work() {
    let scene = Scene::new("write");
    let (code, json) = execute(&scene, READER);
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("sealed")),
        "{json}"
    );
    assert_eq!(scene.server.writes(), Vec::<String>::new());
}

/// What execute sealed, ready to be published: the bundle's folder and its digest.
fn sealed(scene: &Scene) -> (String, String) {
    let (code, json) = execute(scene, READER);
    assert_eq!(code, 0, "{json}");
    let word = |key: &str| json[key].as_str().unwrap().to_owned();
    (word("bundle"), word("digest"))
}

fn publish<'a>(bundle: &'a str, digest: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [
        &["publish", "--json", "--bundle", bundle, "--digest", digest],
        more,
    ]
    .concat()
}

#[test]
fn token_of_an_app_or_a_person_publishes_only_if_it_was_opted_in_by_name() {
    for (login, kind, word, other) in [
        ("my-app[bot]", "Bot", "app", "pat"),
        ("rita", "User", "pat", "app"),
    ] {
        let scene = Scene::new("write");
        scene.server.world().account(login, 90, kind);
        token_that_writes(
            &scene,
            "mine",
            login,
            &["contents", "issues", "pull_requests", "statuses"],
        );
        let (bundle, digest) = sealed(&scene);
        for more in [&[][..], &["--publish-with", other]] {
            let (code, json) = scene.tagout("mine", &publish(&bundle, &digest, more));
            assert_eq!(
                (code, json["code"].as_str()),
                (4, Some("token-not-opted-in")),
                "{json}"
            );
            assert!(scene.server.world().pulls.is_empty());
            assert!(
                !scene
                    .server
                    .world()
                    .refs
                    .keys()
                    .any(|name| name.starts_with("tagout/"))
            );
        }
        let (code, json) = scene.tagout(
            "mine",
            &publish(&bundle, &digest, &["--publish-with", word]),
        );
        assert_eq!(
            (code, json["outcome"].as_str()),
            (0, Some("proposed")),
            "{json}"
        );
        let body = scene.server.world().pulls[0].body.clone();
        assert!(
            body.contains("starts workflows") || body.contains("start workflows"),
            "{body}"
        );
    }
}

#[test]
fn missing_lock_is_named_in_the_proposal_and_in_the_status() {
    let scene = Scene::new("write");
    let (bundle, digest) = sealed(&scene);
    let (code, json) = scene.tagout(TOKEN, &publish(&bundle, &digest, &[]));
    assert_eq!(code, 0, "{json}");
    let world = scene.server.world();
    assert!(
        world.pulls[0].body.contains("advice, not a lock"),
        "{}",
        world.pulls[0].body
    );
    let said = world.statuses[0].description.clone().unwrap();
    assert!(said.ends_with("(advisory)"), "{said}");
}

#[test]
fn publish_holds_the_changes_against_the_base_by_itself() {
    let scene = Scene::with("write", &[("a.txt", "hello\n")]);
    let (bundle, digest) = sealed(&scene);
    // On the server a workflow of the base runs what the bundle changes; execute, on its own disk, did not see that.
    let mut world = scene.server.world();
    let workflow = world.blob(b"jobs:\n  a:\n    steps:\n      - run: sh b.txt\n");
    let script = world.blob(b"true\n");
    let mut tree = world.trees[&world.commits[&scene.head].tree].clone();
    tree.insert(
        ".github/workflows/ci.yml".to_owned(),
        ("100644".to_owned(), workflow),
    );
    tree.insert("b.txt".to_owned(), ("100644".to_owned(), script));
    let tree = world.tree(tree);
    world.commits.get_mut(&scene.head).unwrap().tree = tree;
    drop(world);
    let (code, json) = scene.tagout(TOKEN, &publish(&bundle, &digest, &[]));
    assert_eq!(
        (code, json["outcome"].as_str()),
        (7, Some("changes-refused")),
        "{json}"
    );
    assert!(
        json["message"]
            .as_str()
            .unwrap()
            .contains("a workflow of the base commit runs it"),
        "{json}"
    );
    assert!(scene.server.world().pulls.is_empty());
}

/// Runs a command under strace and gives what it started and opened; none where there is no strace.
fn traced(scene: &Scene, command: &Command) -> Option<String> {
    let out = scene.place.out("trace");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-s", "4096", "-e"])
        .arg("trace=execve,execveat,fork,vfork,clone,clone3,open,openat,openat2,creat")
        .arg("-o")
        .arg(&out)
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(scene.place.repo())
        .env_clear();
    for (name, value) in command.get_envs() {
        strace.env(name, value.unwrap());
    }
    match strace.output() {
        Ok(done) => {
            assert!(
                done.status.success(),
                "{}",
                String::from_utf8_lossy(&done.stderr)
            );
            Some(fs::read_to_string(out).unwrap())
        }
        Err(error) => {
            let all = std::env::var_os("TAGOUT_TEST_ALL").is_some_and(|value| value == "1");
            assert!(!all, "strace cannot be started: {error}");
            let mut stderr = std::io::stderr();
            let line = format!(
                "left out: what publish starts and opens, since strace is missing: {error}\n"
            );
            std::io::Write::write_all(&mut stderr, line.as_bytes()).unwrap();
            None
        }
    }
}

#[test]
fn publish_starts_no_process_and_opens_no_file_of_the_agents() {
    let scene = Scene::new("write");
    let (bundle, digest) = sealed(&scene);
    // What an agent could have left where the publish job would find it.
    fs::write(
        scene.place.repo().join(".git/hooks/post-checkout"),
        "#!/bin/sh\n",
    )
    .unwrap();
    let mut command = scene.command("issue_comment", TOKEN);
    command.args(publish(&bundle, &digest, &[]));
    let Some(trace) = traced(&scene, &command) else {
        return;
    };
    assert_eq!(scene.server.world().pulls.len(), 1);
    let started: Vec<&str> = trace
        .lines()
        .filter(|line| line.contains("execve"))
        .collect();
    assert_eq!(
        started.len(),
        1,
        "only strace starts something: {started:?}"
    );
    for line in trace.lines() {
        let process = ["fork(", "vfork(", "clone(", "clone3("]
            .iter()
            .any(|call| line.contains(call));
        assert!(
            !process || line.contains("CLONE_THREAD") || line.contains("resumed"),
            "{line}"
        );
    }
    let opened: Vec<&str> = trace
        .lines()
        .filter(|line| line.contains("open") && line.contains('"'))
        .collect();
    assert!(
        opened.iter().any(|line| line.contains("bundle.json")),
        "the trace sees nothing: {opened:?}"
    );
    let repo = scene.place.repo().display().to_string();
    for line in opened {
        assert!(!line.contains(&repo) && !line.contains("b.txt"), "{line}");
        // Names without a folder are opened below the bundle's own folder, and hold no link.
        if line.contains("bundle.json") || line.contains("blobs") {
            assert!(
                line.contains("O_NOFOLLOW") || line.contains("RESOLVE_NO_SYMLINKS"),
                "{line}"
            );
        }
    }
}

#[test]
fn doctor_tells_the_repositorys_settings_with_a_token() {
    let scene = Scene::new("write");
    scene.server.world().required_checks = vec!["tagout/approval".to_owned()];
    let mut command = scene.command("issue_comment", TOKEN);
    let (_, json) = answer(&command.args(["doctor", "--json"]).output().unwrap());
    let settings = json["settings"].as_array().unwrap();
    let stands = |code: &str| {
        let found = settings
            .iter()
            .find(|setting| setting["code"] == code)
            .unwrap();
        assert!(!found["place"].as_str().unwrap().is_empty(), "{found}");
        found["stands"].as_str().unwrap().to_owned()
    };
    assert_eq!(stands("check-required"), "well");
    assert_eq!(stands("check-bound"), "badly");
    assert_eq!(stands("bypass-empty"), "unknown");
    assert_eq!(
        scene.server.writes(),
        Vec::<String>::new(),
        "nothing is changed"
    );

    let mut command = scene.command("issue_comment", TOKEN);
    command
        .env_remove("GITHUB_TOKEN")
        .args(["doctor", "--json"]);
    let (_, json) = answer(&command.output().unwrap());
    assert!(json["settings"].is_null(), "{json}");
    assert_eq!(json["settings-not-read"], "GITHUB_TOKEN is not set");
}

#[test]
fn policy_builds_on_a_file_of_the_same_commit_in_both_jobs() {
    let policy = "version: 1\nextends: [.github/base.yml]\n";
    let base = "version: 1\npull-request: {branch-prefix: agent/}\n";
    let files = [(".github/tagout.yml", policy), (".github/base.yml", base)];
    let scene = Scene::with("write", &files);
    // What the folder holds now is not the commit's.
    fs::write(scene.place.repo().join(".github/base.yml"), "nonsense").unwrap();
    let (bundle, digest) = sealed(&scene);
    let (code, json) = scene.tagout(TOKEN, &publish(&bundle, &digest, &[]));
    assert_eq!(code, 0, "{json}");
    assert_eq!(json["branch"], "agent/issue-7");

    let scene = Scene::with("write", &files[..1]);
    let (code, json) = execute(&scene, READER);
    assert_eq!(
        (code, json["code"].as_str()),
        (3, Some("policy-invalid")),
        "{json}"
    );
    let message = json["message"].as_str().unwrap();
    assert!(
        message.starts_with(".github/tagout.yml:2:11: "),
        "{message}"
    );
}

#[test]
fn demanded_lock_must_be_bound_to_an_app_of_ones_own() {
    let policy = "version: 1\napproval: {enforced: require}\n";
    let scene = Scene::with("write", &[(".github/tagout.yml", policy)]);
    let (bundle, digest) = sealed(&scene);
    for (checks, app, expected) in [
        (vec![], None, (4, Some("lock-missing"))),
        (vec!["tagout/approval"], None, (4, Some("lock-unbound"))),
        (
            vec!["tagout/approval"],
            Some(15_368),
            (4, Some("lock-unbound")),
        ),
        (vec!["tagout/approval"], Some(77), (0, None)),
    ] {
        let mut world = scene.server.world();
        world.required_checks = checks.into_iter().map(str::to_owned).collect();
        world.check_app = app;
        drop(world);
        let (code, json) = scene.tagout(TOKEN, &publish(&bundle, &digest, &[]));
        assert_eq!((code, json["code"].as_str()), expected, "{json}");
        let opened = scene.server.world().pulls.len();
        assert_eq!(opened, usize::from(expected.0 == 0), "{json}");
    }
}

#[test]
fn publisher_with_an_apps_token_finds_its_own_ledger() {
    let scene = Scene::new("write");
    scene.server.world().account("my-app[bot]", 90, "Bot");
    let writes = ["contents", "issues", "pull_requests", "statuses"];
    token_that_writes(&scene, "mine", "my-app[bot]", &writes);
    let work = [
        "run",
        "--json",
        "--publish-with",
        "app",
        "--",
        "sh",
        "-c",
        "echo x > b.txt",
    ];
    let (code, json) = scene.tagout("mine", &work);
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("proposed")),
        "{json}"
    );
    // Asking GraphQL whose token it is changes nothing.
    let changed = || {
        let writes = scene.server.writes().into_iter();
        writes.filter(|it| it != "POST /graphql").count()
    };
    let before = changed();
    let (code, json) = scene.tagout_as_run("43", "issue_comment", "mine", &work);
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("ignored")),
        "{json}"
    );
    assert_eq!(changed(), before, "one run for these words");
}

#[test]
fn refusals_are_answered_so_often_a_day_and_then_in_silence() {
    let scene = Scene::new("read");
    let mut world = scene.server.world();
    for issue in 100..150 {
        world.comment(
            issue,
            ACTIONS,
            "Nothing was started\n\n<!-- tagout:answer 1 -->",
        );
        let said = world.comments.last_mut().unwrap();
        "2999-01-01T00:00:00Z".clone_into(&mut said.updated_at);
    }
    drop(world);
    let (code, json) = scene.tagout(TOKEN, &["run", "--json", "--", "true"]);
    assert_eq!(
        (code, json["outcome"].as_str()),
        (4, Some("refused")),
        "{json}"
    );
    assert_eq!(scene.server.writes(), Vec::<String>::new());
    scene.server.world().comments.remove(10);
    let (code, _) = scene.tagout(TOKEN, &["run", "--json", "--", "true"]);
    assert_eq!(code, 4);
    assert_eq!(scene.server.writes(), ["POST /repos/o/r/issues/7/comments"]);
}

#[test]
fn agent_that_changes_nothing_gets_a_comment_and_no_pull_request() {
    let scene = Scene::new("write");
    let (code, json) = scene.tagout(TOKEN, &["run", "--json", "--", "true"]);
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("no-changes")),
        "{json}"
    );
    let world = scene.server.world();
    assert!(world.pulls.is_empty() && world.refs_made.is_empty());
    let said = world.comments.iter().filter(|it| it.user == ACTIONS);
    let said: Vec<&str> = said.map(|it| it.body.as_str()).collect();
    assert!(
        said.len() == 1 && said[0].contains("the agent changed nothing"),
        "{said:?}"
    );
}
