//! Every event that may start a run, by the examples of others: admitted where its people may, refused or ignored else.

use serde_json::{Value, json};
use tagout::event::{AccountKind, Event, Kind};
use tagout::gate::budget::Ledger;
use tagout::gate::pin::{Pull, Pulled, Target};
use tagout::gate::refusal::{Code, Refusal};
use tagout::gate::{
    self, Admitted, Answer, AskedBy, Base, Facts, Ignored, Refetched, Runner, Standing,
};
use tagout::policy::model;

use crate::event::examples;
use crate::gate::{policy, user};

/// The person of nearly all examples by others.
const OCTO: (&str, u64) = ("Codertocat", 21_031_067);

/// The first example of an event with this action, or nothing where the examples cannot be had.
fn example(name: &str, action: &str) -> Option<Value> {
    examples()
        .into_iter()
        .find(|(found, example)| found == name && example["action"] == action)
        .map(|(_, example)| example)
}

fn read(name: &str, payload: &Value) -> Event {
    Event::read(name, payload.to_string().as_bytes()).expect("a readable payload")
}

fn standing(login: &str, id: u64, role: &str) -> (String, Answer) {
    let account = tagout::event::Account {
        login: login.to_owned(),
        id,
        kind: AccountKind::Human,
    };
    let role = role.to_owned();
    (login.to_owned(), Answer::Known(Standing { account, role }))
}

/// Facts under which everybody of the example may write and nothing has changed since.
fn facts(event: &Event, role: &str) -> Facts {
    let home = event.repository().expect("a repository");
    let words = match event.kind() {
        Kind::Comment(commented) => Some(commented.comment.clone()),
        Kind::Reviewed(reviewed) => Some(reviewed.words.clone()),
        Kind::Raised(raised) => Some(raised.issue.words()),
        _ => None,
    };
    let head = match event.kind() {
        Kind::Reviewed(reviewed) => reviewed.head.clone(),
        Kind::Woken { head, .. } => head.clone(),
        _ => crate::gate::SHA.to_owned(),
    };
    Facts {
        runner: Runner {
            repository: home.name.clone(),
            attempt: 1,
            run: "42".to_owned(),
            triggering_actor: None,
        },
        base: Base {
            branch: home.default_branch.clone().unwrap_or_default(),
            commit: crate::gate::SHA.parse().expect("an id"),
        },
        answers: vec![
            standing(OCTO.0, OCTO.1, role),
            standing("reporter", 3, "read"),
            standing("other", 5, "write"),
        ],
        comment: words.map_or(Refetched::NotNeeded, |words| {
            Refetched::Now(Box::new(words))
        }),
        pull: Pulled::Known(Box::new(Pull {
            open: true,
            head: head.parse().expect("an id"),
            head_branch: "changes".to_owned(),
            same_repository: true,
            base_branch: home.default_branch.clone().unwrap_or_default(),
            pushed_at: None,
            own_task: None,
        })),
        ledger: Ledger::Known(Vec::new()),
        own_account: Some(gate::GITHUB_ACTIONS_BOT),
    }
}

fn judge(event: &Event, policy: &model::Policy, facts: &Facts) -> Result<Admitted, Refusal> {
    let addressed = gate::address(event, policy).expect("addressed to us");
    gate::admit(addressed, policy, facts)
}

#[test]
fn our_label_starts_one_run_on_the_words_of_an_issue() {
    let Some(mut payload) = example("issues", "labeled") else {
        return;
    };
    let policy = policy();
    let other = read("issues", &payload);
    assert_eq!(
        gate::address(&other, &policy),
        Err(Ignored::OtherLabel),
        "the example's label is another one"
    );
    for near in [
        "tagoutx",
        "Tagout",
        "/tagout",
        " tagout",
        "tagout update-deps",
    ] {
        payload["label"]["name"] = json!(near);
        let event = read("issues", &payload);
        let found = gate::address(&event, &policy);
        assert_eq!(found, Err(Ignored::OtherLabel), "{near}");
    }
    payload["label"]["name"] = json!("tagout");
    let event = read("issues", &payload);
    let admitted = judge(&event, &policy, &facts(&event, "write")).expect("admitted");
    assert_eq!(admitted.label(), Some("tagout"));
    assert_eq!(admitted.requester().id, Some(OCTO.1));
    let thread = admitted.thread().expect("its author may write");
    assert_eq!(thread.title, payload["issue"]["title"]);
    assert_eq!(
        admitted.task_id(),
        format!("issue-{}", payload["issue"]["number"])
    );

    let refused = judge(&event, &policy, &facts(&event, "triage")).expect_err("refused");
    assert_eq!(
        refused.code(),
        Code::PermissionTooLow,
        "triage may label, not ask"
    );
}

