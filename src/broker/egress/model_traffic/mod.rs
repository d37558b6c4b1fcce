//! The model endpoint is a second internet; this is its verdict: which request body may go to it, in which words.
//! Pure. It must never let through a field that it does not know, nor bytes as the agent wrote them.

pub mod json;
pub mod usage;

use crate::policy::model::{Model, ModelApi};

/// Largest request body in bytes; a longer one is refused unread.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most output tokens of one answer; a larger limit is lowered to it.
pub const OUTPUT_TOKENS_MAX: u64 = 32_000;
/// The limit that is put in where the request names none.
pub const OUTPUT_TOKENS_DEFAULT: u64 = 16_000;

/// A request body that may be forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    body: Vec<u8>,
    tokens: u64,
    stream: bool,
    dropped: Vec<String>,
}

impl Reviewed {
    /// The bytes to forward, serialised anew from allowlisted fields; send them as `application/json`.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Gives the bytes away.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Tokens to reserve before forwarding: the input's estimate and the output's limit.
    #[must_use]
    pub fn tokens_reserved(&self) -> u64 {
        self.tokens
    }

    /// Whether the answer will be a stream of events.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.stream
    }

    /// Fields that were left out, for the log.
    #[must_use]
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }
}

/// Why a request to the model is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code, for example `model-tool-hosted`.
    pub code: &'static str,
    /// One sentence for the reader; names the field.
    pub sentence: String,
}

impl Refusal {
    fn new(code: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            code,
            sentence: sentence.into(),
        }
    }
}

/// Judges one request body for the model endpoint.
///
/// # Errors
/// A refusal with a stable code where the body holds anything beyond one bounded question with local tools.
pub fn review(model: &Model, content_type: Option<&str>, body: &[u8]) -> Result<Reviewed, Refusal> {
    let essence = content_type.map(|text| text.split(';').next().unwrap_or(text).trim());
    if !essence.is_some_and(|text| text.eq_ignore_ascii_case("application/json")) {
        return Err(Refusal::new(
            "model-content-type",
            "the content type must be application/json",
        ));
    }
    if body.len() > BODY_BYTES_MAX {
        return Err(Refusal::new(
            "model-body-too-large",
            format!("the body has more than {BODY_BYTES_MAX} bytes"),
        ));
    }
    let read = json::Json::read(body).map_err(|error| {
        Refusal::new(
            "model-json",
            format!("the body is not strict JSON: {error}"),
        )
    })?;
    if read.get("model").and_then(json::Json::text) != Some(&model.name) {
        return Err(Refusal::new(
            "model-name",
            format!("only the model {} may be asked for", model.name),
        ));
    }
    Err(Refusal::new(
        "model-unknown-field",
        "requests to the model are not reviewed yet",
    ))
}

/// The one path to which a request for this model may be POSTed. The query is not part of it and is not forwarded.
#[must_use]
pub fn path(model: &Model) -> String {
    let base = model.base_url.trim_end_matches('/');
    let prefix = base
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'))
        .map_or(String::new(), |(_, path)| format!("/{path}"));
    match model.api {
        ModelApi::Responses => format!("{prefix}/responses"),
        ModelApi::Chat => format!("{prefix}/chat/completions"),
        ModelApi::Messages if prefix.ends_with("/v1") => format!("{prefix}/messages"),
        ModelApi::Messages => format!("{prefix}/v1/messages"),
    }
}

/// The header that carries the key: its name, and what stands before the key in its value.
#[must_use]
pub fn key_header(api: ModelApi) -> (&'static str, &'static str) {
    match api {
        ModelApi::Responses | ModelApi::Chat => ("authorization", "Bearer "),
        ModelApi::Messages => ("x-api-key", ""),
    }
}

/// Whether a header of the agent (lower-case name) goes on to the model. All others are removed: credentials, cookies,
/// organisation and project choosers, and switches of hosted features (`openai-beta`, `anthropic-beta`).
/// The caller sets `content-type`, `content-length`, `host`, the key, and `accept-encoding: identity`, so that usage can be read.
#[must_use]
pub fn keeps_header(name: &str) -> bool {
    matches!(name, "accept" | "user-agent" | "anthropic-version")
}
