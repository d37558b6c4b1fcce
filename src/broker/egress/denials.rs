//! What was refused, put together for a person: like with like, with the smallest policy line that would allow it.
//! It must never suggest a credential, a private address or a tunnel, and it says that the agent asked, not that it is right.

use std::collections::{BTreeMap, BTreeSet};

use super::log::{Decision, Event};
use crate::policy::show;
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
}

impl From<DeniedRequests> for Denied {
    fn from(group: DeniedRequests) -> Self {
        Self {
            wall: "egress".to_owned(),
            what: format!("{} ({})", group.what, group.code),
            count: group.count,
            allow: group.allow,
        }
    }
}

/// Puts refusals together, most frequent first.
#[must_use]
pub fn aggregate<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<DeniedRequests> {
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    for event in events.filter(|event| matches!(event.verdict, Decision::Deny | Decision::Report)) {
        let code = event.code.clone().unwrap_or_default();
        let mut key = (code, described(event));
        if groups.len() >= GROUPS_MAX && !groups.contains_key(&key) {
            key = ("other".to_owned(), "further requests".to_owned());
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
        .map(|((code, what), group)| DeniedRequests {
            allow: group.suggestion(&code),
            code,
            what,
            at: group.first.rule,
            count: group.count,
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
        let for_want_of_a_rule = matches!(
            code,
            "host-not-allowed" | "port-not-allowed" | "method-not-allowed" | "path-not-allowed"
        );
        if !for_want_of_a_rule {
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
