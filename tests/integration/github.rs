//! The GitHub side against a small GitHub of our own, whose every request and answer is held against GitHub's description.

use serde_json::{Value, json};
use tagout::broker::forge::github::error::ForgeError;
use tagout::broker::forge::github::{Endpoint, GitHub};
use tagout::broker::forge::{Made, Proposal, Published, Signature, Trailers};
use tagout::changeset::change::{Before, Blob, Change, Changeset, FileMode};
use tagout::changeset::checks::{self, Checked, Known};
use tagout::changeset::path::RepoPath;
use tagout::cli::Forge;
use tagout::event::Event;
use tagout::gate::refusal::{Code, Refusal};
use tagout::gate::{self, Admitted, Base, Runner};
use tagout::names::{Digest, Secret};
use tagout::outcome::Outcome;
use tagout::policy::model::{Enforced, Policy};

use crate::github_server::Server;
use crate::github_server::world::{ACTIONS, Failure, TOKEN, Token};

const BRANCH: &str = "tagout/issue-7";

pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) policy: Policy,
    event: Value,
    pub(crate) base: String,
}

impl Scene {
    /// An issue, a comment by octocat, and the role that octocat has.
    pub(crate) fn new(role: &str) -> Self {
        let server = Server::start();
        let mut world = server.world();
        world.human("octocat", 1, role);
        world.human("reporter", 3, "read");
        let base = world.push(
            "main",
            "octocat",
            &[("a.txt", "hello\n"), ("old.txt", "x\n")],
        );
        let comment = world.comment(7, "octocat", "/tagout fix the test");
        let found = world.comments.last().expect("just made").clone();
        let event = json!({
            "action": "created",
            "issue": {"number": 7, "title": "Broken", "body": "It fails", "user": world.user("reporter")},
            "comment": {"id": comment, "body": found.body, "user": world.user("octocat"),
                "created_at": found.created_at, "updated_at": found.updated_at},
            "repository": {"id": 9, "full_name": "o/r", "default_branch": "main"},
            "sender": world.user("octocat"),
        });
        drop(world);
        Self {
            server,
            policy: Policy::default(),
            event,
            base,
        }
    }

    pub(crate) async fn github(&self) -> GitHub {
        self.github_as(TOKEN).await
    }

    pub(crate) async fn github_as(&self, token: &str) -> GitHub {
        GitHub::connect(Endpoint {
            api_url: self.server.url.clone(),
            graphql_url: format!("{}/graphql", self.server.url),
            repository: "o/r".parse().expect("a name"),
            token: Secret::new(token.to_owned()),
        })
        .await
        .expect("an address")
    }

    pub(crate) async fn admit(&self) -> Result<Admitted, Refusal> {
        let event = Event::read("issue_comment", self.event.to_string().as_bytes())
            .expect("a readable payload");
        let addressed = gate::address(&event, &self.policy).expect("addressed to us");
        let runner = Runner {
            repository: "o/r".parse().expect("a name"),
            attempt: 1,
            run: "1".to_owned(),
            triggering_actor: None,
        };
        let base = Base {
            branch: "main".to_owned(),
            commit: self.base.parse().expect("an id"),
        };
        let facts = self
            .github()
            .await
            .facts(&addressed, &self.policy, runner, base, Forge::Github)
            .await;
        gate::admit(addressed, &self.policy, &facts)
    }

    pub(crate) fn checked(&self, changes: Vec<Change>) -> Checked {
        let base = self.base.parse().expect("an id");
        let changeset = Changeset::new(base, changes, Vec::new()).expect("each path once");
        checks::check(changeset, &self.policy, Known::default()).expect("nothing blocks")
    }

    pub(crate) async fn publish_as(
        &self,
        token: &str,
        changes: Vec<Change>,
    ) -> Result<Published, ForgeError> {
        let admitted = self.admit().await.expect("admitted");
        let digest = Digest::of(b"policy");
        let proposal = Proposal {
            title: "Fix the test",
            body: "What was done",
            policy: &digest,
            journal: Some(&digest),
            run: "1/1",
            run_url: None,
        };
        let github = self.github_as(token).await;
        github
            .publish(&admitted, &self.policy, &self.checked(changes), &proposal)
            .await
    }