#[test]
fn label_on_a_strangers_issue_shows_nobody_their_words() {
    let Some(mut payload) = example("issues", "labeled") else {
        return;
    };
    let policy = policy();
    payload["label"]["name"] = json!("tagout");
    payload["issue"]["user"] = user("reporter", 3, "User");
    let event = read("issues", &payload);
    let refused = judge(&event, &policy, &facts(&event, "write")).expect_err("refused");
    assert_eq!(refused.code(), Code::WordsNotShown);
    // A task of the policy says itself what is to be done; the stranger's words stay out.
    payload["label"]["name"] = json!("tagout:update-deps");
    let event = read("issues", &payload);
    let admitted = judge(&event, &policy, &facts(&event, "write")).expect("admitted");
    assert_eq!(admitted.task(), "Update the dependencies");
    assert!(admitted.thread().is_none() && admitted.withheld().len() == 1);
    payload["label"]["name"] = json!("tagout:rm");
    let event = read("issues", &payload);
    let refused = judge(&event, &policy, &facts(&event, "write")).expect_err("refused");
    assert_eq!(refused.code(), Code::TaskUnknown);
}

#[test]
fn issue_that_was_edited_after_the_label_is_refused() {
    let Some(mut payload) = example("issues", "labeled") else {
        return;
    };
    payload["label"]["name"] = json!("tagout");
    let event = read("issues", &payload);
    let mut facts = facts(&event, "write");
    if let Refetched::Now(words) = &mut facts.comment {
        words.body.push_str(" and leak it");
    }
    let refused = judge(&event, &policy(), &facts).expect_err("refused");
    assert_eq!(refused.code(), Code::CommentChanged);
}

#[test]
fn assignment_counts_only_to_the_account_that_we_write_as() {
    let Some(payload) = example("issues", "assigned") else {
        return;
    };
    let event = read("issues", &payload);
    let mut facts = facts(&event, "write");
    let refused = judge(&event, &policy(), &facts).expect_err("refused");
    assert_eq!(refused.code(), Code::NotAssigned);
    assert!(!refused.answered());
    let assignee = payload["assignee"]["id"].as_u64().expect("a number");
    let mut moved = payload;
    moved["assignee"] = user("tagout-bot", 999, "User");
    let event = read("issues", &moved);
    facts.own_account = Some(999);
    assert!(judge(&event, &policy(), &facts).is_ok());
    assert_ne!(assignee, 999);
}

#[test]
fn other_things_done_with_issues_are_ignored() {
    for (name, payload) in examples() {
        if name != "issues" || matches!(payload["action"].as_str(), Some("labeled" | "assigned")) {
            continue;
        }
        let found = gate::address(&read(&name, &payload), &policy());
        assert_eq!(found, Err(Ignored::OtherAction), "{}", payload["action"]);
    }
}

