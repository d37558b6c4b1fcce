//! The publisher and the repository around it: killed at any step, told what would run, held against the base by API.

use tagout::broker::forge::github::prospect::Lock;
use tagout::changeset::change::{Change, Changeset, FileMode};
use tagout::policy::model::OnProtected;

use crate::github::{Scene, before, blob, edit, path, run};
use crate::github_server::world::{ACTIONS, TOKEN, Token};

/// Publishes until the server has taken its request number `last`, and is gone then, without a word of farewell.
/// Whether it came so far.
async fn killed_at(scene: &Scene, last: usize) -> bool {
    let asked = scene.server.world().journal.len();
    scene.server.world().silent_from = Some(asked + last);
    let silent = async {
        while scene.server.world().journal.len() < asked + last {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        biased;
        () = silent => true,
        done = scene.publish(edit("one\n")) => {
            done.expect("published");
            false
        }
    }
}

#[test]
fn publisher_that_is_killed_after_any_request_is_taken_up_without_a_double() {
    let mut steps = 0;
    for last in 1.. {
        let reached = run(async {
            let mut scene = Scene::new("write");
            scene.policy.pull_request.labels = vec!["agent".to_owned()];
            let reached = killed_at(&scene, last).await;
            let (branches, pulls, comments) = scene.counts();
            assert!(
                branches <= 1 && pulls <= 1 && comments <= 1,
                "killed after request {last}"
            );
            scene.server.world().silent_from = None;
            scene
                .publish(edit("one\n"))
                .await
                .unwrap_or_else(|error| panic!("after {last}: {error}"));
            assert_eq!(scene.counts(), (1, 1, 1), "killed after request {last}");
            let world = scene.server.world();
            assert_eq!(
                world.files("tagout/issue-7")["a.txt"].1,
                "one\n",
                "killed after request {last}"
            );
            let ours = world.commits_of(&world.pulls[0]).len();
            assert!(ours <= 2, "killed after request {last}: {ours} commits");
            reached
        });
        if !reached {
            break;
        }
        steps = last;
    }
    assert!(steps > 10, "a publication has more than {steps} requests");
}

#[test]
fn branch_that_somebody_else_made_meanwhile_is_not_taken_away() {
    run(async {
        for (made_by_us, left) in [(true, false), (false, true)] {
            let scene = Scene::new("write");
            let mut world = scene.server.world();
            if !made_by_us {
                let base = scene.base.clone();
                world.set_ref("tagout/issue-7", "octocat", &base);
                world.fail("GET", "/git/ref/heads/tagout", 404, 1);
            }
            world.fail("POST", "/pulls", 403, 9);
            drop(world);
            scene
                .publish(edit("one\n"))
                .await
                .expect_err("told to fail");
            let refs = scene.server.world().refs.clone();
            assert_eq!(refs.contains_key("tagout/issue-7"), left, "{refs:?}");
        }
    });
}

#[test]
fn protected_file_is_named_in_a_review_once() {
    run(async {
        let mut scene = Scene::new("write");
        scene.policy.changes.on_protected = OnProtected::RequestChanges;
        let changes = || vec![Change::add(path(".envrc"), FileMode::Regular, blob("x\n"))];
        let published = scene.publish(changes()).await.expect("published");
        assert!(
            published
                .notes
                .iter()
                .any(|note| note.contains("comment only")),
            "{:?}",
            published.notes
        );
        scene.publish(changes()).await.expect("published again");
        let world = scene.server.world();
        let [review] = world.reviews.as_slice() else {
            panic!("there is not one review: {:?}", world.reviews);
        };
        // GitHub lets nobody ask for changes on their own.
        assert_eq!(
            (review.user.as_str(), review.state.as_str()),
            (ACTIONS, "COMMENTED")
        );
        assert!(review.body.contains(".envrc"), "{}", review.body);
    });
}

#[test]
fn proposal_without_protected_files_gets_no_review() {
    run(async {
        let mut scene = Scene::new("write");
        scene.policy.changes.on_protected = OnProtected::RequestChanges;
        scene.publish(edit("one\n")).await.expect("published");
        assert!(scene.server.world().reviews.is_empty());
    });
}

#[test]
fn old_sides_and_neighbours_are_read_by_api() {
    run(async {
        let scene = Scene::new("write");
        let files = [
            (".gitattributes", "*.gen -diff\n"),
            (
                ".github/workflows/ci.yml",
                "jobs:\n  a:\n    steps:\n      - run: ./ci/build.sh\n",
            ),
            ("ci/build.sh", "true\n"),
            ("src/deep/a.rs", "fn a() {}\n"),
            ("src/deep/B.rs", "fn b() {}\n"),
        ];
        let base = scene.server.world().push("main", "octocat", &files);
        let changes = vec![
            Change::add(
                path("src/deep/a.rs"),
                FileMode::Regular,
                blob("fn c() {}\n"),
            ),
            Change::add(path("src/new.rs"), FileMode::Regular, blob("new\n")),
            Change::delete(path("gone.txt"), before("x\n")),
        ];
        let base = base.parse().expect("an id");
        let changeset = Changeset::new(base, changes, Vec::new()).expect("each path once");
        let github = scene.github().await;
        let (changeset, facts) = github.with_base(&changeset).await.expect("read");
        let [changed, added] = changeset.changes() else {
            panic!("what was not there is not deleted: {changeset:?}");
        };
        assert_eq!(changed.old_content(), Some(&blob("fn a() {}\n")));
        assert_eq!(added.old_mode(), None);
        assert_eq!(facts.attributes, "*.gen -diff\n");
        assert_eq!(facts.run_by_workflows, ["ci/build.sh"]);
        assert!(
            facts.base_paths.contains(&"src/deep/B.rs".to_owned()),
            "{:?}",
            facts.base_paths
        );
        scene.server.world().fail("GET", "/git/blobs/", 500, 9);
        assert!(
            github.with_base(&changeset).await.is_err(),
            "nothing is judged by half"
        );
    });
}

#[test]
fn lock_is_told_apart_from_advice() {
    run(async {
        let scene = Scene::new("write");
        let github = scene.github().await;
        let lock = async || github.lock("main", "tagout/approval").await;
        assert_eq!(lock().await, Lock::Missing);
        scene.server.world().required_checks = vec!["tagout/approval".to_owned()];
        assert_eq!(lock().await, Lock::Unbound);
        scene.server.world().check_app = Some(15_368);
        assert_eq!(lock().await, Lock::Unbound, "that App is every workflow");
        scene.server.world().check_app = Some(77);
        assert_eq!(lock().await, Lock::Bound(77));
        let admitted = scene.admit().await.expect("admitted");
        let notes = github
            .prospects(&admitted, &scene.policy)
            .await
            .expect("told");
        assert_eq!(notes, Vec::<String>::new());
        scene.server.world().fail("GET", "/rules/", 500, 9);
        assert_eq!(
            lock().await,
            Lock::Missing,
            "what cannot be read is no lock"
        );
    });
}

#[test]
fn what_would_run_on_the_branch_is_told_for_a_token_that_starts_it() {
    run(async {
        let mut scene = Scene::new("write");
        let mut world = scene.server.world();
        world.account("my-app[bot]", 90, "Bot");
        let writes = vec!["contents", "issues", "pull_requests", "statuses"];
        let login = "my-app[bot]".to_owned();
        world
            .tokens
            .insert("app".to_owned(), Token { login, writes });
        world.environments = vec![("preview", true), ("production", false)];
        let files = [
            (
                ".github/workflows/ci.yml",
                "on: push\njobs: {a: {environment: preview}}\n",
            ),
            (
                ".github/workflows/release.yml",
                "on: {push: {tags: ['v*']}}\njobs: {}\n",
            ),
        ];
        let base = world.push("main", "octocat", &files);
        drop(world);
        scene.base = base;
        let admitted = scene.admit().await.expect("admitted");
        let app = scene.github_as("app").await;
        let notes = app
            .prospects(&admitted, &scene.policy)
            .await
            .expect("told")
            .join("\n");
        assert!(
            notes.contains(".github/workflows/ci.yml (push; deploys to preview)"),
            "{notes}"
        );
        assert!(
            notes.contains("environment preview takes every branch"),
            "{notes}"
        );
        assert!(
            !notes.contains("release.yml") && !notes.contains("production"),
            "{notes}"
        );
        let held = scene.github_as(TOKEN).await;
        let notes = held
            .prospects(&admitted, &scene.policy)
            .await
            .expect("told")
            .join("\n");
        assert!(
            !notes.contains("ci.yml"),
            "GitHub holds these back: {notes}"
        );
    });
}

#[test]
fn commit_of_a_queue_names_every_pull_request_in_it() {
    run(async {
        let scene = Scene::new("write");
        let github = scene.github().await;
        let mut world = scene.server.world();
        let on_main = world.push("queue/one", "octocat", &[("q.txt", "1")]);
        let mut commit = world.commits[&on_main].clone();
        commit.parents = vec![scene.base.clone()];
        let first = world.commit(commit.clone());
        commit.parents = vec![first.clone()];
        let second = world.commit(commit);
        drop(world);
        let published = scene.publish(edit("one\n")).await.expect("published");
        let number = published.pull.expect("a pull request").0;
        let queued = async |head: &str| {
            github
                .queued(&head.parse().expect("an id"), "main", number)
                .await
        };
        assert_eq!(queued(&first).await.expect("on the base branch"), [number]);
        assert!(
            queued(&second).await.is_err(),
            "the queue does not say what is before it"
        );
        scene.server.world().queue = vec![(1, first, 5), (2, second.clone(), number)];
        assert_eq!(queued(&second).await.expect("told"), [5, number]);
    });
}

#[test]
fn settings_that_open_a_way_round_are_found() {
    use tagout::broker::forge::github::settings::{Code, Stands};
    run(async {
        let scene = Scene::new("write");
        let github = scene.github().await;
        let badly = |settings: Vec<tagout::broker::forge::github::settings::Setting>| {
            settings
                .into_iter()
                .filter(|setting| setting.stands == Stands::Badly)
                .map(|setting| setting.code)
                .collect::<Vec<Code>>()
        };
        let files = [
            (
                ".github/workflows/a.yml",
                "on: push\njobs: {a: {permissions: {statuses: write}, steps: [{run: gh pr merge --auto}]}}\n",
            ),
            (
                ".github/workflows/b.yml",
                "on: issues\npermissions: {contents: read}\njobs: {}\n",
            ),
        ];
        let mut world = scene.server.world();
        world.push("main", "octocat", &files);
        world.auto_merge = true;
        world.workflow_permissions = ("write", true);
        world.review_rule = Some(false);
        world.bypass = Some(vec![("Integration", 77)]);
        drop(world);
        assert_eq!(badly(github.settings(&scene.policy).await), Code::ALL);
        let files = [
            (
                ".github/workflows/a.yml",
                "on: {push: {branches: [main]}}\njobs: {a: {permissions: {contents: read}}}\n",
            ),
            (".github/CODEOWNERS", "/.github/ @octocat\n"),
        ];
        let mut world = scene.server.world();
        world.push("main", "octocat", &files);
        world.auto_merge = false;
        world.workflow_permissions = ("read", false);
        world.review_rule = Some(true);
        world.bypass = Some(vec![("RepositoryRole", 5)]);
        world.required_checks = vec!["tagout/approval".to_owned()];
        drop(world);
        assert_eq!(
            badly(github.settings(&scene.policy).await),
            [Code::CheckBound]
        );
        scene.server.world().check_app = Some(15_368);
        assert_eq!(
            badly(github.settings(&scene.policy).await),
            [Code::CheckBound],
            "bound to GitHub Actions, which is every workflow"
        );
        scene.server.world().check_app = Some(77);
        assert_eq!(badly(github.settings(&scene.policy).await), []);
        scene.server.world().bypass = None;
        let settings = github.settings(&scene.policy).await;
        let unknown: Vec<Code> = settings
            .iter()
            .filter(|setting| setting.stands == Stands::Unknown)
            .map(|setting| setting.code)
            .collect();
        assert_eq!(unknown, [Code::BypassEmpty], "not shown to this token");
        scene.server.world().fail("GET", "/rules/", 500, 9);
        let settings = github.settings(&scene.policy).await;
        assert_eq!(settings[0].stands, Stands::Unknown);
    });
}

#[test]
fn documented_rulesets_are_ones_that_github_takes() {
    use crate::github_server::contract::Contract;
    let Some(contract) = Contract::load() else {
        return;
    };
    let two_jobs = include_str!("../../docs/rulesets/two-jobs.json");
    let app = include_str!("../../docs/rulesets/app.json");
    for text in [two_jobs, app] {
        let ruleset: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let found = contract.refusals("/repos/{owner}/{repo}/rulesets", "post", &ruleset);
        assert_eq!(found, Vec::<String>::new());
    }
    assert_eq!(
        app.replace(", \"integration_id\": 123456", ""),
        two_jobs,
        "they differ in the App only"
    );
    let wrong = serde_json::json!({"name": "x", "enforcement": "perhaps"});
    assert_ne!(
        contract.refusals("/repos/{owner}/{repo}/rulesets", "post", &wrong),
        Vec::<String>::new()
    );
}