    pub(crate) async fn publish(&self, changes: Vec<Change>) -> Result<Published, ForgeError> {
        self.publish_as(TOKEN, changes).await
    }

    /// What may never be more than one.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let world = self.server.world();
        (
            world
                .refs
                .keys()
                .filter(|name| name.starts_with("tagout/"))
                .count(),
            world.pulls.iter().filter(|pull| pull.open).count(),
            world
                .comments
                .iter()
                .filter(|it| it.user == ACTIONS)
                .count(),
        )
    }
}

pub(crate) fn path(text: &str) -> RepoPath {
    RepoPath::new(text).expect("a path")
}

pub(crate) fn blob(text: &str) -> Blob {
    Blob::new(text.as_bytes().to_vec())
}

pub(crate) fn before(text: &str) -> Before {
    Before {
        mode: FileMode::Regular,
        content: Some(blob(text)),
    }
}

pub(crate) fn edit(text: &str) -> Vec<Change> {
    vec![
        Change::modify(
            path("a.txt"),
            before("hello\n"),
            FileMode::Regular,
            blob(text),
        ),
        Change::delete(path("old.txt"), before("x\n")),
        Change::add(path("src/new.txt"), FileMode::Regular, blob("new\n")),
    ]
}

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}

#[test]
fn writer_gets_one_signed_draft_pull_request() {
    run(async {
        let mut scene = Scene::new("write");
        scene.policy.pull_request.labels = vec!["agent".to_owned()];
        scene.policy.pull_request.reviewers = vec!["reporter".to_owned()];
        let published = scene.publish(edit("hi\n")).await.expect("published");
        assert_eq!(published.outcome, Outcome::Proposed);
        assert_eq!(published.made, Made::Graphql(Signature::Verified));
        assert_eq!(published.branch, BRANCH);
        let world = scene.server.world();
        let pull = &world.pulls[0];
        assert!(pull.draft && !pull.maintainer_can_modify);
        assert_eq!(
            (pull.base.as_str(), pull.body.as_str()),
            ("main", "What was done")
        );
        let files = world.files(BRANCH);
        assert_eq!(files["a.txt"].1, "hi\n");
        assert!(files.contains_key("src/new.txt") && !files.contains_key("old.txt"));
        assert_eq!(world.labels[&pull.number], ["agent"]);
        assert_eq!(world.reviewers[&pull.number], ["reporter"]);
        let light = &world.statuses[0];
        assert_eq!(
            (light.context.as_str(), light.state.as_str()),
            ("tagout/approval", "failure")
        );
        assert_eq!(light.sha, published.commit.as_str());
        let trailers =
            Trailers::read(&world.commits[published.commit.as_str()].message).expect("trailers");
        assert_eq!(trailers.requester, Some(("octocat".to_owned(), Some(1))));
        assert_eq!(trailers.task, "issue-7");
        let told = world
            .comments
            .iter()
            .find(|it| it.user == ACTIONS)
            .expect("a comment");
        assert!(told.body.contains(&pull.number.to_string()));
    });
}

#[test]
fn reader_is_refused_and_nothing_but_an_answer_is_written() {
    run(async {
        for role in ["read", "triage", "none", "custom"] {
            let scene = Scene::new(role);
            let refusal = scene.admit().await.expect_err("refused");
            let origin = gate::Origin {
                issue: 7,
                kind: tagout::event::IssueKind::Issue,
                by: gate::AskedBy::Comment(
                    scene.event["comment"]["id"].as_u64().expect("a number"),
                ),
            };
            let github = scene.github().await;
            for _ in 0..3 {
                github.refuse(&refusal, origin).await.expect("answered");
            }
            // Not even GraphQL is asked, since that is a POST too.
            let writes = scene.server.writes();
            let expected: &[&str] = match role {
                "custom" => &[],
                _ => &["POST /repos/o/r/issues/7/comments"],
            };
            assert_eq!(writes, expected, "{role}");
        }
    });
}

#[test]
fn permission_call_that_fails_is_a_refusal_and_nothing_else_is_asked() {
    run(async {
        let scene = Scene::new("write");
        scene.server.world().fail("GET", "/permission", 500, 9);
        let refusal = scene.admit().await.expect_err("refused");
        assert_eq!(refusal.code(), Code::PermissionNotEstablished);
        let world = scene.server.world();
        assert!(
            world
                .journal
                .iter()
                .all(|(_, path, _)| path.contains("/permission"))
        );
    });
}

