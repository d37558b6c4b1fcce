//! A few GETs of our own before a run, judged by the same verdict as the agent's: what an index says of where its files lie.
//! It must never follow a redirect, send a credential, or believe more of an answer than its first bytes.

use std::path::Path;
use std::time::Duration;

use super::error::EgressError;
use super::process::{self, Handle};
use super::setup::EgressSetup;

/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes that are read of one.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The URL.
    pub url: String,
    /// What kinds of answer can be read.
    pub accept: &'static str,
}

/// Fetches each, with an egress process that ends afterwards. An answer that does not come is told in a sentence.
///
/// # Errors
/// The egress process cannot be started, or no client can be made.
pub fn fetch(
    setup: &EgressSetup,
    folder: &Path,
    wanted: &[Wanted],
) -> Result<Vec<Result<Vec<u8>, String>>, EgressError> {
    let handle = process::spawn(setup, folder)?;
    // A thread of its own: the caller may have a runtime already, or may have to stay without one.
    let answers = std::thread::scope(|scope| {
        scope
            .spawn(|| all(&handle, wanted))
            .join()
            .unwrap_or(Err(EgressError::Message("the client of the index failed")))
    });
    handle.finish()?;
    answers
}

fn all(handle: &Handle, wanted: &[Wanted]) -> Result<Vec<Result<Vec<u8>, String>>, EgressError> {
    // It is installed already where another client was made before.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(EgressError::Start)?;
    let client = client(handle).map_err(|_no_cause_worth_telling| {
        EgressError::Message("no client for the index can be made")
    })?;
    Ok(runtime.block_on(async {
        let mut answers = Vec::with_capacity(wanted.len());
        for one in wanted {
            answers.push(get(&client, one).await);
        }
        answers
    }))
}

fn client(handle: &Handle) -> Result<reqwest::Client, reqwest::Error> {
    let ca = reqwest::Certificate::from_pem(handle.ca().as_bytes())?;
    reqwest::Client::builder()
        .proxy(reqwest::Proxy::all(handle.proxy().unwrap_or_default())?)
        .tls_certs_only([ca])
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .user_agent(concat!("tagout/", env!("CARGO_PKG_VERSION")))
        .build()
}

async fn get(client: &reqwest::Client, wanted: &Wanted) -> Result<Vec<u8>, String> {
    let request = client.get(&wanted.url).header("accept", wanted.accept);
    let mut answer = request
        .send()
        .await
        .map_err(|_told_by_the_url| format!("{} gave no answer", wanted.url))?;
    let status = answer.status();
    if let Some(code) = answer.headers().get("x-tagout-denied") {
        let code = code.to_str().unwrap_or_default();
        return Err(format!("{} was refused ({code})", wanted.url));
    }
    if !status.is_success() {
        return Err(format!("{} answered {}", wanted.url, status.as_u16()));
    }
    let mut body = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() >= ANSWER_BYTES_MAX {
            break;
        }
    }
    Ok(body)
}
