//! What a run did, was refused and could not enforce, told to the human who decides.
//! It must never show a text of the agent as if we had said it.

pub mod gaps;
pub mod html;
pub mod markdown;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::Level;
use crate::outcome::Outcome;
use crate::wire::{Denied, Wall};

/// Everything that a report tells. It is kept in the journal, so that a report can be drawn again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// Version of tagout.
    pub version: String,
    /// How the run ended.
    pub outcome: Outcome,
    /// One sentence on it.
    pub sentence: String,
    /// Stable code of a refusal or fault.
    pub code: Option<String>,
    /// Who asked, for what, on what.
    pub request: Request,
    /// Whether execute and publish ran apart.
    pub arrangement: Arrangement,
    /// What held the agent.
    pub walls: Walls,
    /// What the agent did.
    pub agent: AgentFacts,
    /// What changed.
    pub changes: Vec<ChangeFact>,
    /// How the policy's verify commands ended.
    #[serde(default)]
    pub verified: Vec<Verified>,
    /// What the checks found.
    pub findings: Vec<FindingFact>,
    /// What the egress refused, and what the broker left out.
    pub network: Vec<Denied>,
    /// The smallest policy that would allow what the agent asked for, where the policy in force only reports.
    #[serde(default)]
    pub suggested_policy: Option<String>,
    /// What the model cost.
    pub bill: Option<Bill>,
    /// What was not enforced or not looked at, a sentence each.
    pub notes: Vec<String>,
    /// The digest of the journal's last line before the report.
    pub journal: Option<String>,
    /// The branch or pull request that was made.
    pub proposal: Option<String>,
}

/// How one command of `verify` ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The command, in the policy's words.
    pub command: String,
    /// Its exit code; none where it was not started.
    pub exit: Option<i32>,
}

/// Who asked, for what, on what.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Request {
    /// Login, or who sat at the keyboard.
    pub requester: String,
    /// The task, in the requester's words.
    pub task: String,
    /// `owner/name`, if known.
    pub repository: Option<String>,
    /// The issue.
    pub issue: Option<u64>,
    /// The base branch.
    pub base_branch: Option<String>,
    /// The base commit.
    pub base_commit: Option<String>,
    /// SHA-256 of the policy's text.
    pub policy_digest: Option<String>,
    /// Link to the workflow run.
    pub run_url: Option<String>,
}

/// How the run was arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrangement {
    /// The job that ran the agent held no credential that can write.
    TwoJobs,
    /// One process tree did both: weaker.
    OneProcess,
}

/// What held the agent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Walls {
    /// The level; none if nothing was started.
    pub level: Option<Level>,
    /// The kernel's Landlock ABI.
    pub abi: u32,
    /// Every wall by name.
    pub walls: BTreeMap<String, Wall>,
    /// Why a stronger level was not to be had.
    pub missing: Vec<String>,
    /// What the walls refused; none where it is not known.
    pub denied: Option<Vec<Denied>>,
    /// The limit that was reached.
    pub limit: Option<String>,
}

/// What the agent did and says it did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AgentFacts {
    /// Its program.
    pub program: String,
    /// Its exit code, if it was started.
    pub exit: Option<i32>,
    /// Milliseconds of wall time.
    pub wall_ms: u64,
    /// Its own title: a claim.
    pub claimed_title: Option<String>,
    /// Its own summary: a claim.
    pub claimed_summary: Option<String>,
}

/// One changed path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangeFact {
    /// The path.
    pub path: String,
    /// added, modified, deleted.
    pub operation: String,
    /// Lines added.
    pub added: u64,
    /// Lines removed.
    pub removed: u64,
}

/// One finding of the checks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FindingFact {
    /// block, review or note.
    pub severity: String,
    /// Stable code.
    pub code: String,
    /// Where.
    pub path: Option<String>,
    /// Line in it.
    pub line: Option<u32>,
    /// What.
    pub sentence: String,
    /// The policy line that would allow it.
    pub mend: Option<String>,
}

/// What the model was asked for, as its answers tell.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Bill {
    /// Requests answered.
    pub requests: u64,
    /// Tokens counted, settled or reserved.
    pub tokens: u64,
}
