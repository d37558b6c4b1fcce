//! Who may start a run: each rule with a case that passes and one that is turned away.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tagout::event::{AccountKind, Event, Kind};
use tagout::gate::budget::Ledger;
use tagout::gate::pin::Pulled;
use tagout::gate::refusal::{Code, Refusal};
use tagout::gate::{
    self, Admitted, Answer, Base, Facts, GITHUB_ACTIONS_BOT, Ignored, Refetched, Runner, Standing,
};
use tagout::names::{Level, Permission};
use tagout::policy::model;

pub(crate) const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

pub(crate) fn policy() -> model::Policy {
    model::Policy {
        bases: vec!["release/*".to_owned()],
        triggers: model::Triggers {
            command: "/tagout".to_owned(),
            permission: Permission::Write,
            bots: vec![77],
            schedule_owner: Some("octocat".to_owned()),
        },
        tasks: BTreeMap::from([(
            "update-deps".to_owned(),
            model::Task {
                schedule: Some("17 4 * * 1".to_owned()),
                prompt: "Update the dependencies".to_owned(),
            },
        )]),
        agent: model::Agent {
            kind: model::AgentKind::Builtin,
            command: Vec::new(),
            model: None,
            turns: 60,
            tokens: 500_000,
            wall_time: Duration::from_secs(1200),
        },
        setup: Vec::new(),
        filesystem: model::Filesystem {
            read: Vec::new(),
            write: Vec::new(),
            read_only: Vec::new(),
            deny: Vec::new(),
        },
        environment: model::Environment {
            pass: Vec::new(),
            set: BTreeMap::new(),
        },
        network: model::Network {
            mode: model::NetworkMode::Enforce,
            allow: Vec::new(),
            registries: Vec::new(),
            requests: 1,
            upload_bytes: 1,
            url_bytes: 1,
            at: model::Place {
                file: "p".into(),
                line: 1,
                column: 1,
            },
        },
        require: Level::C,
        limits: model::Limits {
            memory_bytes: 1,
            processes: 1,
            cpu_time: None,
            file_bytes: 1,
            disk_bytes: 1,
            output_bytes: 1,
            wall_time: Duration::from_secs(1),
        },
        changes: model::Changes {
            allow: Vec::new(),
            protect: Vec::new(),
            on_protected: model::OnProtected::Block,
            dependencies: model::Dependencies::Review,
            files: 1,
            bytes: 1,
            file_bytes: 1,
            binary: model::OnBinary::Block,
        },
        verify: Vec::new(),
        pull_request: model::PullRequest {
            branch_prefix: "tagout/".to_owned(),
            labels: Vec::new(),
            reviewers: Vec::new(),
        },
        approval: model::Approval {
            required: 1,
            permission: Permission::Write,
            context: "tagout/approval".to_owned(),
            enforced: model::Enforced::Report,
        },
    }
}

pub(crate) fn user(login: &str, id: u64, kind: &str) -> Value {
    json!({"login": login, "id": id, "type": kind})
}

