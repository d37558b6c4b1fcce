//! From a checked tree to a `Policy`: what is not written keeps its default.
//! It must never invent a value for what was written wrongly; such a file has faults and is refused as a whole.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::Files;
use super::yaml::{Mark, Node, Value};
use crate::policy::model::{
    Agent, Approval, Changes, Credential, Environment, Filesystem, Limits, Model, Network, Place,
    Policy, PullRequest, Registry, Rule, RuleKind, Task, TlsMode, Triggers,
};
use crate::policy::words::Word;
use crate::policy::{host, path, texts, units};

/// Ports of a rule that names none.
pub(crate) const PORTS: [u16; 1] = [443];
/// Methods of a rule that names none.
pub(crate) const METHODS: [&str; 2] = ["GET", "HEAD"];

/// The policy that a tree means.
pub(super) fn decode(files: &Files, root: &Node) -> Policy {
    let default = Policy::default();
    let top = Section {
        node: Some(root),
        files,
    };
    Policy {
        bases: top.texts("bases").unwrap_or(default.bases),
        triggers: triggers(&top.section("triggers"), default.triggers),
        tasks: top
            .entries("tasks")
            .into_iter()
            .filter_map(|(name, section)| Some((name, task(&section)?)))
            .collect(),
        agent: agent(&top.section("agent"), default.agent),
        setup: top.texts("setup").unwrap_or(default.setup),
        filesystem: filesystem(&top.section("filesystem"), default.filesystem),
        environment: environment(&top.section("environment"), default.environment),
        network: network(&top.section("network"), default.network),
        require: top
            .section("require")
            .word("level")
            .unwrap_or(default.require),
        limits: limits(&top.section("limits"), default.limits),
        changes: changes(&top.section("changes"), default.changes),
        verify: top.texts("verify").unwrap_or(default.verify),
        pull_request: pull_request(&top.section("pull-request"), default.pull_request),
        approval: approval(&top.section("approval"), default.approval),
    }
}

/// Collects where the keys stand, by dotted path; items of lists have none.
pub(super) fn places(files: &Files, node: &Node, path: &str, found: &mut HashMap<String, Place>) {
    let Value::Map(entries) = &node.value else {
        return;
    };
    for (key, value) in entries {
        if let Value::Text(name) = &key.value {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            places(files, value, &path, found);
            found.insert(path, files.place(key.at));
        }
    }
}

fn triggers(section: &Section<'_>, default: Triggers) -> Triggers {
    let comment = section.section("comment");
    Triggers {
        command: comment.text("command").unwrap_or(default.command),
        permission: comment.word("permission").unwrap_or(default.permission),
        bots: section.counts("bots").unwrap_or(default.bots),
        schedule_owner: section
            .section("schedule")
            .text("owner")
            .or(default.schedule_owner),
    }
}

fn task(section: &Section<'_>) -> Option<Task> {
    Some(Task {
        schedule: section.text("schedule"),
        prompt: section.text("prompt")?,
    })
}

fn agent(section: &Section<'_>, default: Agent) -> Agent {
    let limits = section.section("limits");
    Agent {
        kind: section.word("use").unwrap_or(default.kind),
        command: section.texts("command").unwrap_or(default.command),
        model: model(&section.section("model")).or(default.model),
        turns: limits.count("turns").unwrap_or(default.turns),
        tokens: limits.count("tokens").unwrap_or(default.tokens),
        wall_time: limits.duration("wall-time").unwrap_or(default.wall_time),
    }
}

/// The model, if it is whole.
pub(super) fn model(section: &Section<'_>) -> Option<Model> {
    Some(Model {
        api: section
            .word("api")
            .unwrap_or(crate::policy::model::ModelApi::Responses),
        name: section.text("name")?,
        base_url: section.text("base-url")?.trim_end_matches('/').to_owned(),
        key: section.text("key")?,
        at: section.place()?,
    })
}

fn filesystem(section: &Section<'_>, default: Filesystem) -> Filesystem {
    Filesystem {
        read: section.texts("read").unwrap_or(default.read),
        write: section.texts("write").unwrap_or(default.write),
        read_only: section.texts("read-only").unwrap_or(default.read_only),
        deny: section.texts("deny").unwrap_or(default.deny),
    }
}

fn environment(section: &Section<'_>, default: Environment) -> Environment {
    Environment {
        pass: section.texts("pass").unwrap_or(default.pass),
        set: section.pairs("set").unwrap_or(default.set),
    }
}

