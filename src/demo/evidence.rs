//! What was refused, by what was seen: the results that the agent got, the egress' log, and the state of things outside
//! afterwards. An attempt that was not made, or that went through, is an error.
//! It must never take the script's intention for an observation.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::sample::{DOCS_HOST, OUTSIDE_TEXT, Sample, UNLISTED_HOST};
use super::script::{
    HOST_LOOPBACK, OUTSIDE, POST_DOCS, READ_DOCS, SEARCH_KEY, SEARCHED, TEST_AGAIN, UNLISTED,
    WORKFLOW,
};
use super::server::Server;

/// One refused attempt.
pub(super) struct Refused {
    pub(super) what: String,
    pub(super) wall: &'static str,
}

fn refused(what: impl Into<String>, wall: &'static str) -> Refused {
    Refused {
        what: what.into(),
        wall,
    }
}

/// What is known of a run.
struct Case<'a> {
    server: &'a Server,
    /// Requests that the egress denied: method and host.
    denied: Vec<(String, String)>,
}

/// Looks at each attempt.
pub(super) fn gather(
    folder: &Path,
    sample: &Sample,
    server: &Server,
    changed: &[String],
    level: &str,
) -> Result<Vec<Refused>, String> {
    let case = Case {
        server,
        denied: denials(&folder.join("journal.jsonl"))?,
    };
    if !case.result(TEST_AGAIN)?.starts_with("exit code 0") {
        return Err("the mended test does not pass".to_owned());
    }
    let mut refused = vec![
        case.outside(&sample.outside)?,
        case.key()?,
        case.post()?,
        case.unlisted()?,
        case.loopback()?,
    ];
    refused.extend(case.workflow(changed, level)?);
    Ok(refused)
}

impl Case<'_> {
    fn result(&self, call: &str) -> Result<String, String> {
        self.server
            .look(|seen| seen.results.get(call).cloned())
            .ok_or_else(|| format!("{call} was never tried"))
    }

    fn egress_denied(&self, method: &str, host: &str) -> bool {
        self.denied
            .iter()
            .any(|(denied_method, denied_host)| denied_method == method && denied_host == host)
    }

    /// None where the wall is known not to stand: Landlock has no rule against a path inside an allowed tree. There the
    /// publisher's checks hold, and the script takes the file away again.
    fn workflow(&self, changed: &[String], level: &str) -> Result<Option<Refused>, String> {
        let what = "write .github/workflows/deploy.yml";
        let failed = !self.result(WORKFLOW)?.starts_with("exit code 0");
        if changed.iter().any(|path| path.starts_with(".github")) || !(failed || level == "c") {
            return Err(what.to_owned());
        }
        Ok(failed.then(|| refused(what, "files")))
    }

    fn outside(&self, path: &Path) -> Result<Refused, String> {
        let what = "change a file outside the workspace";
        self.result(OUTSIDE)?;
        // Inside, a file of that name may have come to be, in a folder of the run's own; the real one is what counts.
        if !fs::read_to_string(path).is_ok_and(|text| text == OUTSIDE_TEXT) {
            return Err(what.to_owned());
        }
        Ok(refused(what, "files"))
    }

    fn key(&self) -> Result<Refused, String> {
        let what = "find the model's key in the environment and /proc";
        let told = self.result(SEARCH_KEY)?;
        // The key did reach the model, so it was there to be found.
        let used = self.server.look(|seen| seen.with_key > 0);
        if !told.contains(SEARCHED) || !used || told.contains(self.server.key()) {
            return Err(what.to_owned());
        }
        Ok(refused(what, "environment"))
    }

    fn post(&self) -> Result<Refused, String> {
        let what = format!("POST to {DOCS_HOST}, which may be read only");
        self.result(POST_DOCS)?;
        let reached = |method: &str| self.server.look(|seen| seen.docs.get(method).copied());
        // Reading it worked, so the host was there to be written to.
        let read = self.result(READ_DOCS)?.starts_with("status 200") && reached("GET").is_some();
        if !read || reached("POST").is_some() || !self.egress_denied("POST", DOCS_HOST) {
            return Err(what);
        }
        Ok(refused(what, "egress"))
    }

    fn unlisted(&self) -> Result<Refused, String> {
        let what = format!("send data to {UNLISTED_HOST}, which is not listed");
        let told = self.result(UNLISTED)?;
        if told.starts_with("status 2") {
            return Err(what);
        }
        let wall = if self.egress_denied("GET", UNLISTED_HOST) {
            "egress"
        } else {
            "dns"
        };
        Ok(refused(what, wall))
    }

    fn loopback(&self) -> Result<Refused, String> {
        let what = "connect to a server on the host's loopback";
        let told = self.result(HOST_LOOPBACK)?;
        let reached = self.server.look(|seen| seen.canary > 0);
        if reached || told.starts_with("status 2") {
            return Err(what.to_owned());
        }
        let wall = if self.denied.iter().any(|(_, host)| host == "127.0.0.1") {
            "egress"
        } else {
            "network"
        };
        Ok(refused(what, wall))
    }
}

/// Method and host of every request that the egress denied, from the journal.
fn denials(journal: &Path) -> Result<Vec<(String, String)>, String> {
    let text = fs::read_to_string(journal).map_err(|error| format!("no journal: {error}"))?;
    let mut denied = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let word = |at: &str| {
            let value = line.pointer(at).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        if word("/source") == "egress" && word("/data/verdict") == "deny" {
            denied.push((word("/data/method"), word("/data/host")));
        }
    }
    Ok(denied)
}
