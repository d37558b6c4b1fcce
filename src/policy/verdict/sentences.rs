//! What a refusal of the verdict says: the stable code, the rule that came nearest, and a sentence for the reader.

use super::super::host::{self, Host};
use super::super::model::{Network, Rule, RuleKind};
use super::super::words::Word as _;
use super::{Denial, Miss, Request};

pub(super) fn refusal(miss: Miss, rule: &Rule, request: &Request<'_>) -> Denial {
    let host = &rule.host;
    let (code, sentence) = match miss {
        Miss::Port => return wrong_port(rule, request.port),
        Miss::Clear => (
            "clear-not-allowed",
            format!(
                "the rule for {host} does not allow plain HTTP on port {}; use https",
                request.port
            ),
        ),
        Miss::Malformed => (
            "path-malformed",
            "the path has a dot segment, a control character or another form that no path has"
                .to_owned(),
        ),
        Miss::Method => (
            "method-not-allowed",
            format!(
                "{} allows {}, not {}",
                called(rule),
                rule.methods.join(", "),
                request.method
            ),
        ),
        Miss::Ambiguous => (
            "path-ambiguous",
            format!(
                "servers read this path in different ways, and the rule for {host} is bound to paths"
            ),
        ),
        Miss::Path => {
            let paths: Vec<&str> = rule.paths.iter().map(|path| path.0.as_str()).collect();
            let methods = match rule.kind {
                RuleKind::Listed => String::new(),
                RuleKind::Registry(_) | RuleKind::Git => format!("{} on ", rule.methods.join(", ")),
            };
            (
                "path-not-allowed",
                format!(
                    "{} allows {methods}the paths {}",
                    called(rule),
                    paths.join(", ")
                ),
            )
        }
    };
    Denial {
        code,
        at: Some(rule.at.clone()),
        sentence,
    }
}

/// How a sentence names a rule.
fn called(rule: &Rule) -> String {
    let host = &rule.host;
    match rule.kind {
        RuleKind::Listed => format!("the rule for {host}"),
        RuleKind::Registry(tool) => format!("the registry rule of {} for {host}", tool.word()),
        RuleKind::Git => format!("the rule of git, which only reads, for {host}"),
    }
}

pub(super) fn wrong_port(rule: &Rule, port: u16) -> Denial {
    let ports: Vec<String> = rule.ports.iter().map(u16::to_string).collect();
    Denial {
        code: "port-not-allowed",
        at: Some(rule.at.clone()),
        sentence: format!(
            "the rule for {} allows port {}, not {port}",
            rule.host,
            ports.join(", ")
        ),
    }
}

pub(super) fn unlisted(network: &Network, host: &Host<'_>) -> Denial {
    let (code, sentence) = match host {
        Host::Name(name) => ("host-not-allowed", format!("no rule of the policy names {name}")),
        Host::Address(_) => (
            "address-literal",
            "no rule of the policy names this address, and an address is not reached without its name".to_owned(),
        ),
    };
    Denial {
        code,
        at: Some(network.at.clone()),
        sentence,
    }
}

pub(super) fn unreadable_host(network: &Network, fault: host::HostFault) -> Denial {
    let code = match fault {
        host::HostFault::AddressSpelling => "address-literal",
        host::HostFault::Empty
        | host::HostFault::Length
        | host::HostFault::Character
        | host::HostFault::Idna => "host-invalid",
    };
    Denial {
        code,
        at: Some(network.at.clone()),
        sentence: fault.to_string(),
    }
}
