//! One verdict for every request, however it came: plain, tunnelled, inspected or transparent.
//! It must never look at anything but the rules and the request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::host::{self, Host};
use super::index::PathIndex;
use super::model::{
    HostPattern, Network, NetworkMode, PathPattern, Place, Rule, RuleKind, TlsMode,
};
use super::path::{self, Shape};
use super::registry;

mod sentences;

use sentences::{refusal, unlisted, unreadable_host, wrong_port};

/// How a request would travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Over TLS.
    Https,
}

/// A request as read from the wire, not yet believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// In clear or over TLS.
    pub scheme: Scheme,
    /// The host as sent, an IPv6 address with or without its brackets; without the port.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The method as sent; methods are case-sensitive (RFC 9110, 9.1).
    pub method: &'a str,
    /// The path as sent, without the query.
    pub path: &'a str,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// This rule allows it.
    Allow(&'a Rule),
    /// Nothing allows it.
    Deny(Denial),
}

/// What may be spoken to a host and port before the first request is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Road<'a> {
    /// TLS is opened with the run's CA, or the connection is in clear; each request is judged.
    Inspect,
    /// TLS passes unread under this rule; only the server name is held.
    Tunnel(&'a Rule),
    /// No rule names this host and port.
    Deny(Denial),
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The stable code, for example `host-not-allowed`.
    pub code: &'static str,
    /// The rule that came nearest, or where rules would stand.
    pub at: Option<Place>,
    /// One sentence for the reader.
    pub sentence: String,
}

/// Most rules of one host that are searched for the one that came nearest to a denied request.
pub const NEAR_RULES_MAX: usize = 64;
/// Longest method that a sentence repeats, in bytes; longer ones are no method of any server.
pub const METHOD_BYTES_MAX: usize = 32;

/// Judges one request. Whatever cannot be read without doubt is denied.
///
/// It looks at every rule; where many requests are judged under one policy, make a [`Judge`] once.
#[must_use]
pub fn judge<'a>(network: &'a Network, request: &Request<'_>) -> Verdict<'a> {
    let host = match read(network, request) {
        Ok(host) => host,
        Err(denial) => return Verdict::Deny(denial),
    };
    let mut search = Search::new(request);
    for (index, rule) in network.allow.iter().enumerate() {
        if names(&rule.host, &host) {
            search.look_at(index, rule);
        }
    }
    search.verdict(network, &host)
}

/// Whether a URL of this many bytes (scheme, host, path and query) is within `network.limits.url`.
///
/// # Errors
/// The denial `url-too-long`.
pub fn url_fits(network: &Network, url_bytes: usize) -> Result<(), Denial> {
    if u64::try_from(url_bytes).is_ok_and(|bytes| bytes <= network.url_bytes) {
        return Ok(());
    }
    Err(Denial {
        code: "url-too-long",
        at: Some(network.at.clone()),
        sentence: format!(
            "the URL is longer than the policy's limit of {} bytes",
            network.url_bytes
        ),
    })
}

/// Whether `network.mode: report` lets a denied request pass all the same: only what no rule names, or what a rule lists
/// under another method or path. Ports still hold: an unlisted host is reached on those of HTTP and HTTPS only.
#[must_use]
pub fn only_reported(network: &Network, request: &Request<'_>, denial: &Denial) -> bool {
    if network.mode != NetworkMode::Report {
        return false;
    }
    // What writes to a registry or a repository is never let pass to see what happens.
    let of_registry = network
        .registries
        .iter()
        .any(|registry| denial.at.as_ref() == Some(&registry.at));
    if of_registry || request.path.ends_with("/git-receive-pack") {
        return false;
    }
    match denial.code {
        "host-not-allowed" => matches!(
            (request.scheme, request.port),
            (Scheme::Http, 80) | (Scheme::Https, 443)
        ),
        // The rule that came nearest lists the port, and clear text where it is spoken.
        "method-not-allowed" | "path-not-allowed" => true,
        _ => false,
    }
}

/// The rules of one policy, indexed by host: a verdict takes microseconds also under thousands of rules.
#[derive(Clone, Debug)]
pub struct Judge {
    network: Arc<Network>,
    exact: HashMap<String, PathIndex>,
    subdomains: HashMap<String, PathIndex>,
    addresses: HashMap<IpAddr, PathIndex>,
}