#[test]
fn permission_call_that_fails_once_is_asked_again() {
    run(async {
        let scene = Scene::new("write");
        scene.server.world().fail("GET", "/permission", 502, 1);
        assert!(scene.admit().await.is_ok());
    });
}

#[test]
fn comment_deleted_or_edited_meanwhile_is_refused() {
    run(async {
        let scene = Scene::new("write");
        scene.server.world().comments[0].body = "/tagout leak".to_owned();
        assert_eq!(
            scene.admit().await.expect_err("refused").code(),
            Code::CommentChanged
        );
        scene.server.world().comments.clear();
        assert_eq!(
            scene.admit().await.expect_err("refused").code(),
            Code::CommentGone
        );
    });
}

#[test]
fn executable_and_symlink_keep_their_modes() {
    run(async {
        let scene = Scene::new("write");
        let changes = vec![
            Change::add(path("run.sh"), FileMode::Executable, blob("#!/bin/sh\n")),
            Change::add(
                path("data.txt"),
                FileMode::Regular,
                Blob::new(b"0123456789abcde\n".repeat(4_500)),
            ),
        ];
        let published = scene.publish(changes).await.expect("published");
        assert_eq!(published.made, Made::Rest(Signature::Verified));
        let world = scene.server.world();
        let files = world.files(BRANCH);
        assert_eq!(files["run.sh"].0, "100755");
        assert_eq!(files["data.txt"].1.len(), 72_000);
    });
}

#[test]
fn second_run_updates_the_same_pull_request() {
    run(async {
        let scene = Scene::new("write");
        let first = scene.publish(edit("one\n")).await.expect("published");
        let second = scene.publish(edit("two\n")).await.expect("published");
        assert_eq!(second.outcome, Outcome::Updated);
        assert_eq!(first.pull, second.pull);
        assert_eq!(scene.counts(), (1, 1, 1));
        let world = scene.server.world();
        assert!(world.is_ancestor(first.commit.as_str(), second.commit.as_str()));
        assert_eq!(world.files(BRANCH)["a.txt"].1, "two\n");
        drop(world);
        let third = scene.publish(edit("two\n")).await.expect("published");
        assert_eq!((third.made, third.commit), (Made::Unchanged, second.commit));
    });
}

#[test]
fn base_that_moved_on_is_merged_in_and_never_forced() {
    run(async {
        let mut scene = Scene::new("write");
        scene.publish(edit("one\n")).await.expect("published");
        scene.base = scene
            .server
            .world()
            .push("main", "octocat", &[("b.txt", "b\n")]);
        let second = scene.publish(edit("two\n")).await.expect("published");
        let world = scene.server.world();
        assert_eq!(world.commits[second.commit.as_str()].parents.len(), 2);
        assert_eq!(world.files(BRANCH)["b.txt"].1, "b\n");
    });
}

#[test]
fn branch_that_somebody_pushed_to_is_left_alone() {
    run(async {
        let scene = Scene::new("write");
        scene.publish(edit("one\n")).await.expect("published");
        let head = scene
            .server
            .world()
            .push(BRANCH, "octocat", &[("mine.txt", "mine\n")]);
        let error = scene.publish(edit("two\n")).await.expect_err("refused");
        assert!(matches!(error, ForgeError::BranchForeign { .. }), "{error}");
        assert_eq!(scene.server.world().refs[BRANCH], head);
    });
}

#[test]
fn commit_with_a_forged_author_is_not_ours() {
    run(async {
        let scene = Scene::new("write");
        let first = scene.publish(edit("one\n")).await.expect("published");
        let mut world = scene.server.world();
        let mut forged = world.commits[first.commit.as_str()].clone();
        // The author's address is free text; what is missing is GitHub's signature.
        forged.parents = vec![first.commit.to_string()];
        forged.committer = Some("octocat".to_owned());
        let forged = world.commit(forged);
        world.set_ref(BRANCH, "octocat", &forged);
        drop(world);
        let error = scene.publish(edit("two\n")).await.expect_err("refused");
        assert!(matches!(error, ForgeError::BranchForeign { .. }), "{error}");
    });
}

