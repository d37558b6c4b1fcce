//! From what a tool says of its registry to rules that only read, and `git` for the repositories that the policy names.
//! It must never make a rule that writes, nor one for a host that the tool's answer alone could have smuggled in.

use serde::{Deserialize, Serialize};
use url::Url;

use super::host::{self, Host};
use super::model::{AuthMode, HostPattern, Network, PathPattern, Place, Rule, RuleKind, TlsMode};
use super::path::{self, Shape};
use super::verdict;

/// A tool of `network.registries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// Cargo.
    Cargo,
    /// npm.
    Npm,
    /// pip.
    Pip,
    /// Yarn, both lines of it.
    Yarn,
    /// pnpm.
    Pnpm,
    /// uv.
    Uv,
    /// Go.
    Go,
    /// Maven.
    Maven,
    /// RubyGems.
    Rubygems,
    /// NuGet.
    Nuget,
    /// APT.
    Apt,
    /// git, which has no registry: it reads the repositories that `network.allow` names.
    Git,
}

/// What a URL is to a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Where packages are looked up.
    Index,
    /// Where an index says that packages lie.
    Files,
    /// A git repository that is an index.
    Repository,
}

/// Why an answer of a tool makes no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not a URL, or one whose path can be read in two ways.
    #[error("it is no URL that every reader takes alike")]
    Unreadable,
    /// Another scheme.
    #[error("it is not https")]
    Scheme,
    /// An address, or a name that is not under a known public suffix, and no rule names it.
    #[error("its host is not a public name, and no entry of network.allow names it")]
    NotPublic,
    /// The policy tunnels to this host.
    #[error("network.allow has a tunnel to its host, which cannot be held to reading")]
    Tunnel,
}

/// Paths below a registry of npm's kind that are asked by POST and publish nothing.
const AUDITS: [&str; 3] = [
    "-/npm/v1/security/advisories/bulk",
    "-/npm/v1/security/audits",
    "-/npm/v1/security/audits/quick",
];

/// The rules by which a tool may read what it named. `at` is where the policy lists the tool.
///
/// # Errors
/// Why this URL makes no rule.
pub fn rules(
    tool: Tool,
    part: Part,
    url: &str,
    network: &Network,
    at: &Place,
) -> Result<Vec<Rule>, Unfit> {
    let url = Url::parse(url).map_err(|_no_url| Unfit::Unreadable)?;
    if url.scheme() != "https" {
        return Err(Unfit::Scheme);
    }
    let name = match host::read(url.host_str().unwrap_or_default()) {
        Ok(Host::Name(name)) => name.into_owned(),
        Ok(Host::Address(_)) => return Err(Unfit::NotPublic),
        Err(_) => return Err(Unfit::Unreadable),
    };
    let port = url.port_or_known_default().unwrap_or(443);
    let private = private(&name, port, network)?;
    let base = url.path().trim_end_matches('/');
    if path::shape(&format!("{base}/")) != Shape::Plain {
        return Err(Unfit::Unreadable);
    }
    let base = path::normal(base);
    let rule = |methods: &[&str], paths: Vec<String>, kind| Rule {
        host: HostPattern::Exact(name.clone()),
        ports: vec![port],
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        paths: paths.into_iter().map(PathPattern).collect(),
        tls: TlsMode::Inspect,
        private,
        auth: AuthMode::Strip,
        websocket: false,
        credential: None,
        kind,
        at: at.clone(),
    };
    let below = if base.is_empty() || reads_whole_host(tool, part) {
        Vec::new()
    } else {
        vec![base.clone(), format!("{base}/**")]
    };
    let kind = RuleKind::Registry(tool);
    let mut rules = vec![rule(&["GET", "HEAD"], below.clone(), kind)];
    match (tool, part) {
        (Tool::Npm | Tool::Yarn | Tool::Pnpm, Part::Index) => {
            let audits = AUDITS.iter().map(|audit| format!("{base}/{audit}"));
            rules.push(rule(&["POST"], audits.collect(), kind));
        }
        (_, Part::Repository) => rules.push(rule(&["POST"], below, RuleKind::Git)),
        (_, Part::Index | Part::Files) => {}
    }
    Ok(rules)
}

/// Where files lie beside the index and not below it.
fn reads_whole_host(tool: Tool, part: Part) -> bool {
    match tool {
        Tool::Pip | Tool::Uv | Tool::Nuget | Tool::Rubygems => true,
        Tool::Cargo
        | Tool::Npm
        | Tool::Yarn
        | Tool::Pnpm
        | Tool::Go
        | Tool::Maven
        | Tool::Apt
        | Tool::Git => part == Part::Files && tool != Tool::Cargo,
    }
}

/// Whether the name may resolve to private addresses: only where a rule of the policy says so, and then the name need not be public.
fn private(name: &str, port: u16, network: &Network) -> Result<bool, Unfit> {
    let host = Host::Name(name.into());
    let mut naming = network
        .allow
        .iter()
        .filter(|rule| rule.kind == RuleKind::Listed)
        .filter(|rule| verdict::names(&rule.host, &host) && rule.ports.contains(&port))
        .peekable();
    let is_named = naming.peek().is_some();
    let mut private = false;
    for rule in naming {
        if rule.tls == TlsMode::Tunnel {
            return Err(Unfit::Tunnel);
        }
        private |= rule.private;
    }
    if is_named || is_public(name) {
        Ok(private)
    } else {
        Err(Unfit::NotPublic)
    }
}