impl Judge {
    /// Indexes the rules.
    #[must_use]
    pub fn new(network: Arc<Network>) -> Self {
        let mut judge = Self {
            network: Arc::clone(&network),
            exact: HashMap::new(),
            subdomains: HashMap::new(),
            addresses: HashMap::new(),
        };
        for (index, rule) in network.allow.iter().enumerate() {
            let of_host = match &rule.host {
                HostPattern::Exact(name) => judge.exact.entry(name.clone()).or_default(),
                HostPattern::Subdomains(name) => judge.subdomains.entry(name.clone()).or_default(),
                HostPattern::Address(address) => judge.addresses.entry(*address).or_default(),
            };
            // What these cover is more than their paths say, so they are looked at for every path.
            let paths: &[PathPattern] = match rule.kind {
                RuleKind::Listed => &rule.paths,
                RuleKind::Registry(_) | RuleKind::Git => &[],
            };
            of_host.add(index, paths);
        }
        judge
    }

    /// What it judges by.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The same verdict as [`judge`]; a denial under more than [`NEAR_RULES_MAX`] rules of one host may name another of them.
    #[must_use]
    pub fn judge(&self, request: &Request<'_>) -> Verdict<'_> {
        let host = match read(&self.network, request) {
            Ok(host) => host,
            Err(denial) => return Verdict::Deny(denial),
        };
        let mut search = Search::new(request);
        let hosts = self.rules_of(&host);
        for of_host in &hosts {
            self.look_at(of_host.open(), &mut search);
            if search.shape == Shape::Plain {
                let path = search.normal.clone();
                of_host.each_covering(&path, &mut |index| self.look_at(&[index], &mut search));
            }
        }
        if search.allowed.is_none() {
            for of_host in &hosts {
                let near = of_host.all().get(..NEAR_RULES_MAX).unwrap_or(of_host.all());
                self.look_at(near, &mut search);
            }
        }
        search.verdict(&self.network, &host)
    }

    /// The verdict on a request with its query, which counts in one case: asking a git server whether a push is welcome is
    /// judged as the push, so that whoever may only read is told at once and by the right name.
    #[must_use]
    pub fn judge_with_query(&self, request: &Request<'_>, query: Option<&str>) -> Verdict<'_> {
        let verdict = self.judge(request);
        let (Verdict::Allow(rule), Some(push)) =
            (&verdict, registry::push_after(request.path, query))
        else {
            return verdict;
        };
        let follows = Request {
            method: "POST",
            path: &push,
            ..*request
        };
        match self.judge(&follows) {
            Verdict::Allow(_) => verdict,
            Verdict::Deny(_) => Verdict::Deny(Denial {
                code: "git-push-not-allowed",
                at: Some(rule.at.clone()),
                sentence: format!("git may read from {} and not push to it", rule.host),
            }),
        }
    }

    fn look_at<'a>(&'a self, indices: &[usize], search: &mut Search<'a, '_>) {
        for index in indices {
            if let Some(rule) = self.network.allow.get(*index) {
                search.look_at(*index, rule);
            }
        }
    }

    /// What may be spoken to this host and port. Where one rule tunnels and another inspects, it is inspected.
    #[must_use]
    pub fn road(&self, host: &str, port: u16) -> Road<'_> {
        let host = match host::read(host) {
            Ok(host) => host,
            Err(fault) => return Road::Deny(unreadable_host(&self.network, fault)),
        };
        let (mut near, mut tunnel, mut inspect) = (None, None, false);
        let indices = self.rules_of(&host).into_iter().flat_map(PathIndex::all);
        for rule in indices.filter_map(|index| self.network.allow.get(*index)) {
            near = near.or(Some(rule));
            if rule.ports.contains(&port) {
                match rule.tls {
                    TlsMode::Inspect => inspect = true,
                    TlsMode::Tunnel => tunnel = tunnel.or(Some(rule)),
                }
            }
            if inspect {
                break;
            }
        }
        match (inspect, tunnel, near) {
            (true, _, _) => Road::Inspect,
            (false, Some(rule), _) => Road::Tunnel(rule),
            (false, None, Some(rule)) => Road::Deny(wrong_port(rule, port)),
            (false, None, None) => Road::Deny(unlisted(&self.network, &host)),
        }
    }

    /// The rules of the host itself, then those of each wildcard above it.
    fn rules_of(&self, host: &Host<'_>) -> Vec<&PathIndex> {
        match host {
            Host::Address(address) => self.addresses.get(address).into_iter().collect(),
            Host::Name(name) => {
                let mut found: Vec<&PathIndex> =
                    self.exact.get(name.as_ref()).into_iter().collect();
                let mut rest = name.as_ref();
                while let Some((_, parent)) = rest.split_once('.') {
                    found.extend(self.subdomains.get(parent));
                    rest = parent;
                }
                found
            }
        }
    }
}

/// Whether a rule's host covers a host.
#[must_use]
pub fn names(pattern: &HostPattern, host: &Host<'_>) -> bool {
    match (pattern, host) {
        (HostPattern::Exact(wanted), Host::Name(name)) => wanted == name.as_ref(),
        (HostPattern::Subdomains(parent), Host::Name(name)) => name
            .strip_suffix(parent.as_str())
            .is_some_and(|front| front.len() > 1 && front.ends_with('.')),
        (HostPattern::Address(wanted), Host::Address(address)) => wanted == address,
        (HostPattern::Exact(_) | HostPattern::Subdomains(_), Host::Address(_))
        | (HostPattern::Address(_), Host::Name(_)) => false,
    }
}

