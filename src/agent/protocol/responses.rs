//! OpenAI Responses: `POST /v1/responses`, streamed (API reference of OpenAI).

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
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": (tool.parameters)(),
                "strict": false,
            })
        })
        .collect();
    let mut body = json!({
        "model": question.model,
        "instructions": question.instructions,
        "input": question.items.iter().map(item).collect::<Vec<_>>(),
        "tools": tools,
        "tool_choice": "auto",
        "parallel_tool_calls": true,
        "max_output_tokens": OUTPUT_TOKENS,
        "store": false,
        "stream": true,
    });
    if question.encrypted {
        body["include"] = json!(["reasoning.encrypted_content"]);
    }
    body
}

fn item(item: &Item) -> Value {
    match item {
        Item::User(text) => json!({
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": text}],
        }),
        Item::Assistant(text) => json!({
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        }),
        Item::Opaque(value) => value.clone(),
        Item::Call(call) => json!({
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }),
        Item::Output(output) => {
            let shown = match &output.image {
                None => json!(output.text),
                Some(image) => json!([
                    {"type": "input_text", "text": output.text},
                    {"type": "input_image", "image_url": format!("data:{};base64,{}", image.kind, image.base64)},
                ]),
            };
            json!({"type": "function_call_output", "call_id": output.call, "output": shown})
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Collector {
    items: Vec<Item>,
    answer: Option<Answer>,
}

impl Collect for Collector {
    fn event(&mut self, event: &Value) -> Result<(), AnswerError> {
        match text(event, "/type") {
            "response.output_item.done" => {
                if let Some(item) = event.get("item") {
                    self.items.extend(read(item)?);
                }
                bounded(self.items.len(), 0)
            }
            "response.completed" | "response.incomplete" => {
                let response = event
                    .get("response")
                    .ok_or_else(|| broken("an event has no response"))?;
                self.whole(response)
            }
            "response.failed" => Err(failed(
                event.pointer("/response/error").unwrap_or(&Value::Null),
            )),
            "error" => Err(failed(event.get("error").unwrap_or(event))),
            // Deltas and progress; what they add up to comes again when the item is done.
            _ => Ok(()),
        }
    }

    fn whole(&mut self, response: &Value) -> Result<(), AnswerError> {
        if text(response, "/status") == "failed" {
            return Err(failed(response.get("error").unwrap_or(&Value::Null)));
        }
        let mut items = std::mem::take(&mut self.items);
        if items.is_empty()
            && let Some(output) = response.get("output").and_then(Value::as_array)
        {
            bounded(output.len(), 0)?;
            for item in output {
                items.extend(read(item)?);
            }
        }
        self.answer = Some(Answer {
            items,
            tokens: number(response, "/usage/input_tokens")
                + number(response, "/usage/output_tokens"),
            cut: text(response, "/incomplete_details/reason") == "max_output_tokens",
        });
        Ok(())
    }

    fn complete(&self) -> bool {
        self.answer.is_some()
    }

    fn finish(self: Box<Self>) -> Result<Answer, AnswerError> {
        self.answer
            .ok_or_else(|| broken("the stream ended before the answer did"))
    }
}

fn read(item: &Value) -> Result<Option<Item>, AnswerError> {
    Ok(match text(item, "/type") {
        "message" => {
            let mut said = String::new();
            for part in item
                .get("content")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                said.push_str(text(part, "/text"));
                said.push_str(text(part, "/refusal"));
            }
            bounded(0, said.len())?;
            (!said.is_empty()).then_some(Item::Assistant(said))
        }
        "function_call" => {
            let call = Call {
                id: text(item, "/call_id").to_owned(),
                name: text(item, "/name").to_owned(),
                arguments: text(item, "/arguments").to_owned(),
            };
            bounded(0, call.arguments.len())?;
            if call.id.is_empty() {
                return Err(broken("a call has no id"));
            }
            Some(Item::Call(call))
        }
        // Without its encrypted content it would only be a reference to something stored.
        "reasoning" if item.get("encrypted_content").is_some_and(Value::is_string) => {
            let mut kept = item.clone();
            if let Some(fields) = kept.as_object_mut() {
                fields.retain(|name, _| {
                    matches!(
                        name.as_str(),
                        "type" | "summary" | "content" | "encrypted_content"
                    )
                });
            }
            Some(Item::Opaque(kept))
        }
        _ => None,
    })
}
