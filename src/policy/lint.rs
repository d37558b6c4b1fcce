//! What is valid and still not wise: rules that cannot work, that another one hides, or that leave a way out.
//! It must never refuse a policy; its findings are warnings with a place, a stable code and a way to mend them.

use std::fmt;

use globset::GlobBuilder;

use super::address;
use super::model::{AuthMode, HostPattern, Place, Policy, Rule, TlsMode};
use super::parse::{Fault, Places};
use super::verdict;

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
    for (index, rule) in policy.network.allow.iter().enumerate() {
        let earlier = policy.network.allow.iter().take(index);
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
    model(policy, &mut warn);
    whole(policy, places, &mut warn);
    found.sort_by(|a, b| {
        (a.fault.at.line, a.fault.at.column).cmp(&(b.fault.at.line, b.fault.at.column))
    });
    found.truncate(WARNINGS_MAX);
    found
}

/// Hosts where a stranger can have an account and read what is sent: allowed without a path, they are drop boxes.
#[rustfmt::skip]
const SHARED: &[&str] = &[
    "github.com", "api.github.com", "uploads.github.com", "gist.github.com", "gitlab.com", "bitbucket.org", "codeberg.org",
    "s3.amazonaws.com", "storage.googleapis.com", "blob.core.windows.net", "r2.cloudflarestorage.com", "huggingface.co",
    "pastebin.com", "paste.rs", "transfer.sh", "file.io", "0x0.st", "webhook.site", "requestbin.com", "pipedream.net",
    "discord.com", "hooks.slack.com", "slack.com", "api.telegram.org", "dropboxapi.com", "googleapis.com", "sentry.io",
    "ngrok.io", "ngrok-free.app", "trycloudflare.com", "workers.dev", "vercel.app", "netlify.app", "herokuapp.com",
    "amazonaws.com", "azurewebsites.net", "cloudfunctions.net", "run.app", "firebaseio.com", "supabase.co",
];

/// Registries: reading is what a build needs; writing publishes.
#[rustfmt::skip]
const REGISTRIES: &[&str] = &[
    "registry.npmjs.org", "registry.yarnpkg.com", "npm.pkg.github.com", "pypi.org", "upload.pypi.org", "test.pypi.org", "files.pythonhosted.org",
    "crates.io", "static.crates.io", "index.crates.io", "rubygems.org", "proxy.golang.org", "sum.golang.org", "repo.maven.apache.org",
    "repo1.maven.org", "central.sonatype.com", "plugins.gradle.org", "api.nuget.org", "www.nuget.org", "packagist.org", "hex.pm",
    "ghcr.io", "registry-1.docker.io", "quay.io", "public.ecr.aws",
];

/// npm's audit endpoints are asked by POST and publish nothing.
const READING_POSTS: &[&str] = &[
    "/-/npm/v1/security/advisories/bulk",
    "/-/npm/v1/security/audits/quick",
    "/-/npm/v1/security/audits",
];

fn one_rule(rule: &Rule, warn: &mut impl FnMut(&'static str, Place, String, &str)) {
    let at = || rule.at.clone();
    let writes = rule.tls == TlsMode::Tunnel
        || rule
            .methods
            .iter()
            .any(|method| !matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS"));
    let reading_posts = !rule.paths.is_empty()
        && rule
            .paths
            .iter()
            .all(|path| READING_POSTS.contains(&path.0.as_str()));
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
    if writes && rule.paths.is_empty() && rule.credential.is_none() && among(&rule.host, SHARED) {
        warn(
            "open-upload",
            at(),
            format!(
                "anyone can have an account at {}, and this rule lets data be written to all of it",
                rule.host
            ),
            "add the `paths` that are needed, or leave only GET and HEAD",
        );
    }
    if writes && !reading_posts && among(&rule.host, REGISTRIES) {
        warn(
            "registry-write",
            at(),
            format!(
                "{} is a registry, and this rule lets packages be published",
                rule.host
            ),
            "leave only GET and HEAD",
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

/// Whether a rule's host reaches into one of these names: is it, is below it, or is a wildcard above it.
fn among(host: &HostPattern, names: &[&str]) -> bool {
    let below = |name: &str, parent: &str| {
        name.strip_suffix(parent)
            .is_some_and(|front| front.ends_with('.'))
    };
    match host {
        HostPattern::Exact(name) => names
            .iter()
            .any(|known| name == known || below(name, known)),
        HostPattern::Subdomains(parent) => names
            .iter()
            .any(|known| parent == known || below(parent, known) || below(known, parent)),
        HostPattern::Address(_) => false,
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
    for rule in &policy.network.allow {
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