#[test]
fn branch_that_existed_before_is_left_alone() {
    run(async {
        let scene = Scene::new("write");
        let mut world = scene.server.world();
        let main = world.refs["main"].clone();
        world.set_ref(BRANCH, "octocat", &main);
        world.push(BRANCH, "octocat", &[("mine.txt", "mine\n")]);
        drop(world);
        let error = scene.publish(edit("one\n")).await.expect_err("refused");
        assert!(matches!(error, ForgeError::BranchForeign { .. }), "{error}");
    });
}

#[test]
fn failure_at_any_step_leaves_nothing_and_the_next_run_makes_one_of_each() {
    // Server errors and refusals, before and after the effect, at each writing step. Most of it is waiting, hence the threads.
    let steps = [
        ("POST", "/git/trees"),
        ("POST", "/git/refs"),
        ("POST", "/graphql"),
        ("POST", "/pulls"),
        ("POST", "/issues/7/comments"),
        ("POST", "/statuses/"),
    ];
    std::thread::scope(|scope| {
        for (method, part) in steps {
            for (status, after_effect) in [(500, false), (500, true), (403, false)] {
                let failure = Failure {
                    method,
                    part: part.to_owned(),
                    status,
                    times: 99,
                    after_effect,
                    headers: Vec::new(),
                };
                scope.spawn(move || run(fails_and_recovers(failure)));
            }
        }
    });
}

async fn fails_and_recovers(failure: Failure) {
    let scene = Scene::new("write");
    let step = format!("{failure:?}");
    let after_effect = failure.after_effect;
    scene.server.world().failures.push(failure);
    let outcome = scene.publish(edit("one\n")).await;
    let (branches, pulls, _) = scene.counts();
    assert!(branches <= 1 && pulls <= 1, "{step}");
    if outcome.is_err() && !after_effect {
        assert_eq!((branches, pulls), (0, 0), "{step}");
    }
    scene.server.world().failures.clear();
    let again = scene.publish(edit("one\n")).await;
    assert!(again.is_ok(), "{step}: {again:?}");
    assert_eq!(scene.counts(), (1, 1, 1), "{step}");
}

#[test]
fn run_that_was_killed_after_the_branch_was_made_is_taken_up() {
    run(async {
        let scene = Scene::new("write");
        let base = scene.base.clone();
        scene.server.world().set_ref(BRANCH, ACTIONS, &base);
        let published = scene.publish(edit("one\n")).await.expect("published");
        assert_eq!(published.made, Made::Graphql(Signature::Verified));
        assert_eq!(scene.counts(), (1, 1, 1));
    });
}

#[test]
fn pull_request_that_is_refused_takes_its_branch_along() {
    run(async {
        let scene = Scene::new("write");
        scene.server.world().drafts_supported = false;
        let error = scene.publish(edit("one\n")).await.expect_err("refused");
        assert!(error.to_string().contains("Draft pull requests"), "{error}");
        assert_eq!(scene.counts(), (0, 0, 0));
    });
}

#[test]
fn missing_permission_is_named() {
    run(async {
        let scene = Scene::new("write");
        for (missing, word) in [
            ("contents", "contents=write"),
            ("pull_requests", "pull_requests=write"),
        ] {
            let writes = ["contents", "issues", "pull_requests", "statuses"];
            let writes = writes.into_iter().filter(|it| *it != missing).collect();
            let token = Token {
                login: ACTIONS.to_owned(),
                writes,
            };
            scene.server.world().tokens.insert("weak".to_owned(), token);
            let error = scene
                .publish_as("weak", edit("one\n"))
                .await
                .expect_err("refused");
            assert!(error.to_string().contains(word), "{error}");
            assert_eq!(scene.counts(), (0, 0, 0));
        }
    });
}

#[test]
fn unknown_token_is_refused() {
    run(async {
        let scene = Scene::new("write");
        let error = scene
            .publish_as("wrong", edit("one\n"))
            .await
            .expect_err("refused");
        assert!(error.is_status(401), "{error}");
    });
}

#[test]
fn server_without_graphql_gets_a_commit_by_rest() {
    run(async {
        let scene = Scene::new("write");
        scene.server.world().graphql_supported = false;
        let published = scene.publish(edit("one\n")).await.expect("published");
        assert_eq!(published.made, Made::Rest(Signature::Verified));
        assert_eq!(scene.server.world().files(BRANCH)["a.txt"].1, "one\n");
    });
}

