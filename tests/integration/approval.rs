//! When a pull request is released: the decision table, a test a row, and the command against our small GitHub.

use std::process::Command;

use serde_json::{Value, json};
use tagout::event::{Account, AccountKind};
use tagout::gate::approval::{
    Code, Decision, Facts, Hand, Plain, PublishedCommit, Release, Review, Says, State, decide,
};
use tagout::gate::{Answer, Standing};
use tagout::policy::model::{Approval, Policy};

use crate::github_server::Server;
use crate::github_server::world::{ACTIONS, Commit, Pull, TOKEN, Token};

const HEAD: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER: &str = "89abcdef0123456789abcdef0123456789abcdef";

fn account(login: &str, id: u64, kind: AccountKind) -> Account {
    let login = login.to_owned();
    Account { login, id, kind }
}

fn human(login: &str, id: u64) -> Account {
    account(login, id, AccountKind::Human)
}

fn answer(login: &str, id: u64, role: &str) -> (String, Answer) {
    let standing = Standing {
        account: human(login, id),
        role: role.to_owned(),
    };
    (login.to_owned(), Answer::Known(standing))
}

fn review(author: Account, says: Says) -> Review {
    Review {
        author: Some(author),
        says,
        commit: Some(HEAD.to_owned()),
        at: "2026-01-01T00:01:00Z".to_owned(),
    }
}

fn release(author: Account, body: &str) -> Release {
    Release {
        author,
        body: body.to_owned(),
        at: "2026-01-01T00:01:00Z".to_owned(),
        plain: Plain::Yes,
    }
}

/// Facts under which rita's approval releases what octocat asked for.
fn facts() -> Facts {
    Facts {
        head: HEAD.parse().expect("an id"),
        state: State::Open,
        base_branch: "main".to_owned(),
        retargeted_at: None,
        published: vec![PublishedCommit {
            commit: HEAD.parse().expect("an id"),
            askers: vec![("octocat".to_owned(), Some(1))],
            base_branch: "main".to_owned(),
        }],
        hands: Vec::new(),
        reviews: vec![review(human("rita", 2), Says::Approved)],
        comments: Vec::new(),
        answers: vec![
            answer("rita", 2, "write"),
            answer("octocat", 1, "admin"),
            answer("pia", 3, "write"),
            answer("stranger", 4, "read"),
        ],
        sharing_head: Vec::new(),
        head_seen_at: Some("2026-01-01T00:00:30Z".to_owned()),
        schedule_owner: None,
        not_established: Vec::new(),
    }
}

fn decided(change: impl FnOnce(&mut Facts, &mut Approval)) -> Result<Vec<String>, Vec<Code>> {
    let mut facts = facts();
    let mut policy = Policy::default().approval;
    change(&mut facts, &mut policy);
    match decide(&facts, &policy) {
        Decision::Approved { by } => Ok(by),
        Decision::Pending { missing } => Err(missing.into_iter().map(|it| it.code).collect()),
    }
}

/// One test a row: what differs from the released case, and what keeps the light red; nothing means green.
macro_rules! rows {
    ($($name:ident: $change:expr => [$($code:ident),*];)*) => {$(
        #[test]
        fn $name() {
            let expected: Vec<Code> = vec![$(Code::$code),*];
            match decided($change) {
                Ok(_) => assert!(expected.is_empty(), "green, but {expected:?} was expected"),
                Err(codes) => assert_eq!(codes, expected),
            }
        }
    )*};
}

