//! The rules that `network.registries` makes: they read, and nothing but read.

use std::sync::Arc;

use tagout::policy::model::{Network, Place, Rule, RuleKind};
use tagout::policy::parse::parse;
use tagout::policy::registry::{self, Part, Tool, Unfit};
use tagout::policy::request::Asked;
use tagout::policy::verdict::{self, Judge, Verdict, judge};

fn network(text: &str) -> Network {
    let text = format!("version: 1\nnetwork:\n{text}");
    parse("p.yml", &text).expect("valid").network
}

fn place() -> Place {
    Place {
        file: "p.yml".into(),
        line: 9,
        column: 3,
    }
}

fn made(tool: Tool, part: Part, url: &str, network: &Network) -> Result<Vec<Rule>, Unfit> {
    registry::rules(tool, part, url, network, &place())
}

/// `allow`, or the code of the refusal; both doors must agree on it.
fn ask(network: &Network, request: &str) -> &'static str {
    let asked = Asked::read(request).expect("readable");
    let index = Judge::new(Arc::new(network.clone()));
    assert_eq!(
        judge(network, asked.request()),
        index.judge(asked.request()),
        "{request}"
    );
    match index.judge_with_query(asked.request(), asked.query()) {
        Verdict::Allow(_) => "allow",
        Verdict::Deny(denial) => denial.code,
    }
}

#[test]
fn registry_is_read_and_never_written() {
    let mut network = Network::default();
    let base = "https://npm.example.com/repository/npm/";
    network
        .allow
        .extend(made(Tool::Npm, Part::Index, base, &network).unwrap());
    for (request, expected) in [
        (
            "GET https://npm.example.com/repository/npm/left-pad",
            "allow",
        ),
        (
            "HEAD https://npm.example.com/repository/npm/a/-/a-1.tgz",
            "allow",
        ),
        ("GET https://npm.example.com/repository/npm/@a%2fb", "allow"),
        (
            "GET https://npm.example.com/repository/npm/@a%2F..",
            "path-ambiguous",
        ),
        (
            "GET https://npm.example.com/repository/npm/@a%2f..%2f..",
            "path-ambiguous",
        ),
        (
            "GET https://npm.example.com/repository/npm/a%2fb",
            "path-ambiguous",
        ),
        (
            "GET https://npm.example.com/repository/other",
            "path-not-allowed",
        ),
        ("GET https://npm.example.com/other/@a%2fb", "path-ambiguous"),
        (
            "POST https://npm.example.com/repository/npm/-/npm/v1/security/advisories/bulk",
            "allow",
        ),
        (
            "POST https://npm.example.com/repository/npm/-/npm/v1/security/audits/quick",
            "allow",
        ),
        (
            "POST https://npm.example.com/repository/npm/-/v1/login",
            "path-not-allowed",
        ),
        (
            "PUT https://npm.example.com/repository/npm/left-pad",
            "method-not-allowed",
        ),
        (
            "PUT https://npm.example.com/repository/npm/-/npm/v1/security/audits",
            "method-not-allowed",
        ),
        (
            "DELETE https://npm.example.com/repository/npm/left-pad/-rev/1",
            "method-not-allowed",
        ),
        (
            "GET https://npm.example.com:8443/repository/npm/x",
            "port-not-allowed",
        ),
        ("GET https://files.example.com/x", "host-not-allowed"),
    ] {
        assert_eq!(ask(&network, request), expected, "{request}");
    }
}

#[test]
fn listed_path_rule_takes_no_escaped_slash() {
    let network = network("  allow:\n    - {host: npm.example.com, paths: ['/npm/**']}\n");
    assert_eq!(
        ask(&network, "GET https://npm.example.com/npm/@a%2fb"),
        "path-ambiguous"
    );
}