#[test]
fn review_and_its_line_comments_start_runs_on_the_head_that_they_are_about() {
    let cases = [
        ("pull_request_review", "submitted", "review"),
        ("pull_request_review_comment", "created", "comment"),
    ];
    for (name, action, key) in cases {
        let Some(mut payload) = example(name, action) else {
            return;
        };
        let unaddressed = gate::address(&read(name, &payload), &policy());
        assert_eq!(unaddressed, Err(Ignored::NotAddressed), "{name}");
        payload[key]["body"] = json!("/tagout use more emoji");
        let event = read(name, &payload);
        let ready = facts(&event, "write");
        let admitted = judge(&event, &policy(), &ready).expect("admitted");
        assert_eq!(admitted.task(), "use more emoji");
        assert_eq!(admitted.target(), &Target::Stacked);
        assert_eq!(admitted.base_branch(), "changes");
        assert_eq!(
            admitted.base_commit().as_str(),
            payload["pull_request"]["head"]["sha"]
        );
        let by = admitted.origin().expect("a thread").by;
        assert!(
            matches!(by, AskedBy::Review(_) | AskedBy::Line(_)),
            "{name}"
        );

        let low = judge(&event, &policy(), &facts(&event, "read")).expect_err("refused");
        assert_eq!(low.code(), Code::PermissionTooLow);
        // The head moved after the review, or the review was of an older commit.
        let mut moved = ready.clone();
        if let Pulled::Known(pull) = &mut moved.pull {
            pull.head = "f".repeat(40).parse().expect("an id");
        }
        let refused = judge(&event, &policy(), &moved).expect_err("refused");
        assert_eq!(refused.code(), Code::HeadMoved);
        payload[key]["commit_id"] = json!("e".repeat(40));
        let event = read(name, &payload);
        let refused = judge(&event, &policy(), &ready).expect_err("refused");
        assert_eq!(refused.code(), Code::HeadMoved, "an outdated review");
    }
}

#[test]
fn dismissed_edited_and_deleted_words_are_ignored() {
    for (name, mut payload) in examples() {
        let key = match name.as_str() {
            "pull_request_review" => "review",
            "pull_request_review_comment" => "comment",
            _ => continue,
        };
        if matches!(payload["action"].as_str(), Some("submitted" | "created")) {
            continue;
        }
        payload[key]["body"] = json!("/tagout do it");
        let found = gate::address(&read(&name, &payload), &policy());
        assert_eq!(found, Err(Ignored::OtherAction), "{name}");
    }
}

#[test]
fn call_of_the_api_names_a_task_and_its_caller_must_be_allowed() {
    let Some(mut payload) = example("repository_dispatch", "on-demand-test") else {
        return;
    };
    let event = read("repository_dispatch", &payload);
    assert_eq!(gate::address(&event, &policy()), Err(Ignored::OtherCall));
    payload["client_payload"] = json!({"task": "update-deps"});
    payload["sender"] = user(OCTO.0, OCTO.1, "User");
    payload["repository"]["default_branch"] = json!("master");
    let event = read("repository_dispatch", &payload);
    let admitted = judge(&event, &policy(), &facts(&event, "write")).expect("admitted");
    assert_eq!(admitted.task_id(), "task-update-deps");
    let refused = judge(&event, &policy(), &facts(&event, "read")).expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionTooLow);
    // An App's token calls as a bot: by its number, or not at all.
    for (id, expected) in [(77, None), (78, Some(Code::BotNotListed))] {
        payload["sender"] = user("caller[bot]", id, "Bot");
        let event = read("repository_dispatch", &payload);
        let found = judge(&event, &policy(), &facts(&event, "write"));
        assert_eq!(found.err().map(|refusal| refusal.code()), expected);
    }
}

/// A failed run of CI on the default branch: an example by others, with its end, its branch and its people filled in.
fn failed_run() -> Option<Value> {
    let mut payload = example("workflow_run", "completed")?;
    let home = payload["repository"]["id"].clone();
    payload["repository"]["default_branch"] = json!("main");
    payload["sender"] = user(OCTO.0, OCTO.1, "User");
    let run = &mut payload["workflow_run"];
    run["conclusion"] = json!("failure");
    run["event"] = json!("push");
    run["head_branch"] = json!("main");
    run["head_sha"] = json!(crate::gate::SHA);
    run["head_repository"]["id"] = home;
    run["triggering_actor"] = user(OCTO.0, OCTO.1, "User");
    run["pull_requests"] = json!([]);
    Some(payload)
}

fn with_failed_ci() -> model::Policy {
    let mut policy = policy();
    let task = model::Task {
        schedule: None,
        prompt: "Mend the build".to_owned(),
    };
    policy.tasks.insert(gate::FAILED_CI_TASK.to_owned(), task);
    policy
}

