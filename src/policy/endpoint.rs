//! The model's endpoint as a rule of its own kind: exactly one POST path of one host.
//! It must never allow a second path, a second method or a redirect to another host.

use super::host::{self, Host};
use super::model::{AuthMode, HostPattern, Model, ModelApi, PathPattern, Rule, RuleKind, TlsMode};
use super::path;
use super::request;

impl Model {
    /// The rule that this endpoint is judged by, beside those of `network.allow`.
    ///
    /// Its credential is not in it: which header takes the key is the protocol's to say, and only the egress holds the key.
    /// Nothing comes back for a base that was not read by `parse`.
    #[must_use]
    pub fn rule(&self) -> Option<Rule> {
        let (clear, rest) = match self.base_url.strip_prefix("https://") {
            Some(rest) => (false, rest),
            None => (true, self.base_url.strip_prefix("http://")?),
        };
        let (authority, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = request::authority(authority, if clear { 80 } else { 443 }).ok()?;
        let (host, private) = match host::read(host).ok()? {
            Host::Name(name) => (HostPattern::Exact(name.into_owned()), false),
            Host::Address(address) => (HostPattern::Address(address), address.is_loopback()),
        };
        Some(Rule {
            host,
            ports: vec![port],
            methods: vec!["POST".to_owned()],
            paths: vec![PathPattern(path::normal(&self.path(base)))],
            tls: TlsMode::Inspect,
            private,
            auth: AuthMode::Strip,
            websocket: false,
            credential: None,
            kind: RuleKind::Listed,
            at: self.at.clone(),
        })
    }

    fn path(&self, base: &str) -> String {
        let base = base.trim_end_matches('/');
        match self.api {
            ModelApi::Responses => format!("{base}/responses"),
            ModelApi::Chat => format!("{base}/chat/completions"),
            ModelApi::Messages if base.ends_with("/v1") => format!("{base}/messages"),
            ModelApi::Messages => format!("{base}/v1/messages"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::model::Place;

    fn rule(api: ModelApi, base_url: &str) -> Rule {
        let model = Model {
            api,
            name: "m".to_owned(),
            base_url: base_url.to_owned(),
            key: "KEY".to_owned(),
            at: Place {
                file: "p.yml".into(),
                line: 3,
                column: 1,
            },
        };
        model.rule().unwrap()
    }

    #[test]
    fn each_protocol_has_exactly_one_path() {
        let path = |api, base| rule(api, base).paths[0].0.clone();
        assert_eq!(
            path(ModelApi::Responses, "https://api.example.com/v1"),
            "/v1/responses"
        );
        assert_eq!(
            path(ModelApi::Chat, "https://api.example.com/v1"),
            "/v1/chat/completions"
        );
        assert_eq!(
            path(ModelApi::Messages, "https://api.example.com"),
            "/v1/messages"
        );
        assert_eq!(
            path(ModelApi::Messages, "https://api.example.com/v1"),
            "/v1/messages"
        );
        assert_eq!(
            path(ModelApi::Messages, "https://api.example.com/x"),
            "/x/v1/messages"
        );
    }

    #[test]
    fn only_a_loopback_address_is_private() {
        let local = rule(ModelApi::Responses, "http://127.0.0.1:8080/v1");
        assert_eq!((local.ports, local.private), (vec![8080], true));
        assert!(!rule(ModelApi::Responses, "https://10.0.0.1/v1").private);
        assert!(!rule(ModelApi::Responses, "https://api.example.com").private);
    }
}
