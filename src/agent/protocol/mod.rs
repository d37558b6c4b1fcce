//! One conversation in the words of three protocols.
//! It must never ask the provider to keep or run anything.

mod chat;
mod messages;
mod responses;

use serde_json::Value;

/// Most output tokens that one answer is asked for.
pub(super) const OUTPUT_TOKENS: u32 = 16_000;
/// Most items of one answer.
const ITEMS_MAX: usize = 200;
/// Longest text or arguments of one item in bytes.
const ITEM_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The protocol of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    /// OpenAI Responses.
    Responses,
    /// Chat Completions.
    Chat,
    /// Anthropic Messages.
    Messages,
}

/// One step of the conversation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// What we tell the model.
    User(String),
    /// What it says.
    Assistant(String),
    /// What only its provider can read, to be sent back as it came (reasoning).
    Opaque(Value),
    /// A tool that it calls.
    Call(Call),
    /// What the tool gave.
    Output(Output),
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// JSON as the model wrote it; perhaps not JSON at all.
    pub(super) arguments: String,
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) call: String,
    pub(super) text: String,
    pub(super) image: Option<Image>,
}

/// An image as the model is shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// `image/png` and the like.
    pub(super) kind: &'static str,
    pub(super) base64: String,
}

/// A tool as the model is told of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// The parameters' JSON Schema.
    pub(super) parameters: fn() -> Value,
}

/// All that one request says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) model: &'a str,
    pub(super) instructions: &'a str,
    pub(super) items: &'a [Item],
    pub(super) tools: &'a [Tool],
    /// Whether reasoning may be asked for in encrypted form; some models refuse the question.
    pub(super) encrypted: bool,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) items: Vec<Item>,
    /// Tokens of this request, input and output.
    pub(super) tokens: u64,
    /// The answer ended at the limit of output tokens.
    pub(super) cut: bool,
}

/// Why an answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    /// The stream ended, or an event is not what the protocol says; asking again may help.
    #[error("the model's answer is broken: {0}")]
    Broken(String),
    /// The provider says that it failed.
    #[error("the model's provider failed: {0}")]
    Failed(String),
}

impl Api {
    /// Where a question is posted.
    pub(super) fn url(self, base: &str) -> String {
        match self {
            Self::Responses => format!("{base}/responses"),
            Self::Chat => format!("{base}/chat/completions"),
            Self::Messages if base.ends_with("/v1") => format!("{base}/messages"),
            Self::Messages => format!("{base}/v1/messages"),
        }
    }

    /// The question's body.
    pub(super) fn body(self, question: &Question<'_>) -> Value {
        match self {
            Self::Responses => responses::body(question),
            Self::Chat => chat::body(question),
            Self::Messages => messages::body(question),
        }
    }

    /// A reader for the answer to one question.
    pub(super) fn collector(self) -> Box<dyn Collect + Send> {
        match self {
            Self::Responses => Box::<responses::Collector>::default(),
            Self::Chat => Box::<chat::Collector>::default(),
            Self::Messages => Box::<messages::Collector>::default(),
        }
    }
}

/// Builds an answer from events.
pub(super) trait Collect {
    /// Takes one event.
    fn event(&mut self, event: &Value) -> Result<(), AnswerError>;
    /// Takes an answer that came whole instead of as a stream.
    fn whole(&mut self, answer: &Value) -> Result<(), AnswerError>;
    /// Whether nothing more is needed.
    fn complete(&self) -> bool;
    /// The answer.
    fn finish(self: Box<Self>) -> Result<Answer, AnswerError>;
}

fn text<'a>(value: &'a Value, at: &str) -> &'a str {
    value
        .pointer(at)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn number(value: &Value, at: &str) -> u64 {
    value.pointer(at).and_then(Value::as_u64).unwrap_or(0)
}

fn broken(why: &str) -> AnswerError {
    AnswerError::Broken(why.to_owned())
}

/// The provider's own words on its failure, bounded.
fn failed(value: &Value) -> AnswerError {
    let message = text(value, "/message");
    let said = if message.is_empty() {
        value.to_string()
    } else {
        message.to_owned()
    };
    AnswerError::Failed(said.chars().take(500).collect())
}

fn bounded(items: usize, bytes: usize) -> Result<(), AnswerError> {
    if items > ITEMS_MAX || bytes > ITEM_BYTES_MAX {
        return Err(broken("it is longer than is read"));
    }
    Ok(())
}
