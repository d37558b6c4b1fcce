//! What is valid and still not wise: rules that cannot work, that another one hides, or that leave a way out.
//! It must never refuse a policy; its findings are warnings with a place, a stable code and a way to mend them.

use std::fmt;

use globset::GlobBuilder;

use super::address;
use super::model::{AuthMode, HostPattern, PathPattern, Place, Policy, Rule, RuleKind, TlsMode};
use super::parse::{Fault, Places};
use super::path;
use super::registry;
use super::verdict;
use super::words::Word as _;

/// Most warnings that are named.
pub const WARNINGS_MAX: usize = 100;

/// One thing that is not wise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The stable code.
    pub code: &'static str,
    /// Where, what, and how to mend it.
    pub fault: Fault,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { at, what, mend } = &self.fault;
        write!(
            f,
            "{at}:{}: warning: {what}; {mend} [{}]",
            at.column, self.code
        )
    }
}

/// The warnings of a policy in the order of the file, at most [`WARNINGS_MAX`].
#[must_use]
pub fn lint(policy: &Policy, places: &Places) -> Vec<Warning> {
    let mut found = Vec::new();
    let mut warn = |code, at: Place, what: String, mend: &str| {
        let fault = Fault {
            at,
            what,
            mend: mend.to_owned(),
        };
        found.push(Warning { code, fault });
    };
    let listed = policy
        .network
        .allow
        .iter()
        .filter(|rule| rule.kind == RuleKind::Listed);
    for (index, rule) in listed.clone().enumerate() {
        let earlier = listed.clone().take(index);
        one_rule(rule, &mut warn);
        address(rule, &mut warn);
        if let Some(hiding) = earlier.into_iter().find(|other| hides(other, rule)) {
            let what = format!(
                "the rule at line {} allows all of this before, so this one has no effect",
                hiding.at.line
            );
            warn(
                "rule-shadowed",
                rule.at.clone(),
                what,
                "remove one, or put the narrower one first",
            );
        }
    }
    registries(&policy.network.allow, &mut warn);
    git(policy, &mut warn);
    model(policy, &mut warn);
    whole(policy, places, &mut warn);
    found.sort_by(|a, b| {
        (a.fault.at.line, a.fault.at.column).cmp(&(b.fault.at.line, b.fault.at.column))
    });
    found.truncate(WARNINGS_MAX);
    found
}

/// What publishes: method, path and the word in it that tells so, by the protocol of each registry. No host is named here,
/// for a protocol does not depend on where it is served.
const PUBLISHING: &[(&str, &str, &str, &str)] = &[
    ("PUT", "/api/v1/crates/new", "crates", "a crate"),
    ("POST", "/legacy/", "legacy", "a Python package"),
    ("POST", "/api/v1/gems", "gems", "a gem"),
    ("PUT", "/api/v2/package", "package", "a NuGet package"),
];

