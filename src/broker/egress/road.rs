//! What every connection and request of a run shares: the rules, the secrets, the budgets, the lines upstream.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::authority::Authority;
use super::budget::Budgets;
use super::guard::Notes;
use super::log::Tls;
use super::log_writer::Log;
use super::model_gate::ModelGate;
use super::refusal::Stop;
use super::scrub::Needles;
use super::setup::Injected;
use super::target::{Bound, spelled};
use super::upstream::Upstreams;
use crate::names::Digest;
use crate::policy::host;
use crate::policy::model::Rule;
use crate::policy::verdict::{self, Judge, Scheme};

/// Shared by all.
pub(super) struct Road {
    pub(super) judge: Judge,
    pub(super) policy_file: String,
    pub(super) model: Option<ModelGate>,
    pub(super) secrets: BTreeMap<String, Injected>,
    /// The placeholders, to be found where they do not belong.
    pub(super) placeholders: Needles,
    /// The values, to be hidden in answers.
    pub(super) values: Needles,
    pub(super) budgets: Budgets,
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) authority: Authority,
    pub(super) log: Arc<Log>,
    /// Digest of the `Proxy-Authorization` value that opens the explicit proxy; none where anyone may use it.
    pub(super) password: Option<Digest>,
}

impl Road {
    /// Whether a `Proxy-Authorization` value is the run's. Digests are compared, so that the time tells nothing.
    pub(super) fn opens(&self, authorization: Option<&str>) -> bool {
        match (&self.password, authorization) {
            (None, _) => true,
            (Some(expected), Some(value)) => Digest::of(value.trim().as_bytes()) == *expected,
            (Some(_), None) => false,
        }
    }

    /// Whether a host ever sees a secret, so that its answers must be searched for it.
    pub(super) fn knows_secret(&self, scheme: Scheme, host: &str, port: u16) -> bool {
        let named = host::read(host);
        let by_rule = |rule: &Rule| {
            rule.credential.is_some()
                && named
                    .as_ref()
                    .is_ok_and(|host| verdict::names(&rule.host, host))
        };
        let model = self.model.as_ref();
        model.is_some_and(|model| model.lives_at(scheme, host, port))
            || (!self.secrets.is_empty() && self.judge.network().allow.iter().any(by_rule))
    }

    /// The explicit proxy's expected header value for a password.
    pub(super) fn expected_authorization(user_and_password: &str) -> Digest {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(user_and_password);
        Digest::of(format!("Basic {encoded}").as_bytes())
    }
}

/// How a request came.
pub(super) struct Arrival {
    pub(super) scheme: Scheme,
    /// The host and port of the connection; none for requests to the explicit proxy itself.
    pub(super) bound: Option<Bound>,
    /// A fault of the connection that every request on it is answered with.
    pub(super) refused: Option<Stop>,
    pub(super) tls: Tls,
    pub(super) h2: bool,
    pub(super) notes: Option<Arc<Notes>>,
}

impl Arrival {
    /// The host for the log before the request was read.
    pub(super) fn host(&self) -> String {
        self.bound
            .as_ref()
            .map(|bound| spelled(&bound.host))
            .unwrap_or_default()
    }
}