rows! {
    approval_by_another_writer_releases: |_, _| {} => [];
    nobody_has_approved: |f, _| f.reviews.clear() => [ApprovalsMissing];
    requester_cannot_release: |f, _| f.reviews = vec![review(human("octocat", 1), Says::Approved)] => [ApprovalsMissing, ApproverAsked];
    requester_under_a_new_login_cannot_release: |f, _| {
        f.reviews = vec![review(human("renamed", 1), Says::Approved)];
        f.answers.push(answer("renamed", 1, "admin"));
    } => [ApprovalsMissing, ApproverAsked];
    rerunner_cannot_release: |f, _| f.published[0].askers.push(("rita".to_owned(), Some(2))) => [ApprovalsMissing, ApproverAsked];
    requester_of_an_earlier_run_cannot_release: |f, _| {
        let mut earlier = f.published[0].clone();
        earlier.askers = vec![("rita".to_owned(), Some(2))];
        f.published.insert(0, earlier);
    } => [ApprovalsMissing, ApproverAsked];
    schedule_owner_cannot_release: |f, _| f.schedule_owner = Some("Rita".to_owned()) => [ApprovalsMissing, ApproverAsked];
    pusher_cannot_release: |f, _| f.hands.push(Hand::Known(human("rita", 2))) => [ApprovalsMissing, ApproverPushed];
    push_by_somebody_else_does_not_matter: |f, _| f.hands.push(Hand::Known(human("pia", 3))) => [];
    unknown_author_keeps_it_red: |f, _| f.hands.push(Hand::Unknown { found_in: "commit x".to_owned() }) => [HandUnknown];
    reader_cannot_release: |f, _| f.reviews = vec![review(human("stranger", 4), Says::Approved)] => [ApprovalsMissing, ApproverNotPermitted];
    permission_that_is_not_established_does_not_count: |f, _| f.answers.clear() => [ApprovalsMissing, ApproverNotPermitted];
    custom_role_does_not_count: |f, _| f.answers[0] = answer("rita", 2, "release-manager") => [ApprovalsMissing, ApproverNotPermitted];
    login_registered_again_does_not_count: |f, _| f.answers[0] = answer("rita", 22, "admin") => [ApprovalsMissing, ApproverNotPermitted];
    bot_cannot_release: |f, _| f.reviews = vec![review(account("rita", 2, AccountKind::Bot), Says::Approved)] => [ApprovalsMissing, ApproverNotHuman];
    approval_of_an_older_head_does_not_count: |f, _| f.reviews[0].commit = Some(OTHER.to_owned()) => [ApprovalsMissing, HeadMoved];
    approval_without_a_commit_does_not_count: |f, _| f.reviews[0].commit = None => [ApprovalsMissing, HeadMoved];
    dismissed_approval_is_void: |f, _| f.reviews.push(review(human("rita", 2), Says::Dismissed)) => [ApprovalsMissing];
    later_comment_does_not_void_an_approval: |f, _| f.reviews.push(review(human("rita", 2), Says::Nothing)) => [];
    unknown_later_word_voids_an_approval: |f, _| f.reviews.push(review(human("rita", 2), Says::Unknown)) => [ApprovalsMissing];
    own_later_objection_voids_an_approval: |f, _| f.reviews.push(review(human("rita", 2), Says::ChangesRequested)) => [ChangesRequested, ApprovalsMissing];
    objection_of_another_writer_keeps_it_red: |f, _| f.reviews.push(review(human("pia", 3), Says::ChangesRequested)) => [ChangesRequested];
    objection_of_the_requester_keeps_it_red: |f, _| f.reviews.push(review(human("octocat", 1), Says::ChangesRequested)) => [ChangesRequested];
    objection_of_a_stranger_does_not_matter: |f, _| f.reviews.push(review(human("stranger", 4), Says::ChangesRequested)) => [];
    objection_that_was_taken_back_does_not_matter: |f, _| {
        f.reviews.push(review(human("pia", 3), Says::ChangesRequested));
        f.reviews.push(review(human("pia", 3), Says::Approved));
    } => [];
    review_of_a_deleted_account_does_not_count: |f, _| f.reviews[0].author = None => [ApprovalsMissing];
    two_are_required_and_one_is_there: |_, p| p.required = 2 => [ApprovalsMissing];
    two_are_required_and_two_are_there: |f, p| {
        p.required = 2;
        f.reviews.push(review(human("pia", 3), Says::Approved));
    } => [];
    one_person_counts_once: |f, p| {
        p.required = 2;
        f.comments.push(release(human("rita", 2), &format!("/approve {HEAD}")));
    } => [ApprovalsMissing];
    none_required_still_means_one: |f, p| {
        p.required = 0;
        f.reviews.clear();
    } => [ApprovalsMissing];
    closed_is_not_released: |f, _| f.state = State::Closed => [PullClosed];
    unpublished_is_not_released: |f, _| f.published.clear() => [NotPublished];
    what_is_not_established_keeps_it_red: |f, _| f.not_established.push("its reviews could not be read".to_owned()) => [NotEstablished];
    retargeted_base_keeps_it_red: |f, _| f.base_branch = "release".to_owned() => [BaseRetargeted];
    approval_before_a_retarget_does_not_count: |f, _| f.retargeted_at = Some("2026-01-01T00:02:00Z".to_owned()) => [ApprovalsMissing, BeforeRetarget];
    approval_after_a_retarget_counts: |f, _| f.retargeted_at = Some("2026-01-01T00:00:59Z".to_owned()) => [];
    shared_head_keeps_it_red: |f, _| f.sharing_head.push(12) => [HeadShared];
    comment_with_the_full_id_releases: |f, _| {
        f.reviews.clear();
        f.comments.push(release(human("rita", 2), &format!("/approve {HEAD}")));
    } => [];
    comment_of_the_requester_does_not: |f, _| {
        f.reviews.clear();
        f.comments.push(release(human("octocat", 1), &format!("/approve {HEAD}")));
    } => [ApprovalsMissing, ApproverAsked];
    comment_of_a_stranger_is_not_heard: |f, _| {
        f.reviews.clear();
        f.comments.push(release(human("stranger", 4), &format!("/approve {HEAD}")));
    } => [ApprovalsMissing];
    comment_with_a_short_id_does_not_count: |f, _| {
        f.reviews.clear();
        f.comments.push(release(human("rita", 2), "/approve 0123456"));
    } => [ApprovalsMissing, ReleaseNotExact];
    comment_with_another_id_does_not_count: |f, _| {
        f.reviews.clear();
        f.comments.push(release(human("rita", 2), &format!("/approve {OTHER}")));
    } => [ApprovalsMissing, HeadMoved];
    edited_comment_does_not_count: |f, _| {
        f.reviews.clear();
        f.comments.push(release(human("rita", 2), &format!("/approve {HEAD}")));
        f.comments[0].plain = Plain::No;
    } => [ApprovalsMissing, ReleaseNotPlain];
    comment_from_before_the_head_does_not_count: |f, _| {
        f.reviews.clear();
        f.comments.push(release(human("rita", 2), &format!("/approve {HEAD}")));
        f.head_seen_at = Some("2026-01-01T00:01:00Z".to_owned());
    } => [ApprovalsMissing, ReleaseTooEarly];
    comment_on_a_head_of_unknown_age_does_not_count: |f, _| {
        f.reviews.clear();
        f.comments.push(release(human("rita", 2), &format!("/approve {HEAD}")));
        f.head_seen_at = None;
    } => [ApprovalsMissing, ReleaseTooEarly];
}

