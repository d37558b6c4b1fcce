//! The model's endpoint: where it is, who may ask it, and how much of it is left.
//! It must never put the key on a wire for anything but the one path, nor forward a body that was not reviewed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::sync::Semaphore;

use super::error::EgressError;
use super::model_traffic::usage::{self, Usage};
use super::model_traffic::{self, Refusal, Reviewed};
use super::setup::{Injected, MODEL_NAME_INSIDE, ModelRule};
use crate::policy::host::{self, Host};
use crate::policy::model::{Model, Place};
use crate::policy::verdict::Scheme;

/// Most requests to the model at a time.
pub(super) const AT_ONCE_MAX: usize = 6;

/// The model's rule, made ready.
pub(super) struct ModelGate {
    model: Model,
    key: Injected,
    scheme: Scheme,
    host: String,
    port: u16,
    path: String,
    tokens: u64,
    spent: Arc<AtomicU64>,
    pub(super) turns: Arc<Semaphore>,
}

impl ModelGate {
    pub(super) fn new(rule: &ModelRule, key: Injected) -> Result<Self, EgressError> {
        let model = rule.model.clone();
        let bad = || EgressError::ModelUrl(model.base_url.clone());
        let url = url::Url::parse(&model.base_url).map_err(|_not_a_url| bad())?;
        let host_text = url.host_str().ok_or_else(bad)?;
        let host = match host::read(host_text).map_err(|_not_a_host| bad())? {
            Host::Name(name) => name.into_owned(),
            Host::Address(address) => address.to_string(),
        };
        let loopback = host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" if loopback => Scheme::Http,
            _ => return Err(bad()),
        };
        Ok(Self {
            path: model_traffic::path(&model),
            port: url.port_or_known_default().ok_or_else(bad)?,
            model: rule.model.clone(),
            key,
            scheme,
            host,
            tokens: rule.tokens,
            spent: Arc::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE_MAX)),
        })
    }

    pub(super) fn at(&self) -> &Place {
        &self.model.at
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn model(&self) -> &Model {
        &self.model
    }

    /// Whether a host and port are the model's: under its own name, or for a loopback one under the name that is used inside.
    pub(super) fn lives_at(&self, scheme: Scheme, host: &str, port: u16) -> bool {
        let itself = scheme == self.scheme && host == self.host && port == self.port;
        itself || (self.scheme == Scheme::Http && scheme == Scheme::Http && is_inside_name(host))
    }

    /// Whether this is the model's one request.
    pub(super) fn covers(&self, method: &str, path: &str) -> bool {
        method == "POST" && path == self.path
    }

    /// The only request that is allowed, for a refusal's sentence.
    pub(super) fn allowed(&self) -> String {
        format!("the model answers only POST {}", self.path)
    }

    /// Whether the agent sent the run's placeholder where the key belongs.
    pub(super) fn has_placeholder(&self, headers: &HeaderMap) -> bool {
        ["authorization", "x-api-key", "api-key"]
            .iter()
            .filter_map(|name| headers.get(*name))
            .any(|value| {
                let text = value.as_bytes();
                let bare = text.strip_prefix(b"Bearer ").unwrap_or(text);
                bare == self.key.placeholder.as_bytes()
            })
    }

    /// Judges a body.
    pub(super) fn review(
        &self,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Reviewed, Refusal> {
        model_traffic::review(&self.model, content_type, body)
    }

    /// Leaves only what the model needs, and puts the key in.
    pub(super) fn dress(&self, headers: &mut HeaderMap) -> Result<(), EgressError> {
        let kept: Vec<(HeaderName, HeaderValue)> = headers
            .iter()
            .filter_map(|(name, value)| {
                let value = model_traffic::kept_header(name.as_str(), value.to_str().ok()?)?;
                Some((name.clone(), HeaderValue::from_str(&value).ok()?))
            })
            .collect();
        headers.clear();
        headers.extend(kept);
        let (name, front) = model_traffic::key_header(self.model.api);
        let text = zeroize::Zeroizing::new(format!("{front}{}", self.key.value.expose()));
        let mut value = HeaderValue::from_str(&text).or(Err(EgressError::Message(
            "the key cannot stand in a header",
        )))?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(name), value);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok(())
    }

    /// Takes tokens off the run's budget before the request goes; none if they are not left.
    pub(super) fn reserve(&self, tokens: u64) -> Option<Reservation> {
        let taken = self
            .spent
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spent| {
                spent.checked_add(tokens).filter(|sum| *sum <= self.tokens)
            })
            .is_ok();
        taken.then(|| Reservation {
            spent: Arc::clone(&self.spent),
            tokens,
            seen: None,
        })
    }
}

/// Whether a host is the name under which a loopback model is reached from inside.
pub(super) fn is_inside_name(host: &str) -> bool {
    host == MODEL_NAME_INSIDE
}

/// Tokens that are held for a request until its answer tells what it cost.
pub(super) struct Reservation {
    spent: Arc<AtomicU64>,
    tokens: u64,
    seen: Option<Usage>,
}

impl Reservation {
    pub(super) fn seen(&mut self, usage: Usage) {
        self.seen = Some(usage);
    }

    /// Gives back what was not used; what the request cost in the end. Without a status nothing came back, and all is kept.
    pub(super) fn settle(self, status: Option<u16>) -> u64 {
        let cost = usage::settle(self.tokens, status.unwrap_or(200), self.seen);
        if cost >= self.tokens {
            self.spent.fetch_add(cost - self.tokens, Ordering::Relaxed);
        } else {
            self.spent.fetch_sub(self.tokens - cost, Ordering::Relaxed);
        }
        cost
    }
}