#[test]
fn commit_that_github_does_not_sign_is_known_again_by_our_mark() {
    run(async {
        let scene = Scene::new("write");
        let mut world = scene.server.world();
        world.human("owner", 50, "admin");
        let writes = vec!["contents", "issues", "pull_requests", "statuses"];
        world.tokens.insert(
            "pat".to_owned(),
            Token {
                login: "owner".to_owned(),
                writes,
            },
        );
        drop(world);
        let exec = |text: &str| {
            vec![Change::add(
                path("run.sh"),
                FileMode::Executable,
                blob(text),
            )]
        };
        let first = scene.publish_as("pat", exec("1")).await.expect("published");
        assert_eq!(first.made, Made::Rest(Signature::Unsigned));
        let second = scene.publish_as("pat", exec("2")).await.expect("published");
        assert_eq!(second.outcome, Outcome::Updated);
    });
}

#[test]
fn lock_that_the_policy_demands_must_stand() {
    run(async {
        let mut scene = Scene::new("write");
        scene.policy.approval.enforced = Enforced::Require;
        let error = scene.publish(edit("one\n")).await.expect_err("refused");
        assert!(matches!(error, ForgeError::LockMissing { .. }), "{error}");
        assert_eq!(scene.counts(), (0, 0, 0));
        scene.server.world().required_checks = vec!["tagout/approval".to_owned()];
        let error = scene.publish(edit("one\n")).await.expect_err("refused");
        assert!(matches!(error, ForgeError::LockUnbound { .. }), "{error}");
        assert_eq!(scene.counts(), (0, 0, 0));
        scene.server.world().check_app = Some(77);
        assert!(scene.publish(edit("one\n")).await.is_ok());
    });
}

#[test]
fn base_that_was_rewritten_is_refused() {
    run(async {
        let mut scene = Scene::new("write");
        let gone = scene.base.clone();
        let mut world = scene.server.world();
        world.refs.remove("main");
        let fresh = world.push("main", "octocat", &[("a.txt", "other\n")]);
        drop(world);
        assert_ne!(gone, fresh);
        scene.base = gone;
        let error = scene.publish(edit("one\n")).await.expect_err("refused");
        assert!(matches!(error, ForgeError::BaseGone { .. }), "{error}");
    });
}

#[test]
fn rate_limit_is_waited_for_and_a_long_one_is_told() {
    run(async {
        let scene = Scene::new("write");
        let mut world = scene.server.world();
        let limit = |seconds: &str, part: &str| Failure {
            method: "POST",
            part: part.to_owned(),
            status: 429,
            times: 1,
            after_effect: false,
            headers: vec![("retry-after".to_owned(), seconds.to_owned())],
        };
        world.failures.push(limit("1", "/git/trees"));
        drop(world);
        assert!(scene.publish(edit("one\n")).await.is_ok());
        scene
            .server
            .world()
            .failures
            .push(limit("3600", "/git/trees"));
        let error = scene.publish(edit("two\n")).await.expect_err("told");
        assert!(
            matches!(error, ForgeError::RateLimit { seconds: 3600, .. }),
            "{error}"
        );
    });
}

#[test]
fn policy_is_read_from_the_base_commit() {
    run(async {
        let scene = Scene::new("write");
        let github = scene.github().await;
        let base = scene.base.parse().expect("an id");
        let (policy, others) = github.policy_files(&base).await.expect("asked");
        assert!(policy.is_none() && others.is_empty());
        let files = [(".github/tagout.yml", "version: 1\n")];
        let next = scene.server.world().push("main", "octocat", &files);
        let next = next.parse().expect("an id");
        let (policy, others) = github.policy_files(&base).await.expect("asked");
        assert!(policy.is_none() && others.is_empty());
        let (found, _) = github.policy_files(&next).await.expect("asked");
        assert_eq!(found.as_deref(), Some(b"version: 1\n".as_slice()));
    });
}

#[test]
fn refusals_are_answered_a_few_times_an_issue_only() {
    run(async {
        let scene = Scene::new("read");
        let refusal = scene.admit().await.expect_err("refused");
        let github = scene.github().await;
        for comment in 1..20 {
            let kind = tagout::event::IssueKind::Issue;
            let origin = gate::Origin {
                issue: 7,
                kind,
                by: gate::AskedBy::Comment(comment),
            };
            github
                .refuse(&refusal, origin)
                .await
                .expect("answered or silent");
        }
        assert_eq!(scene.counts().2, 5);
    });
}