/// A repository with a pull request that we published for octocat, and its head.
fn published() -> (Server, u64, String) {
    let server = Server::start();
    let mut world = server.world();
    world.human("octocat", 1, "admin");
    world.human("rita", 2, "write");
    let base = world.push("main", "octocat", &[("a.txt", "a\n")]);
    let tree = world.commits[&base].tree.clone();
    let message = format!(
        "Fix\n\nTagout-Task: issue-7\nTagout-Requester: octocat (1)\nTagout-Base: {base}\nTagout-Base-Branch: main\n"
    );
    let head = world.commit(Commit {
        tree,
        parents: vec![base],
        message,
        author: Some(ACTIONS.to_owned()),
        committer: Some("web-flow".to_owned()),
        verified: true,
    });
    world.set_ref("tagout/issue-7", ACTIONS, &head);
    let number = world.number();
    world.pulls.push(Pull {
        number,
        title: "Fix".to_owned(),
        body: String::new(),
        head: "tagout/issue-7".to_owned(),
        base: "main".to_owned(),
        user: ACTIONS.to_owned(),
        draft: true,
        open: true,
        maintainer_can_modify: false,
        last_head: head.clone(),
    });
    drop(world);
    (server, number, head)
}

/// Runs `tagout approval --json --pull N` and gives the exit code and the object.
fn approval(server: &Server, number: u64) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_tagout"))
        .args(["approval", "--json", "--pull", &number.to_string()])
        .env_clear()
        .env("GITHUB_REPOSITORY", "o/r")
        .env("GITHUB_API_URL", &server.url)
        .env("GITHUB_GRAPHQL_URL", format!("{}/graphql", server.url))
        .env("GITHUB_TOKEN", TOKEN)
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json = serde_json::from_str(&text).expect("one object");
    (output.status.code().expect("an exit code"), json)
}

