//! Reads from the model's answer what it cost, as it streams by.
//! It must never hold back or change a byte, nor keep more than a bounded part of the answer.

use serde_json::Value;

use crate::policy::model::ModelApi;

/// Longest event or answer in bytes that is looked into; in a longer one usage is not seen and the reservation is kept.
pub const LOOK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What one answer cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read, cached ones included.
    pub input: u64,
    /// Tokens written, reasoning included.
    pub output: u64,
}

impl Usage {
    /// Input and output together.
    #[must_use]
    pub fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

/// What a request costs of the budget in the end: nothing if the endpoint refused it (4xx; no provider bills those),
/// the usage seen, and else all that was reserved.
#[must_use]
pub fn settle(reserved: u64, status: u16, seen: Option<Usage>) -> u64 {
    match seen {
        Some(usage) => usage.total(),
        None if (400..500).contains(&status) => 0,
        None => reserved,
    }
}

/// Fed with the bytes of an answer's body, as they pass.
#[derive(Debug)]
pub struct Reader {
    api: ModelApi,
    stream: bool,
    line: Vec<u8>,
    lost: bool,
    seen: Option<Usage>,
}

impl Reader {
    /// A reader for one answer; `content_type` is the answer's.
    #[must_use]
    pub fn new(api: ModelApi, content_type: Option<&str>) -> Self {
        let stream = content_type.is_some_and(|text| {
            text.split(';')
                .next()
                .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
        });
        Self {
            api,
            stream,
            line: Vec::new(),
            lost: false,
            seen: None,
        }
    }

    /// Looks at the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        if !self.stream {
            self.keep(bytes);
            return;
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (head, tail) = bytes.split_at(end);
            self.keep(head);
            self.line_ends();
            bytes = tail.get(1..).unwrap_or_default();
        }
        self.keep(bytes);
    }

    /// The usage, after the last byte; none if the answer named none.
    #[must_use]
    pub fn finish(mut self) -> Option<Usage> {
        if self.stream {
            self.line_ends();
        } else if !self.lost
            && let Ok(answer) = serde_json::from_slice::<Value>(&self.line)
        {
            self.note(&answer);
        }
        // Some gateways write zeros where they did not count. No question and answer costs nothing.
        self.seen.filter(|usage| usage.total() > 0)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.lost || self.line.len() + bytes.len() > LOOK_BYTES_MAX {
            self.lost = true;
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    /// A line of an event stream; only `data:` lines matter, and providers put each event's JSON on one line.
    fn line_ends(&mut self) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.lost) {
            return;
        }
        // Most events are deltas without usage; parsing them all would cost more than forwarding.
        if let Some(data) = line.strip_prefix(b"data:")
            && contains(data, b"\"usage\"")
            && let Ok(event) = serde_json::from_slice::<Value>(data)
        {
            self.note(&event);
        }
    }

    fn note(&mut self, answer: &Value) {
        let holders: &[&str] = match self.api {
            ModelApi::Responses => &["/response/usage", "/usage"],
            ModelApi::Chat => &["/usage"],
            ModelApi::Messages => &["/message/usage", "/usage"],
        };
        for usage in holders.iter().filter_map(|at| answer.pointer(at)) {
            let sum = |names: &[&str]| {
                let mut found = None;
                for count in names.iter().filter_map(|name| usage.get(*name)?.as_u64()) {
                    found = Some(found.unwrap_or(0_u64).saturating_add(count));
                }
                found
            };
            let (input, output) = match self.api {
                ModelApi::Responses => (sum(&["input_tokens"]), sum(&["output_tokens"])),
                ModelApi::Chat => (sum(&["prompt_tokens"]), sum(&["completion_tokens"])),
                ModelApi::Messages => (
                    sum(&[
                        "input_tokens",
                        "cache_creation_input_tokens",
                        "cache_read_input_tokens",
                    ]),
                    sum(&["output_tokens"]),
                ),
            };
            if input.is_some() || output.is_some() {
                // Counts of a stream are cumulative, and a later event may name only one of them.
                let before = self.seen.unwrap_or_default();
                self.seen = Some(Usage {
                    input: input.unwrap_or(0).max(before.input),
                    output: output.unwrap_or(0).max(before.output),
                });
            }
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "text/event-stream; charset=utf-8";

    fn read(api: ModelApi, content_type: &str, body: &str, piece: usize) -> Option<Usage> {
        let mut reader = Reader::new(api, Some(content_type));
        for part in body.as_bytes().chunks(piece) {
            reader.feed(part);
        }
        reader.finish()
    }

    #[test]
    fn responses_stream_is_read_in_any_pieces() {
        let body = "event: response.created\ndata: {\"response\":{\"usage\":null}}\n\n\
                    event: response.completed\r\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":12,\"output_tokens\":3,\"total_tokens\":15}}}\r\n\r\n";
        for piece in [1, 2, 7, 1000] {
            let seen = read(ModelApi::Responses, STREAM, body, piece);
            assert_eq!(
                seen,
                Some(Usage {
                    input: 12,
                    output: 3
                })
            );
        }
    }

    #[test]
    fn chat_stream_ends_with_a_chunk_of_usage() {
        let body = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\"\"}}],\"usage\":null}\n\n\
                    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
        let seen = read(ModelApi::Chat, STREAM, body, 9).unwrap();
        assert_eq!(seen.total(), 7);
    }

    #[test]
    fn messages_counts_cached_input_and_the_last_output() {
        let body = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":90,\"output_tokens\":1}}}\n\n\
                    data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":25}}\n\n";
        let seen = read(ModelApi::Messages, STREAM, body, 4).unwrap();
        assert_eq!((seen.input, seen.output), (100, 25));
    }

    #[test]
    fn whole_answers_are_read() {
        let body = r#"{"usage":{"input_tokens":1,"output_tokens":2}}"#;
        let seen = read(ModelApi::Responses, "application/json", body, 3).unwrap();
        assert_eq!(seen.total(), 3);
    }

    #[test]
    fn a_usage_of_nothing_is_no_usage() {
        let body = r#"{"usage":{"input_tokens":0,"output_tokens":0}}"#;
        let seen = read(ModelApi::Responses, "application/json", body, 30);
        assert_eq!(seen, None);
        assert_eq!(settle(900, 200, seen), 900);
    }

    #[test]
    fn answer_without_usage_keeps_the_reservation() {
        let seen = read(ModelApi::Responses, STREAM, "data: {\"type\":\"x\"}\n\n", 5);
        assert_eq!(seen, None);
        assert_eq!(settle(500, 200, seen), 500);
        assert_eq!(settle(500, 502, seen), 500);
    }

    #[test]
    fn refused_request_costs_nothing() {
        assert_eq!(settle(500, 429, None), 0);
        assert_eq!(
            settle(
                500,
                200,
                Some(Usage {
                    input: 3,
                    output: 4
                })
            ),
            7
        );
    }

    #[test]
    fn endless_line_is_not_kept() {
        let mut reader = Reader::new(ModelApi::Responses, Some(STREAM));
        let part = vec![b'x'; 1024 * 1024];
        for _ in 0..20 {
            reader.feed(&part);
            assert!(reader.line.len() <= LOOK_BYTES_MAX);
        }
        reader
            .feed(b"\ndata: {\"response\":{\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n");
        assert_eq!(reader.finish().map(Usage::total), Some(2));
    }
}