#[test]
fn enterprise_server_has_its_api_under_a_path() {
    run(async {
        let scene = Scene::new("write");
        let admitted = scene.admit().await.expect("admitted");
        let github = GitHub::connect(Endpoint {
            api_url: format!("{}/api/v3", scene.server.url),
            graphql_url: format!("{}/api/graphql", scene.server.url),
            repository: "o/r".parse().expect("a name"),
            token: Secret::new(TOKEN.to_owned()),
        })
        .await
        .expect("an address");
        let digest = Digest::of(b"policy");
        let proposal = Proposal {
            title: "Fix",
            body: "Done",
            policy: &digest,
            journal: None,
            run: "1/1",
            run_url: None,
        };
        let checked = scene.checked(edit("one\n"));
        let published = github
            .publish(&admitted, &scene.policy, &checked, &proposal)
            .await
            .expect("published");
        assert_eq!(published.made, Made::Graphql(Signature::Verified));
    });
}

#[test]
fn list_is_read_to_its_end() {
    run(async {
        let scene = Scene::new("write");
        scene.publish(edit("one\n")).await.expect("published");
        for _ in 0..230 {
            scene.server.world().comment(7, "reporter", "hm");
        }
        let mut world = scene.server.world();
        // Ours is the last one now, on the third page.
        let at = world
            .comments
            .iter()
            .position(|it| it.user == ACTIONS)
            .expect("ours");
        let ours = world.comments.remove(at);
        world.comments.push(ours);
        drop(world);
        scene.publish(edit("two\n")).await.expect("published");
        assert_eq!(scene.counts(), (1, 1, 1));
    });
}

#[test]
fn head_that_moves_between_gate_and_publishing_loses_the_race_loudly() {
    run(async {
        let mut scene = Scene::new("write");
        let mut world = scene.server.world();
        let main = world.refs["main"].clone();
        world.set_ref("changes", "reporter", &main);
        let head = world.push("changes", "reporter", &[("b.txt", "one\n")]);
        let number = world.opened("reporter", "changes", "main", ("A change", "Please"));
        let comment = world.comment(number, "octocat", "/tagout fix it");
        let found = world.comments.last().expect("just made").clone();
        scene.event["issue"]["number"] = json!(number);
        scene.event["issue"]["pull_request"] = json!({"url": "u"});
        scene.event["comment"] = json!({"id": comment, "body": found.body, "user": world.user("octocat"),
            "created_at": found.created_at, "updated_at": found.updated_at});
        drop(world);
        let admitted = scene.admit().await.expect("admitted");
        assert_eq!(admitted.base_commit().as_str(), head);
        let moved = scene
            .server
            .world()
            .push("changes", "reporter", &[("b.txt", "two\n")]);
        let base = head.parse().expect("an id");
        let changeset = Changeset::new(base, edit("x\n"), Vec::new()).expect("once");
        let checked = checks::check(changeset, &scene.policy, Known::default()).expect("clean");
        let digest = Digest::of(b"policy");
        let proposal = Proposal {
            title: "Fix it",
            body: "What was done",
            policy: &digest,
            journal: None,
            run: "1/1",
            run_url: None,
        };
        let github = scene.github().await;
        let error = github
            .publish(&admitted, &scene.policy, &checked, &proposal)
            .await
            .expect_err("lost");
        assert!(
            error.is_moved() && error.to_string().contains(&moved),
            "{error}"
        );
        assert_eq!(scene.server.writes(), Vec::<String>::new());
        // Asked again on the head of now, it is stacked upon.
        scene.server.world().set_ref("changes", "reporter", &head);
        let published = github
            .publish(&admitted, &scene.policy, &checked, &proposal)
            .await
            .expect("published");
        let world = scene.server.world();
        let pull = world
            .pull(published.pull.expect("a pull request").0)
            .expect("there");
        assert_eq!((pull.base.as_str(), pull.draft), ("changes", true));
        assert_eq!(
            world.refs["changes"], head,
            "the person's branch is left alone"
        );
    });
}