fn lights(server: &Server) -> Vec<String> {
    let world = server.world();
    world.statuses.iter().map(|it| it.state.clone()).collect()
}

#[test]
fn light_goes_from_red_to_green_when_another_human_approves() {
    let (server, number, head) = published();
    let (code, json) = approval(&server, number);
    assert_eq!((code, json["outcome"].as_str()), (9, Some("pending")));
    assert_eq!(json["missing"][0]["code"], "approvals-missing");
    assert_eq!(json["head"], head);
    approval(&server, number);
    assert_eq!(
        lights(&server),
        ["failure"],
        "a status is set when it changes"
    );
    server
        .world()
        .review(number, "octocat", "APPROVED")
        .expect("not their own");
    let (code, json) = approval(&server, number);
    assert_eq!(code, 9, "{json}");
    server
        .world()
        .review(number, "rita", "APPROVED")
        .expect("not their own");
    let (code, json) = approval(&server, number);
    assert_eq!((code, json["outcome"].as_str()), (0, Some("approved")));
    assert_eq!(json["approved_by"][0], "rita");
    assert_eq!(lights(&server).last().map(String::as_str), Some("success"));
    assert_eq!(json["advisory"], true, "GITHUB_TOKEN is everybody's");
}

#[test]
fn light_falls_when_the_head_moves() {
    let (server, number, _) = published();
    server
        .world()
        .review(number, "rita", "APPROVED")
        .expect("not their own");
    assert_eq!(approval(&server, number).0, 0);
    let head = server
        .world()
        .push("tagout/issue-7", "octocat", &[("b.txt", "b\n")]);
    let (code, json) = approval(&server, number);
    assert_eq!((code, json["head"].as_str()), (9, Some(head.as_str())));
    server
        .world()
        .review(number, "rita", "APPROVED")
        .expect("not their own");
    assert_eq!(
        approval(&server, number).0,
        0,
        "octocat pushed, rita approved"
    );
}

#[test]
fn whoever_pushed_cannot_release_even_with_a_forged_author() {
    let (server, number, _) = published();
    let mut world = server.world();
    let head = world.push("tagout/issue-7", "octocat", &[("b.txt", "b\n")]);
    // The commit says octocat; GitHub's own record says that rita pushed it.
    world.pushes.last_mut().expect("a push").1 = "rita".to_owned();
    assert_eq!(world.pulls[0].last_head, head);
    world
        .review(number, "rita", "APPROVED")
        .expect("not their own");
    drop(world);
    let (code, json) = approval(&server, number);
    assert_eq!(code, 9);
    let codes = json["missing"].to_string();
    assert!(codes.contains("approver-pushed"), "{codes}");
}

#[test]
fn answer_that_is_missing_keeps_it_red() {
    for part in [
        "/reviews",
        "/commits",
        "/events",
        "/permission",
        "/comments",
    ] {
        let (server, number, _) = published();
        server
            .world()
            .review(number, "rita", "APPROVED")
            .expect("not their own");
        server.world().fail("GET", part, 500, 9);
        let (code, json) = approval(&server, number);
        assert_eq!(code, 9, "{part}: {json}");
        assert!(!lights(&server).contains(&"success".to_owned()), "{part}");
    }
}

