//! The shapes of GitHub's answers, only the fields that are used.
//! It must never fail on a field that it does not know: answers grow.

use serde::Deserialize;

use crate::event::{Account, AccountKind, App, Comment, Issue, IssueKind};

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RawAccount {
    pub(super) login: String,
    pub(super) id: u64,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
}

impl From<RawAccount> for Account {
    fn from(raw: RawAccount) -> Self {
        Self {
            login: raw.login,
            id: raw.id,
            kind: AccountKind::from_word(&raw.kind),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RawPermission {
    pub(super) role_name: String,
    pub(super) user: Option<RawAccount>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawComment {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) body: String,
    pub(super) user: Option<RawAccount>,
    /// A review has the time of its submission only.
    #[serde(alias = "submitted_at", default)]
    pub(super) created_at: String,
    pub(super) updated_at: Option<String>,
    pub(super) performed_via_github_app: Option<RawApp>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawApp {
    pub(super) id: u64,
    pub(super) slug: Option<String>,
}

impl RawComment {
    /// Whether this account wrote it.
    pub(super) fn is_by(&self, account: u64) -> bool {
        self.user.as_ref().is_some_and(|user| user.id == account)
    }

    /// Whether a bot's account wrote it.
    pub(super) fn is_by_bot(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.kind == "Bot")
    }

    /// None where the author's account is gone.
    pub(super) fn comment(self) -> Option<Comment> {
        Some(Comment {
            id: self.id,
            body: self.body,
            author: self.user?.into(),
            updated_at: self.updated_at.unwrap_or_else(|| self.created_at.clone()),
            created_at: self.created_at,
            app: self.performed_via_github_app.map(|app| App {
                id: app.id,
                slug: app.slug.unwrap_or_default(),
            }),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RawIssue {
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) body: Option<String>,
    pub(super) user: Option<RawAccount>,
    pub(super) performed_via_github_app: Option<RawApp>,
    pub(super) pull_request: Option<serde::de::IgnoredAny>,
}

impl RawIssue {
    pub(super) fn issue(self) -> Issue {
        Issue {
            number: self.number,
            title: self.title,
            body: self.body.unwrap_or_default(),
            author: self.user.map(Account::from),
            app: self.performed_via_github_app.map(|app| App {
                id: app.id,
                slug: app.slug.unwrap_or_default(),
            }),
            kind: if self.pull_request.is_some() {
                IssueKind::Pull
            } else {
                IssueKind::Issue
            },
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RawRepository {
    pub(super) default_branch: String,
    pub(super) allow_auto_merge: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawBranch {
    pub(super) commit: RawSha,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RawSha {
    pub(super) sha: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawRef {
    pub(super) object: RawSha,
}

/// A commit of the git data API.
#[derive(Debug, Deserialize)]
pub(super) struct RawGitCommit {
    pub(super) sha: String,
    pub(super) tree: RawSha,
    pub(super) verification: Option<RawVerification>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct RawVerification {
    pub(super) verified: bool,
}

/// A commit of the repository API, with the accounts that GitHub found for its addresses.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RawCommit {
    pub(super) commit: RawCommitBody,
    pub(super) author: Option<RawAccount>,
    pub(super) committer: Option<RawAccount>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RawCommitBody {
    pub(super) message: String,
    pub(super) verification: Option<RawVerification>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawComparison {
    pub(super) status: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RawPull {
    pub(super) number: u64,
    pub(super) html_url: String,
    pub(super) user: Option<RawAccount>,
    pub(super) head: RawEnd,
    pub(super) base: RawEnd,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RawEnd {
    pub(super) repo: Option<RawId>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct RawId {
    pub(super) id: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawStatus {
    pub(super) context: String,
    pub(super) state: String,
    pub(super) description: Option<String>,
    pub(super) creator: Option<RawId>,
    pub(super) created_at: Option<String>,
}
