//! What one key demands of another: faults that no key shows alone.
//! It must never change a value; a contradiction is the writer's to solve.

use super::Files;
use super::decode::{self, Section};
use super::yaml::{Node, Wrong};
use crate::policy::host;
use crate::policy::model::{AgentKind, HostPattern, TlsMode};

/// Names the contradictions of a policy.
pub(super) fn check(files: &Files, root: &Node, faults: &mut Vec<Wrong>) {
    let top = Section::of(root, files);
    agent(&top.section("agent"), faults);
    let rules: Vec<Section<'_>> = top
        .section("network")
        .list("allow")
        .iter()
        .map(|node| Section::of(node, files))
        .collect();
    for section in &rules {
        tunnel(section, faults);
        credential(section, faults);
    }
    two_roads(&rules, faults);
    model_tunnel(&top.section("agent").section("model"), &rules, faults);
}

fn agent(section: &Section<'_>, faults: &mut Vec<Wrong>) {
    let kind = section
        .word::<AgentKind>("use")
        .unwrap_or(AgentKind::Builtin);
    let command = !section.list("command").is_empty();
    match (kind, command) {
        (AgentKind::Command, false) => {
            if let Some(at) = section.mark("use") {
                fault(
                    faults,
                    at,
                    "`agent.use` is `command`, and `agent.command` is empty",
                    "add `command: [PROGRAM, ARGUMENTS]`",
                );
            }
        }
        (AgentKind::Builtin | AgentKind::Codex | AgentKind::Claude | AgentKind::Opencode, true) => {
            if let Some(at) = section.mark("command") {
                fault(
                    faults,
                    at,
                    "`agent.command` has no effect unless `agent.use` is `command`",
                    "add `use: command`, or remove it",
                );
            }
        }
        (AgentKind::Command, true)
        | (
            AgentKind::Builtin | AgentKind::Codex | AgentKind::Claude | AgentKind::Opencode,
            false,
        ) => {}
    }
}

/// A tunnel is not read, so nothing can be demanded of what goes through it.
fn tunnel(section: &Section<'_>, faults: &mut Vec<Wrong>) {
    if section.word("tls") != Some(TlsMode::Tunnel) {
        return;
    }
    for key in ["methods", "paths", "credential"] {
        if let (true, Some(at)) = (section.has(key), section.mark(key)) {
            let what = format!("`{key}` cannot be held on a tunnel, which is not inspected");
            faults.push((at, what, format!("remove `{key}`, or write `tls: inspect`")));
        }
    }
}

fn credential(section: &Section<'_>, faults: &mut Vec<Wrong>) {
    let Some(at) = section
        .mark("credential")
        .filter(|_| section.has("credential"))
    else {
        return;
    };
    if section.word("tls") == Some(TlsMode::Tunnel) {
        return;
    }
    for key in ["methods", "paths"] {
        if !section.has(key) {
            let what = format!("a credential needs `{key}`, so that it goes nowhere else");
            faults.push((at, what, format!("add `{key}` to this rule")));
        }
    }
    let wildcard = section
        .text("host")
        .is_some_and(|host| host.starts_with("*."));
    if wildcard {
        fault(
            faults,
            at,
            "a credential needs one named host, not a wildcard",
            "name the host that the credential is for",
        );
    }
}

/// The same host and port cannot be both read and passed unread: what the one forbids, the other would let through.
fn two_roads(rules: &[Section<'_>], faults: &mut Vec<Wrong>) {
    let read = |section: &Section<'_>| host::pattern(&section.text("host")?).ok();
    let hosts: Vec<Option<HostPattern>> = rules.iter().map(read).collect();
    let is_tunnel = |section: &Section<'_>| section.word("tls") == Some(TlsMode::Tunnel);
    let tunnels = || {
        rules
            .iter()
            .zip(&hosts)
            .filter(|(section, _)| is_tunnel(section))
    };
    for (tunnel, tunnel_host) in tunnels() {
        let (Some(tunnel_host), Some(at)) = (tunnel_host, tunnel.mark("tls")) else {
            continue;
        };
        let ports = tunnel.ports();
        let other = rules.iter().zip(&hosts).find(|(section, host)| {
            host.as_ref().is_some_and(|host| overlap(host, tunnel_host))
                && !is_tunnel(section)
                && section.ports().iter().any(|port| ports.contains(port))
        });
        if let Some(line) = other
            .and_then(|(section, _)| section.mark("host"))
            .map(|mark| mark.line)
        {
            let what = format!(
                "this tunnel would let through what the inspected rule at line {line} forbids"
            );
            faults.push((
                at,
                what,
                "keep one of the two rules for this host and port".to_owned(),
            ));
        }
    }
}

/// Through a tunnel the agent could say anything to the model's host, past the rule that bounds what a model is asked.
fn model_tunnel(model: &Section<'_>, rules: &[Section<'_>], faults: &mut Vec<Wrong>) {
    let Some(endpoint) = decode::model(model).and_then(|model| model.rule()) else {
        return;
    };
    for section in rules
        .iter()
        .filter(|section| section.word("tls") == Some(TlsMode::Tunnel))
    {
        let host = section
            .text("host")
            .and_then(|text| host::pattern(&text).ok());
        let covers = host.is_some_and(|host| overlap(&host, &endpoint.host));
        let port = section
            .ports()
            .iter()
            .any(|port| endpoint.ports.contains(port));
        if let (true, true, Some(at)) = (covers, port, section.mark("tls")) {
            fault(
                faults,
                at,
                "this tunnel leads past the model's own rule",
                "remove it; `agent.model` needs no rule",
            );
        }
    }
}

/// Whether some host is covered by both.
fn overlap(a: &HostPattern, b: &HostPattern) -> bool {
    let below = |name: &str, parent: &str| {
        name.strip_suffix(parent)
            .is_some_and(|front| front.ends_with('.'))
    };
    match (a, b) {
        (HostPattern::Exact(a), HostPattern::Exact(b)) => a == b,
        (HostPattern::Address(a), HostPattern::Address(b)) => a == b,
        (HostPattern::Exact(name), HostPattern::Subdomains(parent))
        | (HostPattern::Subdomains(parent), HostPattern::Exact(name)) => below(name, parent),
        (HostPattern::Subdomains(a), HostPattern::Subdomains(b)) => {
            a == b || below(a, b) || below(b, a)
        }
        (HostPattern::Address(_), HostPattern::Exact(_) | HostPattern::Subdomains(_))
        | (HostPattern::Exact(_) | HostPattern::Subdomains(_), HostPattern::Address(_)) => false,
    }
}

fn fault(faults: &mut Vec<Wrong>, at: super::yaml::Mark, what: &str, mend: &str) {
    faults.push((at, what.to_owned(), mend.to_owned()));
}
