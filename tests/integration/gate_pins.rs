//! Which commit was meant, and how often may be asked: by the server's times and our own comments alone.

use serde_json::json;
use tagout::gate::budget::{self, Entry, Ledger, Page, RUNS_PER_ACTOR_DAY_MAX, RUNS_PER_DAY_MAX};
use tagout::gate::pin::{Pull, Pulled, Target, is_time};
use tagout::gate::refusal::{Code, Refusal};
use tagout::gate::{self, Admitted, Facts};

use crate::gate::{SHA, event, facts, payload, policy};

/// The head that the pull request has now.
const HEAD: &str = "89abcdef0123456789abcdef0123456789abcdef";

fn pull() -> Pull {
    Pull {
        open: true,
        head: HEAD.parse().expect("an id"),
        head_branch: "changes".to_owned(),
        same_repository: true,
        base_branch: "main".to_owned(),
        pushed_at: Some("2025-12-31T23:59:59Z".to_owned()),
        own_task: None,
    }
}

/// A comment of octocat's on pull request 7, written at midnight.
fn on_pull(body: &str, change: impl FnOnce(&mut Pull)) -> Result<Admitted, Refusal> {
    let mut payload = payload(body);
    payload["issue"]["pull_request"] = json!({"url": "https://example.com"});
    let event = event(&payload);
    let mut pull = pull();
    change(&mut pull);
    let facts = Facts {
        pull: Pulled::Known(Box::new(pull)),
        ..facts(&event)
    };
    let addressed = gate::address(&event, &policy()).expect("addressed to us");
    gate::admit(addressed, &policy(), &facts)
}

fn code(body: &str, change: impl FnOnce(&mut Pull)) -> Code {
    on_pull(body, change).expect_err("refused").code()
}

#[test]
fn head_that_was_pushed_before_the_comment_is_worked_on() {
    let admitted = on_pull("/tagout fix the test", |_| {}).expect("admitted");
    assert_eq!(admitted.base_commit().as_str(), HEAD);
    assert_eq!(admitted.base_branch(), "changes");
    assert_eq!(admitted.target(), &Target::Stacked);
    assert_eq!(admitted.task_id(), "pull-7");
    assert_eq!(admitted.task(), "fix the test");
}

#[test]
fn head_that_was_pushed_later_or_in_the_same_second_is_refused_with_the_words_to_write() {
    for at in ["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"] {
        let refusal = on_pull("/tagout fix", |pull| pull.pushed_at = Some(at.to_owned()))
            .expect_err("refused");
        assert_eq!(refusal.code(), Code::HeadMoved);
        assert!(refusal.answered());
        let words = format!("`/tagout run {HEAD}`");
        assert!(refusal.sentence().contains(&words), "{refusal}");
    }
}

#[test]
fn head_without_a_time_of_the_server_is_not_proven() {
    for at in [
        None,
        Some(""),
        Some("2025-12-31"),
        Some("2025-12-31T23:59:59+02:00"),
    ] {
        let refusal = on_pull("/tagout fix", |pull| pull.pushed_at = at.map(str::to_owned))
            .expect_err("refused");
        assert_eq!(refusal.code(), Code::HeadNotPinned, "{at:?}");
        assert!(refusal.sentence().contains(HEAD));
    }
    assert!(is_time("2026-01-31T10:20:30Z") && !is_time("2026-01-31 10:20:30Z"));
}

#[test]
fn named_head_is_exact() {
    let unproven = |pull: &mut Pull| pull.pushed_at = None;
    let admitted = on_pull(&format!("/tagout run {HEAD} fix the test"), unproven).expect("exact");
    assert_eq!(admitted.task(), "fix the test");
    let admitted = on_pull(&format!("/tagout run {HEAD}"), unproven).expect("exact");
    assert!(admitted.task().contains("thread of this pull request"));
    let admitted = on_pull(&format!("/tagout run {HEAD} update-deps"), unproven).expect("exact");
    assert_eq!(admitted.task_name(), Some("update-deps"));
    assert_eq!(
        code(&format!("/tagout run {SHA} fix"), |_| {}),
        Code::HeadMoved
    );
    assert_eq!(code("/tagout run 89abcde", unproven), Code::HeadShort);
    // Digits in words are words.
    let admitted = on_pull("/tagout run 89abcde again", |_| {}).expect("words");
    assert_eq!(admitted.task(), "run 89abcde again");
}

#[test]
fn forks_closed_pulls_and_other_bases_are_refused() {
    let fork = |pull: &mut Pull| pull.same_repository = false;
    assert_eq!(code("/tagout fix", fork), Code::HeadFork);
    assert_eq!(code(&format!("/tagout run {HEAD}"), fork), Code::HeadFork);
    assert_eq!(
        code("/tagout fix", |pull| pull.open = false),
        Code::PullClosed
    );
    let onto = |branch: &'static str| move |pull: &mut Pull| pull.base_branch = branch.to_owned();
    assert!(on_pull("/tagout fix", onto("release/1")).is_ok());
    assert_eq!(code("/tagout fix", onto("evil")), Code::BaseNotAllowed);
}