pub(crate) fn payload(body: &str) -> Value {
    json!({
        "action": "created",
        "issue": {"number": 7, "title": "Broken", "body": "It fails", "user": user("reporter", 3, "User")},
        "comment": {"id": 70, "body": body, "user": user("octocat", 1, "User"),
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"},
        "repository": {"id": 9, "full_name": "o/r", "default_branch": "main"},
        "sender": user("octocat", 1, "User"),
    })
}

pub(crate) fn event(payload: &Value) -> Event {
    Event::read("issue_comment", payload.to_string().as_bytes()).expect("a readable payload")
}

pub(crate) fn standing(login: &str, id: u64, role: &str) -> (String, Answer) {
    let account = tagout::event::Account {
        login: login.to_owned(),
        id,
        kind: AccountKind::Human,
    };
    let role = role.to_owned();
    (login.to_owned(), Answer::Known(Standing { account, role }))
}

/// Facts under which octocat's comment is admitted.
pub(crate) fn facts(event: &Event) -> Facts {
    let comment = match event.kind() {
        Kind::Comment(commented) => Refetched::Now(Box::new(commented.comment.clone())),
        _ => Refetched::NotNeeded,
    };
    Facts {
        runner: Runner {
            repository: "o/r".parse().expect("a name"),
            attempt: 1,
            run: "42".to_owned(),
            triggering_actor: Some("octocat".to_owned()),
        },
        base: Base {
            branch: "main".to_owned(),
            commit: SHA.parse().expect("an id"),
        },
        answers: vec![
            standing("octocat", 1, "write"),
            standing("reporter", 3, "read"),
        ],
        comment,
        pull: Pulled::NotNeeded,
        ledger: Ledger::Known(Vec::new()),
        own_account: Some(GITHUB_ACTIONS_BOT),
    }
}

fn judge_with(event: &Event, change: impl FnOnce(&mut Facts)) -> Result<Admitted, Refusal> {
    judge_under(&policy(), event, change)
}

fn judge_under(
    policy: &model::Policy,
    event: &Event,
    change: impl FnOnce(&mut Facts),
) -> Result<Admitted, Refusal> {
    let addressed = gate::address(event, policy).expect("addressed to us");
    let mut facts = facts(event);
    change(&mut facts);
    gate::admit(addressed, policy, &facts)
}

fn refused_with(event: &Event, change: impl FnOnce(&mut Facts)) -> Code {
    judge_with(event, change).expect_err("refused").code()
}

fn ask(body: &str) -> Result<Admitted, Refusal> {
    judge_with(&event(&payload(body)), |_| {})
}

fn ignored(body: &str) -> bool {
    gate::address(&event(&payload(body)), &policy()) == Err(Ignored::NotAddressed)
}

#[test]
fn comment_of_a_writer_is_admitted() {
    let admitted = ask("/tagout fix the test\nplease\n").unwrap();
    assert_eq!(admitted.task(), "fix the test\nplease");
    assert_eq!(admitted.requester().id, Some(1));
    assert_eq!(admitted.task_id(), "issue-7");
    assert_eq!(admitted.base_branch(), "main");
    assert_eq!(admitted.base_commit().as_str(), SHA);
}

#[test]
fn only_the_first_word_of_the_first_line_counts() {
    for body in [
        "",
        "hello /tagout fix",
        "\n/tagout fix",
        "> /tagout fix",
        "```\n/tagout fix\n```",
        "    /tagout fix",
        "\t/tagout fix",
        "<b>/tagout fix</b>",
        "[/tagout fix](https://example.com)",
        "/tagoutfix",
        "/tagout-fix it",
        "/tagout: fix",
        "/Tagout fix",
        "`/tagout fix`",
        "<!--\n-->/tagout fix",
        "\u{200b}/tagout fix",
        "/tag\u{200b}out fix",
        "\u{feff}/tagout fix",
        "https://example.com/tagout fix",
    ] {
        assert!(ignored(body), "{body:?}");
    }
    for body in [
        "/tagout fix",
        "  /tagout fix",
        "/tagout\nfix",
        "/tagout\r\nfix",
        "/tagout\tfix",
    ] {
        assert_eq!(ask(body).unwrap().task(), "fix", "{body:?}");
    }
}

#[test]
fn edited_comment_is_ignored() {
    let mut edited = payload("/tagout fix");
    edited["action"] = json!("edited");
    assert_eq!(
        gate::address(&event(&edited), &policy()),
        Err(Ignored::OtherAction)
    );
}

#[test]
fn our_own_words_are_ignored() {
    let marked = payload("/tagout fix\n<!-- tagout:status -->");
    assert_eq!(
        gate::address(&event(&marked), &policy()),
        Err(Ignored::OwnWords)
    );
    let mut bot = payload("/tagout fix");
    bot["comment"]["user"] = user("github-actions[bot]", GITHUB_ACTIONS_BOT, "Bot");
    assert_eq!(
        gate::address(&event(&bot), &policy()),
        Err(Ignored::OwnWords)
    );
}

#[test]
fn permission_is_a_threshold() {
    let event = event(&payload("/tagout fix"));
    let with = |role: &str| {
        judge_with(&event, |facts| {
            facts.answers[0] = standing("octocat", 1, role)
        })
        .map_err(|refusal| refusal.code())
    };
    for role in ["write", "maintain", "admin"] {
        assert!(with(role).is_ok(), "{role}");
    }
    for role in ["none", "read", "triage"] {
        assert_eq!(with(role).unwrap_err(), Code::PermissionTooLow, "{role}");
    }
    for role in ["", "owner", "Write", "security-manager"] {
        assert_eq!(with(role).unwrap_err(), Code::RoleUnknown, "{role}");
    }
}

#[test]
fn permission_that_is_not_established_is_a_no() {
    let event = event(&payload("/tagout fix"));
    let code = refused_with(&event, |facts| {
        facts.answers[0].1 = Answer::NotEstablished("500".to_owned());
    });
    assert_eq!(code, Code::PermissionNotEstablished);
    let code = refused_with(&event, |facts| facts.answers.clear());
    assert_eq!(code, Code::PermissionNotEstablished);
}

#[test]
fn login_registered_again_is_refused() {
    let event = event(&payload("/tagout fix"));
    let code = refused_with(&event, |facts| {
        facts.answers[0] = standing("octocat", 2, "admin");
    });
    assert_eq!(code, Code::AccountChanged);
}

#[test]
fn bot_counts_by_its_number_only() {
    let with = |id: u64, login: &str| {
        let mut payload = payload("/tagout fix");
        payload["comment"]["user"] = user(login, id, "Bot");
        payload["sender"] = user(login, id, "Bot");
        judge_with(&event(&payload), |_| {}).map_err(|refusal| {
            assert!(
                !refusal.answered(),
                "two bots would answer each other for ever"
            );
            refusal.code()
        })
    };
    assert!(with(77, "renamed[bot]").is_ok());
    assert_eq!(with(78, "dependabot[bot]"), Err(Code::BotNotListed));
}

#[test]
fn human_whose_login_ends_in_bot_gains_nothing() {
    let mut payload = payload("/tagout fix");
    payload["comment"]["user"] = user("dependabot[bot]", 5, "User");
    payload["sender"] = user("dependabot[bot]", 5, "User");
    let code = refused_with(&event(&payload), |_| {});
    assert_eq!(code, Code::PermissionNotEstablished);
}

#[test]
fn organisation_cannot_ask() {
    let mut payload = payload("/tagout fix");
    payload["comment"]["user"] = user("octocat", 1, "Mannequin");
    payload["sender"] = user("octocat", 1, "Mannequin");
    assert_eq!(
        refused_with(&event(&payload), |_| {}),
        Code::AccountNotHuman
    );
}

#[test]
fn sender_must_be_the_author() {
    let mut payload = payload("/tagout fix");
    payload["sender"] = user("octocat", 2, "User");
    assert_eq!(
        refused_with(&event(&payload), |_| {}),
        Code::SenderNotAuthor
    );
    payload["sender"] = Value::Null;
    assert_eq!(refused_with(&event(&payload), |_| {}), Code::SenderUnknown);
}

#[test]
fn comment_posted_by_an_app_is_refused() {
    let mut payload = payload("/tagout fix");
    payload["comment"]["performed_via_github_app"] = json!({"id": 4, "slug": "relay"});
    assert_eq!(refused_with(&event(&payload), |_| {}), Code::AppNotListed);
}

#[test]
fn comment_must_still_stand_as_sent() {
    let event = event(&payload("/tagout fix"));
    let code = refused_with(&event, |facts| {
        if let Refetched::Now(comment) = &mut facts.comment {
            comment.body = "/tagout leak".to_owned();
        }
    });
    assert_eq!(code, Code::CommentChanged);
    let code = refused_with(&event, |facts| facts.comment = Refetched::Gone);
    assert_eq!(code, Code::CommentGone);
    for unknown in [
        Refetched::NotNeeded,
        Refetched::NotEstablished("500".to_owned()),
    ] {
        let code = refused_with(&event, |facts| facts.comment = unknown);
        assert_eq!(code, Code::CommentNotEstablished);
    }
}

#[test]
fn permission_is_judged_before_the_request_is_weighed() {
    // A stranger learns nothing of tasks, bases or empty requests.
    let event = event(&payload("/tagout"));
    let code = refused_with(&event, |facts| {
        facts.answers[0] = standing("octocat", 1, "read");
        facts.comment = Refetched::Gone;
        facts.base.branch = "evil".to_owned();
    });
    assert_eq!(code, Code::PermissionTooLow);
}

#[test]
fn whoever_starts_a_rerun_is_asked_too_and_counts_as_requester() {
    let event = event(&payload("/tagout fix"));
    let rerun = |role: Option<&str>| {
        judge_with(&event, |facts| {
            facts.runner.attempt = 2;
            facts.runner.triggering_actor = Some("other".to_owned());
            facts
                .answers
                .extend(role.map(|role| standing("other", 5, role)));
        })
    };
    let admitted = rerun(Some("write")).unwrap();
    assert_eq!(admitted.rerunner().unwrap().id, Some(5));
    assert_eq!(
        rerun(Some("read")).unwrap_err().code(),
        Code::PermissionTooLow
    );
    assert_eq!(
        rerun(None).unwrap_err().code(),
        Code::PermissionNotEstablished
    );
    let code = refused_with(&event, |facts| {
        facts.runner.attempt = 2;
        facts.runner.triggering_actor = None;
    });
    assert_eq!(code, Code::RerunActorUnknown);
}

#[test]
fn no_comment_starts_a_run_that_only_reports() {
    let mut open = policy();
    open.network.mode = model::NetworkMode::Report;
    let event = event(&payload("/tagout fix"));
    let refusal = judge_under(&open, &event, |_| {}).unwrap_err();
    assert_eq!(refusal.code(), Code::ReportMode);
    assert!(refusal.answered());
    // The permission is still asked first.
    let refusal = judge_under(&open, &event, |facts| {
        facts.answers[0] = standing("octocat", 1, "read");
    })
    .unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionTooLow);
    assert!(judge_under(&policy(), &event, |_| {}).is_ok());
    let by_clock = scheduled("17 4 * * 1");
    assert!(judge_under(&open, &by_clock, |_| {}).is_ok());
}

