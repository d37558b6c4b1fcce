//! Anthropic Messages: `POST /v1/messages`, streamed (Anthropic's API reference).

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
            json!({
                "name": tool.name,
                "description": tool.description,
                "input_schema": (tool.parameters)(),
            })
        })
        .collect();
    let mut messages: Vec<Value> = Vec::new();
    for item in question.items {
        let (role, block) = block(item);
        // Neighbours of one role are one message: results must follow their calls in the very next one.
        match messages.last_mut() {
            Some(last) if last["role"] == role => {
                if let Some(content) = last["content"].as_array_mut() {
                    content.push(block);
                }
            }
            Some(_) | None => messages.push(json!({"role": role, "content": [block]})),
        }
    }
    json!({
        "model": question.model,
        "system": [{"type": "text", "text": question.instructions, "cache_control": {"type": "ephemeral"}}],
        "messages": messages,
        "tools": tools,
        "tool_choice": {"type": "auto"},
        "max_tokens": OUTPUT_TOKENS,
        "stream": true,
    })
}

fn block(item: &Item) -> (&'static str, Value) {
    match item {
        Item::User(text) => ("user", json!({"type": "text", "text": text})),
        Item::Assistant(text) => ("assistant", json!({"type": "text", "text": text})),
        Item::Opaque(value) => ("assistant", value.clone()),
        Item::Call(call) => {
            // The protocol wants an object; what the model wrote instead is in the result that it gets.
            let input = serde_json::from_str(&call.arguments)
                .ok()
                .filter(Value::is_object)
                .unwrap_or_else(|| json!({}));
            (
                "assistant",
                json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input}),
            )
        }
        Item::Output(output) => {
            let mut content = vec![json!({"type": "text", "text": output.text})];
            if let Some(image) = &output.image {
                content.push(json!({"type": "image", "source": {
                    "type": "base64", "media_type": image.kind, "data": image.base64,
                }}));
            }
            (
                "user",
                json!({"type": "tool_result", "tool_use_id": output.call, "content": content}),
            )
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Collector {
    blocks: BTreeMap<u64, Block>,
    input: u64,
    output: u64,
    reason: Option<String>,
    stopped: bool,
}

#[derive(Debug)]
enum Block {
    Text(String),
    Call(Call),
    Opaque(Value),
}

impl Collector {
    fn usage(&mut self, usage: Option<&Value>) {
        let Some(usage) = usage else { return };
        let input = number(usage, "/input_tokens")
            + number(usage, "/cache_read_input_tokens")
            + number(usage, "/cache_creation_input_tokens");
        self.input = self.input.max(input);
        self.output = self.output.max(number(usage, "/output_tokens"));
    }

    fn start(&mut self, place: u64, block: &Value) -> Result<(), AnswerError> {
        bounded(self.blocks.len(), 0)?;
        let begun = match text(block, "/type") {
            "text" => Block::Text(text(block, "/text").to_owned()),
            "tool_use" => {
                let whole = block
                    .get("input")
                    .filter(|input| input.as_object().is_some_and(|fields| !fields.is_empty()));
                Block::Call(Call {
                    id: text(block, "/id").to_owned(),
                    name: text(block, "/name").to_owned(),
                    arguments: whole.map(Value::to_string).unwrap_or_default(),
                })
            }
            "thinking" | "redacted_thinking" => Block::Opaque(block.clone()),
            _ => return Ok(()),
        };
        self.blocks.insert(place, begun);
        Ok(())
    }

    fn delta(&mut self, place: u64, delta: &Value) -> Result<(), AnswerError> {
        match self.blocks.get_mut(&place) {
            Some(Block::Text(said)) => {
                said.push_str(text(delta, "/text"));
                bounded(0, said.len())
            }
            Some(Block::Call(call)) => {
                call.arguments.push_str(text(delta, "/partial_json"));
                bounded(0, call.arguments.len())
            }
            Some(Block::Opaque(block)) => {
                for name in ["thinking", "signature"] {
                    if let Some(part) = delta.get(name).and_then(Value::as_str) {
                        let whole = format!("{}{part}", text(block, &format!("/{name}")));
                        bounded(0, whole.len())?;
                        block[name] = json!(whole);
                    }
                }
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Collect for Collector {
    fn event(&mut self, event: &Value) -> Result<(), AnswerError> {
        let place = number(event, "/index");
        let null = Value::Null;
        match text(event, "/type") {
            "message_start" => self.usage(event.pointer("/message/usage")),
            "content_block_start" => {
                return self.start(place, event.get("content_block").unwrap_or(&null));
            }
            "content_block_delta" => {
                return self.delta(place, event.get("delta").unwrap_or(&null));
            }
            "message_delta" => {
                self.usage(event.get("usage"));
                self.reason = Some(text(event, "/delta/stop_reason").to_owned());
            }
            "message_stop" => self.stopped = true,
            "error" => return Err(failed(event.get("error").unwrap_or(event))),
            _ => {}
        }
        Ok(())
    }

    fn whole(&mut self, answer: &Value) -> Result<(), AnswerError> {
        if text(answer, "/type") == "error" {
            return Err(failed(answer.get("error").unwrap_or(answer)));
        }
        self.usage(answer.get("usage"));
        let content = answer
            .get("content")
            .and_then(Value::as_array)
            .ok_or_else(|| broken("it has no content"))?;
        for (place, block) in (0..).zip(content) {
            self.start(place, block)?;
        }
        self.reason = Some(text(answer, "/stop_reason").to_owned());
        self.stopped = true;
        Ok(())
    }

    fn complete(&self) -> bool {
        self.stopped
    }

    fn finish(self: Box<Self>) -> Result<Answer, AnswerError> {
        let Some(reason) = self.reason.filter(|_| self.stopped) else {
            return Err(broken("the stream ended before the answer did"));
        };
        let items = self
            .blocks
            .into_values()
            .filter_map(|block| match block {
                Block::Text(said) => (!said.is_empty()).then_some(Item::Assistant(said)),
                Block::Call(call) => Some(Item::Call(call)),
                Block::Opaque(value) => Some(Item::Opaque(value)),
            })
            .collect();
        Ok(Answer {
            items,
            tokens: self.input + self.output,
            cut: reason == "max_tokens",
        })
    }
}