/// What must hold before any rule is looked at.
fn read<'r>(network: &Network, request: &Request<'r>) -> Result<Host<'r>, Denial> {
    let host = host::read(request.host).map_err(|fault| unreadable_host(network, fault))?;
    if !is_method(request.method) {
        return Err(Denial {
            code: "method-invalid",
            at: Some(network.at.clone()),
            sentence: "the method is not a word that HTTP allows as one".to_owned(),
        });
    }
    Ok(host)
}

/// A token of RFC 9110, 5.6.2, of a length that servers know.
#[must_use]
pub fn is_method(text: &str) -> bool {
    (1..=METHOD_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                )
        })
}

/// How near a rule of the right host came; the later the step, the nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Miss {
    Port,
    Clear,
    Malformed,
    Method,
    Ambiguous,
    Path,
}

/// Goes through the rules of a host and keeps the first that allows, or else the one that came nearest.
struct Search<'a, 'r> {
    request: Request<'r>,
    shape: Shape,
    normal: String,
    allowed: Option<(usize, &'a Rule)>,
    nearest: Option<(Miss, usize, &'a Rule)>,
}

impl<'a, 'r> Search<'a, 'r> {
    fn new(request: &Request<'r>) -> Self {
        let shape = path::shape(request.path);
        let normal = match shape {
            Shape::Plain => path::normal(request.path),
            Shape::Ambiguous | Shape::Malformed => String::new(),
        };
        Self {
            request: *request,
            shape,
            normal,
            allowed: None,
            nearest: None,
        }
    }

    fn look_at(&mut self, index: usize, rule: &'a Rule) {
        match self.miss(rule) {
            None => {
                if self.allowed.is_none_or(|(best, _)| index < best) {
                    self.allowed = Some((index, rule));
                }
            }
            Some(miss) => {
                let nearer =
                    |(best, at, _): (Miss, usize, &Rule)| miss > best || miss == best && index < at;
                if self.nearest.is_none_or(nearer) {
                    self.nearest = Some((miss, index, rule));
                }
            }
        }
    }

    /// Where the rule says no, or nothing where it allows.
    fn miss(&self, rule: &Rule) -> Option<Miss> {
        if !rule.ports.contains(&self.request.port) {
            return Some(Miss::Port);
        }
        if self.request.scheme == Scheme::Http && !allows_clear(rule, self.request.port) {
            return Some(Miss::Clear);
        }
        if self.shape == Shape::Malformed {
            return Some(Miss::Malformed);
        }
        if rule.tls == TlsMode::Tunnel {
            return None;
        }
        if !rule
            .methods
            .iter()
            .any(|method| method == self.request.method)
        {
            return Some(Miss::Method);
        }
        if rule.paths.is_empty() && rule.kind != RuleKind::Git {
            return None;
        }
        if self.shape == Shape::Ambiguous {
            return self.miss_of_scoped(rule);
        }
        let covered = match rule.kind {
            RuleKind::Listed | RuleKind::Registry(_) => covers(rule, &self.normal),
            RuleKind::Git => registry::reads_repository(&rule.paths, &self.normal),
        };
        (!covered).then_some(Miss::Path)
    }

    /// Registries of npm's kind know packages by names with an escaped slash.
    fn miss_of_scoped(&self, rule: &Rule) -> Option<Miss> {
        let scoped = match rule.kind {
            RuleKind::Registry(_) => registry::scoped(self.request.path),
            RuleKind::Listed | RuleKind::Git => None,
        };
        let covered = scoped.is_some_and(|path| covers(rule, &path));
        (!covered).then_some(Miss::Ambiguous)
    }

    fn verdict(self, network: &Network, host: &Host<'_>) -> Verdict<'a> {
        match (self.allowed, self.nearest) {
            (Some((_, rule)), _) => Verdict::Allow(rule),
            (None, Some((miss, _, rule))) => Verdict::Deny(refusal(miss, rule, &self.request)),
            (None, None) => Verdict::Deny(unlisted(network, host)),
        }
    }
}

fn covers(rule: &Rule, path: &str) -> bool {
    rule.paths.iter().any(|pattern| path::covers(pattern, path))
}

/// Plain HTTP passes only on a port that a listed rule names besides 443, never through a tunnel and never with a credential.
fn allows_clear(rule: &Rule, port: u16) -> bool {
    port != 443
        && rule.kind == RuleKind::Listed
        && rule.tls == TlsMode::Inspect
        && rule.credential.is_none()
}
