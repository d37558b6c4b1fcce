//! Which line of the policy decided a refusal, and the smallest one that would have allowed it.
//! It must never name a line that it does not know, nor suggest one that opens more than what was refused.

use std::net::IpAddr;
use std::path::Path;

use crate::policy::model::Policy;
use crate::policy::parse::Places;
use crate::wire::Denied;

/// A policy and where its keys are written.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Where its keys are.
    pub places: &'a Places,
}

impl Written<'_> {
    /// The refusal with what this policy has to do with it.
    #[must_use]
    pub fn explain(self, mut denied: Denied) -> Denied {
        if denied.at.is_some() {
            return denied;
        }
        match denied.wall.as_str() {
            "dns" => denied.at = Some(self.policy.network.at.to_string()),
            "network" => self.connect(&mut denied),
            "files" | "git" => self.path(&mut denied),
            wall if wall.starts_with("limits.") && denied.allow.is_some() => {
                denied.at = Some(self.of(wall));
            }
            // No policy decides over system calls and unix sockets.
            _ => {}
        }
        denied
    }

    /// Where a key is written, or that it is not.
    fn of(self, key: &str) -> String {
        let written = self.places.written(key);
        written.map_or_else(|| format!("the default of {key}"), ToString::to_string)
    }

    /// A name on a port that no rule has. An address is never suggested, and no policy allows a bind or a listen.
    fn connect(self, denied: &mut Denied) {
        let Some((host, port)) = denied
            .what
            .strip_prefix("connect ")
            .and_then(|target| target.rsplit_once(':'))
        else {
            return;
        };
        denied.at = Some(self.policy.network.at.to_string());
        let is_name = host.parse::<IpAddr>().is_err()
            && !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
        if let (true, Ok(port)) = (is_name, port.parse::<u16>()) {
            denied.allow = Some(format!(
                "network.allow: [{{ host: {host}, ports: [{port}] }}]"
            ));
        }
    }

    /// A protected path: the list that holds it, and the list without it.
    fn path(self, denied: &mut Denied) {
        let files = &self.policy.filesystem;
        let Some(path) = refused_path(&denied.what) else {
            return;
        };
        // What is denied is so whatever the other list says.
        for (key, list) in [
            ("filesystem.deny", &files.deny),
            ("filesystem.read-only", &files.read_only),
        ] {
            let holds = |entry: &&String| Path::new(path).starts_with(entry.trim_matches('/'));
            let Some(entry) = list.iter().find(holds) else {
                continue;
            };
            let rest: Vec<&String> = list.iter().filter(|other| *other != entry).collect();
            let rest = serde_json::to_string(&rest).unwrap_or_default();
            denied.at = Some(self.of(key));
            denied.allow = Some(format!("{key}: {rest}"));
            return;
        }
    }
}

/// The path in what the walls say: a verb, the path, and what became of it.
fn refused_path(what: &str) -> Option<&str> {
    let (_verb, rest) = what.split_once(' ')?;
    let ends = [
        " (removed)",
        " (could not be removed)",
        " (written in the private copy, left out)",
    ];
    Some(
        ends.iter()
            .find_map(|end| rest.strip_suffix(end))
            .unwrap_or(rest),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse::parse_placed;

    const POLICY: &str = "version: 1\nfilesystem:\n  deny: [.env, secrets]\nnetwork:\n  allow: []\nlimits:\n  memory: 1GiB\n";

    fn explained(wall: &str, what: &str) -> (Option<String>, Option<String>) {
        let (policy, places) = parse_placed("p.yml", POLICY).unwrap();
        let written = Written {
            policy: &policy,
            places: &places,
        };
        let denied = written.explain(Denied {
            wall: wall.to_owned(),
            what: what.to_owned(),
            count: 1,
            allow: wall.starts_with("limits").then(|| "more".to_owned()),
            at: None,
        });
        (denied.at, denied.allow)
    }

    fn some(at: &str, allow: &str) -> (Option<String>, Option<String>) {
        (Some(at.to_owned()), Some(allow.to_owned()))
    }

    #[test]
    fn line_that_decided_and_the_smallest_that_would_allow_it_are_named() {
        let git = some(
            "the default of filesystem.read-only",
            "filesystem.read-only: [\".github\"]",
        );
        assert_eq!(explained("git", "make .git (removed)"), git);
        let env = some("p.yml:3", "filesystem.deny: [\"secrets\"]");
        assert_eq!(explained("files", "make .env (removed)"), env);
        let below = some("p.yml:3", "filesystem.deny: [\".env\"]");
        assert_eq!(explained("files", "write secrets/a b"), below);
        let ssh = some(
            "p.yml:5",
            "network.allow: [{ host: a.example, ports: [22] }]",
        );
        assert_eq!(explained("network", "connect a.example:22"), ssh);
        assert_eq!(explained("limits.memory", "x"), some("p.yml:7", "more"));
        let processes = some("the default of limits.processes", "more");
        assert_eq!(explained("limits.processes", "x"), processes);
    }

    #[test]
    fn nothing_is_suggested_that_no_policy_decides_or_that_is_an_address() {
        for (wall, what) in [
            ("syscalls", "call unshare"),
            ("unix-sockets", "connect /run/docker.sock"),
            ("network", "bind 0.0.0.0:80"),
            ("network", "listen without a bind to loopback"),
            ("files", "write other"),
        ] {
            assert_eq!(explained(wall, what), (None, None), "{wall} {what}");
        }
        for target in ["10.0.0.1:80", "[2001:db8::1]:443", "a b:80", "a{}:80"] {
            let (at, allow) = explained("network", &format!("connect {target}"));
            assert_eq!((at.as_deref(), allow), (Some("p.yml:5"), None), "{target}");
        }
    }
}
