//! Every key of the policy in one description: its shape, its default and why. Reader, JSON Schema, documents and tests
//! all work from it, so that none of them can know a key that another does not.

use super::host::Wrong;
use super::model::{
    AgentKind, AuthMode, Dependencies, Enforced, ModelApi, NetworkMode, OnBinary, OnProtected,
    TlsMode,
};
use super::registry::Tool;
use super::texts;
use super::words::Word;
use crate::names::{Level, Permission};

/// One key.
#[derive(Debug)]
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// What may stand there.
    pub shape: Shape,
    /// The default as YAML, empty where the key must be written or holds keys of its own.
    pub default: &'static str,
    /// Another value that is valid, as YAML: for documents, and for the test that the key has an effect.
    pub example: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
}

impl Key {
    /// A key that must be written: it has no default and no keys of its own that have.
    pub(in crate::policy) fn is_required(&self) -> bool {
        match &self.shape {
            Shape::Section(_) => false,
            Shape::List(_, least) => self.default.is_empty() && *least == 0,
            Shape::Entries(..)
            | Shape::OrNull(_)
            | Shape::OneOf(_)
            | Shape::Flag
            | Shape::Count(..)
            | Shape::Size(..)
            | Shape::Duration(..)
            | Shape::Text(_) => self.default.is_empty(),
        }
    }
}