#[test]
fn pull_request_of_a_human_is_judged_when_asked_for_by_number() {
    let server = Server::start();
    let mut world = server.world();
    world.human("octocat", 1, "admin");
    world.human("rita", 2, "write");
    world.push("main", "octocat", &[("a.txt", "a\n")]);
    let main = world.refs["main"].clone();
    world.set_ref("mine", "octocat", &main);
    let head = world.push("mine", "octocat", &[("a.txt", "b\n")]);
    let number = world.number();
    world.pulls.push(Pull {
        number,
        title: "Mine".to_owned(),
        body: String::new(),
        head: "mine".to_owned(),
        base: "main".to_owned(),
        user: "octocat".to_owned(),
        draft: false,
        open: true,
        maintainer_can_modify: false,
        last_head: head,
    });
    world
        .review(number, "rita", "APPROVED")
        .expect("not their own");
    drop(world);
    let (code, json) = approval(&server, number);
    assert_eq!(code, 9);
    assert!(
        json["missing"].to_string().contains("not-published"),
        "{json}"
    );
}

/// Runs `tagout approval --json` on an event and gives the exit code and the object.
fn approval_on(server: &Server, name: &str, payload: &Value) -> (i32, Value) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut file, payload.to_string().as_bytes()).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_tagout"))
        .args(["approval", "--json"])
        .env_clear()
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_EVENT_NAME", name)
        .env("GITHUB_EVENT_PATH", file.path())
        .env("GITHUB_REPOSITORY", "o/r")
        .env("GITHUB_API_URL", &server.url)
        .env("GITHUB_GRAPHQL_URL", format!("{}/graphql", server.url))
        .env("GITHUB_TOKEN", TOKEN)
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json = serde_json::from_str(&text).expect("one object");
    (output.status.code().expect("an exit code"), json)
}

#[test]
fn review_wakes_the_decision_by_the_run_of_another_workflow() {
    let (server, number, head) = published();
    server
        .world()
        .review(number, "rita", "APPROVED")
        .expect("not their own");
    let run = json!({"workflow_run": {"head_sha": head, "pull_requests": []}});
    let (code, json) = approval_on(&server, "workflow_run", &run);
    assert_eq!((code, json["pull"].as_u64()), (0, Some(number)), "{json}");
}

#[test]
fn schedule_judges_every_open_proposal() {
    let (server, number, _) = published();
    let cron = json!({"schedule": "1 1 * * *"});
    let (code, json) = approval_on(&server, "schedule", &cron);
    assert_eq!((code, json["pull"].as_u64()), (9, Some(number)), "{json}");
}

#[test]
fn merge_queue_is_told_by_its_own_commit() {
    let (server, number, head) = published();
    let mut world = server.world();
    let queued = world.commits[&head].clone();
    world.commits.insert(OTHER.to_owned(), queued);
    drop(world);
    let group = json!({"merge_group": {"head_sha": OTHER,
        "head_ref": format!("refs/heads/gh-readonly-queue/main/pr-{number}-{head}")}});
    assert_eq!(approval_on(&server, "merge_group", &group).0, 9);
    server
        .world()
        .review(number, "rita", "APPROVED")
        .expect("not their own");
    assert_eq!(approval_on(&server, "merge_group", &group).0, 0);
    let world = server.world();
    assert!(world.statuses.iter().all(|status| status.sha == OTHER));
}

#[test]
fn event_about_a_human_s_pull_request_is_ignored_and_says_so() {
    let (server, _, _) = published();
    let mut world = server.world();
    let main = world.refs["main"].clone();
    world.set_ref("mine", "octocat", &main);
    let head = world.push("mine", "octocat", &[("a.txt", "b\n")]);
    let number = world.number();
    let mut pull = world.pulls[0].clone();
    pull.number = number;
    pull.head = "mine".to_owned();
    pull.user = "octocat".to_owned();
    pull.last_head.clone_from(&head);
    world.pulls.push(pull);
    drop(world);
    let payload = json!({"pull_request": {"number": number, "head": {"sha": head}}});
    let (code, json) = approval_on(&server, "pull_request_target", &payload);
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("ignored")),
        "{json}"
    );
    let world = server.world();
    assert_eq!(
        world.statuses[0].description.as_deref(),
        Some("not a proposal of Tagout (advisory)")
    );
}