fn network(section: &Section<'_>, default: Network) -> Network {
    let limits = section.section("limits");
    let first_line = section.files.first_line();
    Network {
        mode: section.word("mode").unwrap_or(default.mode),
        allow: section
            .list("allow")
            .iter()
            .filter_map(|node| rule(&section.under(node)))
            .collect(),
        at: section.key_place("allow").unwrap_or(first_line),
        registries: section
            .list("registries")
            .iter()
            .filter_map(|node| registry(&section.under(node)))
            .collect(),
        requests: limits.count("requests").unwrap_or(default.requests),
        upload_bytes: limits.size("upload").unwrap_or(default.upload_bytes),
        url_bytes: limits.size("url").unwrap_or(default.url_bytes),
    }
}

fn registry(section: &Section<'_>) -> Option<Registry> {
    Some(Registry {
        tool: Word::from_word(&text_of(&section.node?.value)?)?,
        at: section.place()?,
    })
}

fn rule(section: &Section<'_>) -> Option<Rule> {
    let tls = section.word("tls").unwrap_or(TlsMode::Inspect);
    let methods = match tls {
        TlsMode::Inspect => METHODS.iter().map(|method| (*method).to_owned()).collect(),
        TlsMode::Tunnel => Vec::new(),
    };
    let paths = section.texts("paths").unwrap_or_default();
    Some(Rule {
        host: host::pattern(&section.text("host")?).ok()?,
        ports: section.ports(),
        methods: section.texts("methods").unwrap_or(methods),
        paths: paths
            .iter()
            .filter_map(|text| path::pattern(text).ok())
            .collect(),
        tls,
        private: section.flag("private").unwrap_or(false),
        auth: section
            .word("auth")
            .unwrap_or(crate::policy::model::AuthMode::Strip),
        websocket: section.flag("websocket").unwrap_or(false),
        credential: credential(&section.section("credential")),
        kind: RuleKind::Listed,
        at: section.place()?,
    })
}

fn credential(section: &Section<'_>) -> Option<Credential> {
    texts::credential(&section.text("header")?, &section.text("value")?)
}

fn limits(section: &Section<'_>, default: Limits) -> Limits {
    Limits {
        memory_bytes: section.size("memory").unwrap_or(default.memory_bytes),
        processes: section.count("processes").unwrap_or(default.processes),
        cpu_time: section.duration("cpu-time").or(default.cpu_time),
        file_bytes: section.size("file-size").unwrap_or(default.file_bytes),
        disk_bytes: section.size("disk").unwrap_or(default.disk_bytes),
        output_bytes: section.size("output").unwrap_or(default.output_bytes),
        wall_time: section.duration("wall-time").unwrap_or(default.wall_time),
    }
}

fn changes(section: &Section<'_>, default: Changes) -> Changes {
    let limits = section.section("limits");
    Changes {
        allow: section.texts("allow").unwrap_or(default.allow),
        protect: section.texts("protect").unwrap_or(default.protect),
        on_protected: section.word("on-protected").unwrap_or(default.on_protected),
        dependencies: section.word("dependencies").unwrap_or(default.dependencies),
        files: limits.count("files").unwrap_or(default.files),
        bytes: limits.size("bytes").unwrap_or(default.bytes),
        file_bytes: limits.size("file-bytes").unwrap_or(default.file_bytes),
        binary: section.word("binary").unwrap_or(default.binary),
    }
}

fn pull_request(section: &Section<'_>, default: PullRequest) -> PullRequest {
    PullRequest {
        branch_prefix: section
            .text("branch-prefix")
            .unwrap_or(default.branch_prefix),
        labels: section.texts("labels").unwrap_or(default.labels),
        reviewers: section.texts("reviewers").unwrap_or(default.reviewers),
    }
}

fn approval(section: &Section<'_>, default: Approval) -> Approval {
    Approval {
        required: section.count("required").unwrap_or(default.required),
        permission: section.word("permission").unwrap_or(default.permission),
        context: section.text("context").unwrap_or(default.context),
        enforced: section.word("enforced").unwrap_or(default.enforced),
    }
}

/// A map of the tree, or the absence of one. Values of the wrong shape read as absent: they were named as faults.
pub(super) struct Section<'n> {
    node: Option<&'n Node>,
    files: &'n Files,
}

impl<'n> Section<'n> {
    /// The map of a node.
    pub(super) fn of(node: &'n Node, files: &'n Files) -> Self {
        Self {
            node: Some(node),
            files,
        }
    }

