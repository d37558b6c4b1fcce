//! What was refused, put together for a person: like with like, with the smallest policy line that would allow it.
//! It must never suggest a credential, a private address or a tunnel, and it says that the agent asked, not that it is right.

use std::collections::{BTreeMap, BTreeSet};

use super::log::{Decision, Event};
use crate::policy::parse::yaml;
use crate::policy::show::{self, Tree};
use crate::wire::Denied;

/// Most groups that are told apart; the rest is counted in one.
pub const GROUPS_MAX: usize = 200;

/// Requests that were refused for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedRequests {
    /// The stable code.
    pub code: String,
    /// `METHOD scheme://host[:port]/first-segment`.
    pub what: String,
    /// The rule that came nearest, `file:line`.
    pub at: Option<String>,
    /// How many.
    pub count: u64,
    /// The YAML line under `network.allow` that would allow it; none where no line may.
    pub allow: Option<String>,
    /// Whether it passed all the same, because the policy only reports.
    pub passed: bool,
}

impl From<DeniedRequests> for Denied {
    fn from(group: DeniedRequests) -> Self {
        Self {
            wall: "egress".to_owned(),
            what: if group.passed {
                format!("{} ({}; passed, only reported)", group.what, group.code)
            } else {
                format!("{} ({})", group.what, group.code)
            },
            count: group.count,
            allow: group.allow.or_else(|| larger(&group.code)),
            at: group.at,
        }
    }
}

/// The limit of the policy that a request ran into.
fn larger(code: &str) -> Option<String> {
    let key = match code {
        "budget-requests" => "requests",
        "budget-upload" => "upload",
        _ => return None,
    };
    Some(format!("a larger network.limits.{key}"))
}

/// Puts refusals together, most frequent first.
#[must_use]
pub fn aggregate<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<DeniedRequests> {
    let mut groups: BTreeMap<(String, String, bool), Group> = BTreeMap::new();
    for event in events.filter(|event| matches!(event.verdict, Decision::Deny | Decision::Report)) {
        let code = event.code.clone().unwrap_or_default();
        let passed = event.verdict == Decision::Report;
        let mut key = (code, described(event), passed);
        if groups.len() >= GROUPS_MAX && !groups.contains_key(&key) {
            key = ("other".to_owned(), "further requests".to_owned(), passed);
        }
        let group = groups.entry(key).or_insert_with(|| Group {
            first: event.clone(),
            count: 0,
            paths: BTreeSet::new(),
        });
        group.count += event.count;
        if group.paths.len() < PATHS_TOLD_APART {
            group.paths.insert(event.path.clone());
        }
    }
    let mut groups: Vec<DeniedRequests> = groups
        .into_iter()
        .map(|((code, what, passed), group)| DeniedRequests {
            allow: group.suggestion(&code),
            code,
            what,
            at: group.first.rule,
            count: group.count,
            passed,
        })
        .collect();
    groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.what.cmp(&b.what)));
    groups
}

struct Group {
    first: Event,
    count: u64,
    paths: BTreeSet<String>,
}

/// Two are enough to know that one exact path does not allow them all.
const PATHS_TOLD_APART: usize = 2;

impl Group {
    /// The smallest line that would allow them. Only refusals for want of a rule have one; it never holds more than host,
    /// port, method and path.
    fn suggestion(&self, code: &str) -> Option<String> {
        if !for_want_of_a_rule(code) {
            return None;
        }
        let event = &self.first;
        let tree = show::suggestion(&event.host, event.port, &event.method, &event.path)?;
        let mut line = serde_json::to_value(&tree).ok()?;
        if self.paths.len() > 1 {
            let prefix = first_segment(&event.path);
            let paths = if prefix.len() > 1 && prefix.ends_with('/') {
                vec![format!("{prefix}**")]
            } else {
                self.paths.iter().cloned().collect()
            };
            line["paths"] = paths.into();
        }
        // JSON of one line is YAML of one line (YAML 1.2, 1.3), and quotes what must be quoted.
        Some(format!(
            "- {line} # the agent asked for it; that does not make it right"
        ))
    }
}

/// Whether a rule of the policy could have allowed it.
fn for_want_of_a_rule(code: &str) -> bool {
    matches!(
        code,
        "host-not-allowed" | "port-not-allowed" | "method-not-allowed" | "path-not-allowed"
    )
}

/// The first lines of a suggested policy.
const SUGGESTED: &str = "\
# What the agent asked for in this run and no rule of the policy allowed. That it asked does not make it right:
# take only what the task needs.
";
/// Most rules of a suggested policy.
pub const RULES_MAX: usize = 100;
/// Most paths of one suggested rule; more of them become one prefix.
const PATHS_MAX: usize = 8;

