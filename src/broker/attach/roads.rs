//! The rules by which attachments are fetched: those of the policy, and the forge's own places.
//! It must never make a rule for a host that somebody on a thread has named, nor put a credential on one.

use std::net::IpAddr;
use std::sync::Arc;

use url::{Host, Url};

use crate::policy::model::{
    AuthMode, HostPattern, Network, NetworkMode, PathPattern, Place, Rule, RuleKind, TlsMode,
};

/// Where github.com itself keeps what people attach. Pages name the first one with a signature; an attachment's own
/// address leads to one of them.
const OF_GITHUB: [&str; 3] = [
    "private-user-images.githubusercontent.com",
    "user-images.githubusercontent.com",
    "github-production-user-asset-6210df.s3.amazonaws.com",
];
/// Below which paths a server keeps what people attach.
const ATTACHMENTS: [&str; 2] = ["/user-attachments/assets/**", "/user-attachments/files/**"];
/// Bytes of the longest address, with the signature in it.
const URL_BYTES_MAX: u64 = 8 << 10;

/// The forge's own places.
#[derive(Clone, Debug)]
pub(super) struct Forge {
    server: Option<Url>,
    api: Option<Url>,
}

impl Forge {
    /// GITHUB_SERVER_URL and GITHUB_API_URL, github.com's where they are not set.
    pub(super) fn at(server: Option<&str>, api: Option<&str>) -> Self {
        let read = |text: Option<&str>, or: &str| Url::parse(text.unwrap_or(or)).ok();
        Self {
            server: read(server, "https://github.com"),
            api: read(api, "https://api.github.com"),
        }
    }

    /// Whether an address is one under which this server keeps what people attach.
    pub(super) fn is_attachment(&self, url: &Url) -> bool {
        self.server.as_ref().is_some_and(|server| {
            server.origin() == url.origin()
                && ATTACHMENTS
                    .iter()
                    .filter_map(|path| path.strip_suffix("**"))
                    .any(|path| url.path().starts_with(path))
        })
    }

    /// The policy's rules without its credentials, and this server's own places. Attachments are held to the rules whatever
    /// `network.mode` says: nobody watches what would only be written down.
    pub(super) fn network(&self, policy: &Network) -> Network {
        let mut network = policy.clone();
        network.mode = NetworkMode::Enforce;
        network.url_bytes = network.url_bytes.max(URL_BYTES_MAX);
        for rule in &mut network.allow {
            rule.credential = None;
        }
        if let Some(server) = &self.server {
            network.allow.extend(rule(server, &ATTACHMENTS, true));
            if server.host_str() == Some("github.com") {
                let others = OF_GITHUB.iter().filter_map(|host| https(host));
                network
                    .allow
                    .extend(others.filter_map(|url| rule(&url, &[], false)));
            } else if let Some(Host::Domain(name)) = server.host() {
                // Where subdomains are isolated, a GitHub Enterprise Server keeps them under this name.
                let media = https(&format!("media.{name}"));
                network
                    .allow
                    .extend(media.and_then(|url| rule(&url, &[], true)));
            }
        }
        network
    }

    /// The rule for an address that the API itself has named: its host and port, for reading.
    pub(super) fn named_by_api(&self, url: &Url) -> Option<Rule> {
        let own = [&self.server, &self.api]
            .into_iter()
            .flatten()
            .any(|own| own.host() == url.host());
        rule(url, &[], own)
    }
}

fn https(host: &str) -> Option<Url> {
    Url::parse(&format!("https://{host}/")).ok()
}

/// `private` only for the forge itself, which the runner names: an enterprise's own server often has a private address.
fn rule(url: &Url, paths: &[&str], private: bool) -> Option<Rule> {
    let host = match url.host()? {
        Host::Domain(name) => HostPattern::Exact(name.to_owned()),
        Host::Ipv4(address) => HostPattern::Address(IpAddr::V4(address)),
        Host::Ipv6(address) => HostPattern::Address(IpAddr::V6(address)),
    };
    Some(Rule {
        host,
        ports: vec![url.port_or_known_default()?],
        methods: vec!["GET".to_owned()],
        paths: paths
            .iter()
            .map(|it| PathPattern((*it).to_owned()))
            .collect(),
        tls: TlsMode::Inspect,
        private,
        auth: AuthMode::Strip,
        websocket: false,
        credential: None,
        kind: RuleKind::Listed,
        at: Place {
            file: Arc::from("GITHUB_SERVER_URL"),
            line: 1,
            column: 1,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachment_is_known_by_server_and_path() {
        let forge = Forge::at(None, None);
        let is = |text: &str| forge.is_attachment(&Url::parse(text).unwrap());
        assert!(is("https://github.com/user-attachments/assets/3f6c"));
        for other in [
            "http://github.com/user-attachments/assets/3f6c",
            "https://github.com/o/r/raw/main/a.png",
            "https://github.com.example/user-attachments/assets/3f6c",
            "https://github.com:8443/user-attachments/assets/3f6c",
            "https://github.com@example.com/user-attachments/assets/3f6c",
        ] {
            assert!(!is(other), "{other}");
        }
    }

    #[test]
    fn only_the_forge_itself_may_have_a_private_address() {
        let forge = Forge::at(
            Some("https://git.example"),
            Some("https://git.example/api/v3"),
        );
        let rule = |text: &str| forge.named_by_api(&Url::parse(text).unwrap()).unwrap();
        assert!(rule("https://git.example/logs/1").private);
        assert!(!rule("https://logs.blob.example/1?sig=x").private);
        let network = forge.network(&crate::policy::model::Policy::default().network);
        let hosts: Vec<String> = network.allow.iter().map(|it| it.host.to_string()).collect();
        assert_eq!(hosts, ["git.example", "media.git.example"]);
    }
}
