//! Where proposals are opened: GitHub, or a local repository.
//! It must never mark ready, approve or merge.

pub mod branch;
pub mod github;
pub mod local;

use crate::gate::{Admitted, Principal};
use crate::names::{Digest, ObjectId};
use crate::outcome::Outcome;

/// Characters of the longest text that GitHub stores for a body or comment.
pub const BODY_CHARS_MAX: usize = 65_536;
/// Characters of the longest title that GitHub stores.
pub const TITLE_CHARS_MAX: usize = 256;

/// What is to be proposed. Title and body have been sanitised by the caller; the rest is ours.
#[derive(Clone, Debug)]
pub struct Proposal<'a> {
    /// One line, at most `TITLE_CHARS_MAX` characters.
    pub title: &'a str,
    /// Markdown, at most `BODY_CHARS_MAX` characters.
    pub body: &'a str,
    /// The digest of the policy that bounded the run.
    pub policy: &'a Digest,
    /// The last digest of the run's journal.
    pub journal: Option<&'a Digest>,
    /// GITHUB_RUN_ID and attempt, for example `123/1`.
    pub run: &'a str,
    /// The run's page, if it has one.
    pub run_url: Option<&'a str>,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// `Proposed` or `Updated`.
    pub outcome: Outcome,
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// Its head.
    pub commit: ObjectId,
    /// The pull request's number and page; none on the local forge.
    pub pull: Option<(u64, String)>,
    /// How the commit was made.
    pub made: Made,
    /// What the reader must know: a label that was not set, a lock that does not stand.
    pub notes: Vec<String>,
}

/// How a commit was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// GraphQL `createCommitOnBranch`.
    Graphql(Signature),
    /// REST git data: modes are kept.
    Rest(Signature),
    /// In a local repository.
    Local,
    /// The branch already held exactly this tree, so that no commit was needed.
    Unchanged,
}

/// Whether GitHub calls a commit verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// It does.
    Verified,
    /// It does not.
    Unsigned,
}

impl Made {
    /// One sentence for the report.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Graphql(Signature::Verified) => {
                "made with createCommitOnBranch, signed by GitHub"
            }
            Self::Graphql(Signature::Unsigned) => {
                "made with createCommitOnBranch, and GitHub does not call it verified"
            }
            Self::Rest(Signature::Verified) => "made with the git data API, signed by GitHub",
            Self::Rest(Signature::Unsigned) => "made with the git data API, not signed",
            Self::Local => "made in the local repository, not signed",
            Self::Unchanged => "not needed: the branch already held this tree",
        }
    }
}

/// The lines at the end of the commit message from which `approval` learns who may not approve.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Trailers {
    /// `issue-7`, `task-update-deps`.
    pub task: String,
    /// Login and number of whoever asked.
    pub requester: Option<(String, Option<u64>)>,
    /// Login and number of whoever started the run again.
    pub rerunner: Option<(String, Option<u64>)>,
    /// The base commit.
    pub base: Option<ObjectId>,
    /// The base branch.
    pub base_branch: String,
    /// The tree that was published.
    pub tree: Option<ObjectId>,
}

const TASK: &str = "Tagout-Task";
const REQUESTER: &str = "Tagout-Requester";
const RERUNNER: &str = "Tagout-Rerun-By";
const BASE: &str = "Tagout-Base";
const BASE_BRANCH: &str = "Tagout-Base-Branch";
const TREE: &str = "Tagout-Tree";

/// The whole commit message: title, trailers. `tree` is none where it is not known before the commit is made.
#[must_use]
pub fn commit_message(
    admitted: &Admitted,
    proposal: &Proposal<'_>,
    tree: Option<&ObjectId>,
) -> String {
    let title: String = proposal
        .title
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let mut lines = vec![
        (TASK, admitted.task_id()),
        (REQUESTER, person(admitted.requester())),
    ];
    if let Some(rerunner) = admitted.rerunner() {
        lines.push((RERUNNER, person(rerunner)));
    }
    lines.push((BASE, admitted.base_commit().to_string()));
    lines.push((BASE_BRANCH, admitted.base_branch().to_owned()));
    lines.push(("Tagout-Policy", proposal.policy.to_string()));
    if let Some(journal) = proposal.journal {
        lines.push(("Tagout-Journal", journal.to_string()));
    }
    lines.push(("Tagout-Run", proposal.run.to_owned()));
    if let Some(tree) = tree {
        lines.push((TREE, tree.to_string()));
    }
    let mut message = format!("{title}\n\n");
    for (key, value) in lines {
        let value: String = value
            .chars()
            .filter(|letter| !letter.is_control())
            .collect();
        message.push_str(&format!("{key}: {value}\n"));
    }
    message
}

fn person(principal: &Principal) -> String {
    match principal.id {
        Some(id) => format!("{} ({id})", principal.login),
        None => principal.login.clone(),
    }
}

impl Trailers {
    /// Reads the last paragraph of a commit message that `commit_message` made. A key that stands twice is unreadable,
    /// since nobody could say which one counts.
    #[must_use]
    pub fn read(message: &str) -> Option<Self> {
        let paragraph = message.trim_end().rsplit("\n\n").next()?;
        let mut found = std::collections::BTreeMap::new();
        for line in paragraph.lines() {
            let (key, value) = line.split_once(": ")?;
            if found.insert(key, value).is_some() {
                return None;
            }
        }
        Some(Self {
            task: (*found.get(TASK)?).to_owned(),
            requester: Some(read_person(found.get(REQUESTER)?)),
            rerunner: found.get(RERUNNER).map(|text| read_person(text)),
            base: Some(found.get(BASE)?.parse().ok()?),
            base_branch: (*found.get(BASE_BRANCH)?).to_owned(),
            tree: match found.get(TREE) {
                Some(text) => Some(text.parse().ok()?),
                None => None,
            },
        })
    }
}

fn read_person(text: &str) -> (String, Option<u64>) {
    match text
        .strip_suffix(')')
        .and_then(|text| text.rsplit_once(" ("))
        .and_then(|(login, id)| id.parse().ok().map(|id| (login, id)))
    {
        Some((login, id)) => (login.to_owned(), Some(id)),
        None => (text.to_owned(), None),
    }
}