#[test]
fn words_of_a_stranger_are_withheld_and_said_to_be() {
    let admitted = ask("/tagout fix").unwrap();
    assert!(admitted.thread().is_none());
    assert_eq!(admitted.withheld().len(), 1);
    assert_eq!(admitted.withheld()[0].why, "permission-too-low");
    let event = event(&payload("/tagout fix"));
    let admitted = judge_with(&event, |facts| {
        facts.answers[1] = standing("reporter", 3, "write");
    })
    .unwrap();
    assert_eq!(admitted.thread().unwrap().body, "It fails");
    assert!(admitted.withheld().is_empty());
}

#[test]
fn task_of_the_policy_is_picked_by_its_name() {
    let admitted = ask("/tagout update-deps").unwrap();
    assert_eq!(admitted.task_name(), Some("update-deps"));
    assert_eq!(admitted.task(), "Update the dependencies");
    assert_eq!(ask("/tagout update-deps now").unwrap().task_name(), None);
}

#[test]
fn request_without_words_is_refused() {
    assert_eq!(ask("/tagout").unwrap_err().code(), Code::TaskEmpty);
    let long = format!("/tagout {}", "x".repeat(gate::TASK_BYTES_MAX + 1));
    assert_eq!(ask(&long).unwrap_err().code(), Code::TaskTooLong);
}

