//! A policy as it would be written, with every default filled in, in the order of the description.
//! It must never show a value that `parse` would read as another one.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::host::HOST_BYTES_MAX;
use super::model::{
    Agent, Approval, Changes, Limits, Model, Network, Policy, PullRequest, Rule, TlsMode, Triggers,
};
use super::units::{duration_text, size_text};
use super::words::Word;

/// A value of YAML whose keys keep their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A number.
    Count(u64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// Keys and values.
    Map(Vec<(String, Tree)>),
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Count(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items
                    .iter()
                    .try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries
                    .iter()
                    .try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

/// The whole policy.
#[must_use]
pub fn tree(policy: &Policy) -> Tree {
    let tasks = policy.tasks.iter().map(|(name, task)| {
        let task = map([
            ("schedule", or_null(task.schedule.as_ref())),
            ("prompt", text(&task.prompt)),
        ]);
        (name.clone(), task)
    });
    let set = policy
        .environment
        .set
        .iter()
        .map(|(name, value)| (name.clone(), text(value)));
    map([
        ("version", Tree::Count(1)),
        ("extends", Tree::List(Vec::new())),
        ("bases", texts(&policy.bases)),
        ("triggers", triggers(&policy.triggers)),
        ("tasks", Tree::Map(tasks.collect())),
        ("agent", agent(&policy.agent)),
        ("setup", texts(&policy.setup)),
        (
            "filesystem",
            map([
                ("read", texts(&policy.filesystem.read)),
                ("write", texts(&policy.filesystem.write)),
                ("read-only", texts(&policy.filesystem.read_only)),
                ("deny", texts(&policy.filesystem.deny)),
            ]),
        ),
        (
            "environment",
            map([
                ("pass", texts(&policy.environment.pass)),
                ("set", Tree::Map(set.collect())),
            ]),
        ),
        ("network", network(&policy.network)),
        ("require", map([("level", word(policy.require))])),
        ("limits", limits(&policy.limits)),
        ("changes", changes(&policy.changes)),
        ("verify", texts(&policy.verify)),
        ("pull-request", pull_request(&policy.pull_request)),
        ("approval", approval(&policy.approval)),
    ])
}

fn triggers(triggers: &Triggers) -> Tree {
    let comment = [
        ("command", text(&triggers.command)),
        ("permission", word(triggers.permission)),
    ];
    map([
        ("comment", map(comment)),
        (
            "bots",
            Tree::List(triggers.bots.iter().map(|id| Tree::Count(*id)).collect()),
        ),
        (
            "schedule",
            map([("owner", or_null(triggers.schedule_owner.as_ref()))]),
        ),
    ])
}

fn agent(agent: &Agent) -> Tree {
    map([
        ("use", word(agent.kind)),
        ("command", texts(&agent.command)),
        ("model", agent.model.as_ref().map_or(Tree::Null, model)),
        (
            "limits",
            map([
                ("turns", Tree::Count(agent.turns.into())),
                ("tokens", Tree::Count(agent.tokens)),
                ("wall-time", Tree::Text(duration_text(agent.wall_time))),
            ]),
        ),
    ])
}

fn model(model: &Model) -> Tree {
    map([
        ("api", word(model.api)),
        ("name", text(&model.name)),
        ("base-url", text(&model.base_url)),
        ("key", text(&model.key)),
    ])
}

fn network(network: &Network) -> Tree {
    map([
        ("mode", word(network.mode)),
        (
            "allow",
            Tree::List(network.allow.iter().map(rule).collect()),
        ),
        (
            "registries",
            Tree::List(
                network
                    .registries
                    .iter()
                    .map(|registry| word(registry.tool))
                    .collect(),
            ),
        ),
        (
            "limits",
            map([
                ("requests", Tree::Count(network.requests)),
                ("upload", size(network.upload_bytes)),
                ("url", size(network.url_bytes)),
            ]),
        ),
    ])
}

/// One rule of `network.allow`, without the keys that say nothing.
#[must_use]
pub fn rule(rule: &Rule) -> Tree {
    let ports = rule.ports.iter().map(|port| Tree::Count((*port).into()));
    let paths: Vec<String> = rule.paths.iter().map(|path| path.0.clone()).collect();
    let mut keys = vec![
        ("host", Tree::Text(rule.host.to_string())),
        ("ports", Tree::List(ports.collect())),
    ];
    match rule.tls {
        TlsMode::Inspect => keys.push(("methods", texts(&rule.methods))),
        TlsMode::Tunnel => {}
    }
    if !paths.is_empty() {
        keys.push(("paths", texts(&paths)));
    }
    keys.push(("tls", word(rule.tls)));
    keys.push(("private", Tree::Flag(rule.private)));
    keys.push(("auth", word(rule.auth)));
    keys.push(("websocket", Tree::Flag(rule.websocket)));
    if let Some(credential) = &rule.credential {
        let both = [
            ("header", text(&credential.header)),
            ("value", text(&credential.value)),
        ];
        keys.push(("credential", map(both)));
    }
    map(keys)
}

/// The fewest lines that would allow a request: host, method and path as given, which the caller has judged and found
/// readable. Port 443 is the default and is left out. Nothing comes back for what no rule should allow.
#[must_use]
pub fn suggestion(host: &str, port: u16, method: &str, path: &str) -> Option<Tree> {
    if host.len() > HOST_BYTES_MAX {
        return None;
    }
    let super::host::Host::Name(name) = super::host::read(host).ok()? else {
        return None;
    };
    super::texts::method(method).ok()?;
    let path = super::path::pattern(path)
        .ok()
        .filter(|path| !path.0.contains('*'))?;
    let mut keys = vec![("host", text(&name))];
    if port != 443 {
        keys.push(("ports", Tree::List(vec![Tree::Count(port.into())])));
    }
    keys.push(("methods", Tree::List(vec![text(method)])));
    keys.push(("paths", Tree::List(vec![Tree::Text(path.0)])));
    Some(map(keys))
}

fn limits(limits: &Limits) -> Tree {
    map([
        ("memory", size(limits.memory_bytes)),
        ("processes", Tree::Count(limits.processes)),
        (
            "cpu-time",
            limits
                .cpu_time
                .map_or(Tree::Null, |time| Tree::Text(duration_text(time))),
        ),
        ("file-size", size(limits.file_bytes)),
        ("disk", size(limits.disk_bytes)),
        ("output", size(limits.output_bytes)),
        ("wall-time", Tree::Text(duration_text(limits.wall_time))),
    ])
}

fn changes(changes: &Changes) -> Tree {
    map([
        ("allow", texts(&changes.allow)),
        ("protect", texts(&changes.protect)),
        ("on-protected", word(changes.on_protected)),
        ("dependencies", word(changes.dependencies)),
        (
            "limits",
            map([
                ("files", Tree::Count(changes.files)),
                ("bytes", size(changes.bytes)),
                ("file-bytes", size(changes.file_bytes)),
            ]),
        ),
        ("binary", word(changes.binary)),
    ])
}

fn pull_request(pull_request: &PullRequest) -> Tree {
    map([
        ("branch-prefix", text(&pull_request.branch_prefix)),
        ("draft", Tree::Flag(true)),
        ("labels", texts(&pull_request.labels)),
        ("reviewers", texts(&pull_request.reviewers)),
    ])
}

fn approval(approval: &Approval) -> Tree {
    map([
        ("required", Tree::Count(approval.required.into())),
        ("permission", word(approval.permission)),
        ("context", text(&approval.context)),
        ("enforced", word(approval.enforced)),
    ])
}

fn map(entries: impl IntoIterator<Item = (&'static str, Tree)>) -> Tree {
    Tree::Map(
        entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

fn text(text: &str) -> Tree {
    Tree::Text(text.to_owned())
}

fn or_null(value: Option<&String>) -> Tree {
    value.map_or(Tree::Null, |value| text(value))
}

fn texts(items: &[String]) -> Tree {
    Tree::List(items.iter().map(|item| text(item)).collect())
}

fn size(bytes: u64) -> Tree {
    Tree::Text(size_text(bytes))
}

fn word(value: impl Word) -> Tree {
    text(value.word())
}