/// The smallest policy that would allow what was asked for and no rule allowed, as YAML; none where nothing may be suggested.
/// It holds hosts, ports, methods and paths, never a credential, a private address or a tunnel.
#[must_use]
pub fn suggested_policy<'a>(events: impl Iterator<Item = &'a Event>) -> Option<String> {
    let mut hosts: BTreeMap<(String, u16, String), BTreeSet<String>> = BTreeMap::new();
    for event in events.filter(|event| matches!(event.verdict, Decision::Deny | Decision::Report)) {
        let Some((host, path)) = readable(event) else {
            continue;
        };
        let key = (host, event.port, event.method.clone());
        if hosts.len() < RULES_MAX || hosts.contains_key(&key) {
            hosts.entry(key).or_default().insert(path);
        }
    }
    // Methods that were used on the same paths share a rule.
    let mut rules: BTreeMap<(String, u16, Vec<String>), Vec<String>> = BTreeMap::new();
    for ((host, port, method), paths) in hosts {
        let key = (host, port, fewest(paths));
        rules.entry(key).or_default().push(method);
    }
    if rules.is_empty() {
        return None;
    }
    let rules = rules
        .into_iter()
        .map(|((host, port, paths), methods)| rule(host, port, &methods, &paths));
    let policy = named(vec![
        ("version", Tree::Count(1)),
        (
            "network",
            named(vec![("allow", Tree::List(rules.collect()))]),
        ),
    ]);
    let text = yaml::write(&policy).ok()?;
    Some(format!("{SUGGESTED}{text}"))
}

/// Host in punycode and path of an event for which a rule may be suggested.
fn readable(event: &Event) -> Option<(String, String)> {
    if !for_want_of_a_rule(event.code.as_deref()?) {
        return None;
    }
    let tree = show::suggestion(&event.host, event.port, &event.method, &event.path)?;
    let Tree::Map(keys) = tree else { return None };
    let (_, host) = keys.into_iter().find(|(key, _)| key == "host")?;
    match host {
        Tree::Text(host) => Some((host, event.path.clone())),
        _ => None,
    }
}

/// The paths themselves, or where they are many what they have in common.
fn fewest(paths: BTreeSet<String>) -> Vec<String> {
    if paths.len() <= PATHS_MAX {
        return paths.into_iter().collect();
    }
    let firsts: BTreeSet<&str> = paths.iter().map(|path| first_segment(path)).collect();
    if firsts.len() > PATHS_MAX {
        return vec!["/**".to_owned()];
    }
    firsts
        .into_iter()
        .map(|first| match first.strip_suffix('/') {
            Some(_) => format!("{first}**"),
            None => first.to_owned(),
        })
        .collect()
}

fn rule(host: String, port: u16, methods: &[String], paths: &[String]) -> Tree {
    let texts = |items: &[String]| Tree::List(items.iter().cloned().map(Tree::Text).collect());
    let mut keys = vec![("host", Tree::Text(host))];
    if port != 443 {
        keys.push(("ports", Tree::List(vec![Tree::Count(port.into())])));
    }
    keys.push(("methods", texts(methods)));
    keys.push(("paths", texts(paths)));
    named(keys)
}

fn named(keys: Vec<(&str, Tree)>) -> Tree {
    let keys = keys.into_iter();
    Tree::Map(keys.map(|(key, value)| (key.to_owned(), value)).collect())
}

fn described(event: &Event) -> String {
    let authority = authority(event);
    let prefix = first_segment(&event.path);
    let method = &event.method;
    format!("{method} {}://{authority}{prefix}", event.scheme)
        .trim_start()
        .to_owned()
}

fn authority(event: &Event) -> String {
    match (event.scheme.as_str(), event.port) {
        ("http", 80) | ("https", 443) => event.host.clone(),
        (_, port) => format!("{}:{port}", event.host),
    }
}