#[test]
fn commit_is_asked_for_on_pull_requests_only_and_in_full() {
    assert_eq!(
        ask(&format!("/tagout run {SHA}")).unwrap_err().code(),
        Code::HeadOnIssue
    );
    assert_eq!(
        ask("/tagout run 0123456").unwrap_err().code(),
        Code::HeadShort
    );
    assert_eq!(
        ask("/tagout run the tests").unwrap().task(),
        "run the tests"
    );
}

#[test]
fn base_is_the_default_branch_or_a_listed_one() {
    let dispatch = |reference: &str| {
        let payload = json!({"inputs": {"task": "update-deps"}, "ref": reference,
            "repository": {"id": 9, "full_name": "o/r", "default_branch": "main"},
            "sender": user("octocat", 1, "User")});
        let event =
            Event::read("workflow_dispatch", payload.to_string().as_bytes()).expect("readable");
        let branch = reference.trim_start_matches("refs/heads/").to_owned();
        judge_with(&event, |facts| facts.base.branch = branch).map_err(|refusal| refusal.code())
    };
    assert!(dispatch("refs/heads/main").unwrap().on_default_branch());
    assert!(
        !dispatch("refs/heads/release/1")
            .unwrap()
            .on_default_branch()
    );
    assert_eq!(
        dispatch("refs/heads/release/1/x"),
        Err(Code::BaseNotAllowed)
    );
    assert_eq!(dispatch("refs/heads/evil"), Err(Code::BaseNotAllowed));
    assert_eq!(dispatch("refs/tags/main"), Err(Code::BaseNotAllowed));
    let event = event(&payload("/tagout fix"));
    let code = refused_with(&event, |facts| facts.base.branch = "release/1".to_owned());
    assert_eq!(
        code,
        Code::BaseNotAllowed,
        "a comment runs on the default branch"
    );
}

