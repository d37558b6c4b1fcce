//! A few GETs of our own before a run, judged by the same verdict as the agent's: what an index says of where its files lie,
//! what people attached to a thread.
//! It must never send a credential, follow a redirect that the verdict does not let through, nor read without an end.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::error::EgressError;
use super::log::Event;
use super::process::{self, Handle};
use super::setup::EgressSetup;

/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest time for all answers together.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(60);
/// Most bytes that are read of an answer of which the first ones are wanted.
const HEAD_BYTES_MAX: usize = 4 << 20;
/// Most bytes that go by of an answer of which the last ones are wanted.
const PASSED_BYTES_MAX: usize = 256 << 20;
/// Redirects that are followed.
const REDIRECTS_MAX: usize = 3;

/// What is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The URL.
    pub url: String,
    /// What kinds of answer can be read.
    pub accept: &'static str,
    /// How much of the answer is wanted.
    pub take: Take,
}

/// How much of an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Its first bytes. A redirect is no answer.
    Head,
    /// All of it: a longer one is no answer. Each redirect is judged as a request of its own.
    Whole {
        /// The most bytes.
        bytes_max: usize,
    },
    /// Its last bytes, after redirects.
    Tail {
        /// The most bytes.
        bytes_max: usize,
    },
}

/// No answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct NoAnswer {
    /// Stable and kebab-case: the verdict's own, or one of ours.
    pub code: String,
    /// One sentence. It holds no query, in which a signature may stand.
    pub sentence: String,
}

/// What came of it.
#[derive(Debug)]
pub struct Fetched {
    /// The answers, in the order of the questions.
    pub answers: Vec<Result<Vec<u8>, NoAnswer>>,
    /// Every request as it was judged, for the journal.
    pub requests: Vec<Event>,
}

/// Fetches each, with an egress process that ends afterwards. An answer that does not come is told in a sentence.
///
/// # Errors
/// The egress process cannot be started, or no client can be made.
pub fn fetch(
    setup: &EgressSetup,
    folder: &Path,
    wanted: &[Wanted],
) -> Result<Fetched, EgressError> {
    let handle = process::spawn(setup, folder)?;
    // A thread of its own: the caller may have a runtime already, or may have to stay without one.
    let answers = std::thread::scope(|scope| {
        scope
            .spawn(|| all(&handle, wanted))
            .join()
            .unwrap_or(Err(EgressError::Message("the client of the index failed")))
    });
    let requests = handle.finish()?;
    Ok(Fetched {
        answers: answers?,
        requests,
    })
}

fn all(handle: &Handle, wanted: &[Wanted]) -> Result<Vec<Result<Vec<u8>, NoAnswer>>, EgressError> {
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
        let end = Instant::now() + PATIENCE_IN_ALL;
        let mut answers = Vec::with_capacity(wanted.len());
        for one in wanted {
            let answer = tokio::time::timeout_at(end, get(&client, one)).await;
            answers.push(answer.unwrap_or_else(|_late| {
                no(
                    "no-time-left",
                    format!("{} was not waited for", bare(&one.url)),
                )
            }));
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

fn no<T>(code: &str, sentence: String) -> Result<T, NoAnswer> {
    Err(NoAnswer {
        code: code.to_owned(),
        sentence,
    })
}

/// The URL without its query.
fn bare(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

async fn get(client: &reqwest::Client, wanted: &Wanted) -> Result<Vec<u8>, NoAnswer> {
    let mut url = wanted.url.clone();
    for _ in 0..=REDIRECTS_MAX {
        let answer = ask(client, &url, wanted.accept).await?;
        let status = answer.status();
        let follows = status.is_redirection() && wanted.take != Take::Head;
        if !follows {
            if !status.is_success() {
                let status = status.as_u16();
                let sentence = format!("{} answered {status}", bare(&url));
                return no(&format!("status-{status}"), sentence);
            }
            return body(answer, wanted.take, &url).await;
        }
        let place = answer.headers().get("location");
        let next = place
            .and_then(|place| place.to_str().ok())
            .and_then(|place| url::Url::parse(&url).ok()?.join(place).ok());
        match next {
            Some(next) => url = next.to_string(),
            None => {
                return no(
                    "redirect-unreadable",
                    format!("{} leads nowhere", bare(&url)),
                );
            }
        }
    }
    no(
        "too-many-redirects",
        format!("{} leads on and on", bare(&wanted.url)),
    )
}

/// One request. What the egress says of it comes before what the other side answers.
async fn ask(
    client: &reqwest::Client,
    url: &str,
    accept: &str,
) -> Result<reqwest::Response, NoAnswer> {
    let request = client.get(url).header("accept", accept);
    let Ok(answer) = request.send().await else {
        return no("no-answer", format!("{} gave no answer", bare(url)));
    };
    for name in ["x-tagout-denied", "x-tagout-failed"] {
        if let Some(code) = answer.headers().get(name) {
            let code = code.to_str().unwrap_or("refused").to_owned();
            let sentence = format!("{} was refused ({code})", bare(url));
            return no(&code, sentence);
        }
    }
    Ok(answer)
}

async fn body(mut answer: reqwest::Response, take: Take, url: &str) -> Result<Vec<u8>, NoAnswer> {
    let mut body = Vec::new();
    let mut passed = 0_usize;
    loop {
        let piece = match (answer.chunk().await, take) {
            (Ok(Some(piece)), _) => piece,
            (Ok(None), _) | (Err(_), Take::Head) => return Ok(body),
            (Err(_), Take::Whole { .. } | Take::Tail { .. }) => {
                return no("no-answer", format!("{} broke off", bare(url)));
            }
        };
        passed += piece.len();
        body.extend_from_slice(&piece);
        match take {
            Take::Head if body.len() >= HEAD_BYTES_MAX => return Ok(body),
            Take::Head => {}
            Take::Whole { bytes_max } if body.len() > bytes_max => {
                return no("too-large", format!("{} is too large", bare(url)));
            }
            Take::Tail { .. } if passed > PASSED_BYTES_MAX => {
                return no("too-large", format!("{} is too large", bare(url)));
            }
            Take::Whole { .. } => {}
            Take::Tail { bytes_max } => {
                let over = body.len().saturating_sub(bytes_max);
                body.drain(..over);
            }
        }
    }
}
