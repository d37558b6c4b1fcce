//! The policy's verify commands: what they see, how they end, and where that is told.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;

use serde_json::Value;

use crate::job::{Place, answer};

/// A repository whose policy verifies with these commands.
fn place(verify: &[&str]) -> Place {
    let list = serde_json::to_string(verify).unwrap();
    let policy = format!("version: 1\nverify: {list}\n");
    Place::with(&[
        ("a.txt", "hello\n"),
        (".gitignore", "target/\n"),
        (".github/tagout.yml", &policy),
    ])
}

fn report(json: &Value) -> String {
    fs::read_to_string(json["report"].as_str().unwrap()).unwrap()
}

#[test]
fn verify_sees_the_base_with_the_changes_and_its_end_is_reported() {
    let place = place(&[
        "test \"$(cat b.txt)\" = new && test \"$(cat a.txt)\" = changed",
        "test -x run.sh && test -L link",
    ]);
    let (code, json) = place.run(
        "echo new > b.txt; echo changed > a.txt; echo x > run.sh; chmod +x run.sh; ln -s a.txt link",
    );
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("proposed")),
        "{json}"
    );
    let page = report(&json);
    assert_eq!(page.matches("| well |").count(), 2, "{page}");
}

#[test]
fn verify_that_fails_is_shown_and_what_comes_after_it_is_not_started() {
    let place = place(&["echo looked; exit 3", "true"]);
    let (code, json) = place.run("echo new > b.txt");
    assert_eq!(
        (code, json["outcome"].as_str()),
        (0, Some("proposed")),
        "a human decides: {json}"
    );
    let page = report(&json);
    assert!(page.contains("**failed** with exit code 3"), "{page}");
    assert!(page.contains("| not started |"), "{page}");
}

#[test]
fn verify_finds_nothing_that_the_agent_left_beside_its_changes() {
    let place = place(&[
        "test ! -e target/evil",
        "test ! -e \"$HOME/evil\"",
        "test ! -e \"$TMPDIR/evil\" && test ! -e /tmp/evil",
        "test -e b.txt",
    ]);
    let (code, json) = place.run(
        "mkdir -p target; for at in target \"$HOME\" \"$TMPDIR\" /tmp; do echo x > $at/evil; done; \
         test -e target/evil && test -e \"$HOME/evil\" && echo new > b.txt",
    );
    assert_eq!(code, 0, "{json}");
    let page = report(&json);
    assert_eq!(page.matches("| well |").count(), 4, "{page}");
}

#[test]
fn what_verify_writes_is_not_proposed() {
    let place = place(&["echo more > c.txt; echo spoilt > b.txt"]);
    let (code, json) = place.run("echo new > b.txt");
    assert_eq!(code, 0, "{json}");
    let branch = json["branch"].as_str().unwrap();
    assert_eq!(place.git(&["show", &format!("{branch}:b.txt")]), "new\n");
    let files = place.git(&["ls-tree", "--name-only", branch]);
    assert!(!files.contains("c.txt"), "{files}");
}

#[test]
fn result_of_verify_passes_to_publish_as_a_claim() {
    let place = place(&["exit 7"]);
    let bundle = place.out("bundle");
    let bundle = bundle.to_str().unwrap();
    let shared = [
        "--json", "--task", "x", "--forge", "local", "--bundle", bundle,
    ];
    let agent = ["--", "sh", "-c", "echo new > b.txt"];
    let (code, sealed) = answer(&place.tagout(&[&["execute"][..], &shared, &agent].concat()));
    assert_eq!(code, 0, "{sealed}");
    let digest = sealed["digest"].as_str().unwrap();
    let (code, json) =
        answer(&place.tagout(&[&["publish"][..], &shared, &["--digest", digest]].concat()));
    assert_eq!(code, 0, "{json}");
    let page = report(&json);
    assert!(page.contains("**failed** with exit code 7"), "{page}");
    assert!(
        page.contains("test results and cost are claimed by the execute job"),
        "{page}"
    );
}