#[test]
fn dispatch_needs_a_task_of_the_policy() {
    let dispatch = |inputs: Value| {
        let payload = json!({"inputs": inputs, "ref": "refs/heads/main",
            "repository": {"id": 9, "full_name": "o/r", "default_branch": "main"},
            "sender": user("octocat", 1, "User")});
        let event =
            Event::read("workflow_dispatch", payload.to_string().as_bytes()).expect("readable");
        judge_with(&event, |_| {}).map_err(|refusal| refusal.code())
    };
    assert_eq!(
        dispatch(json!({"task": "update-deps"})).unwrap().task_id(),
        "task-update-deps"
    );
    assert_eq!(dispatch(json!({"task": "rm"})), Err(Code::TaskUnknown));
    assert_eq!(dispatch(json!({})), Err(Code::TaskUnknown));
    assert_eq!(dispatch(Value::Null), Err(Code::TaskUnknown));
}

fn scheduled(cron: &str) -> Event {
    let payload = json!({"schedule": cron,
        "repository": {"id": 9, "full_name": "o/r", "default_branch": "main"}});
    Event::read("schedule", payload.to_string().as_bytes()).expect("readable")
}

#[test]
fn schedule_is_attributed_to_its_owner() {
    let event = scheduled("17 4 * * 1");
    let admitted = judge_with(&event, |_| {}).unwrap();
    assert_eq!(admitted.requester().login, "octocat");
    assert_eq!(admitted.task_id(), "task-update-deps");
    let code = refused_with(&event, |facts| {
        facts.answers[0] = standing("octocat", 1, "read");
    });
    assert_eq!(code, Code::PermissionTooLow);
    let mut ownerless = policy();
    ownerless.triggers.schedule_owner = None;
    let addressed = gate::address(&event, &ownerless).unwrap();
    let refusal = gate::admit(addressed, &ownerless, &facts(&event)).unwrap_err();
    assert_eq!(refusal.code(), Code::ScheduleOwnerMissing);
}

#[test]
fn cron_line_of_no_task_is_ignored_and_of_two_is_refused() {
    assert_eq!(
        gate::address(&scheduled("1 1 1 1 1"), &policy()),
        Err(Ignored::OtherSchedule)
    );
    let mut twice = policy();
    let task = twice.tasks["update-deps"].clone();
    twice.tasks.insert("again".to_owned(), task);
    let event = scheduled("17 4 * * 1");
    let addressed = gate::address(&event, &twice).unwrap();
    let refusal = gate::admit(addressed, &twice, &facts(&event)).unwrap_err();
    assert_eq!(refusal.code(), Code::TaskAmbiguous);
}

#[test]
fn event_of_another_repository_is_refused() {
    let event = event(&payload("/tagout fix"));
    let code = refused_with(&event, |facts| {
        facts.runner.repository = "o/other".parse().unwrap();
    });
    assert_eq!(code, Code::RepositoryMismatch);
}

#[test]
fn codes_are_kebab_case_and_differ() {
    let mut words: Vec<&str> = Code::ALL.iter().map(|code| code.word()).collect();
    words.sort_unstable();
    let before = words.len();
    words.dedup();
    assert_eq!(words.len(), before);
    assert!(words.iter().all(|word| {
        word.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    }));
}

#[test]
fn documented_refusals_are_the_ones_that_exist() {
    let documented = include_str!("../../docs/refusals.md");
    assert!(
        documented.contains(&tagout::gate::refusal::table()),
        "docs/refusals.md is to hold:\n{}",
        tagout::gate::refusal::table()
    );
}
