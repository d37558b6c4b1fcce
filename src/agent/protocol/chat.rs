//! Chat Completions: `POST /v1/chat/completions`, streamed, as OpenAI, vLLM, llama.cpp, Ollama and gateways speak it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Answer, AnswerError, Call, Collect, Item, OUTPUT_TOKENS, Question, bounded, broken, failed,
    number, text,
};

pub(super) fn body(question: &Question<'_>) -> Value {
    let tools: Vec<Value> = question
        .tools
        .iter()
        .map(|tool| {
            json!({"type": "function", "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": (tool.parameters)(),
            }})
        })
        .collect();
    let mut messages = vec![json!({"role": "system", "content": question.instructions})];
    for item in question.items {
        put(&mut messages, item);
    }
    json!({
        "model": question.model,
        "messages": messages,
        "tools": tools,
        "tool_choice": "auto",
        "max_tokens": OUTPUT_TOKENS,
        "stream": true,
        "stream_options": {"include_usage": true},
    })
}

/// Calls belong to the assistant's message before them, so items cannot be mapped one to one.
fn put(messages: &mut Vec<Value>, item: &Item) {
    match item {
        Item::User(text) => messages.push(json!({"role": "user", "content": text})),
        Item::Assistant(text) => messages.push(json!({"role": "assistant", "content": text})),
        Item::Opaque(_) => {}
        Item::Call(call) => {
            let spoken = messages
                .last()
                .is_some_and(|message| message["role"] == "assistant");
            if !spoken {
                messages.push(json!({"role": "assistant", "content": ""}));
            }
            if let Some(message) = messages.last_mut() {
                if message.get("tool_calls").is_none() {
                    message["tool_calls"] = json!([]);
                }
                if let Some(calls) = message["tool_calls"].as_array_mut() {
                    calls.push(json!({
                        "id": call.id,
                        "type": "function",
                        "function": {"name": call.name, "arguments": call.arguments},
                    }));
                }
            }
        }
        Item::Output(output) => {
            messages
                .push(json!({"role": "tool", "tool_call_id": output.call, "content": output.text}));
            // A tool's message holds text only; the image follows as ours.
            if let Some(image) = &output.image {
                let url = format!("data:{};base64,{}", image.kind, image.base64);
                messages.push(json!({"role": "user", "content": [
                    {"type": "image_url", "image_url": {"url": url}},
                ]}));
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Collector {
    said: String,
    calls: BTreeMap<u64, Call>,
    tokens: u64,
    reason: Option<String>,
}

impl Collector {
    fn choice(&mut self, choice: &Value, message: &Value) -> Result<(), AnswerError> {
        self.said.push_str(text(message, "/content"));
        bounded(self.calls.len(), self.said.len())?;
        let calls = message.get("tool_calls").and_then(Value::as_array);
        for (at, piece) in calls.into_iter().flatten().enumerate() {
            let place = piece
                .get("index")
                .and_then(Value::as_u64)
                .unwrap_or_else(|| u64::try_from(at).unwrap_or(u64::MAX));
            let call = self.calls.entry(place).or_insert_with(|| Call {
                id: String::new(),
                name: String::new(),
                arguments: String::new(),
            });
            // The id comes once; some servers repeat it in every piece.
            if call.id.is_empty() {
                call.id.push_str(text(piece, "/id"));
            }
            if call.name.is_empty() {
                call.name.push_str(text(piece, "/function/name"));
            }
            match piece.pointer("/function/arguments") {
                Some(Value::String(part)) => call.arguments.push_str(part),
                // Some servers give the arguments as an object.
                Some(whole @ Value::Object(_)) => call.arguments.push_str(&whole.to_string()),
                _ => {}
            }
            bounded(0, call.arguments.len())?;
        }
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
            self.reason = Some(reason.to_owned());
        }
        Ok(())
    }

    fn common(&mut self, event: &Value) -> Result<(), AnswerError> {
        if let Some(error) = event.get("error").filter(|error| !error.is_null()) {
            return Err(failed(error));
        }
        let tokens =
            number(event, "/usage/prompt_tokens") + number(event, "/usage/completion_tokens");
        self.tokens = self.tokens.max(tokens);
        Ok(())
    }
}

impl Collect for Collector {
    fn event(&mut self, event: &Value) -> Result<(), AnswerError> {
        self.common(event)?;
        if let Some(choice) = event.pointer("/choices/0") {
            let delta = choice.get("delta").unwrap_or(&Value::Null);
            self.choice(choice, delta)?;
        }
        Ok(())
    }

    fn whole(&mut self, answer: &Value) -> Result<(), AnswerError> {
        self.common(answer)?;
        let choice = answer
            .pointer("/choices/0")
            .ok_or_else(|| broken("it has no choice"))?;
        let message = choice.get("message").unwrap_or(&Value::Null);
        self.choice(choice, message)
    }

    /// Usage comes after the last choice, so the end of the stream is awaited.
    fn complete(&self) -> bool {
        self.reason.is_some() && self.tokens > 0
    }

    fn finish(self: Box<Self>) -> Result<Answer, AnswerError> {
        let Some(reason) = self.reason else {
            return Err(broken("the stream ended before the answer did"));
        };
        let mut items = Vec::new();
        if !self.said.is_empty() {
            items.push(Item::Assistant(self.said));
        }
        for (place, mut call) in self.calls {
            if call.id.is_empty() {
                call.id = format!("call_{place}");
            }
            items.push(Item::Call(call));
        }
        Ok(Answer {
            items,
            tokens: self.tokens,
            cut: reason == "length",
        })
    }
}
