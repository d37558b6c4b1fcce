//! The policy as a value: every key of `.github/tagout.yml` after validation.
//! It must never be made from unvalidated text except by `parse`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::registry::Tool;
use crate::names::{Level, Permission};

/// Where in a policy file something stands; lines and columns count from one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The file as the user knows it.
    pub file: Arc<str>,
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl fmt::Display for Place {
    /// `file:line`, as every message shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A whole policy. `Policy::default()` is what holds when there is no file.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Other base branches for which this policy may be used, as globs.
    pub bases: Vec<String>,
    /// Who and what may start a run.
    pub triggers: Triggers,
    /// Tasks by name.
    pub tasks: BTreeMap<String, Task>,
    /// Which agent works, and how long.
    pub agent: Agent,
    /// Shell commands inside the walls before the agent.
    pub setup: Vec<String>,
    /// Files.
    pub filesystem: Filesystem,
    /// Variables.
    pub environment: Environment,
    /// Hosts, methods, paths.
    pub network: Network,
    /// The weakest level that may be used.
    pub require: Level,
    /// Limits of the walls.
    pub limits: Limits,
    /// What a change may touch.
    pub changes: Changes,
    /// Shell commands run by us after the agent in a second, fresh sandbox.
    pub verify: Vec<String>,
    /// How the proposal looks.
    pub pull_request: PullRequest,
    /// What releases it.
    pub approval: Approval,
}

/// `triggers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Triggers {
    /// The first word of a comment that is ours, with its slash.
    pub command: String,
    /// The weakest permission that may give it.
    pub permission: Permission,
    /// Numeric account ids of bots that may give it.
    pub bots: Vec<u64>,
    /// The human to whom scheduled runs are attributed.
    pub schedule_owner: Option<String>,
}

/// A named task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The cron line that starts it, as written in the workflow.
    pub schedule: Option<String>,
    /// What the agent is asked to do.
    pub prompt: String,
}

/// `agent`.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    /// Which program.
    pub kind: AgentKind,
    /// The command of `use: command`; `{prompt}` and `{prompt-file}` are filled in.
    pub command: Vec<String>,
    /// The model, if the agent needs one.
    pub model: Option<Model>,
    /// Turns of the agent.
    pub turns: u32,
    /// Tokens of the model, input and output together.
    pub tokens: u64,
    /// Wall time of the agent.
    pub wall_time: Duration,
}

/// `agent.use`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentKind {
    /// `tagout agent`.
    Builtin,
    /// OpenAI Codex.
    Codex,
    /// Claude Code.
    Claude,
    /// opencode.
    Opencode,
    /// Any command.
    Command,
}

/// The protocol of a model endpoint; each knows exactly one POST path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelApi {
    /// OpenAI Responses: `POST {base-url}/responses`.
    Responses,
    /// Chat Completions: `POST {base-url}/chat/completions`.
    Chat,
    /// Anthropic Messages: `POST {base-url}/v1/messages`, or `/messages` where the base ends in `/v1`.
    Messages,
}

/// `agent.model`: a rule of its own kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// The protocol.
    pub api: ModelApi,
    /// The only model that may be asked for.
    pub name: String,
    /// `https://host[:port]/prefix` without a trailing slash (`http` only to a loopback address).
    pub base_url: String,
    /// The variable that holds the key; only the egress reads it.
    pub key: String,
    /// Where the rule stands.
    pub at: Place,
}

/// `filesystem`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// More readable paths.
    pub read: Vec<String>,
    /// More writable paths, copy-on-write in `run`.
    pub write: Vec<String>,
    /// Workspace paths that cannot be written.
    pub read_only: Vec<String>,
    /// Workspace paths or globs that can be neither read nor written.
    pub deny: Vec<String>,
}

/// `environment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Names that are passed on from outside.
    pub pass: Vec<String>,
    /// Variables with values.
    pub set: BTreeMap<String, String>,
}

/// `network`; also what the egress process is given, hence serialisable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Whether a verdict is enforced or reported.
    pub mode: NetworkMode,
    /// The rules in the order of the file.
    pub allow: Vec<Rule>,
    /// Where `allow` stands, or else the first line of the file: the place that a denial without a near rule names.
    pub at: Place,
    /// Tools whose configured registries may be read.
    pub registries: Vec<Registry>,
    /// Requests per host and run.
    pub requests: u64,
    /// Bytes sent (URL, headers, body) per host and run.
    pub upload_bytes: u64,
    /// Bytes of one URL.
    pub url_bytes: u64,
}