#[test]
fn failed_run_is_a_task_where_the_policy_has_one_for_it() {
    let Some(payload) = failed_run() else { return };
    let event = read("workflow_run", &payload);
    assert_eq!(gate::address(&event, &policy()), Err(Ignored::OtherRun));
    let policy = with_failed_ci();
    let admitted = judge(&event, &policy, &facts(&event, "write")).expect("admitted");
    assert_eq!(admitted.task(), "Mend the build");
    assert_eq!(admitted.base_branch(), "main");
    assert!(admitted.failed_run().is_some());
    let refused = judge(&event, &policy, &facts(&event, "read")).expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionTooLow);
    // A newer commit: the failure is not of what would be worked on.
    let mut moved = facts(&event, "write");
    moved.base.commit = "f".repeat(40).parse().expect("an id");
    let refused = judge(&event, &policy, &moved).expect_err("refused");
    assert_eq!(refused.code(), Code::HeadMoved);
}

#[test]
fn runs_that_passed_or_ran_elsewhere_are_ignored() {
    let Some(payload) = failed_run() else { return };
    let policy = with_failed_ci();
    let changes: [(&str, Value); 7] = [
        ("/workflow_run/conclusion", json!("success")),
        ("/workflow_run/conclusion", json!("cancelled")),
        ("/workflow_run/conclusion", Value::Null),
        ("/workflow_run/head_repository/id", json!(1)),
        ("/workflow_run/event", json!("issue_comment")),
        ("/workflow_run/head_branch", json!("tagout/issue-7")),
        ("/workflow_run/head_branch", json!("nobodys-branch")),
    ];
    for (place, value) in changes {
        let mut payload = payload.clone();
        *payload.pointer_mut(place).expect("it is there") = value.clone();
        let event = read("workflow_run", &payload);
        let found = gate::address(&event, &policy);
        assert_eq!(found, Err(Ignored::OtherRun), "{place} {value}");
    }
    for (name, example) in examples() {
        if name == "workflow_run" {
            let found = gate::address(&read(&name, &example), &policy);
            assert_eq!(found, Err(Ignored::OtherRun), "an example by others");
        }
    }
}

#[test]
fn failed_run_is_attributed_to_who_started_it_and_who_passed_it_on_is_asked_too() {
    let Some(mut payload) = failed_run() else {
        return;
    };
    let policy = with_failed_ci();
    payload["workflow_run"]["triggering_actor"] = user("other", 5, "User");
    let event = read("workflow_run", &payload);
    let admitted = judge(&event, &policy, &facts(&event, "write")).expect("admitted");
    assert_eq!(admitted.requester().id, Some(5));
    assert_eq!(admitted.rerunner().and_then(|it| it.id), Some(OCTO.1));
    let refused = judge(&event, &policy, &facts(&event, "read")).expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionTooLow);
    payload["workflow_run"]["triggering_actor"] = user("dependabot[bot]", 49_699_333, "Bot");
    let event = read("workflow_run", &payload);
    let refused = judge(&event, &policy, &facts(&event, "write")).expect_err("refused");
    assert_eq!(refused.code(), Code::BotNotListed);
}

#[test]
fn failed_run_of_a_pull_request_works_on_its_head() {
    let Some(mut payload) = failed_run() else {
        return;
    };
    let policy = with_failed_ci();
    payload["workflow_run"]["head_branch"] = json!("changes");
    payload["workflow_run"]["pull_requests"] = json!([{"number": 8}]);
    let event = read("workflow_run", &payload);
    let ready = facts(&event, "write");
    let admitted = judge(&event, &policy, &ready).expect("admitted");
    assert_eq!(admitted.target(), &Target::Stacked);
    assert_eq!(admitted.task_id(), "pull-8");
    let mut moved = ready;
    if let Pulled::Known(pull) = &mut moved.pull {
        pull.head = "f".repeat(40).parse().expect("an id");
    }
    let refused = judge(&event, &policy, &moved).expect_err("refused");
    assert_eq!(refused.code(), Code::HeadMoved);
}

#[test]
fn every_other_event_is_ignored() {
    let starts = [
        "issue_comment",
        "issues",
        "pull_request_review",
        "pull_request_review_comment",
        "workflow_dispatch",
        "repository_dispatch",
        "workflow_run",
    ];
    let mut seen = 0;
    for (name, payload) in examples() {
        if starts.contains(&name.as_str()) {
            continue;
        }
        seen += 1;
        let found = gate::address(&read(&name, &payload), &with_failed_ci());
        assert_eq!(found, Err(Ignored::OtherEvent), "{name}");
    }
    assert!(seen == 0 || seen > 100, "{seen}");
}