fn one_rule(rule: &Rule, warn: &mut impl FnMut(&'static str, Place, String, &str)) {
    let at = || rule.at.clone();
    if rule.tls == TlsMode::Tunnel {
        warn(
            "tunnel-not-inspected",
            at(),
            format!(
                "what is sent to {} is not read: any method, any path, any amount within the budget",
                rule.host
            ),
            "leave `tls` out unless the client refuses the run's CA",
        );
        if rule.auth == AuthMode::Pass {
            warn(
                "no-effect",
                at(),
                "`auth` has no effect on a tunnel".to_owned(),
                "remove `auth`",
            );
        }
    }
    if is_open(rule) && rule.methods.iter().any(|method| writes(method)) {
        let who = match stranger_suffix(&rule.host) {
            Some(suffix) => format!("anyone can have a name under {suffix}"),
            None => format!("whoever has an account at {} may read it there", rule.host),
        };
        warn(
            "open-upload",
            at(),
            format!("this rule lets data be written to every path of the host, and {who}"),
            "add the `paths` that are needed, or leave only GET and HEAD",
        );
    } else if let Some((method, what)) = published(rule) {
        warn(
            "registry-write",
            at(),
            format!("{method} on these paths publishes {what} to {}", rule.host),
            "leave only GET and HEAD, or name other paths",
        );
    }
    if rule.auth == AuthMode::Pass {
        warn(
            "auth-pass",
            at(),
            format!(
                "credentials that the agent was given by anyone may be used at {}",
                rule.host
            ),
            "use `credential` for a key of your own, and leave `auth` out",
        );
    }
}

fn writes(method: &str) -> bool {
    !matches!(method, "GET" | "HEAD" | "OPTIONS")
}

/// Whether a rule covers every path.
fn is_open(rule: &Rule) -> bool {
    rule.tls == TlsMode::Inspect
        && (rule.paths.is_empty() || rule.paths.iter().any(|path| path.0 == "/**"))
}

/// The method by which a rule lets something be published, and what.
fn published(rule: &Rule) -> Option<(&'static str, &'static str)> {
    let has = |method: &str| rule.methods.iter().any(|own| own == method);
    let pushes = |path: &PathPattern| {
        let names_git = path.0.split('/').any(|segment| segment.ends_with(".git"));
        path.0.ends_with("/git-receive-pack")
            || names_git && matches!(path.0.rsplit('/').next(), Some("*" | "**"))
    };
    if has("POST") && rule.paths.iter().any(pushes) {
        return Some(("POST", "commits"));
    }
    let mut samples = PUBLISHING.iter();
    let found = samples.find(|(method, sample, word, _)| {
        let tells = |path: &&PathPattern| path.0.split('/').any(|segment| segment == *word);
        let mut telling = rule.paths.iter().filter(tells);
        has(method) && telling.any(|pattern| path::covers(pattern, sample))
    });
    found.map(|(method, _, _, what)| (*method, *what))
}

/// The suffix under which strangers get names of their own: the private section of the public suffix list.
fn stranger_suffix(host: &HostPattern) -> Option<String> {
    let name = match host {
        HostPattern::Exact(name) | HostPattern::Subdomains(name) => name,
        HostPattern::Address(_) => return None,
    };
    let suffix = psl::suffix(name.as_bytes())?;
    let private = suffix.typ() == Some(psl::Type::Private);
    private
        .then(|| String::from_utf8(suffix.as_bytes().to_vec()).ok())
        .flatten()
}

/// What a registry of a tool must not be opened for beside: writing to the host that the tool reads.
fn registries(rules: &[Rule], warn: &mut impl FnMut(&'static str, Place, String, &str)) {
    for rule in rules.iter().filter(|rule| rule.kind == RuleKind::Listed) {
        let tool = rules.iter().find_map(|registry| match registry.kind {
            RuleKind::Registry(tool) => overlap(&rule.host, &registry.host).then_some(tool),
            RuleKind::Listed | RuleKind::Git => None,
        });
        if let Some(tool) = tool
            && rule.methods.iter().any(|method| writes(method))
        {
            warn(
                "registry-write",
                rule.at.clone(),
                format!(
                    "{} is a registry of {}, and this rule lets more than reading pass",
                    rule.host,
                    tool.word()
                ),
                "leave only GET and HEAD, or name other paths",
            );
        }
    }
}

fn overlap(pattern: &HostPattern, host: &HostPattern) -> bool {
    match host {
        HostPattern::Exact(name) => {
            verdict::names(pattern, &super::host::Host::Name(name.as_str().into()))
        }
        HostPattern::Address(address) => {
            verdict::names(pattern, &super::host::Host::Address(*address))
        }
        HostPattern::Subdomains(_) => pattern == host,
    }
}

fn address(rule: &Rule, warn: &mut impl FnMut(&'static str, Place, String, &str)) {
    if let HostPattern::Address(address) = rule.host {
        let class = address::class_of(address);
        if !class.may_be_dialled(rule.private) {
            warn(
                "address-unreachable",
                rule.at.clone(),
                format!("a {class} address is dialled only with `private: true`"),
                "add `private: true`",
            );
        }
    }
}

/// Whether the earlier rule allows whatever the later one does.
fn hides(earlier: &Rule, later: &Rule) -> bool {
    let hosts = match (&earlier.host, &later.host) {
        (HostPattern::Subdomains(parent), HostPattern::Exact(name)) => name
            .strip_suffix(parent.as_str())
            .is_some_and(|front| front.ends_with('.')),
        (HostPattern::Subdomains(parent), HostPattern::Subdomains(name)) => {
            name == parent
                || name
                    .strip_suffix(parent.as_str())
                    .is_some_and(|front| front.ends_with('.'))
        }
        (a, b) => a == b,
    };
    let ports = later.ports.iter().all(|port| earlier.ports.contains(port));
    let methods = later
        .methods
        .iter()
        .all(|method| earlier.methods.contains(method));
    let paths = earlier.paths.is_empty()
        || !later.paths.is_empty()
            && later.paths.iter().all(|path| {
                earlier
                    .paths
                    .iter()
                    .any(|wider| contains(&wider.0, &path.0))
            });
    // A rule with a credential allows nothing in clear, so the later one may still be reached that way.
    let clear = earlier.credential.is_none() || later.ports == [443];
    hosts && ports && earlier.tls == later.tls && methods && paths && clear
}

/// Whether a pattern of a path covers all that another one covers.
fn contains(wider: &str, path: &str) -> bool {
    let (mut wider, mut path) = (wider.split('/').skip(1), path.split('/').skip(1));
    loop {
        match (wider.next(), path.next()) {
            (None, None) | (Some("**"), Some(_)) => return true,
            (Some("*"), Some(segment)) if segment != "**" && !segment.is_empty() => {}
            (Some(want), Some(segment)) if want == segment => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}

/// `git` reads the repositories that paths name; without any it has no effect.
fn git(policy: &Policy, warn: &mut impl FnMut(&'static str, Place, String, &str)) {
    let network = &policy.network;
    if let Some(at) = registry::listed(network, registry::Tool::Git)
        && registry::git(network).is_empty()
    {
        warn(
            "no-effect",
            at.clone(),
            "`git` reads the repositories that `network.allow` names by their paths, and no rule names one".to_owned(),
            "add `{ host: HOST, paths: [\"/OWNER/NAME.git/**\"] }` to `allow`",
        );
    }
}

/// A rule that also covers the model's endpoint lets requests pass that the model's own rule would have looked into.
fn model(policy: &Policy, warn: &mut impl FnMut(&'static str, Place, String, &str)) {
    let Some(endpoint) = policy
        .agent
        .model
        .as_ref()
        .and_then(super::model::Model::rule)
    else {
        return;
    };
    let host = match &endpoint.host {
        HostPattern::Exact(name) => super::host::Host::Name(name.as_str().into()),
        HostPattern::Address(address) => super::host::Host::Address(*address),
        HostPattern::Subdomains(_) => return,
    };
    let rules = policy.network.allow.iter();
    for rule in rules.filter(|rule| rule.kind == RuleKind::Listed) {
        if verdict::names(&rule.host, &host)
            && rule.ports.iter().any(|port| endpoint.ports.contains(port))
        {
            warn(
                "model-host-open",
                rule.at.clone(),
                format!(
                    "{} is the model's host, and this rule opens more of it than the model's own endpoint",
                    rule.host
                ),
                "remove it; `agent.model` needs no rule",
            );
        }
    }
}

/// Paths that something runs or believes; a list of protected paths that misses one was probably shortened by mistake.
const SAMPLES: &[&str] = &[
    ".github/workflows/ci.yml",
    ".github/tagout.yml",
    "sub/.envrc",
    ".vscode/tasks.json",
    "CODEOWNERS",
    "AGENTS.md",
    ".gitattributes",
];

fn whole(
    policy: &Policy,
    places: &Places,
    warn: &mut impl FnMut(&'static str, Place, String, &str),
) {
    let bare = SAMPLES.iter().find(|path| {
        !policy
            .changes
            .protect
            .iter()
            .any(|glob| matches(glob, path))
    });
    if let Some(path) = bare {
        warn(
            "protect-weakened",
            places.of("changes.protect"),
            format!("the list replaces the default one, and {path} is no longer protected"),
            "start from the list in policies/default.yml, which `tagout policy init` prints",
        );
    }
    for name in [".github", ".git"] {
        if !policy
            .filesystem
            .read_only
            .iter()
            .any(|path| path.trim_end_matches('/') == name)
        {
            warn(
                "read-only-weakened",
                places.of("filesystem.read-only"),
                format!("the list replaces the default one, and {name} can be written"),
                "add it to the list",
            );
        }
    }
    if policy.changes.allow.is_empty() {
        let what = "an empty list allows no change at all".to_owned();
        warn(
            "nothing-allowed",
            places.of("changes.allow"),
            what,
            "name what may change, as in [\"src/**\"]",
        );
    }
    let scheduled = policy
        .tasks
        .iter()
        .find(|(_, task)| task.schedule.is_some());
    if let (Some((name, _)), None) = (scheduled, &policy.triggers.schedule_owner) {
        warn(
            "schedule-without-owner",
            places.of("tasks"),
            format!(
                "the task {name} has a schedule, and no human is named to whom its runs are attributed"
            ),
            "add `triggers: { schedule: { owner: LOGIN } }`",
        );
    }
    if policy.agent.wall_time > policy.limits.wall_time {
        warn(
            "time-cut",
            places.of("agent.limits.wall-time"),
            "the agent's time is longer than that of everything inside".to_owned(),
            "shorten it, or lengthen `limits.wall-time`",
        );
    }
    let ours = [
        "PATH",
        "HOME",
        "TMPDIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
    ];
    let named = policy
        .environment
        .set
        .keys()
        .chain(&policy.environment.pass);
    for name in named.filter(|name| ours.contains(&name.to_ascii_uppercase().as_str())) {
        let what = format!("{name} is set by Tagout itself");
        warn("no-effect", places.of("environment"), what, "remove it");
    }
}

fn matches(glob: &str, path: &str) -> bool {
    GlobBuilder::new(glob)
        .literal_separator(true)
        .case_insensitive(true)
        .build()
        .is_ok_and(|glob| glob.compile_matcher().is_match(path))
}
