//! `tagout policy replay`: a recorded log under another policy.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

fn event(fields: &Value) -> Value {
    let mut event = json!({
        "at-ms": 1, "verdict": "allow", "method": "GET", "scheme": "https", "host": "a.example", "port": 443, "path": "/v1/x",
        "sent": 1, "received": 1, "ms": 1, "tls": "inspected",
    });
    for (key, value) in fields.as_object().unwrap() {
        event[key] = value.clone();
    }
    event
}

/// Exit code, `was -> now` of each request in order, and what was said at the end.
fn replay(log: &str, policy: &str) -> (i32, Vec<String>, String) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let log = write("log", log);
    let policy = write("p.yml", &format!("version: 1\n{policy}"));
    let run = |path: &Path| {
        Command::new(env!("CARGO_BIN_EXE_tagout"))
            .env_clear()
            .args(["policy", "replay", "--json"])
            .arg(path)
            .arg("--policy")
            .arg(&policy)
            .output()
            .unwrap()
    };
    let output = run(&log);
    let lines = String::from_utf8(output.stdout).unwrap();
    let judged = lines.lines().map(|line| {
        let value: Value = serde_json::from_str(line).unwrap();
        format!(
            "{} -> {}",
            value["was"].as_str().unwrap(),
            value["now"].as_str().unwrap()
        )
    });
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), judged.collect(), said)
}

fn lines(events: &[Value]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

const ALLOW: &str = "network:\n  allow:\n    - { host: a.example, paths: [/v1/**] }\n";

#[test]
fn what_rules_decide_is_judged_anew_and_all_else_stays() {
    let log = lines(&[
        event(&json!({})),
        event(&json!({"method": "POST"})),
        event(&json!({"verdict": "fail", "code": "upstream-broke"})),
        event(&json!({"verdict": "deny", "code": "host-not-allowed"})),
        event(
            &json!({"verdict": "report", "code": "host-not-allowed", "host": "b.example", "count": 7}),
        ),
        event(&json!({"verdict": "deny", "code": "budget-upload"})),
        event(&json!({"verdict": "deny", "code": "address-not-allowed"})),
        event(&json!({"verdict": "deny", "code": "request-framing", "host": "", "path": ""})),
    ]);
    let (code, judged, said) = replay(&log, ALLOW);
    let expected = [
        "allow -> allow",
        "allow -> deny",
        "allow -> allow",
        "deny -> allow",
        "report -> deny",
        "deny -> deny",
        "deny -> deny",
        "deny -> deny",
    ];
    assert_eq!(judged, expected, "{said}");
    assert_eq!(code, 1);
    assert_eq!(
        said,
        "14 requests, 9 with another verdict, 8 of them refused now; 3 refused for a reason that no rule decides; 0 lines cannot be read\n"
    );
}

#[test]
fn nothing_that_passed_refused_ends_in_0() {
    let log = lines(&[
        event(&json!({})),
        event(&json!({"verdict": "deny", "code": "path-not-allowed", "path": "/v2"})),
    ]);
    assert_eq!(replay(&log, ALLOW).0, 0);
}

#[test]
fn report_mode_tunnels_and_the_model_are_told_apart() {
    let log = lines(&[
        event(&json!({"host": "b.example"})),
        event(&json!({"host": "b.example", "port": 8443})),
        event(&json!({"method": "CONNECT", "host": "t.example", "path": "", "tls": "tunnel"})),
        event(&json!({"method": "CONNECT", "path": "", "tls": "tunnel"})),
        event(&json!({"method": "CONNECT", "host": "u.example", "path": "", "tls": "tunnel"})),
        event(
            &json!({"method": "POST", "host": "m.example", "path": "/v1/responses", "tokens": 5}),
        ),
        event(&json!({"method": "POST", "host": "m.example", "path": "/v1/files"})),
    ]);
    let policy = "network:\n  mode: report\n  allow:\n    - { host: a.example }\n    - { host: t.example, tls: tunnel }\n\
                  agent:\n  model: { api: responses, name: m, base-url: \"https://m.example/v1\", key: KEY }\n";
    let (code, judged, said) = replay(&log, policy);
    let expected = [
        "allow -> report",
        "allow -> deny",
        "allow -> allow",
        "allow -> inspect",
        "allow -> deny",
        "allow -> allow",
        "allow -> deny",
    ];
    assert_eq!(judged, expected, "{said}");
    assert_eq!(code, 1);
}

#[test]
fn a_journal_is_a_log_and_odd_lines_are_counted() {
    let digest = "0".repeat(64);
    let journal = |kind: &str, source: &str, data: &Value| json!({"seq": 1, "at": "2026-01-01T00:00:00Z", "kind": kind, "source": source, "previous": digest, "data": data});
    let mut log = lines(&[
        journal("start", "broker", &json!({})),
        journal("request", "egress", &event(&json!({}))),
        // What somebody inside says is a request is none.
        journal("request", "inside", &event(&json!({}))),
    ]);
    log.push_str("not json\n{\"half\":\n");
    let (code, judged, said) = replay(&log, ALLOW);
    assert_eq!((code, judged.len()), (0, 1), "{said}");
    assert!(said.ends_with("2 lines cannot be read\n"), "{said}");
}
