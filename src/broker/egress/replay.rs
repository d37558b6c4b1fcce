//! `tagout policy replay`: what another policy would have said to the requests of a recorded log.
//! It must never believe that a log is whole: it judges what is there, and says what it cannot read.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::log::{self, Decision, Event};
use super::refusal::place;
use crate::broker::policies;
use crate::console;
use crate::outcome::Outcome;
use crate::policy::verdict::{Judge, Request, Scheme, Verdict};

/// What ends a replay in which something that passed would be refused.
const NOW_DENIED: u8 = 1;

/// One request under the other policy.
struct Judged {
    now: &'static str,
    code: Option<&'static str>,
    at: Option<String>,
}

/// Judges every request of a log anew and prints those whose verdict changes; with `json` all of them, an object a line.
/// 0 if nothing that passed would be refused, else 1.
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
    let judge = Judge::new(Arc::new(policy.network));
    let (mut read, mut unreadable, mut changed, mut worse) = (0_u64, 0_u64, 0_u64, 0_u64);
    for event in log::read(file) {
        let Ok(event) = event else {
            unreadable += 1;
            continue;
        };
        read += event.count;
        let judged = again(&judge, &event);
        let was = word(event.verdict);
        let differs = was != judged.now;
        if differs {
            changed += event.count;
            if judged.now == "deny" {
                worse += event.count;
            }
        }
        if json || differs {
            console::answer(&line(&event, was, &judged, json));
        }
    }
    console::notice(&format!(
        "{read} requests, {changed} with another verdict, {worse} of them refused now; {unreadable} lines cannot be read"
    ));
    if worse > 0 { NOW_DENIED } else { 0 }
}

/// A request that passed and then failed was allowed.
fn word(verdict: Decision) -> &'static str {
    match verdict {
        Decision::Allow | Decision::Fail => "allow",
        Decision::Deny => "deny",
        Decision::Report => "report",
    }
}

fn again(judge: &Judge, event: &Event) -> Judged {
    let scheme = match event.scheme.as_str() {
        "http" => Scheme::Http,
        _ => Scheme::Https,
    };
    let verdict = judge.judge(&Request {
        scheme,
        host: &event.host,
        port: event.port,
        method: &event.method,
        path: &event.path,
    });
    match verdict {
        Verdict::Allow(rule) => Judged {
            now: "allow",
            code: None,
            at: Some(place(&rule.at)),
        },
        Verdict::Deny(denial) => Judged {
            now: "deny",
            code: Some(denial.code),
            at: denial.at.as_ref().map(place),
        },
    }
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
        .map_or(String::new(), |code| format!(" ({code})"));
    let at = judged.at.as_deref().unwrap_or("-");
    format!("{was} -> {}{code}  {request}  {at}", judged.now)
}