#[test]
fn answer_of_a_tool_makes_a_rule_only_for_a_public_name_over_tls() {
    let empty = Network::default();
    for (url, expected) in [
        ("http://r.example.com/", Unfit::Scheme),
        ("ftp://r.example.com/", Unfit::Scheme),
        ("file:///etc/passwd", Unfit::Scheme),
        ("https://127.0.0.1/", Unfit::NotPublic),
        ("https://[::1]/", Unfit::NotPublic),
        // The URL's reader brings these to 127.0.0.1.
        ("https://2130706433/", Unfit::NotPublic),
        ("https://localhost/", Unfit::NotPublic),
        ("https://mirror/", Unfit::NotPublic),
        ("https://mirror.internal/", Unfit::NotPublic),
        ("https://co.uk/", Unfit::NotPublic),
        ("https://r.example.com/a%2fb/", Unfit::Unreadable),
        ("r.example.com", Unfit::Unreadable),
    ] {
        assert_eq!(
            made(Tool::Cargo, Part::Index, url, &empty),
            Err(expected),
            "{url}"
        );
    }
    let rules = made(
        Tool::Cargo,
        Part::Index,
        "https://user:pass@r.example.com/i/",
        &empty,
    )
    .unwrap();
    assert!(!format!("{rules:?}").contains("pass"), "{rules:?}");
    assert!(
        rules
            .iter()
            .all(|rule| !rule.private && rule.kind == RuleKind::Registry(Tool::Cargo))
    );
    let named = network(
        "  allow:\n    - {host: mirror.internal, ports: [8443], private: true, paths: [/none]}\n    - {host: t.example.com, tls: tunnel}\n",
    );
    let rules = made(
        Tool::Cargo,
        Part::Index,
        "https://mirror.internal:8443/i/",
        &named,
    )
    .unwrap();
    assert!(
        rules
            .iter()
            .all(|rule| rule.private && rule.ports == [8443])
    );
    assert_eq!(
        made(
            Tool::Cargo,
            Part::Index,
            "https://mirror.internal/i/",
            &named
        ),
        Err(Unfit::NotPublic),
        "another port is not named"
    );
    assert_eq!(
        made(Tool::Cargo, Part::Index, "https://t.example.com/i/", &named),
        Err(Unfit::Tunnel)
    );
}

#[test]
fn report_mode_lets_no_write_to_a_registry_pass() {
    let mut network = network("  mode: report\n  registries: [npm]\n");
    let at = network.registries[0].at.clone();
    let rules = registry::rules(
        Tool::Npm,
        Part::Index,
        "https://r.example.com/",
        &network,
        &at,
    );
    network.allow.extend(rules.unwrap());
    for (request, passes) in [
        ("PUT https://r.example.com/x", false),
        ("POST https://g.example.com/o/r.git/git-receive-pack", false),
        ("POST https://g.example.com/x", true),
    ] {
        let asked = Asked::read(request).expect("readable");
        let Verdict::Deny(denial) = judge(&network, asked.request()) else {
            panic!("{request}");
        };
        let only = verdict::only_reported(&network, asked.request(), &denial);
        assert_eq!(only, passes, "{request}");
    }
}

#[test]
fn git_reads_the_repositories_that_paths_name() {
    let mut network = network(
        "  allow:\n    - {host: git.example.com, paths: ['/o/r.git/**']}\n    - {host: open.example.com}\n    - {host: post.example.com, methods: [GET, POST], paths: ['/o/r/**']}\n  registries: [git]\n",
    );
    network.allow.extend(registry::git(&network));
    for (request, expected) in [
        (
            "GET https://git.example.com/o/r.git/info/refs?service=git-upload-pack",
            "allow",
        ),
        (
            "POST https://git.example.com/o/r.git/git-upload-pack",
            "allow",
        ),
        (
            "GET https://git.example.com/o/r.git/info/refs?service=git-receive-pack",
            "git-push-not-allowed",
        ),
        (
            "GET https://git.example.com/o/r.git/info/refs?service=git%2dreceive-pack",
            "git-push-not-allowed",
        ),
        (
            "POST https://git.example.com/o/r.git/git-receive-pack",
            "path-not-allowed",
        ),
        ("POST https://git.example.com/o/r.git/x", "path-not-allowed"),
        (
            "POST https://git.example.com/o/other.git/git-upload-pack",
            "path-not-allowed",
        ),
        (
            "POST https://open.example.com/o/r.git/git-upload-pack",
            "method-not-allowed",
        ),
        (
            "GET https://open.example.com/o/r.git/info/refs?service=git-receive-pack",
            "git-push-not-allowed",
        ),
        (
            "GET https://post.example.com/o/r/info/refs?service=git-receive-pack",
            "allow",
        ),
    ] {
        assert_eq!(ask(&network, request), expected, "{request}");
    }
}
