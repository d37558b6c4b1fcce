//! The model endpoint is a second internet; this is its verdict: which request body may go to it, in which words.
//! Pure. It must never let through a field that it does not know, nor bytes as the agent wrote them.

mod chat;
pub mod json;
mod messages;
mod responses;
pub mod usage;
mod walk;

use json::Json;

use crate::policy::model::{Model, ModelApi};

/// Largest request body in bytes; a longer one is refused unread.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most output tokens of one answer; a larger limit is lowered to it.
pub const OUTPUT_TOKENS_MAX: u64 = 32_000;
/// The limit that is put in where the request names none.
pub const OUTPUT_TOKENS_DEFAULT: u64 = 16_000;

/// Bytes of JSON text for one token, as the reservation counts them; real texts have four and more.
const TEXT_BYTES_PER_TOKEN: u64 = 3;

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
    let read = Json::read(body).map_err(|error| {
        Refusal::new(
            "model-json",
            format!("the body is not strict JSON: {error}"),
        )
    })?;
    if read.get("model").and_then(Json::text) != Some(&model.name) {
        return Err(Refusal::new(
            "model-name",
            format!("only the model {} may be asked for", model.name),
        ));
    }
    let mut walk = walk::Walk::default();
    let table = match model.api {
        ModelApi::Responses => responses::REQUEST,
        ModelApi::Chat => chat::REQUEST,
        ModelApi::Messages => messages::REQUEST,
    };
    let kept = walk::fields(read, &mut walk, table).map_err(walk::Fault::refusal)?;
    Ok(finish(model, kept, &walk))
}

/// Puts in what is not the agent's to choose, and counts what the request may cost.
fn finish(model: &Model, mut fields: Vec<(String, Json)>, walk: &walk::Walk) -> Reviewed {
    // A null asks for the default, and some servers refuse it.
    fields.retain(|(_, value)| !matches!(value, Json::Null));
    let stream = fields
        .iter()
        .any(|(name, value)| name == "stream" && matches!(value, Json::Bool(true)));
    let output = cap_output(model.api, &mut fields);
    match model.api {
        ModelApi::Responses => set(&mut fields, "store", Json::Bool(false)),
        ModelApi::Chat => {
            if stream {
                include_usage(&mut fields);
            }
            if stores_chats(&model.base_url) {
                set(&mut fields, "store", Json::Bool(false));
            }
        }
        ModelApi::Messages => {}
    }
    let body = Json::Object(fields).write();
    let (data_tokens, data_bytes) = walk.data();
    let text_bytes = u64::try_from(body.len())
        .unwrap_or(u64::MAX)
        .saturating_sub(data_bytes);
    Reviewed {
        tokens: text_bytes.div_ceil(TEXT_BYTES_PER_TOKEN) + data_tokens + output,
        stream,
        dropped: walk.dropped(),
        body,
    }
}

fn set(fields: &mut Vec<(String, Json)>, name: &str, value: Json) {
    match fields.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value,
        None => fields.push((name.to_owned(), value)),
    }
}

/// Lowers the limit of output tokens to the cap, or puts one in, and gives it back.
fn cap_output(api: ModelApi, fields: &mut Vec<(String, Json)>) -> u64 {
    let names: &[&str] = match api {
        ModelApi::Responses => &["max_output_tokens"],
        // The first is put in where neither is named: newer servers refuse the second.
        ModelApi::Chat => &["max_completion_tokens", "max_tokens"],
        ModelApi::Messages => &["max_tokens"],
    };
    let mut limit = None;
    for (name, value) in fields.iter_mut() {
        if names.contains(&name.as_str()) {
            let asked = value.whole().unwrap_or(OUTPUT_TOKENS_MAX);
            let capped = asked.min(OUTPUT_TOKENS_MAX);
            *value = Json::Number(capped.into());
            limit = Some(capped.max(limit.unwrap_or(0)));
        }
    }
    if limit.is_none()
        && let Some(name) = names.first()
    {
        set(fields, name, Json::Number(OUTPUT_TOKENS_DEFAULT.into()));
    }
    limit.unwrap_or(OUTPUT_TOKENS_DEFAULT)
}

fn include_usage(fields: &mut Vec<(String, Json)>) {
    let mut options = match fields.iter().find(|(name, _)| name == "stream_options") {
        Some((_, Json::Object(options))) => options.clone(),
        Some(_) | None => Vec::new(),
    };
    set(&mut options, "include_usage", Json::Bool(true));
    set(fields, "stream_options", Json::Object(options));
}

/// Whether this endpoint keeps chats unless it is told not to. Other servers refuse the field that tells them.
fn stores_chats(base_url: &str) -> bool {
    let host = base_url
        .split_once("://")
        .map_or(base_url, |(_, rest)| rest)
        .split(['/', ':'])
        .next()
        .unwrap_or_default();
    [".openai.com", ".openai.azure.com"]
        .iter()
        .any(|end| host.ends_with(end))
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

/// The value of a header of the agent (lower-case name) as it goes on to the model; none if it does not. Removed are
/// credentials, cookies, choosers of an organisation or project, and switches of hosted features.
/// The caller sets `content-type`, `content-length`, `host`, the key, and `accept-encoding: identity`, so that usage can be read.
#[must_use]
pub fn kept_header(name: &str, value: &str) -> Option<String> {
    match name {
        "accept" | "user-agent" | "anthropic-version" => Some(value.to_owned()),
        "anthropic-beta" => {
            let kept: Vec<&str> = value
                .split(',')
                .map(str::trim)
                .filter(|beta| BETAS.iter().any(|known| beta.starts_with(known)))
                .collect();
            (!kept.is_empty()).then(|| kept.join(","))
        }
        _ => None,
    }
}

/// Betas of Anthropic that change how a plain question is read or answered, and let the provider do nothing else.
const BETAS: [&str; 12] = [
    "claude-code-",
    "context-management-",
    "effort-",
    "fine-grained-tool-streaming-",
    "interleaved-thinking-",
    "mid-conversation-system-",
    "output-128k-",
    "prompt-caching-",
    "redact-thinking-",
    "structured-outputs-",
    "thinking-token-count-",
    "token-efficient-tools-",
];
