//! What a token may write, asked without writing: for the job in which the agent runs, which may hold none that can.
//! It must never send a request that could have an effect: each one here names something that cannot exist.

use serde_json::{Value, json};

use super::GitHub;
use super::error::ForgeError;

/// The object id that git uses for "none". No object can ever have it, so that nothing can be put on it.
const NO_OBJECT: &str = "0000000000000000000000000000000000000000";
/// A name that no branch can have: git refuses two dots in a row (git-check-ref-format).
const NO_BRANCH: &str = "tagout..none";

/// One request that a token without the permission is denied (403), and that with it cannot be carried out (422).
/// GitHub looks at the permission before it looks for what the request names.
struct Probe {
    permission: &'static str,
    path: String,
    body: Value,
}

/// The permissions that GitHub would let a job write with, as far as they can be asked about without an effect. Those of
/// packages, pages, discussions, caches and workflow runs have no request that is sure to have none.
fn probes() -> [Probe; 6] {
    let probe = |permission, path: &str, body| Probe {
        permission,
        path: path.to_owned(),
        body,
    };
    [
        probe(
            "contents",
            "git/refs",
            json!({"ref": "refs/heads/tagout-none", "sha": NO_OBJECT}),
        ),
        // Neither the empty name nor the colour can be had.
        probe("issues", "labels", json!({"name": "", "color": "none"})),
        probe(
            "pull-requests",
            "pulls",
            json!({"title": "none", "head": NO_BRANCH, "base": NO_BRANCH}),
        ),
        probe(
            "statuses",
            &format!("statuses/{NO_OBJECT}"),
            json!({"state": "failure", "context": "tagout/none"}),
        ),
        probe(
            "checks",
            "check-runs",
            json!({"name": "tagout-none", "head_sha": NO_OBJECT}),
        ),
        probe(
            "deployments",
            "deployments",
            json!({"ref": NO_BRANCH, "auto_merge": false}),
        ),
    ]
}

impl GitHub {
    /// What the token may write: names of permissions, or the scopes of a person's token; nothing where it can only read.
    ///
    /// The permissions of `GITHUB_TOKEN` cannot be read anywhere, so three things are looked at: the header with the scopes
    /// of a classic personal token, what GitHub says of the token's owner at this repository (it says nothing of that kind
    /// to an App's token), and requests that are denied for want of permission before it is found that they are impossible.
    ///
    /// # Errors
    /// No answer, or one that tells neither.
    pub async fn writes(&self) -> Result<Vec<String>, ForgeError> {
        let place = format!("/repos/{}", self.repository);
        let (repository, scopes): (Value, Option<String>) =
            self.caller.get_with_scopes(&place).await?;
        let mut found = writing_scopes(scopes.as_deref().unwrap_or_default());
        for word in ["push", "maintain", "admin"] {
            if repository["permissions"][word] == Value::Bool(true) {
                found.push(format!("the owner's right to {word}"));
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
        for probe in probes() {
            let path = self.path(&probe.path);
            if self.caller.is_let(&path, &probe.body).await? {
                found.push(format!("{}: write", probe.permission));
            }
        }
        Ok(found)
    }
}

/// Scopes of a classic personal token that are more than reading
/// (docs.github.com, "Scopes for OAuth apps"). One that is not known to be harmless counts as writing.
fn writing_scopes(header: &str) -> Vec<String> {
    header
        .split(',')
        .map(str::trim)
        .filter(|scope| !scope.is_empty())
        .filter(|scope| !scope.starts_with("read:") && *scope != "user:email")
        .map(|scope| format!("the scope {scope}"))
        .collect()
}

/// Whether an answer to a probe says that the token has the permission. None where it says neither.
pub(super) fn lets(status: u16) -> Option<bool> {
    match status {
        // Denied, or not there for whoever holds this token, or a server that has no such thing.
        401 | 403 | 404 | 405 | 410 | 451 | 501 => Some(false),
        // Let in, and then found impossible. 2xx cannot be, and would be the plainest yes.
        200..=299 | 400 | 409 | 415 | 422 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scopes_that_read_are_harmless() {
        assert!(writing_scopes("").is_empty());
        assert!(writing_scopes("read:org, user:email, read:packages").is_empty());
        assert_eq!(writing_scopes("repo"), ["the scope repo"]);
        assert_eq!(writing_scopes("read:org, gist").len(), 1);
        assert_eq!(writing_scopes("new-thing").len(), 1);
    }

    #[test]
    fn answer_that_says_neither_is_no_answer() {
        assert_eq!(lets(403), Some(false));
        assert_eq!(lets(422), Some(true));
        assert_eq!(lets(502), None);
        assert_eq!(lets(302), None);
    }
}
