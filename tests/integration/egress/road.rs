//! What passes and what is refused, asked by curl.

use super::{Egress, Origin, network, rule};
use tagout::broker::egress::log::Decision;

#[test]
fn listed_get_passes_and_all_else_is_refused_readably() {
    let origin = Origin::tls(&["origin.test"]);
    let egress = Egress::start(
        network(vec![rule("origin.test", origin.port(), 4)]),
        &origin,
        &["origin.test"],
    );
    let good = egress.curl(&[&origin.url("origin.test", "/ok/x")]);
    assert_eq!(
        (good.status, good.body.as_str()),
        (200, "origin"),
        "{good:?}"
    );
    assert_eq!(good.code(), None, "an upstream cannot forge our header");
    assert!(!good.head.contains("alt-svc"));
    let dialled = origin.accepted();

    let post = egress.curl(&["-d", "a=1", &origin.url("origin.test", "/ok/x")]);
    assert_eq!(
        (post.status, post.code()),
        (403, Some("method-not-allowed")),
        "{post:?}"
    );
    let first = post.body.lines().next().unwrap();
    assert!(first.starts_with("denied by p.yml:4 ("), "{first}");
    assert!(
        first.ends_with(&format!("): POST {}", origin.url("origin.test", "/ok/x"))),
        "{first}"
    );
    assert!(post.body.contains("not an outage"));

    for (url, code) in [
        (origin.url("origin.test", "/no/x"), "path-not-allowed"),
        (origin.url("unknown.test", "/ok/x"), "host-not-allowed"),
        (origin.url("127.0.0.1", "/ok/x"), "address-literal"),
        (origin.url("2130706433", "/ok/x"), "sni-mismatch"),
        ("https://origin.test:4/ok/x".to_owned(), "port-not-allowed"),
        (
            format!("http://origin.test:{}/no/x", origin.port()),
            "path-not-allowed",
        ),
    ] {
        let denied = egress.curl(&[&url]);
        assert_eq!(denied.status, 403, "{url} {denied:?}");
        if code != "sni-mismatch" {
            assert_eq!(denied.code(), Some(code), "{url}");
        }
    }
    let json = egress.curl(&[
        "-H",
        "Accept: application/json",
        &origin.url("unknown.test", "/"),
    ]);
    let value: serde_json::Value = serde_json::from_str(&json.body).unwrap();
    assert_eq!(value["error"]["code"], "host-not-allowed");
    assert_eq!(
        origin.accepted(),
        dialled,
        "nothing that is refused may be dialled"
    );

    let events = egress.finish();
    assert_eq!(events[0].verdict, Decision::Allow);
    assert_eq!(events[0].rule.as_deref(), Some("p.yml:4"));
    assert_eq!(events[0].status, Some(200));
    assert_eq!(events[0].received, 6);
    assert!(
        events[1..]
            .iter()
            .all(|event| event.verdict == Decision::Deny),
        "{events:?}"
    );
}

#[test]
fn what_must_not_leave_is_taken_off() {
    let origin = Origin::tls(&["origin.test"]);
    let egress = Egress::start(
        network(vec![rule("origin.test", origin.port(), 4)]),
        &origin,
        &["origin.test"],
    );
    for h2 in [false, true] {
        let version = if h2 { "--http2" } else { "--http1.1" };
        let url = origin.url("origin.test", "/ok/x");
        let answer = egress.curl(&[
            version,
            "-H",
            "Authorization: Bearer mine",
            "-H",
            "Cookie: a=b",
            "-H",
            "X-Api-Key: mine",
            "-H",
            "X-HTTP-Method-Override: DELETE",
            "-H",
            "X-Kept: yes",
            &url,
        ]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = origin.seen().pop().unwrap();
        assert_eq!(seen.h2, h2, "the client's protocol is mirrored upstream");
        let mut names: Vec<&str> = seen
            .headers
            .keys()
            .map(hyper::header::HeaderName::as_str)
            .collect();
        names.sort_unstable();
        names.retain(|name| *name != "host");
        assert_eq!(names, ["accept", "user-agent", "x-kept"]);
    }
}

#[test]
fn a_log_is_judged_anew_under_a_changed_policy() {
    let origin = Origin::tls(&["origin.test"]);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("egress.jsonl");
    let setup = tagout::broker::egress::setup::EgressSetup::new(
        "p.yml",
        network(vec![rule("origin.test", origin.port(), 4)]),
    )
    .with_log(log.clone());
    let auth = tagout::broker::egress::setup::ProxyAuth::Anyone;
    let egress = Egress::start_with(setup, &origin, &["origin.test"], auth);
    egress.curl(&[&origin.url("origin.test", "/ok/x")]);
    egress.curl(&["-d", "x", &origin.url("origin.test", "/ok/y")]);
    egress.finish();
    let policy = folder.path().join("q.yml");
    let text = format!(
        "version: 1\nnetwork:\n  allow:\n    - {{host: origin.test, ports: [{}], methods: [POST], paths: [/ok/y]}}\n",
        origin.port()
    );
    std::fs::write(&policy, text).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tagout"))
        .env_clear()
        .args(["policy", "replay"])
        .arg(&log)
        .arg("--policy")
        .arg(&policy)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("allow -> deny (method-not-allowed)  GET https://origin.test:"),
        "{text}"
    );
    assert!(
        lines[1].starts_with("deny -> allow  POST https://origin.test:"),
        "{text}"
    );
}