    fn entry(&self, name: &str) -> Option<&'n (Node, Node)> {
        match &self.node?.value {
            Value::Map(entries) => entries
                .iter()
                .find(|(key, _)| matches!(&key.value, Value::Text(text) if text == name)),
            Value::Null
            | Value::Flag(_)
            | Value::Count(_)
            | Value::OddNumber(_)
            | Value::Text(_)
            | Value::List(_) => None,
        }
    }

    fn get(&self, name: &str) -> Option<&'n Value> {
        self.entry(name).map(|(_, node)| &node.value)
    }

    fn under(&self, node: &'n Node) -> Section<'n> {
        Section {
            node: Some(node),
            files: self.files,
        }
    }

    pub(super) fn section(&self, name: &str) -> Section<'n> {
        Section {
            node: self.entry(name).map(|(_, node)| node),
            files: self.files,
        }
    }

    fn place_of(&self, at: Mark) -> Place {
        self.files.place(at)
    }

    fn place(&self) -> Option<Place> {
        self.node.map(|node| self.place_of(node.at))
    }

    fn key_place(&self, name: &str) -> Option<Place> {
        self.entry(name).map(|(key, _)| self.place_of(key.at))
    }

    /// Where a key stands, if it is written.
    pub(super) fn mark(&self, name: &str) -> Option<Mark> {
        self.entry(name).map(|(key, _)| key.at)
    }

    /// Whether a value other than `null` is written.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| *value != Value::Null)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        text_of(self.get(name)?)
    }

    pub(super) fn word<W: Word>(&self, name: &str) -> Option<W> {
        W::from_word(&self.text(name)?)
    }

    fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            Value::Flag(flag) => Some(*flag),
            Value::Null
            | Value::Count(_)
            | Value::OddNumber(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_) => None,
        }
    }

    fn count<T: TryFrom<u64>>(&self, name: &str) -> Option<T> {
        count_of(self.get(name)?)
    }

    fn size(&self, name: &str) -> Option<u64> {
        units::size(&self.text(name)?)
    }

    fn duration(&self, name: &str) -> Option<Duration> {
        units::duration(&self.text(name)?)
    }

    /// The items of a list; none where it is not written.
    pub(super) fn list(&self, name: &str) -> &'n [Node] {
        self.items(name).unwrap_or_default()
    }

    fn items(&self, name: &str) -> Option<&'n [Node]> {
        match self.get(name)? {
            Value::List(items) => Some(items),
            Value::Null
            | Value::Flag(_)
            | Value::Count(_)
            | Value::OddNumber(_)
            | Value::Text(_)
            | Value::Map(_) => None,
        }
    }

    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        Some(
            self.items(name)?
                .iter()
                .filter_map(|item| text_of(&item.value))
                .collect(),
        )
    }

    fn counts<T: TryFrom<u64>>(&self, name: &str) -> Option<Vec<T>> {
        Some(
            self.items(name)?
                .iter()
                .filter_map(|item| count_of(&item.value))
                .collect(),
        )
    }

    /// The entries of a map with free names.
    pub(super) fn entries(&self, name: &str) -> Vec<(String, Section<'n>)> {
        match self.get(name) {
            Some(Value::Map(entries)) => entries
                .iter()
                .filter_map(|(key, value)| Some((text_of(&key.value)?, self.under(value))))
                .collect(),
            Some(
                Value::Null
                | Value::Flag(_)
                | Value::Count(_)
                | Value::OddNumber(_)
                | Value::Text(_)
                | Value::List(_),
            )
            | None => Vec::new(),
        }
    }

    /// The ports of a rule.
    pub(super) fn ports(&self) -> Vec<u16> {
        self.counts("ports").unwrap_or_else(|| PORTS.to_vec())
    }

    fn pairs(&self, name: &str) -> Option<BTreeMap<String, String>> {
        self.get(name)?;
        let pair =
            |(name, section): (String, Section<'n>)| Some((name, text_of(&section.node?.value)?));
        Some(self.entries(name).into_iter().filter_map(pair).collect())
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Null
        | Value::Flag(_)
        | Value::Count(_)
        | Value::OddNumber(_)
        | Value::List(_)
        | Value::Map(_) => None,
    }
}

fn count_of<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    match value {
        Value::Count(number) => T::try_from(*number).ok(),
        Value::Null
        | Value::Flag(_)
        | Value::OddNumber(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Map(_) => None,
    }
}
