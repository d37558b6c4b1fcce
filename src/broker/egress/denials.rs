//! What was refused, put together for a person: like with like, with the smallest policy line that would allow it.
//! It must never suggest a credential, a private address or a tunnel, and it says that the agent asked, not that it is right.

use std::collections::BTreeMap;

use super::log::{Decision, Event};
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
    let mut groups: BTreeMap<(String, String), DeniedRequests> = BTreeMap::new();
    for event in events.filter(|event| matches!(event.verdict, Decision::Deny | Decision::Report)) {
        let code = event.code.clone().unwrap_or_default();
        let mut key = (code.clone(), described(event));
        if groups.len() >= GROUPS_MAX && !groups.contains_key(&key) {
            key = ("other".to_owned(), "further requests".to_owned());
        }
        let group = groups.entry(key.clone()).or_insert_with(|| DeniedRequests {
            code: key.0,
            what: key.1,
            at: event.rule.clone(),
            count: 0,
            allow: suggestion(event),
        });
        group.count += event.count;
    }
    let mut groups: Vec<DeniedRequests> = groups.into_values().collect();
    groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.what.cmp(&b.what)));
    groups
}

fn described(event: &Event) -> String {
    let authority = authority(event);
    let prefix = first_segment(&event.path);
    let method = &event.method;
    format!("{method} {}://{authority}{prefix}", event.scheme)
}

fn authority(event: &Event) -> String {
    match (event.scheme.as_str(), event.port) {
        ("http", 80) | ("https", 443) => event.host.clone(),
        (_, port) => format!("{}:{port}", event.host),
    }
}

fn first_segment(path: &str) -> &str {
    match path.get(1..).and_then(|rest| rest.find('/')) {
        Some(at) => &path[..at + 2],
        None => path,
    }
}

/// The smallest line that would allow a request. Only refusals for want of a rule have one.
fn suggestion(event: &Event) -> Option<String> {
    let for_want_of_a_rule = matches!(
        event.code.as_deref(),
        Some("host-not-allowed" | "port-not-allowed" | "method-not-allowed" | "path-not-allowed")
    );
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~/@+".contains(&byte))
    };
    let named = event.host.contains('.') && event.host.parse::<std::net::IpAddr>().is_err();
    if !for_want_of_a_rule || !named || !plain(&event.host) || !plain(&event.method) {
        return None;
    }
    let paths = match first_segment(&event.path) {
        prefix if !plain(prefix) => return None,
        prefix if prefix.ends_with('/') && prefix.len() > 1 => format!("{prefix}**"),
        prefix => prefix.to_owned(),
    };
    let ports = match event.port {
        443 => String::new(),
        port => format!("ports: [{port}], "),
    };
    Some(format!(
        "- {{host: {}, {ports}methods: [{}], paths: [\"{paths}\"]}}",
        event.host, event.method
    ))
}
