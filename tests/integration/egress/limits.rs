//! What one host may get in one run, and what a request may look like.

use super::{Egress, Origin, network, raw, rule};
use tagout::broker::egress::setup::{EgressSetup, ProxyAuth};
use tagout::policy::model::{Network, Rule};

#[test]
fn upload_over_the_budget_is_refused_or_broken_off() {
    let origin = Origin::tls(&["origin.test", "other.test"]);
    let post = |host: &str, line| Rule {
        methods: vec!["GET".to_owned(), "POST".to_owned()],
        ..rule(host, origin.port(), line)
    };
    let network = Network {
        upload_bytes: 20_000,
        ..network(vec![post("origin.test", 4), post("other.test", 5)])
    };
    let egress = Egress::start(network, &origin, &["origin.test", "other.test"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a".repeat(15_000)).unwrap();
    let body = format!("@{}", file.path().display());
    let url = origin.url("origin.test", "/ok/x");
    assert_eq!(egress.curl(&["-d", &body, &url]).status, 200);
    let known = egress.curl(&["-d", &body, &url]);
    assert_eq!((known.status, known.code()), (403, Some("budget-upload")));
    assert_eq!(
        origin.seen().len(),
        1,
        "refused before forwarding where the length tells"
    );
    let other = origin.url("other.test", "/ok/x");
    assert_eq!(
        egress.curl(&["-d", &body, &other]).status,
        200,
        "the budget is per host"
    );
    let chunked = egress.curl(&["-H", "Transfer-Encoding: chunked", "-d", &body, &other]);
    assert_eq!(
        (chunked.status, chunked.code()),
        (403, Some("budget-upload")),
        "{chunked:?}"
    );
    assert!(
        origin
            .seen()
            .iter()
            .all(|seen| matches!(seen.body, 0 | 15_000)),
        "never cut short and taken as whole"
    );
    let small = origin.url("other.test", "/ok/small");
    assert_eq!(egress.curl(&[&small]).status, 200, "what is left is left");
}

#[test]
fn queries_count_as_upload() {
    let origin = Origin::tls(&["origin.test"]);
    let network = Network {
        upload_bytes: 9_500,
        ..network(vec![rule("origin.test", origin.port(), 4)])
    };
    let egress = Egress::start(network, &origin, &["origin.test"]);
    let url = origin.url("origin.test", &format!("/ok/x?{}", "q".repeat(1900)));
    let statuses: Vec<u16> = (0..6).map(|_| egress.curl(&[&url]).status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 403, 403]);
    let long = origin.url("origin.test", &format!("/ok/x?{}", "q".repeat(8000)));
    assert_eq!(egress.curl(&[&long]).code(), Some("url-too-long"));
}

#[test]
fn requests_are_counted() {
    let origin = Origin::tls(&["origin.test"]);
    let network = Network {
        requests: 2,
        ..network(vec![rule("origin.test", origin.port(), 4)])
    };
    let egress = Egress::start(network, &origin, &["origin.test"]);
    let url = origin.url("origin.test", "/ok/x");
    let answer = egress.curl(&[&url, &url, &url]);
    assert_eq!(answer.status, 200);
    assert_eq!(egress.curl(&[&url]).code(), Some("budget-requests"));
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn a_get_with_a_body_is_refused() {
    let origin = Origin::tls(&["origin.test"]);
    let egress = Egress::start(
        network(vec![rule("origin.test", origin.port(), 4)]),
        &origin,
        &["origin.test"],
    );
    let url = origin.url("origin.test", "/ok/x");
    for version in ["--http1.1", "--http2"] {
        let answer = egress.curl(&[version, "-X", "GET", "-d", "abc", &url]);
        assert_eq!(
            (answer.status, answer.code()),
            (403, Some("body-not-allowed")),
            "{version}"
        );
    }
    assert_eq!(origin.accepted(), 0);
}

#[test]
fn without_the_password_nothing_is_served() {
    let origin = Origin::tls(&["origin.test"]);
    let setup = EgressSetup::new(
        "p.yml",
        network(vec![rule("origin.test", origin.port(), 4)]),
    );
    let egress = Egress::start_with(setup, &origin, &["origin.test"], ProxyAuth::Password);
    let url = origin.url("origin.test", "/ok/x");
    assert_eq!(
        egress.curl(&[&url]).status,
        200,
        "the proxy's URL carries the password"
    );
    let port = origin.port();
    let plain = format!("http://{}", egress.address());
    let without = egress.curl(&["--proxy", &plain, &url]);
    assert_eq!(without.status, 407, "{without:?}");
    for line in [
        "",
        "Proxy-Authorization: Basic dGFnb3V0OnRhZ291dA==\r\n",
        "Proxy-Authorization: Basic\r\n",
    ] {
        let connect = format!(
            "CONNECT origin.test:{port} HTTP/1.1\r\nHost: origin.test:{port}\r\n{line}\r\n"
        );
        assert_eq!(raw(egress.address(), connect.as_bytes()).status, 407);
        let get = format!(
            "GET http://origin.test:{port}/ok/x HTTP/1.1\r\nHost: origin.test:{port}\r\n{line}\r\n"
        );
        assert_eq!(raw(egress.address(), get.as_bytes()).status, 407);
    }
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_killed_egress_is_noticed() {
    let origin = Origin::tls(&["origin.test"]);
    let mut egress = Egress::start(network(Vec::new()), &origin, &[]);
    assert!(egress.handle.ended().unwrap().is_none());
    let pid = i32::try_from(egress.handle.pid()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    while egress.handle.ended().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(egress.handle.finish().is_err());
}

#[test]
fn the_process_has_no_environment_and_no_calls_to_spare() {
    let origin = Origin::tls(&["origin.test"]);
    let egress = Egress::start(network(Vec::new()), &origin, &[]);
    let of = |name: &str| std::fs::read(format!("/proc/{}/{name}", egress.handle.pid()));
    match of("environ") {
        Ok(environment) => assert!(environment.is_empty(), "{environment:?}"),
        // Not dumpable: even its own user cannot look.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
    }
    let status = String::from_utf8(of("status").unwrap()).unwrap();
    assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
    assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
}

#[test]
fn socks_leads_to_the_same_judging() {
    let origin = Origin::tls(&["origin.test"]);
    let setup = EgressSetup::new(
        "p.yml",
        network(vec![rule("origin.test", origin.port(), 4)]),
    );
    let egress = Egress::start_with(setup, &origin, &["origin.test"], ProxyAuth::Password);
    let socks = egress
        .handle
        .proxy()
        .unwrap()
        .replace("http://", "socks5h://");
    let ask = |proxy: &str, url: &str| egress.curl(&["--proxy", proxy, url]);
    let good = ask(&socks, &origin.url("origin.test", "/ok/x"));
    assert_eq!(
        (good.status, good.body.as_str()),
        (200, "origin"),
        "{good:?}"
    );
    assert_eq!(
        ask(&socks, &origin.url("origin.test", "/no")).code(),
        Some("path-not-allowed")
    );
    assert_eq!(
        ask(&socks, "https://unlisted.test/").code(),
        Some("host-not-allowed")
    );
    let wrong = format!("socks5h://tagout:wrong@{}", egress.address());
    let none = format!("socks5h://{}", egress.address());
    for proxy in [wrong, none] {
        assert_eq!(ask(&proxy, &origin.url("origin.test", "/ok/x")).status, 0);
    }
    assert_eq!(origin.seen().len(), 1);
}
