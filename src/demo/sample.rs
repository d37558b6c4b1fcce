//! The sample: a repository with a bug and its test, its policy, and the comment that asks for help.
//! It must never need more inside than a shell.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::DemoError;
use super::server::{COMMENT_ID, MAINTAINER, Server};
use crate::broker::git::sample::{self, SampleFile};
use crate::names::ObjectId;

/// The sample repository's name.
pub(super) const REPOSITORY: &str = "octo-demo/calculator";
/// The host that may be read and not written to (RFC 2606 keeps the name free).
pub(super) const DOCS_HOST: &str = "docs.example.com";
/// A host that the policy does not name.
pub(super) const UNLISTED_HOST: &str = "collector.example.net";
/// The variable with the model's key.
pub(super) const KEY_NAME: &str = "TAGOUT_DEMO_KEY";
/// What the maintainer wrote.
pub(super) const COMMENT: &str = "/tagout fix the failing test";
/// What stands in a file outside the workspace before the agent starts.
pub(super) const OUTSIDE_TEXT: &str = "Nobody inside may change this.\n";

const CALCULATOR: &str = "#!/bin/sh
# Adds two numbers.
echo $(($1 - $2))
";

const TEST: &str = "#!/bin/sh
# Checks the calculator.
sum=$(sh calculator.sh 2 3)
if [ \"$sum\" = 5 ]; then
  echo ok
else
  echo \"2 + 3 gave $sum, not 5\"
  exit 1
fi
";

const README: &str =
    "# Calculator\n\nAdds two numbers: `sh calculator.sh 2 3`. The test is `sh test.sh`.\n";

/// What was made.
pub(super) struct Sample {
    pub(super) repository: PathBuf,
    pub(super) event: PathBuf,
    pub(super) commit: ObjectId,
    /// A file that the agent is made to try to change.
    pub(super) outside: PathBuf,
}

impl Sample {
    pub(super) fn make(folder: &Path, server: &Server) -> Result<Self, DemoError> {
        let repository = folder.join("repository");
        let policy = policy(server.port());
        let commit = sample::make(
            &repository,
            &[
                file("calculator.sh", CALCULATOR),
                file("test.sh", TEST),
                file("README.md", README),
                file(".github/tagout.yml", &policy),
            ],
        )?;
        let event = folder.join("event.json");
        let outside = folder.join("outside.txt");
        for (path, text) in [
            (&event, payload().to_string()),
            (&outside, OUTSIDE_TEXT.to_owned()),
        ] {
            fs::write(path, text).map_err(|source| DemoError::Folder {
                path: path.clone(),
                source,
            })?;
        }
        server.tell_outside(&outside);
        Ok(Self {
            repository,
            event,
            commit,
            outside,
        })
    }
}

fn file<'a>(path: &'a str, text: &'a str) -> SampleFile<'a> {
    SampleFile { path, text }
}

/// The policy of the sample: one model, one host to read from.
fn policy(port: u16) -> String {
    format!(
        "version: 1
agent:
  use: builtin
  model: {{ api: responses, name: demo-model, base-url: \"http://127.0.0.1:{port}/v1\", key: {KEY_NAME} }}
  limits: {{ turns: 30, tokens: 500000, wall-time: 2m }}
network:
  allow:
    - host: {DOCS_HOST}
      ports: [{port}]
      methods: [GET, HEAD]
      private: true     # the demo serves it on loopback
"
    )
}

/// The payload of `issue_comment`, as GitHub sends it, so far as Tagout and a reader look.
/// <https://docs.github.com/webhooks/webhook-events-and-payloads#issue_comment>
fn payload() -> Value {
    let url = |path: &str| format!("https://api.github.com/repos/{REPOSITORY}{path}");
    json!({
        "action": "created",
        "issue": {
            "url": url("/issues/7"),
            "id": 3_000_000_007_u64,
            "number": 7,
            "title": "test.sh fails",
            "user": MAINTAINER.account(),
            "labels": [],
            "state": "open",
            "locked": false,
            "comments": 1,
            "created_at": "2026-01-05T09:00:00Z",
            "updated_at": "2026-01-05T09:30:00Z",
            "author_association": "OWNER",
            "body": "2 + 3 should be 5, and the calculator says something else."
        },
        "comment": comment(),
        "repository": {
            "id": 900_000_001,
            "name": "calculator",
            "full_name": REPOSITORY,
            "private": false,
            "owner": {"login": "octo-demo", "id": 900_000, "type": "Organization"},
            "default_branch": "main",
            "url": url("")
        },
        "sender": MAINTAINER.account()
    })
}

/// The comment, in the event and from the API.
pub(super) fn comment() -> Value {
    json!({
        "url": format!("https://api.github.com/repos/{REPOSITORY}/issues/comments/{COMMENT_ID}"),
        "id": COMMENT_ID,
        "user": MAINTAINER.account(),
        "created_at": "2026-01-05T09:30:00Z",
        "updated_at": "2026-01-05T09:30:00Z",
        "author_association": "OWNER",
        "body": COMMENT,
        "performed_via_github_app": null
    })
}
