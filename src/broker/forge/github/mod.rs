//! GitHub by its API: the facts that the gate judges on, the proposal, the words on the thread, the approval's facts.
//! It must never decide who may do what, and never force, mark ready, approve or merge.

mod attachments;
mod base;
mod call;
mod commit;
pub mod error;
mod facts;
pub mod fleet;
mod guarded;
mod identity;
mod ledger;
pub mod owner;
mod propose;
pub mod prospect;
mod pulled;
mod queue;
pub mod release;
mod review;
pub mod rights;
pub mod settings;
mod shapes;
pub mod status;
pub mod talk;
mod thread;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use octocrab::Octocrab;

use crate::broker::surroundings::Surroundings;
use crate::names::{Repository, Secret};
use call::Caller;
use error::ForgeError;

pub use attachments::Job;
pub use identity::{Certainty, Identity};

/// Where the API is, and as whom it is asked.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// GITHUB_API_URL, for example `https://api.github.com` or `https://HOST/api/v3`.
    pub api_url: String,
    /// GITHUB_GRAPHQL_URL.
    pub graphql_url: String,
    /// GITHUB_REPOSITORY.
    pub repository: Repository,
    /// GITHUB_TOKEN.
    pub token: Secret,
}

/// One repository on GitHub, as the owner of one token sees it.
#[derive(Clone, Debug)]
pub struct GitHub {
    caller: Caller,
    repository: Repository,
    known: Arc<OnceLock<Identity>>,
    personal: bool,
}

impl Endpoint {
    /// Reads the place and the token out of what the runner says. None where there is no token.
    #[must_use]
    pub fn of(surroundings: &Surroundings, repository: &Repository) -> Option<Self> {
        let token = surroundings.token.clone()?;
        Some(Self::at(surroundings, repository, token))
    }

    /// Reads the place out of what the runner says; github.com where it says nothing.
    #[must_use]
    pub fn at(surroundings: &Surroundings, repository: &Repository, token: Secret) -> Self {
        let api_url = surroundings
            .api_url
            .clone()
            .unwrap_or_else(|| "https://api.github.com".to_owned());
        // GitHub Enterprise Server has GraphQL beside `/api/v3`, at `/api/graphql`.
        let graphql_url = surroundings.graphql_url.clone().unwrap_or_else(|| {
            let place = api_url.trim_end_matches('/');
            format!("{}/graphql", place.strip_suffix("/v3").unwrap_or(place))
        });
        Self {
            api_url,
            graphql_url,
            repository: repository.clone(),
            token,
        }
    }
}

impl GitHub {
    /// Prepares a client; nothing is sent yet. It must be called inside a tokio runtime, hence `async`.
    ///
    /// # Errors
    /// An address that is none, or no TLS roots.
    #[expect(
        clippy::unused_async,
        reason = "octocrab spawns a task when it is built, which needs a runtime"
    )]
    pub async fn connect(endpoint: Endpoint) -> Result<Self, ForgeError> {
        let graphql_url = endpoint.graphql_url.trim_end_matches('/');
        let (graph_base, graph_path) = graphql_url.rsplit_once('/').unwrap_or((graphql_url, ""));
        Ok(Self {
            personal: owner::is_personal(&endpoint.token),
            caller: Caller {
                rest: client(&endpoint.api_url, &endpoint.token)?,
                graph: client(graph_base, &endpoint.token)?,
                graph_path: format!("/{graph_path}"),
            },
            repository: endpoint.repository,
            known: Arc::default(),
        })
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// A path below the repository.
    fn path(&self, rest: &str) -> String {
        format!("/repos/{}/{rest}", self.repository)
    }
}

fn client(base: &str, token: &Secret) -> Result<Octocrab, ForgeError> {
    Octocrab::builder()
        .base_uri(base.trim_end_matches('/'))
        .map_err(ForgeError::Address)?
        .personal_token(token.expose().to_owned())
        .set_connect_timeout(Some(Duration::from_secs(10)))
        .set_read_timeout(Some(Duration::from_secs(call::REQUEST_SECONDS_MAX)))
        .set_write_timeout(Some(Duration::from_secs(call::REQUEST_SECONDS_MAX)))
        .build()
        .map_err(ForgeError::Address)
}

/// A text as part of a URL's path: all but letters, digits, `-._~` and the slash is percent-encoded.
fn encoded(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}