/// What may stand at a key.
#[derive(Debug)]
pub enum Shape {
    /// Keys of its own.
    Section(&'static [Key]),
    /// A list of at least so many.
    List(&'static Shape, usize),
    /// Entries whose names are free.
    Entries(&'static Text, &'static Shape),
    /// Nothing, or the shape.
    OrNull(&'static Shape),
    /// One of a few words.
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds.
    Count(u64, u64),
    /// A size with its unit, within bounds in bytes.
    Size(u64, u64),
    /// A duration with its unit, within bounds in seconds.
    Duration(u64, u64),
    /// A text of a kind.
    Text(&'static Text),
}

/// A kind of text.
#[derive(Debug)]
pub struct Text {
    /// What it is, as in "must be {words}".
    pub words: &'static str,
    /// Refuses what is not.
    pub check: fn(&str) -> Result<(), Wrong>,
}

/// A kind of text by its name.
macro_rules! texts {
    ($($name:ident $words:literal $check:path;)*) => {$(
        static $name: Text = Text { words: $words, check: $check };
    )*};
}

texts! {
    LINE "a line of text" texts::line;
    EXTENDED "a built-in policy, or a file below .github/" texts::extended;
    PROSE "a text" texts::prose;
    ARGUMENT "an argument" texts::argument;
    KEBAB "a name in kebab-case" texts::kebab;
    COMMAND_WORD "a slash and a name" texts::command_word;
    LOGIN "a GitHub login" texts::login;
    REVIEWER "a login, or team/SLUG" texts::reviewer;
    LABEL "a label" texts::label;
    CRON "a cron line of five fields" texts::cron;
    GLOB "a glob over paths of the repository" texts::glob;
    ABSOLUTE "an absolute path" texts::absolute;
    WRITABLE "an absolute path outside of the kernel's folders" texts::writable;
    BASE "a branch, or a glob over branches" texts::base;
    BRANCH_PREFIX "a prefix for branches that ends in / or -" texts::branch_prefix;
    VISIBLE_VARIABLE "a variable that is no credential" texts::visible_variable;
    SECRET_VARIABLE "a variable that a secret is given in" texts::secret_variable;
    HOST "a host, or *. and a host" texts::host;
    PATH "a path from its first /" texts::path;
    METHOD "a method in upper case" texts::method;
    HEADER "a header's name in lower case" texts::credential_header;
    CREDENTIAL_VALUE "a text with exactly one ${NAME}" texts::credential_value;
    BASE_URL "a URL over https" texts::base_url;
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const DAY_SECONDS: u64 = 24 * 3600;
/// Largest count where nothing smaller suggests itself.
const MANY: u64 = 1_000_000_000;

macro_rules! key {
    ($name:literal, $shape:expr, $default:literal, $example:literal, $about:literal) => {
        Key {
            name: $name,
            shape: $shape,
            default: $default,
            example: $example,
            about: $about,
        }
    };
}

/// The whole policy.
#[rustfmt::skip]
pub static POLICY: &[Key] = &[
    key!("version", Shape::Count(1, 1), "", "1", "the version of this schema"),
    key!("extends", Shape::List(&Shape::Text(&EXTENDED), 0), "[]", "[maintenance]", "built-in policies and files below .github/ that this one builds on, merged in order; this file only adds to their lists or replaces their scalars"),
    key!("bases", Shape::List(&Shape::Text(&BASE), 0), "[]", "[\"release/*\"]", "other base branches for which this policy may be used"),
    key!("triggers", Shape::Section(TRIGGERS), "", "", "who and what may start a run"),
    key!("tasks", Shape::Entries(&KEBAB, &Shape::Section(TASK)), "{}", "{ update-deps: { prompt: Update } }", "prompts by name, for `/tagout NAME`, for schedules and for dispatches"),
    key!("agent", Shape::Section(AGENT), "", "", "which agent works, and how long"),
    key!("setup", Shape::List(&Shape::Text(&PROSE), 0), "[]", "[npm ci]", "shell commands inside the walls before the agent, under the same network rules"),
    key!("filesystem", Shape::Section(FILESYSTEM), "", "", "files"),
    key!("environment", Shape::Section(ENVIRONMENT), "", "", "variables that the agent sees; an allowlist"),
    key!("network", Shape::Section(NETWORK), "", "", "hosts, methods and paths that the agent reaches"),
    key!("require", Shape::Section(REQUIRE), "", "", "the walls that must stand"),
    key!("limits", Shape::Section(LIMITS), "", "", "limits of everything inside the walls"),
    key!("changes", Shape::Section(CHANGES), "", "", "what a change may touch"),
    key!("verify", Shape::List(&Shape::Text(&PROSE), 0), "[]", "[cargo test]", "shell commands run after the agent in a second, fresh sandbox on base plus the collected changes"),
    key!("pull-request", Shape::Section(PULL_REQUEST), "", "", "how the proposal looks"),
    key!("approval", Shape::Section(APPROVAL), "", "", "what releases the proposal"),
];

#[rustfmt::skip]
static TRIGGERS: &[Key] = &[
    key!("comment", Shape::Section(COMMENT), "", "", "the command in a comment"),
    key!("bots", Shape::List(&Shape::Count(1, u64::MAX), 0), "[]", "[41898282]", "numeric account ids of bots that may give the command"),
    key!("schedule", Shape::Section(SCHEDULE), "", "", "scheduled runs"),
];

#[rustfmt::skip]
static COMMENT: &[Key] = &[
    key!("command", Shape::Text(&COMMAND_WORD), "/tagout", "/fix", "the first word of a comment that is ours"),
    key!("permission", Shape::OneOf(Permission::WORDS), "write", "admin", "the weakest permission that may give it"),
];

#[rustfmt::skip]
static SCHEDULE: &[Key] = &[
    key!("owner", Shape::OrNull(&Shape::Text(&LOGIN)), "null", "octocat", "the human to whom scheduled runs are attributed"),
];

#[rustfmt::skip]
static TASK: &[Key] = &[
    key!("schedule", Shape::OrNull(&Shape::Text(&CRON)), "null", "\"17 4 * * 1\"", "the cron line of the workflow that starts it"),
    key!("prompt", Shape::Text(&PROSE), "", "Update the dependencies", "what the agent is asked to do"),
];

#[rustfmt::skip]
static AGENT: &[Key] = &[
    key!("use", Shape::OneOf(AgentKind::WORDS), "builtin", "command", "which program works"),
    key!("command", Shape::List(&Shape::Text(&ARGUMENT), 0), "[]", "[./agent, \"{prompt}\"]", "the command of `use: command`; {prompt} and {prompt-file} are filled in"),
    key!("model", Shape::OrNull(&Shape::Section(MODEL)), "null", "{ name: m, base-url: \"https://api.example.com/v1\", key: MODEL_KEY }", "the model; its endpoint needs no entry under `network.allow`"),
    key!("limits", Shape::Section(AGENT_LIMITS), "", "", "limits of the agent"),
];

#[rustfmt::skip]
static MODEL: &[Key] = &[
    key!("api", Shape::OneOf(ModelApi::WORDS), "responses", "chat", "the protocol; each knows exactly one POST path under `base-url`"),
    key!("name", Shape::Text(&LINE), "", "gpt-5", "the only model that may be asked for"),
    key!("base-url", Shape::Text(&BASE_URL), "", "https://api.example.com/v1", "where the endpoint is"),
    key!("key", Shape::Text(&SECRET_VARIABLE), "", "OPENAI_API_KEY", "the variable that holds the key; only the egress reads it"),
];

#[rustfmt::skip]
static AGENT_LIMITS: &[Key] = &[
    key!("turns", Shape::Count(1, MANY), "60", "10", "answers of the model"),
    key!("tokens", Shape::Count(1, u64::MAX), "500000", "1000", "tokens of the model, input and output together"),
    key!("wall-time", Shape::Duration(1, DAY_SECONDS), "20m", "5m", "wall time of the agent"),
];

#[rustfmt::skip]
static FILESYSTEM: &[Key] = &[
    key!("read", Shape::List(&Shape::Text(&ABSOLUTE), 0), "[]", "[/opt/sdk]", "more readable paths; toolchains are found by themselves"),
    key!("write", Shape::List(&Shape::Text(&WRITABLE), 0), "[]", "[/var/cache/build]", "more writable paths; the workspace, a private HOME and TMPDIR always are"),
    key!("read-only", Shape::List(&Shape::Text(&GLOB), 0), "[.github, .git]", "[.github, .git, docs]", "paths of the workspace that cannot be written"),
    key!("deny", Shape::List(&Shape::Text(&GLOB), 0), "[.env]", "[.env, \"**/*.pem\"]", "paths of the workspace that can be neither read nor written; globs with ** walk the tree"),
];

#[rustfmt::skip]
static ENVIRONMENT: &[Key] = &[
    key!("pass", Shape::List(&Shape::Text(&VISIBLE_VARIABLE), 0), "[LANG]", "[LANG, TZ]", "variables passed on from outside; never the runner's and never credentials"),
    key!("set", Shape::Entries(&VISIBLE_VARIABLE, &Shape::Text(&ARGUMENT)), "{}", "{ CI: \"true\" }", "variables with values"),
];

#[rustfmt::skip]
static NETWORK: &[Key] = &[
    key!("mode", Shape::OneOf(NetworkMode::WORDS), "enforce", "report", "whether what is not allowed is refused, or passed and reported"),
    key!("allow", Shape::List(&Shape::Section(RULE), 0), "[]", "[{ host: api.example.com }]", "the rules; whatever none of them allows is refused"),
    key!("registries", Shape::List(&Shape::OneOf(Tool::WORDS), 0), "[]", "[cargo]", "tools whose configured registries may be read; `git` reads the repositories that `allow` names"),
    key!("limits", Shape::Section(NETWORK_LIMITS), "", "", "limits per host and run"),
];

#[rustfmt::skip]
static RULE: &[Key] = &[
    key!("host", Shape::Text(&HOST), "", "api.example.com", "exactly this host; `*.example.com` is its subdomains at any depth, not itself"),
    key!("ports", Shape::List(&Shape::Count(1, 65535), 1), "[443]", "[80, 443]", "ports; plain HTTP passes only on a listed port other than 443"),
    key!("methods", Shape::List(&Shape::Text(&METHOD), 1), "[GET, HEAD]", "[GET, POST]", "methods, in upper case"),
    key!("paths", Shape::List(&Shape::Text(&PATH), 1), "", "[\"/v1/**\"]", "paths, all of them where the key is left out; `*` is one segment, a last `**` all that follows"),
    key!("tls", Shape::OneOf(TlsMode::WORDS), "inspect", "tunnel", "inspected, or tunnelled unread; then methods and paths are an error"),
    key!("private", Shape::Flag, "false", "true", "whether the name may resolve to private or loopback addresses"),
    key!("auth", Shape::OneOf(AuthMode::WORDS), "strip", "pass", "whether authorization, cookies and key-like headers of the agent leave"),
    key!("websocket", Shape::Flag, "false", "true", "whether an upgrade to WebSocket is allowed"),
    key!("credential", Shape::OrNull(&Shape::Section(CREDENTIAL)), "null", "{ header: authorization, value: \"Bearer ${EXAMPLE_KEY}\" }", "a header that the egress puts on the wire; needs methods and paths"),
];

#[rustfmt::skip]
static CREDENTIAL: &[Key] = &[
    key!("header", Shape::Text(&HEADER), "", "authorization", "the header's name"),
    key!("value", Shape::Text(&CREDENTIAL_VALUE), "", "\"Bearer ${EXAMPLE_KEY}\"", "its value, with the one variable that holds the secret"),
];

#[rustfmt::skip]
static NETWORK_LIMITS: &[Key] = &[
    key!("requests", Shape::Count(1, MANY), "5000", "100", "requests"),
    key!("upload", Shape::Size(1, TIB), "1MiB", "64KiB", "bytes sent: URL, headers and body"),
    key!("url", Shape::Size(1, 64 * KIB), "2KiB", "1KiB", "bytes of one URL"),
];

#[rustfmt::skip]
static REQUIRE: &[Key] = &[
    key!("level", Shape::OneOf(Level::WORDS), "c", "b", "the weakest level of the walls that may be used"),
];

#[rustfmt::skip]
static LIMITS: &[Key] = &[
    key!("memory", Shape::Size(16 * MIB, 64 * TIB), "4GiB", "2GiB", "memory"),
    key!("processes", Shape::Count(4, 4_000_000), "1024", "256", "processes and threads"),
    key!("cpu-time", Shape::OrNull(&Shape::Duration(1, DAY_SECONDS)), "null", "20m", "processor time of everything inside; where it is null only wall-time bounds it"),
    key!("file-size", Shape::Size(KIB, 64 * TIB), "1GiB", "100MiB", "bytes of one file"),
    key!("disk", Shape::Size(MIB, 64 * TIB), "8GiB", "1GiB", "bytes written to disk"),
    key!("output", Shape::Size(KIB, 4 * GIB), "16MiB", "1MiB", "bytes of stdout and stderr; more ends the run"),
    key!("wall-time", Shape::Duration(1, DAY_SECONDS), "30m", "10m", "wall time of everything inside"),
];

#[rustfmt::skip]
static CHANGES: &[Key] = &[
    key!("allow", Shape::List(&Shape::Text(&GLOB), 0), "[\"**\"]", "[\"src/**\"]", "what a change may touch; an empty list allows nothing"),
    key!("protect", Shape::List(&Shape::Text(&GLOB), 0), "[...]", "[\"**/.*\"]", "what needs a human's hand; the default is in policies/default.yml"),
    key!("on-protected", Shape::OneOf(OnProtected::WORDS), "block", "request-changes", "what a change to a protected path does"),
    key!("dependencies", Shape::OneOf(Dependencies::WORDS), "review", "block", "what a new or moved dependency does"),
    key!("limits", Shape::Section(CHANGES_LIMITS), "", "", "limits of a change"),
    key!("binary", Shape::OneOf(OnBinary::WORDS), "block", "allow", "whether binary files are refused"),
];

#[rustfmt::skip]
static CHANGES_LIMITS: &[Key] = &[
    key!("files", Shape::Count(1, 100_000), "100", "10", "files"),
    key!("bytes", Shape::Size(1, GIB), "4MiB", "1MiB", "bytes of all files"),
    key!("file-bytes", Shape::Size(1, GIB), "1MiB", "64KiB", "bytes of one file"),
];

#[rustfmt::skip]
static PULL_REQUEST: &[Key] = &[
    key!("branch-prefix", Shape::Text(&BRANCH_PREFIX), "tagout/", "bot/", "first part of the branch's name"),
    key!("draft", Shape::Flag, "true", "false", "a proposal is always a draft; only a human marks it ready"),
    key!("labels", Shape::List(&Shape::Text(&LABEL), 0), "[]", "[automated]", "labels put on it"),
    key!("reviewers", Shape::List(&Shape::Text(&REVIEWER), 0), "[]", "[octocat]", "who is asked for a review: logins, or team/SLUG"),
];

#[rustfmt::skip]
static APPROVAL: &[Key] = &[
    key!("required", Shape::Count(1, 20), "1", "2", "how many humans must approve"),
    key!("permission", Shape::OneOf(Permission::WORDS), "write", "maintain", "the weakest permission that counts"),
    key!("context", Shape::Text(&LABEL), "tagout/approval", "bot/approval", "the context of the status"),
    key!("enforced", Shape::OneOf(Enforced::WORDS), "report", "require", "`require` publishes only where a ruleset demands the check"),
];

/// Calls a function with the dotted path of every key, sections included. `[]` stands for the items of a list, `*` for a
/// free name.
pub fn each(visit: &mut impl FnMut(&str, &'static Key)) {
    fn keys(keys: &'static [Key], path: &str, visit: &mut impl FnMut(&str, &'static Key)) {
        for key in keys {
            let path = if path.is_empty() {
                key.name.to_owned()
            } else {
                format!("{path}.{}", key.name)
            };
            visit(&path, key);
            shape(&key.shape, &path, visit);
        }
    }
    fn shape(shape_: &'static Shape, path: &str, visit: &mut impl FnMut(&str, &'static Key)) {
        match shape_ {
            Shape::Section(inner) => keys(inner, path, visit),
            Shape::List(inner, _) => shape(inner, &format!("{path}[]"), visit),
            Shape::Entries(_, inner) => shape(inner, &format!("{path}.*"), visit),
            Shape::OrNull(inner) => shape(inner, path, visit),
            Shape::OneOf(_)
            | Shape::Flag
            | Shape::Count(..)
            | Shape::Size(..)
            | Shape::Duration(..)
            | Shape::Text(_) => {}
        }
    }
    keys(POLICY, "", visit);
}