#[test]
fn pull_that_cannot_be_read_is_refused() {
    let mut payload = payload("/tagout fix");
    payload["issue"]["pull_request"] = json!({"url": "https://example.com"});
    let event = event(&payload);
    for unknown in [Pulled::NotNeeded, Pulled::NotEstablished("500".to_owned())] {
        let facts = Facts {
            pull: unknown,
            ..facts(&event)
        };
        let addressed = gate::address(&event, &policy()).expect("addressed to us");
        let refusal = gate::admit(addressed, &policy(), &facts).expect_err("refused");
        assert_eq!(refusal.code(), Code::PullNotEstablished);
    }
}

#[test]
fn proposal_of_our_own_is_updated_and_not_stacked_upon() {
    let admitted = on_pull("/tagout rename it", |pull| {
        pull.head_branch = "tagout/issue-3".to_owned();
        pull.own_task = Some("issue-3".to_owned());
    })
    .expect("admitted");
    assert_eq!(admitted.task_id(), "issue-3");
    assert_eq!(admitted.base_branch(), "main");
    assert_eq!(admitted.base_commit().as_str(), HEAD);
    assert!(matches!(admitted.target(), Target::Own { branch, .. } if branch == "tagout/issue-3"));
}

fn entry(key: &str, actor: u64, at: &str, run: &str) -> Entry {
    Entry {
        key: key.to_owned(),
        actor,
        at: at.to_owned(),
        run: run.to_owned(),
    }
}

/// octocat's comment 70 on issue 7, of midnight, in run 42, against these pages.
fn counted(pages: Vec<Page>) -> Result<Admitted, Refusal> {
    let event = event(&payload("/tagout fix"));
    let facts = Facts {
        ledger: Ledger::Known(pages),
        ..facts(&event)
    };
    let addressed = gate::address(&event, &policy()).expect("addressed to us");
    gate::admit(addressed, &policy(), &facts)
}

fn page(issue: u64, updated_at: &str, entries: Vec<Entry>) -> Page {
    Page {
        issue,
        updated_at: updated_at.to_owned(),
        entries,
    }
}

const TODAY: &str = "2026-01-01T00:00:00Z";
const BEFORE: &str = "2025-12-31T20:00:00Z";
const AFTER: &str = "2026-01-01T09:00:00Z";

#[test]
fn words_start_one_run_however_often_they_are_delivered() {
    let done = |run| vec![page(7, AFTER, vec![entry("comment-70", 1, TODAY, run)])];
    let refusal = counted(done("41")).expect_err("refused");
    assert_eq!(refusal.code(), Code::AlreadyDone);
    assert!(!refusal.answered(), "a redelivery is a no-op");
    assert!(counted(done("42")).is_ok(), "a re-run is the same run");
}

#[test]
fn one_run_of_a_thread_at_a_time() {
    let other = || vec![entry("comment-69", 5, BEFORE, "41")];
    let refusal = counted(vec![page(7, AFTER, other())]).expect_err("refused");
    assert_eq!(refusal.code(), Code::RunOvertaken);
    assert!(refusal.answered());
    assert!(
        counted(vec![page(7, BEFORE, other())]).is_ok(),
        "it was over"
    );
    assert!(
        counted(vec![page(8, AFTER, other())]).is_ok(),
        "another thread"
    );
}

#[test]
fn runs_of_one_account_and_of_a_repository_are_counted_by_the_day() {
    let runs = |count: usize, actor: u64, at: &str| {
        let entries = (0..count)
            .map(|number| entry(&format!("comment-{number}x"), actor, at, "1"))
            .collect();
        vec![page(8, TODAY, entries)]
    };
    assert!(counted(runs(RUNS_PER_ACTOR_DAY_MAX - 1, 1, TODAY)).is_ok());
    let refusal = counted(runs(RUNS_PER_ACTOR_DAY_MAX, 1, TODAY)).expect_err("refused");
    assert_eq!(refusal.code(), Code::BudgetActor);
    assert!(
        counted(runs(RUNS_PER_ACTOR_DAY_MAX, 5, TODAY)).is_ok(),
        "somebody else's"
    );
    assert!(
        counted(runs(RUNS_PER_ACTOR_DAY_MAX, 1, BEFORE)).is_ok(),
        "yesterday's"
    );
    let refusal = counted(runs(RUNS_PER_DAY_MAX, 5, TODAY)).expect_err("refused");
    assert_eq!(refusal.code(), Code::BudgetRepository);
}

#[test]
fn ledger_that_cannot_be_read_is_a_no() {
    let event = event(&payload("/tagout fix"));
    let facts = Facts {
        ledger: Ledger::NotEstablished("500".to_owned()),
        ..facts(&event)
    };
    let addressed = gate::address(&event, &policy()).expect("addressed to us");
    let refusal = gate::admit(addressed, &policy(), &facts).expect_err("refused");
    assert_eq!(refusal.code(), Code::BudgetNotEstablished);
}

#[test]
fn entries_survive_the_comment_and_cannot_break_out_of_it() {
    let first = entry("comment-1", 5, TODAY, "41");
    let hostile = entry("x --> <b>", 1, "now\n", "42 -->");
    let line = budget::write(std::slice::from_ref(&first), &hostile);
    assert_eq!(line.matches("-->").count(), 1, "{line}");
    let read = budget::read(&format!("words\n\n{line}"));
    assert_eq!(read[0], first);
    assert_eq!(read.len(), 2);
    assert_eq!(budget::read("<!-- tagout:runs a,b,c,d -->"), []);
    let again = budget::write(std::slice::from_ref(&first), &first);
    assert_eq!(budget::read(&again), [first], "the same run once");
}
