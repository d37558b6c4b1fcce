//! A secret goes on the wire only where its rule says, and never comes back.

use super::{Egress, Origin, network, rule, with_secrets};
use tagout::broker::egress::setup::{EgressSetup, ProxyAuth};
use tagout::policy::model::{Credential, PathPattern, Rule};

const SECRET: &str = "sk-test-0123456789abcdef";

fn start(origin: &Origin) -> (Egress, String) {
    let keyed = Rule {
        methods: vec!["GET".to_owned(), "POST".to_owned()],
        credential: Some(Credential {
            header: "authorization".to_owned(),
            value: "Bearer ${EXAMPLE_KEY}".to_owned(),
            variable: "EXAMPLE_KEY".to_owned(),
        }),
        ..rule("origin.test", origin.port(), 4)
    };
    let plain = Rule {
        methods: vec!["GET".to_owned(), "POST".to_owned()],
        ..rule("other.test", origin.port(), 5)
    };
    let open = Rule {
        paths: vec![PathPattern("/open".to_owned())],
        ..rule("origin.test", origin.port(), 6)
    };
    let setup = EgressSetup::new("p.yml", network(vec![keyed, plain, open]));
    let setup = with_secrets(setup, &[("EXAMPLE_KEY", SECRET)]);
    let placeholder = setup.placeholders()[0].1.clone();
    let names = ["origin.test", "other.test"];
    let egress = Egress::start_with(setup, origin, &names, ProxyAuth::Anyone);
    (egress, placeholder)
}

#[test]
fn placeholder_is_swapped_on_the_wire_and_never_comes_back() {
    let origin = Origin::tls(&["origin.test", "other.test"]);
    let (egress, placeholder) = start(&origin);
    let header = format!("Authorization: Bearer {placeholder}");
    for version in ["--http1.1", "--http2"] {
        let answer = egress.curl(&[
            version,
            "-H",
            &header,
            &origin.url("origin.test", "/ok/headers"),
        ]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = origin.seen().pop().unwrap();
        assert_eq!(seen.headers["authorization"], format!("Bearer {SECRET}"));
        assert!(
            !answer.body.contains(SECRET) && !answer.head.contains(SECRET),
            "{answer:?}"
        );
        assert!(
            answer.body.contains("authorization: Bearer ****"),
            "{answer:?}"
        );
        assert!(answer.head.contains("x-echo: bearer ****"), "{answer:?}");
    }
    for event in egress.finish() {
        assert!(!format!("{event:?}").contains(SECRET));
    }
}

#[test]
fn a_secret_in_two_pieces_or_in_a_trailer_does_not_come_back() {
    let origin = Origin::tls(&["origin.test", "other.test"]);
    let (egress, placeholder) = start(&origin);
    let header = format!("Authorization: Bearer {placeholder}");
    let stars = format!("Bearer {}", "*".repeat(SECRET.len()));
    for version in ["--http1.1", "--http2"] {
        let url = origin.url("origin.test", "/ok/halves");
        let answer = egress.curl(&[version, "-H", "TE: trailers", "-H", &header, &url]);
        assert_eq!(answer.status, 200, "{answer:?}");
        // curl puts the trailers behind the body.
        assert!(answer.body.starts_with(&stars), "{answer:?}");
        assert!(
            answer.body.contains(&format!("x-again: {stars}")),
            "{answer:?}"
        );
        assert!(!answer.body.contains(&SECRET[..12]), "{answer:?}");
    }
}

#[test]
fn a_redirect_takes_no_secret_along_and_an_encoded_answer_does_not_pass() {
    let origin = Origin::tls(&["origin.test", "other.test"]);
    let (egress, placeholder) = start(&origin);
    let header = format!("Authorization: Bearer {placeholder}");
    // A client that follows with its header: the next hop is judged again.
    let to = format!("/ok/redirect/other.test:{}", origin.port());
    let url = origin.url("origin.test", &to);
    let followed = egress.curl(&["-L", "--location-trusted", "-H", &header, &url]);
    assert!(
        followed.body.contains("placeholder-misplaced"),
        "{followed:?}"
    );
    // A client that drops it there is served without it.
    let plain = egress.curl(&["-L", "-H", &header, &url]);
    assert!(plain.body.contains("origin"), "{plain:?}");
    let encoded = origin.url("origin.test", "/ok/encoded");
    let answer = egress.curl(&["-H", &header, &encoded]);
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(answer.head.contains("x-tagout-failed: answer-encoded"));
    let seen = origin.seen();
    let hops: Vec<(&str, bool)> = seen
        .iter()
        .map(|seen| {
            (
                seen.target.as_str(),
                seen.headers.contains_key("authorization"),
            )
        })
        .collect();
    assert_eq!(
        hops,
        [
            (to.as_str(), true),
            (to.as_str(), true),
            ("/ok/x", false),
            ("/ok/encoded", true)
        ]
    );
}

#[test]
fn an_own_credential_of_the_agent_does_not_leave() {
    let origin = Origin::tls(&["origin.test", "other.test"]);
    let (egress, _) = start(&origin);
    let answer = egress.curl(&[
        "-H",
        "Authorization: Bearer mine",
        &origin.url("origin.test", "/ok/x"),
    ]);
    assert_eq!(answer.status, 200);
    assert!(!origin.seen()[0].headers.contains_key("authorization"));
}

#[test]
fn placeholder_elsewhere_is_an_attempt() {
    let origin = Origin::tls(&["origin.test", "other.test"]);
    let (egress, placeholder) = start(&origin);
    let header = format!("Authorization: Bearer {placeholder}");
    let other = format!("X-Note: {placeholder}");
    let query = format!("/ok/x?key={placeholder}");
    let good = origin.url("origin.test", "/ok/x");
    let long = format!("{}{placeholder}{}", "a".repeat(40_000), "b".repeat(40_000));
    for args in [
        vec!["-H", &header, &origin.url("other.test", "/ok/x")],
        vec!["-H", &header, &origin.url("origin.test", "/open")],
        vec!["-H", &other, &good],
        vec![&origin.url("origin.test", &query)],
        vec!["-d", &long, &origin.url("other.test", "/ok/echo")],
    ] {
        let answer = egress.curl(&args);
        assert_eq!(
            (answer.status, answer.code()),
            (403, Some("placeholder-misplaced")),
            "{answer:?}"
        );
    }
    assert!(
        origin
            .seen()
            .iter()
            .all(|seen| !seen.headers.contains_key("authorization"))
    );
    let events = egress.finish();
    assert!(
        events
            .iter()
            .all(|event| event.code.as_deref() == Some("placeholder-misplaced")),
        "{events:?}"
    );
}

#[test]
fn a_secret_that_nobody_named_is_refused_before_anything_starts() {
    let setup = || {
        let keyed = Rule {
            credential: Some(Credential {
                header: "authorization".to_owned(),
                value: "Bearer ${EXAMPLE_KEY}".to_owned(),
                variable: "EXAMPLE_KEY".to_owned(),
            }),
            ..rule("origin.test", 443, 4)
        };
        EgressSetup::new("p.yml", network(vec![keyed]))
    };
    let value = |_: &str| Some(SECRET.to_owned());
    let none = |_: &str| None;
    let named = ["EXAMPLE_KEY".to_owned()];
    assert!(setup().with_secrets(&[], &value).is_err());
    assert!(setup().with_secrets(&named, &none).is_err());
    assert!(
        setup()
            .with_secrets(&named, &|_: &str| Some("short".to_owned()))
            .is_err()
    );
    let setup = setup().with_secrets(&named, &value).unwrap();
    assert!(!format!("{setup:?}").contains(SECRET));
}