fn first_segment(path: &str) -> &str {
    match path.get(1..).and_then(|rest| rest.find('/')) {
        Some(at) => path.get(..at + 2).unwrap_or(path),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(code: &str, method: &str, host: &str, path: &str) -> Event {
        let value = serde_json::json!({
            "at-ms": 1, "verdict": "deny", "code": code, "rule": "p.yml:4", "method": method, "scheme": "https",
            "host": host, "port": 443, "path": path, "sent": 0, "received": 0, "ms": 0, "tls": "inspected",
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn like_goes_with_like_and_the_most_frequent_comes_first() {
        let events = [
            event("host-not-allowed", "GET", "a.example", "/v1/x"),
            event("host-not-allowed", "GET", "b.example", "/pkg/one"),
            event("host-not-allowed", "GET", "b.example", "/pkg/two"),
        ];
        let groups = aggregate(events.iter());
        let told: Vec<(&str, u64)> = groups
            .iter()
            .map(|group| (group.what.as_str(), group.count))
            .collect();
        assert_eq!(
            told,
            [
                ("GET https://b.example/pkg/", 2),
                ("GET https://a.example/v1/", 1)
            ]
        );
        let line = |at: usize| groups[at].allow.as_deref().unwrap();
        assert!(
            line(0)
                .starts_with(r#"- {"host":"b.example","methods":["GET"],"paths":["/pkg/**"]} #"#),
            "{}",
            line(0)
        );
        assert!(line(1).contains(r#""paths":["/v1/x"]"#), "{}", line(1));
    }

    #[test]
    fn suggested_lines_are_a_valid_policy_that_allows_the_request() {
        let events = [event("method-not-allowed", "POST", "a.example", "/v1/x")];
        let groups = aggregate(events.iter());
        let line = groups[0].allow.as_deref().unwrap();
        let text = format!("version: 1\nnetwork:\n  allow:\n    {line}\n");
        let policy = crate::policy::parse::parse("p.yml", &text).unwrap();
        let request = crate::policy::verdict::Request {
            scheme: crate::policy::verdict::Scheme::Https,
            host: "a.example",
            port: 443,
            method: "POST",
            path: "/v1/x",
        };
        let verdict = crate::policy::verdict::judge(&policy.network, &request);
        assert!(matches!(verdict, crate::policy::verdict::Verdict::Allow(_)));
    }

    #[test]
    fn nothing_is_suggested_for_what_no_line_should_allow() {
        for (code, host, path) in [
            ("address-not-allowed", "a.example", "/x"),
            ("budget-upload", "a.example", "/x"),
            ("host-not-allowed", "127.0.0.1", "/x"),
            ("host-not-allowed", "a b", "/x"),
            ("path-not-allowed", "a.example", "/a/../b"),
        ] {
            let events = [event(code, "GET", host, path)];
            assert_eq!(
                aggregate(events.iter())[0].allow,
                None,
                "{code} {host} {path}"
            );
        }
    }

    fn judged(policy: &str, event: &Event) -> bool {
        let policy = crate::policy::parse::parse("p.yml", policy).unwrap();
        let request = crate::policy::verdict::Request {
            scheme: crate::policy::verdict::Scheme::Https,
            host: &event.host,
            port: event.port,
            method: &event.method,
            path: &event.path,
        };
        let verdict = crate::policy::verdict::judge(&policy.network, &request);
        matches!(verdict, crate::policy::verdict::Verdict::Allow(_))
    }

    #[test]
    fn suggested_policy_allows_what_was_asked_for_and_nothing_beside() {
        let mut events = vec![
            event("host-not-allowed", "GET", "b\u{fc}cher.example", "/v1/x"),
            event("method-not-allowed", "POST", "b\u{fc}cher.example", "/v1/x"),
            event("path-not-allowed", "GET", "a.example", "/v2/y: &x {} #"),
            event("path-not-allowed", "GET", "a.example", "/v2/'y"),
        ];
        for number in 0..30 {
            events.push(event(
                "host-not-allowed",
                "GET",
                "c.example",
                &format!("/pkg/{number}"),
            ));
        }
        for event in &mut events {
            event.verdict = Decision::Report;
        }
        let text = suggested_policy(events.iter()).unwrap();
        assert!(text.starts_with("# What the agent asked for"), "{text}");
        assert!(text.contains("host: xn--bcher-kva.example"), "{text}");
        assert!(text.contains("- /pkg/**"), "{text}");
        for word in ["credential", "private", "tunnel", "auth", "b\u{fc}cher"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
        for asked in events.iter().filter(|event| !event.path.contains(' ')) {
            assert!(judged(&text, asked), "{asked:?} {text}");
        }
        for (method, host, path) in [
            ("PUT", "b\u{fc}cher.example", "/v1/x"),
            ("GET", "b\u{fc}cher.example", "/v1/z"),
            ("GET", "d.example", "/v1/x"),
            ("POST", "c.example", "/pkg/1"),
        ] {
            let other = event("host-not-allowed", method, host, path);
            assert!(!judged(&text, &other), "{other:?} {text}");
        }
    }

    #[test]
    fn nothing_is_suggested_for_hosts_that_are_no_names_or_rules_of_the_road() {
        let events = [
            event("address-not-allowed", "GET", "a.example", "/x"),
            event("host-not-allowed", "GET", "10.0.0.1", "/x"),
            event("host-not-allowed", "GET", "a.example", "/a/../b"),
            event("placeholder-misplaced", "GET", "a.example", "/x"),
        ];
        assert_eq!(suggested_policy(events.iter()), None);
    }

    #[test]
    fn what_only_was_reported_is_told_apart() {
        let mut passed = event("host-not-allowed", "GET", "a.example", "/x");
        passed.verdict = Decision::Report;
        let events = [event("host-not-allowed", "GET", "a.example", "/x"), passed];
        let groups = aggregate(events.iter());
        let told: Vec<bool> = groups.iter().map(|group| group.passed).collect();
        assert_eq!(told, [false, true]);
        let rows: Vec<Denied> = groups.into_iter().map(Into::into).collect();
        assert!(
            rows[1]
                .what
                .ends_with("(host-not-allowed; passed, only reported)"),
            "{rows:?}"
        );
    }

    #[test]
    fn groups_are_bounded() {
        let events: Vec<Event> = (0..1000)
            .map(|number| {
                event(
                    "host-not-allowed",
                    "GET",
                    &format!("h{number}.example"),
                    "/",
                )
            })
            .collect();
        let groups = aggregate(events.iter());
        assert_eq!(groups.len(), GROUPS_MAX + 1);
        assert_eq!(groups.iter().map(|group| group.count).sum::<u64>(), 1000);
    }
}