/// Whether a name lies below a suffix that the public suffix list knows.
fn is_public(name: &str) -> bool {
    psl::suffix(name.as_bytes())
        .is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() != name.as_bytes())
}

/// Where the policy lists a tool.
#[must_use]
pub fn listed(network: &Network, tool: Tool) -> Option<&Place> {
    network
        .registries
        .iter()
        .find(|registry| registry.tool == tool)
        .map(|registry| &registry.at)
}

/// The rules that `git` adds: reading, for every rule that names paths and allows GET.
#[must_use]
pub fn git(network: &Network) -> Vec<Rule> {
    let Some(at) = listed(network, Tool::Git) else {
        return Vec::new();
    };
    let reads = |rule: &&Rule| {
        rule.kind == RuleKind::Listed
            && rule.tls == TlsMode::Inspect
            && !rule.paths.is_empty()
            && rule.methods.iter().any(|method| method == "GET")
    };
    let rules = network.allow.iter().filter(reads).map(|rule| Rule {
        methods: vec!["POST".to_owned()],
        websocket: false,
        kind: RuleKind::Git,
        at: at.clone(),
        ..rule.clone()
    });
    rules.collect()
}

/// Whether a POST to this path reads a repository that the patterns cover (git's `gitprotocol-http`: the request follows
/// `GET info/refs?service=git-upload-pack`).
#[must_use]
pub fn reads_repository(patterns: &[PathPattern], path: &str) -> bool {
    path.strip_suffix("/git-upload-pack").is_some_and(|base| {
        let asked = format!("{base}/info/refs");
        patterns.iter().any(|pattern| path::covers(pattern, &asked))
    })
}

/// The path of the POST that would follow where a request asks a git server whether it may push; none otherwise.
#[must_use]
pub fn push_after(path: &str, query: Option<&str>) -> Option<String> {
    let base = path.strip_suffix("/info/refs")?;
    let mut pairs = url::form_urlencoded::parse(query?.as_bytes());
    pairs
        .any(|(name, value)| name == "service" && value.contains("receive-pack"))
        .then(|| format!("{base}/git-receive-pack"))
}

/// A path whose only doubt is the escaped slash of scoped names, `@scope%2fname`, with that slash left as it is.
#[must_use]
pub fn scoped(path: &str) -> Option<String> {
    let plain = |segment: &str| {
        let part = format!("/{segment}");
        let dots = matches!(segment, "" | "." | "..");
        (path::shape(&part) == Shape::Plain && !dots).then(|| path::normal(&part))
    };
    let mut normal = String::with_capacity(path.len());
    for segment in path.strip_prefix('/')?.split('/') {
        let lower = segment.to_ascii_lowercase();
        match lower.find("%2f").filter(|_| segment.starts_with('@')) {
            Some(at) => {
                let (scope, name) = (segment.get(..at)?, segment.get(at + 3..)?);
                normal.push_str(&plain(scope)?);
                normal.push_str("%2F");
                normal.push_str(plain(name)?.strip_prefix('/')?);
            }
            None => normal.push_str(&plain(segment)?),
        }
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scoped_names_are_the_only_escaped_slashes() {
        assert_eq!(
            scoped("/npm/@a%2fb").as_deref(),
            Some("/npm/@a%2Fb"),
            "one spelling"
        );
        assert_eq!(
            scoped("/@a%2Fb/-/b-1.tgz").as_deref(),
            Some("/@a%2Fb/-/b-1.tgz")
        );
        for path in [
            "/npm/a%2fb",
            "/npm/@a%2f..",
            "/npm/@a%2f",
            "/npm/@a%2f%2e%2e",
            "/npm/@a%2fb%2fc",
            "/npm/@..%2f..%2fx",
            "/npm/@a%5cb",
            "/npm//@a%2fb",
            "/npm/@a%252fb",
            "npm",
        ] {
            assert_eq!(scoped(path), None, "{path}");
        }
    }

    #[test]
    fn asking_for_a_push_is_known_in_every_spelling() {
        for query in [
            "service=git-receive-pack",
            "service=git%2Dreceive%2dpack",
            "x=1&service=git-receive-pack",
            "%73ervice=git-receive-pack",
            "service=git-upload-pack&service=git-receive-pack",
        ] {
            assert_eq!(
                push_after("/o/r/info/refs", Some(query)).as_deref(),
                Some("/o/r/git-receive-pack"),
                "{query}"
            );
        }
        assert_eq!(
            push_after("/o/r/info/refs", Some("service=git-upload-pack")),
            None
        );
        assert_eq!(push_after("/o/r/info/refs", None), None);
        assert_eq!(push_after("/o/r", Some("service=git-receive-pack")), None);
    }
}