/// One entry of `network.registries`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// The tool.
    pub tool: Tool,
    /// Where it stands.
    pub at: Place,
}

/// `network.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// What is not allowed is refused.
    Enforce,
    /// What is not allowed is passed and reported; addresses, ports and budgets still hold.
    Report,
}

/// One entry of `network.allow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Which hosts.
    pub host: HostPattern,
    /// Which ports.
    pub ports: Vec<u16>,
    /// Which methods, upper case.
    pub methods: Vec<String>,
    /// Which paths; empty means all.
    pub paths: Vec<PathPattern>,
    /// Inspected or tunnelled.
    pub tls: TlsMode,
    /// Whether the name may resolve to private or loopback addresses.
    pub private: bool,
    /// What happens to credentials that the agent sends.
    pub auth: AuthMode,
    /// Whether an upgrade to WebSocket is allowed.
    pub websocket: bool,
    /// A credential that the egress puts on the wire.
    pub credential: Option<Credential>,
    /// What made the rule.
    #[serde(default)]
    pub kind: RuleKind,
    /// Where the rule stands.
    pub at: Place,
}

/// What made a rule, and by that what its paths mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleKind {
    /// An entry of `network.allow`.
    #[default]
    Listed,
    /// An entry of `network.registries`: what this tool said that it reads. In a path one segment may be a scoped name, `@a%2fb`.
    Registry(Tool),
    /// `network.registries: [git]`: `POST {repository}/git-upload-pack` wherever the paths cover `{repository}/info/refs`.
    Git,
}

/// A host of a rule, in ASCII (punycode) lower case without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HostPattern {
    /// Exactly this name.
    Exact(String),
    /// `*.name`: its subdomains at any depth, not the name itself. Holds the part after `*.`.
    Subdomains(String),
    /// Exactly this address, as the policy names it.
    Address(std::net::IpAddr),
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Subdomains(name) => write!(f, "*.{name}"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// A path of a rule: literal segments, `*` for one segment, a last `**` for all that follows its slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PathPattern(pub String);

/// `tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// Opened with the run's CA and judged request by request.
    Inspect,
    /// Passed through unread; only the name is held.
    Tunnel,
}

/// `auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Credentials of the agent are removed.
    Strip,
    /// They are passed.
    Pass,
}

/// `credential`: a header whose value holds `${NAME}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The header's name, lower case.
    pub header: String,
    /// The template, for example `Bearer ${EXAMPLE_KEY}`.
    pub value: String,
    /// The one variable in it.
    pub variable: String,
}

/// `limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Processor time of everything inside, if it is bounded.
    pub cpu_time: Option<Duration>,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes written to disk.
    pub disk_bytes: u64,
    /// Bytes of output kept.
    pub output_bytes: u64,
    /// Wall time of everything inside.
    pub wall_time: Duration,
}

/// `changes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Globs that a change may touch.
    pub allow: Vec<String>,
    /// Globs that need a human's hand.
    pub protect: Vec<String>,
    /// What a protected path does.
    pub on_protected: OnProtected,
    /// What a changed dependency does.
    pub dependencies: Dependencies,
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Whether binary files are refused.
    pub binary: OnBinary,
}

/// `changes.on-protected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnProtected {
    /// The change is refused.
    Block,
    /// The proposal is made and a change request stands on it.
    RequestChanges,
}

/// `changes.dependencies`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependencies {
    /// A new or moved dependency is refused.
    Block,
    /// It is reported for review.
    Review,
    /// It passes.
    Allow,
}

/// `changes.binary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBinary {
    /// Refused.
    Block,
    /// Passes.
    Allow,
}

/// `pull-request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// First part of the branch's name.
    pub branch_prefix: String,
    /// Labels put on it.
    pub labels: Vec<String>,
    /// Reviewers asked: logins, or `team/slug`.
    pub reviewers: Vec<String>,
}

/// `approval`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// How many humans; at least one.
    pub required: u32,
    /// The weakest permission that counts.
    pub permission: Permission,
    /// The status's context.
    pub context: String,
    /// Whether publishing demands a ruleset.
    pub enforced: Enforced,
}

/// `approval.enforced`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforced {
    /// A missing lock is reported.
    Report,
    /// A missing lock refuses publishing.
    Require,
}