#[test]
fn policy_file_is_refused_in_actions() {
    let output = Command::new(env!("CARGO_BIN_EXE_tagout"))
        .args(["approval", "--pull", "1", "--policy", "mine.yml"])
        .env_clear()
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_REPOSITORY", "o/r")
        .env("GITHUB_TOKEN", TOKEN)
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn approval_without_a_token_is_a_usage_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_tagout"))
        .args(["approval", "--pull", "1"])
        .env_clear()
        .env("GITHUB_REPOSITORY", "o/r")
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn documented_reasons_are_the_ones_that_exist() {
    let documented = include_str!("../../docs/approval.md");
    let table = tagout::gate::approval::table();
    assert!(
        documented.contains(&table),
        "docs/approval.md is to hold:\n{table}"
    );
}

/// The exit code and the answer of the judge's App, with these options.
fn judged_by_app(server: &Server, number: u64, more: &[&str]) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_tagout"))
        .args(["approval", "--json", "--pull", &number.to_string()])
        .args(more)
        .env_clear()
        .env("GITHUB_REPOSITORY", "o/r")
        .env("GITHUB_API_URL", &server.url)
        .env("GITHUB_GRAPHQL_URL", format!("{}/graphql", server.url))
        .env("GITHUB_TOKEN", "judge")
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json = serde_json::from_str(&text).expect("one object");
    (output.status.code().expect("an exit code"), json)
}

#[test]
fn app_of_its_own_judges_what_a_workflow_published_if_told_so() {
    let (server, number, _) = published();
    let mut world = server.world();
    world.account("judge[bot]", 91, "Bot");
    let login = "judge[bot]".to_owned();
    let writes = vec!["statuses"];
    world
        .tokens
        .insert("judge".to_owned(), Token { login, writes });
    world
        .review(number, "rita", "APPROVED")
        .expect("not their own");
    drop(world);
    let (code, json) = judged_by_app(&server, number, &[]);
    assert_eq!(code, 9, "a workflow's commit is not the App's: {json}");
    assert!(
        json["missing"].to_string().contains("not-published"),
        "{json}"
    );
    let (code, json) = judged_by_app(&server, number, &["--published-with", "github-token"]);
    assert_eq!(
        (code, json["advisory"].as_bool()),
        (0, Some(false)),
        "{json}"
    );
    let world = server.world();
    let light = world.statuses.last().expect("a status");
    assert_eq!(
        (light.creator.as_str(), light.state.as_str()),
        ("judge[bot]", "success")
    );
    assert_eq!(light.description.as_deref(), Some("released by rita"));
}

#[test]
fn pull_request_with_more_than_a_hundred_commits_stays_red() {
    let (server, number, _) = published();
    let mut world = server.world();
    for at in 0..101 {
        world.push("tagout/issue-7", "octocat", &[("b.txt", &at.to_string())]);
    }
    world
        .review(number, "rita", "APPROVED")
        .expect("not their own");
    drop(world);
    let (code, json) = approval(&server, number);
    assert_eq!(code, 9);
    assert!(
        json["missing"]
            .to_string()
            .contains("more than 100 commits"),
        "{json}"
    );
}

#[test]
fn queue_that_does_not_tell_what_it_holds_is_red() {
    let (server, number, head) = published();
    let mut world = server.world();
    let mut commit = world.commits[&head].clone();
    world.commits.insert("9".repeat(40), commit.clone());
    commit.parents = vec!["9".repeat(40)];
    world.commits.insert(OTHER.to_owned(), commit);
    world
        .review(number, "rita", "APPROVED")
        .expect("not their own");
    drop(world);
    let group = json!({"merge_group": {"head_sha": OTHER,
        "head_ref": format!("refs/heads/gh-readonly-queue/main/pr-{number}-{head}")}});
    assert_eq!(
        approval_on(&server, "merge_group", &group).0,
        9,
        "which ones?"
    );
    server.world().queue = vec![(1, "8".repeat(40), 4_711), (2, OTHER.to_owned(), number)];
    assert_eq!(
        approval_on(&server, "merge_group", &group).0,
        9,
        "4711 cannot be read"
    );
    server.world().queue = vec![(1, OTHER.to_owned(), number)];
    assert_eq!(approval_on(&server, "merge_group", &group).0, 0);
    let world = server.world();
    assert!(world.statuses.iter().all(|status| status.sha == OTHER));
}
