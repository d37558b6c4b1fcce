//! `tagout policy replay`: what another policy would have said to the requests of a recorded log.
//! It must never believe that a log is whole: it judges what is there, and says what it cannot read or judge.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::log::{self, Decision, Event, Tls};
use super::model_gate::ModelGate;
use super::refusal::place;
use super::setup::{Injected, ModelRule};
use crate::broker::policies;
use crate::console;
use crate::names::Secret;
use crate::outcome::Outcome;
use crate::policy::model::Policy;
use crate::policy::verdict::{self, Judge, Request, Road, Scheme, Verdict};

/// What ends a replay in which something that passed would be refused.
const NOW_DENIED: u8 = 1;

/// The refusals that rules decide. Every other one (budgets, addresses, framing, misplaced secrets) holds under any policy,
/// or cannot be judged from a log: it stays as it was.
const BY_RULES: [&str; 10] = [
    "host-not-allowed",
    "port-not-allowed",
    "clear-not-allowed",
    "method-not-allowed",
    "path-not-allowed",
    "path-ambiguous",
    "path-malformed",
    "address-literal",
    "host-invalid",
    "method-invalid",
];

/// One request under the other policy.
struct Judged {
    now: &'static str,
    code: Option<String>,
    at: Option<String>,
}

/// The other policy, made ready.
struct Other {
    judge: Judge,
    model: Option<ModelGate>,
}

/// What was counted.
#[derive(Default)]
struct Count {
    read: u64,
    unreadable: u64,
    changed: u64,
    worse: u64,
    kept: u64,
}

/// Judges every request of a log anew and prints those whose verdict changes; with `json` all of them, an object a line.
/// The log is that of the egress or the journal of a run. 0 if nothing that passed would be refused, else 1.
#[must_use]
pub fn run(recorded: &Path, policy: &Path, json: bool) -> u8 {
    let policy = match policies::load(policy) {
        Ok(policy) => policy,
        Err(faults) => {
            console::notice(&policies::listed(&faults));
            return Outcome::PolicyInvalid.code();
        }
    };
    let file = match File::open(recorded) {
        Ok(file) => file,
        Err(error) => {
            console::notice(&format!("cannot use {}: {error}", recorded.display()));
            return Outcome::Usage.code();
        }
    };
    let other = Other::new(policy);
    let mut count = Count::default();
    for event in log::recorded(file) {
        match event {
            Ok(Some(event)) => other.look_at(&event, json, &mut count),
            // Another line of a journal.
            Ok(None) => {}
            Err(_) => count.unreadable += 1,
        }
    }
    console::notice(&format!(
        "{} requests, {} with another verdict, {} of them refused now; {} refused for a reason that no rule decides; {} lines cannot be read",
        count.read, count.changed, count.worse, count.kept, count.unreadable
    ));
    if count.worse > 0 { NOW_DENIED } else { 0 }
}

/// A request that passed and then failed was allowed.
fn word(verdict: Decision) -> &'static str {
    match verdict {
        Decision::Allow | Decision::Fail => "allow",
        Decision::Deny => "deny",
        Decision::Report => "report",
    }
}

impl Other {
    fn new(policy: Policy) -> Self {
        let model = policy.agent.model.map(|model| {
            let rule = ModelRule {
                model,
                tokens: policy.agent.tokens,
            };
            let nothing = Injected {
                value: Secret::new(String::new()),
                placeholder: String::new(),
            };
            ModelGate::new(&rule, nothing)
        });
        Self {
            judge: Judge::new(Arc::new(policy.network)),
            // One whose URL cannot be read serves nobody.
            model: model.and_then(Result::ok),
        }
    }

    fn look_at(&self, event: &Event, json: bool, count: &mut Count) {
        let was = word(event.verdict);
        let judged = self.again(event);
        count.read += event.count;
        if was == "deny" && judged.now == "deny" && judged.code == event.code && !by_rules(event) {
            count.kept += event.count;
        }
        let differs = was != judged.now;
        if differs {
            count.changed += event.count;
            if judged.now == "deny" {
                count.worse += event.count;
            }
        }
        if json || differs {
            console::answer(&line(event, was, &judged, json));
        }
    }

    fn again(&self, event: &Event) -> Judged {
        let scheme = match event.scheme.as_str() {
            "http" => Scheme::Http,
            _ => Scheme::Https,
        };
        if event.verdict == Decision::Deny && !by_rules(event) {
            return Judged {
                now: "deny",
                code: event.code.clone(),
                at: event.rule.clone(),
            };
        }
        if let Some(model) = &self.model
            && model.lives_at(scheme, &event.host, event.port)
        {
            let covered = model.covers(&event.method, &event.path);
            return Judged {
                now: if covered { "allow" } else { "deny" },
                code: (!covered).then(|| "model-request-not-allowed".to_owned()),
                at: Some(place(model.at())),
            };
        }
        if event.tls == Tls::Tunnel {
            return self.tunnel(event);
        }
        self.request(event, scheme)
    }

    fn request(&self, event: &Event, scheme: Scheme) -> Judged {
        let request = Request {
            scheme,
            host: &event.host,
            port: event.port,
            method: &event.method,
            path: &event.path,
        };
        match self.judge.judge(&request) {
            Verdict::Allow(rule) => Judged {
                now: "allow",
                code: None,
                at: Some(place(&rule.at)),
            },
            Verdict::Deny(denial) => {
                let network = self.judge.network();
                let reported = verdict::only_reported(network, &request, &denial);
                Judged {
                    now: if reported { "report" } else { "deny" },
                    code: Some(denial.code.to_owned()),
                    at: denial.at.as_ref().map(place),
                }
            }
        }
    }

    /// A tunnel was passed unread: what was asked inside is not known.
    fn tunnel(&self, event: &Event) -> Judged {
        match self.judge.road(&event.host, event.port) {
            Road::Tunnel(rule) => Judged {
                now: "allow",
                code: None,
                at: Some(place(&rule.at)),
            },
            Road::Inspect => Judged {
                now: "inspect",
                code: None,
                at: None,
            },
            Road::Deny(denial) => Judged {
                now: "deny",
                code: Some(denial.code.to_owned()),
                at: denial.at.as_ref().map(place),
            },
        }
    }
}

fn by_rules(event: &Event) -> bool {
    let code = event.code.as_deref().unwrap_or_default();
    BY_RULES.contains(&code)
}

fn line(event: &Event, was: &str, judged: &Judged, json: bool) -> String {
    let host = if event.host.contains(':') {
        format!("[{}]", event.host)
    } else {
        event.host.clone()
    };
    let request = format!(
        "{} {}://{host}:{}{}",
        event.method, event.scheme, event.port, event.path
    );
    if json {
        return json!({
            "request": request, "was": was, "now": judged.now, "code": judged.code, "at": judged.at, "count": event.count,
        })
        .to_string();
    }
    let code = judged
        .code
        .as_ref()
        .map_or(String::new(), |code| format!(" ({code})"));
    let at = judged.at.as_deref().unwrap_or("-");
    let shown: String = request.chars().filter(|c| !c.is_control()).collect();
    format!("{was} -> {}{code}  {shown}  {at}", judged.now)
}
