//! Asks the model over HTTP, reads the stream, and tries again where that can help.
//! It must never read without a bound, follow a redirect, or retry what the policy refused.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::protocol::{Answer, AnswerError, Api, Question};
use super::settings::Settings;
use super::sse::Parser;
use super::{AgentError, cut};
use crate::console;

/// How often one question is asked at most.
const ATTEMPTS_MAX: u32 = 6;
/// The first wait before asking again; each further one is twice as long.
const BACK_OFF_FIRST: Duration = Duration::from_millis(500);
/// The longest wait, also where the provider asks for more.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// Longest time without a byte from the model.
const SILENCE_MAX: Duration = Duration::from_secs(300);
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// How long the end of the stream is awaited after the answer is whole: whoever counts what it cost reads to the end.
const END_MAX: Duration = Duration::from_secs(2);
/// Largest answer in bytes.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest error body in bytes that is shown.
const ERROR_BYTES_MAX: usize = 2000;

/// The way to one model.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    api: Api,
    url: String,
}

/// Why one attempt failed.
enum Failed {
    /// Asking again may help, after this wait if the provider named one.
    Passing(String, Option<Duration>),
    /// It will not.
    Lasting(AgentError),
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Result<Self, AgentError> {
        // A second call finds the first one's provider in place, and that is the same one.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let setup = |error: &dyn std::fmt::Display| AgentError::Setup(error.to_string());
        let mut headers = HeaderMap::new();
        let (name, value) = match settings.api {
            Api::Responses | Api::Chat => ("authorization", format!("Bearer {}", settings.key)),
            Api::Messages => ("x-api-key", settings.key.clone()),
        };
        let value = HeaderValue::from_str(&value).map_err(|error| setup(&error))?;
        headers.insert(HeaderName::from_static(name), value);
        if settings.api == Api::Messages {
            headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        }
        headers.insert("accept", HeaderValue::from_static("text/event-stream"));
        let http = reqwest::Client::builder()
            .user_agent(concat!("tagout-agent/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            .build()
            .map_err(|error| setup(&error))?;
        Ok(Self {
            http,
            api: settings.api,
            url: settings.api.url(&settings.base_url),
        })
    }

    /// Asks until there is a usable answer or no sense in asking.
    pub(super) async fn ask(&self, question: &Question<'_>) -> Result<Answer, AgentError> {
        let body =
            serde_json::to_vec(&self.api.body(question)).expect("a JSON value always serialises");
        let mut wait = BACK_OFF_FIRST;
        let mut last = String::new();
        for attempt in 1..=ATTEMPTS_MAX {
            match self.attempt(body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Lasting(error)) => return Err(error),
                Err(Failed::Passing(why, asked)) => {
                    last = why;
                    if attempt < ATTEMPTS_MAX {
                        let pause = asked.unwrap_or(wait).min(BACK_OFF_MAX);
                        console::notice(&format!(
                            "agent: {last}; asking again in {:.1} s",
                            pause.as_secs_f32()
                        ));
                        tokio::time::sleep(pause).await;
                        wait = (wait * 2).min(BACK_OFF_MAX);
                    }
                }
            }
        }
        Err(AgentError::Unanswered {
            attempts: ATTEMPTS_MAX,
            last,
        })
    }

    async fn attempt(&self, body: Vec<u8>) -> Result<Answer, Failed> {
        let sent = self
            .http
            .post(&self.url)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await;
        let response = sent.map_err(|error| Failed::Passing(chain(&error), None))?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        let stream = response
            .headers()
            .get("content-type")
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("text/event-stream"));
        self.read(response, stream)
            .await
            .map_err(|error| match error {
                AnswerError::Broken(_) | AnswerError::Failed(_) => {
                    Failed::Passing(error.to_string(), None)
                }
            })
    }

    async fn read(&self, mut response: Response, stream: bool) -> Result<Answer, AnswerError> {
        let mut collector = self.api.collector();
        let mut parser = Parser::default();
        let mut whole = Vec::new();
        let mut left = ANSWER_BYTES_MAX;
        while !collector.complete() {
            let chunk = response
                .chunk()
                .await
                .map_err(|error| AnswerError::Broken(chain(&error)))?;
            let Some(chunk) = chunk else { break };
            left = left
                .checked_sub(chunk.len())
                .ok_or_else(|| AnswerError::Broken("it is longer than is read".to_owned()))?;
            if !stream {
                whole.extend_from_slice(&chunk);
                continue;
            }
            let events = parser
                .feed(&chunk)
                .map_err(|error| AnswerError::Broken(error.to_string()))?;
            for event in events {
                if event == b"[DONE]" {
                    return collector.finish();
                }
                collector.event(&json(&event)?)?;
            }
        }
        if !stream {
            collector.whole(&json(&whole)?)?;
        }
        let to_the_end = async { while let Ok(Some(_)) = response.chunk().await {} };
        tokio::time::timeout(END_MAX, to_the_end).await.ok();
        collector.finish()
    }
}

fn json(bytes: &[u8]) -> Result<Value, AnswerError> {
    serde_json::from_slice(bytes)
        .map_err(|error| AnswerError::Broken(format!("it is not JSON: {error}")))
}

/// An error with its causes: reqwest's own text says only that sending failed.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// What an answer other than 2xx means.
async fn refused(mut response: Response) -> Failed {
    let status = response.status();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let denied = header("x-tagout-denied");
    let asked = header("retry-after")
        .and_then(|seconds| seconds.trim().parse().ok())
        .map(Duration::from_secs);
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > ERROR_BYTES_MAX {
            break;
        }
    }
    let body = String::from_utf8_lossy(&body);
    let shown = cut(body.trim(), ERROR_BYTES_MAX).to_owned();
    if let Some(code) = denied {
        return Failed::Lasting(if code.contains("tokens") {
            AgentError::Tokens
        } else {
            AgentError::Denied {
                code,
                sentence: shown,
            }
        });
    }
    let passing = status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT
        );
    if passing {
        Failed::Passing(
            format!("the model answered {status}: {}", cut(&shown, 300)),
            asked,
        )
    } else {
        Failed::Lasting(AgentError::Refused {
            status: status.as_u16(),
            body: shown,
        })
    }
}
