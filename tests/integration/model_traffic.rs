//! What may be said to a model endpoint: bodies of the real SDKs pass, and each way to make the provider do more is turned away.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tagout::broker::egress::model_traffic::{self, Refusal, Reviewed};
use tagout::policy::model::{Model, ModelApi, Place};

const JSON: Option<&str> = Some("application/json");

fn model(api: ModelApi) -> Model {
    Model {
        api,
        name: "m1".to_owned(),
        base_url: "https://api.example.com/v1".to_owned(),
        key: "MODEL_KEY".to_owned(),
        at: Place {
            file: "tagout.yml".into(),
            line: 1,
            column: 1,
        },
    }
}

fn review(api: ModelApi, body: &Value) -> Result<Reviewed, Refusal> {
    model_traffic::review(&model(api), JSON, body.to_string().as_bytes())
}

fn forwarded(api: ModelApi, body: &Value) -> Value {
    let reviewed = review(api, body).expect("the body passes");
    serde_json::from_slice(reviewed.body()).expect("what goes on is JSON")
}

fn recorded(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/model");
    fs::read(folder.join(name)).expect("the recorded body is there")
}

fn responses() -> Value {
    json!({"model": "m1", "input": "Say yes."})
}

fn chat() -> Value {
    json!({"model": "m1", "messages": [{"role": "user", "content": "Say yes."}]})
}

fn messages() -> Value {
    json!({"model": "m1", "max_tokens": 100, "messages": [{"role": "user", "content": "Say yes."}]})
}

/// The body with one field set.
fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

#[test]
fn bodies_of_the_real_sdks_pass_with_their_words_kept() {
    for (name, api) in [
        ("responses-node.json", ModelApi::Responses),
        ("responses-node-plain.json", ModelApi::Responses),
        ("responses-python.json", ModelApi::Responses),
        ("chat-node.json", ModelApi::Chat),
        ("chat-python.json", ModelApi::Chat),
        ("messages-node.json", ModelApi::Messages),
        ("messages-python.json", ModelApi::Messages),
    ] {
        let sent = recorded(name);
        let reviewed = model_traffic::review(&model(api), JSON, &sent)
            .unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
        let before: Value = serde_json::from_slice(&sent).unwrap();
        let after: Value = serde_json::from_slice(reviewed.body()).unwrap();
        for field in ["tools", "system", "instructions", "reasoning", "thinking"] {
            assert_eq!(before.get(field), after.get(field), "{name}: {field}");
        }
        assert!(reviewed.tokens_reserved() > 0, "{name}");
        assert_eq!(reviewed.stream(), before["stream"] == true, "{name}");
    }
}

#[test]
fn ids_of_items_do_not_go_on_and_all_else_of_a_conversation_does() {
    let sent: Value = serde_json::from_slice(&recorded("responses-node.json")).unwrap();
    let after = forwarded(ModelApi::Responses, &sent);
    let mut wanted = sent["input"].clone();
    for item in wanted.as_array_mut().unwrap() {
        item.as_object_mut().unwrap().remove("id");
    }
    assert_eq!(after["input"], wanted);
}

#[test]
fn store_is_forced_off() {
    let after = forwarded(
        ModelApi::Responses,
        &with(responses(), "store", json!(true)),
    );
    assert_eq!(after["store"], false);
    assert_eq!(forwarded(ModelApi::Responses, &responses())["store"], false);
    let after = forwarded(ModelApi::Chat, &with(chat(), "store", json!(true)));
    assert!(
        after.get("store").is_none(),
        "servers that store nothing refuse the field"
    );
    let mut openai = model(ModelApi::Chat);
    openai.base_url = "https://api.openai.com/v1".to_owned();
    let reviewed = model_traffic::review(&openai, JSON, chat().to_string().as_bytes()).unwrap();
    let after: Value = serde_json::from_slice(reviewed.body()).unwrap();
    assert_eq!(after["store"], false);
}

#[test]
fn output_is_capped_and_reserved() {
    let max = model_traffic::OUTPUT_TOKENS_MAX;
    let default = model_traffic::OUTPUT_TOKENS_DEFAULT;
    for (api, body, field) in [
        (ModelApi::Responses, responses(), "max_output_tokens"),
        (ModelApi::Chat, chat(), "max_completion_tokens"),
        (ModelApi::Chat, chat(), "max_tokens"),
        (ModelApi::Messages, messages(), "max_tokens"),
    ] {
        let huge = with(body.clone(), field, json!(1_000_000_000));
        assert_eq!(forwarded(api, &huge)[field], max);
        let odd = with(body.clone(), field, json!(-1));
        assert_eq!(forwarded(api, &odd)[field], max);
        let small = with(body, field, json!(7));
        assert_eq!(forwarded(api, &small)[field], 7);
        assert!(review(api, &small).unwrap().tokens_reserved() < 200);
    }
    let after = forwarded(ModelApi::Responses, &responses());
    assert_eq!(after["max_output_tokens"], default);
    assert!(
        review(ModelApi::Responses, &responses())
            .unwrap()
            .tokens_reserved()
            > default
    );
}

#[test]
fn usage_is_forced_on_chat_streams() {
    for options in [json!(null), json!({}), json!({"include_usage": false})] {
        let body = with(
            with(chat(), "stream", json!(true)),
            "stream_options",
            options,
        );
        let after = forwarded(ModelApi::Chat, &body);
        assert_eq!(after["stream_options"]["include_usage"], true);
    }
    let plain = forwarded(ModelApi::Chat, &chat());
    assert!(plain.get("stream_options").is_none());
}

/// Protocol, code, and the field that brings the refusal about.
const REFUSED: &str = r#"responses model-tool-hosted {"tools": [{"type": "web_search", "external_web_access": true}]}
responses model-tool-hosted {"tools": [{"type": "web_search_preview"}]}
responses model-tool-hosted {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}
responses model-tool-hosted {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}
responses model-tool-hosted {"tools": [{"type": "mcp", "server_label": "x", "server_url": "https://evil.example"}]}
responses model-tool-hosted {"tools": [{"type": "image_generation"}]}
responses model-tool-hosted {"tools": [{"type": "computer_use_preview"}]}
responses model-tool-hosted {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}
responses model-tool-hosted {"tools": [{"type": "tool_search"}]}
responses model-tool-hosted {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]}
responses model-tool-hosted {"tools": [{"type": "function", "name": "f", "allowed_callers": ["programmatic"]}]}
responses model-tool-hosted {"tool_choice": {"type": "web_search"}}
responses model-background {"background": true}
responses model-stored-reference {"previous_response_id": "resp_1"}
responses model-stored-reference {"conversation": "conv_1"}
responses model-stored-reference {"prompt": {"id": "pmpt_1"}}
responses model-cost {"service_tier": "priority"}
responses model-cost {"reasoning": {"mode": "pro"}}
responses model-stored-reference {"input": [{"type": "item_reference", "id": "msg_1"}]}
responses model-stored-reference {"input": [{"id": "msg_1"}]}
responses model-stored-reference {"input": [{"type": null, "id": "msg_1"}]}
responses model-field-unknown {"input": [{"type": "mcp_call", "server_label": "x"}]}
responses model-remote-reference {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://evil.example/?q=secret"}]}]}
responses model-remote-reference {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/svg+xml;base64,AAAA"}]}]}
responses model-stored-reference {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]}]}
responses model-remote-reference {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://evil.example"}]}]}
responses model-remote-reference {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": "https://evil.example"}]}]}
responses model-remote-reference {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": "http://x"}]}]}
responses model-field-unknown {"something_new": 1}
responses model-field-wrong {"stream": "true"}
chat model-cost {"n": 2}
chat model-cost {"service_tier": "flex"}
chat model-cost {"modalities": ["text", "audio"]}
chat model-tool-hosted {"web_search_options": {}}
chat model-field-unknown {"plugins": [{"id": "web"}]}
chat model-field-unknown {"models": ["m2"]}
chat model-field-unknown {"chat_template": "{{ x }}"}
chat model-tool-hosted {"tools": [{"type": "web_search"}]}
chat model-remote-reference {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://evil.example"}}]}]}
chat model-stored-reference {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file_1"}}]}]}
chat model-stored-reference {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}
messages model-tool-hosted {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}
messages model-tool-hosted {"tools": [{"type": "code_execution_20250825", "name": "x"}]}
messages model-tool-hosted {"tools": [{"name": "x", "input_schema": {}, "allowed_callers": ["code_execution_20250825"]}]}
messages model-tool-hosted {"mcp_servers": [{"type": "url", "url": "https://evil.example", "name": "x"}]}
messages model-stored-reference {"container": "container_1"}
messages model-cost {"speed": "fast"}
messages model-name {"fallbacks": [{"model": "m2"}]}
messages model-remote-reference {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://evil.example"}}]}]}
messages model-stored-reference {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "file_1"}}]}]}
messages model-remote-reference {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]}]}]}
messages model-stored-reference {"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "file_1"}]}]}
messages model-field-unknown {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "x", "name": "web_search", "input": {}}]}]}"#;

#[test]
fn whatever_is_not_the_models_own_work_is_refused() {
    for line in REFUSED.lines() {
        let (api, rest) = line.split_once(' ').unwrap();
        let (code, field) = rest.split_once(' ').unwrap();
        let (api, base) = match api {
            "responses" => (ModelApi::Responses, responses()),
            "chat" => (ModelApi::Chat, chat()),
            _ => (ModelApi::Messages, messages()),
        };
        assert!(review(api, &base).is_ok(), "the control passes");
        let field: Value = serde_json::from_str(field).unwrap();
        let (name, value) = field.as_object().unwrap().iter().next().unwrap();
        let refusal = review(api, &with(base, name, value.clone())).expect_err(line);
        assert_eq!(refusal.code, code, "{line}: {}", refusal.sentence);
        assert!(refusal.sentence.contains(name), "{}", refusal.sentence);
    }
}

#[test]
fn only_the_policys_model_may_be_asked_for() {
    for name in [json!("m2"), json!("M1"), json!(null), json!(["m1"])] {
        let refusal = review(ModelApi::Responses, &with(responses(), "model", name)).unwrap_err();
        assert_eq!(refusal.code, "model-name");
    }
}

#[test]
fn body_that_two_parsers_could_read_differently_is_refused() {
    let model = model(ModelApi::Responses);
    for (content_type, body, code) in [
        (
            JSON,
            &br#"{"model":"m1","input":"x","store":false,"store":true}"#[..],
            "model-json",
        ),
        (
            JSON,
            br#"{"model":"m1","input":"x"}{"model":"m2"}"#,
            "model-json",
        ),
        (JSON, b"\xef\xbb\xbf{}", "model-json"),
        (JSON, b"", "model-json"),
        (
            Some("text/plain"),
            br#"{"model":"m1","input":"x"}"#,
            "model-content-type",
        ),
        (
            Some("multipart/form-data; boundary=x"),
            b"--x--",
            "model-content-type",
        ),
        (None, br#"{"model":"m1","input":"x"}"#, "model-content-type"),
    ] {
        let refusal = model_traffic::review(&model, content_type, body).unwrap_err();
        assert_eq!(refusal.code, code);
    }
    let charset = Some("Application/JSON; charset=utf-8");
    assert!(model_traffic::review(&model, charset, br#"{"model":"m1","input":"x"}"#).is_ok());
}

#[test]
fn large_bodies_and_images_are_bounded() {
    let huge = vec![b' '; model_traffic::BODY_BYTES_MAX + 1];
    let refusal = model_traffic::review(&model(ModelApi::Responses), JSON, &huge).unwrap_err();
    assert_eq!(refusal.code, "model-body-too-large");
    let image = format!("data:image/png;base64,{}", "A".repeat(11 * 1024 * 1024));
    let body = with(
        responses(),
        "input",
        json!([{"role": "user", "content": [{"type": "input_image", "image_url": image}]}]),
    );
    let refusal = review(ModelApi::Responses, &body).unwrap_err();
    assert_eq!(refusal.code, "model-data-too-large");
}

#[test]
fn a_refusal_cannot_carry_control_characters_or_much_text() {
    let body = json!({"model": "m1", "input": "x", "a\u{1b}[31m\n".repeat(1000): 1});
    let refusal = review(ModelApi::Responses, &body).unwrap_err();
    assert!(!refusal.sentence.contains(['\u{1b}', '\n']));
    assert!(refusal.sentence.len() < 1000);
}

#[test]
fn path_is_the_one_of_the_protocol() {
    let mut base = model(ModelApi::Responses);
    assert_eq!(model_traffic::path(&base), "/v1/responses");
    base.api = ModelApi::Chat;
    assert_eq!(model_traffic::path(&base), "/v1/chat/completions");
    base.api = ModelApi::Messages;
    assert_eq!(model_traffic::path(&base), "/v1/messages");
    base.base_url = "https://api.example.com".to_owned();
    assert_eq!(model_traffic::path(&base), "/v1/messages");
    base.api = ModelApi::Chat;
    assert_eq!(model_traffic::path(&base), "/chat/completions");
}

#[test]
fn headers_that_choose_an_account_or_a_hosted_feature_do_not_go_on() {
    let kept = |name, value| model_traffic::kept_header(name, value);
    assert_eq!(
        kept("accept", "text/event-stream").as_deref(),
        Some("text/event-stream")
    );
    for name in [
        "authorization",
        "x-api-key",
        "cookie",
        "openai-organization",
        "openai-project",
        "openai-beta",
        "x-codex-turn-metadata",
    ] {
        assert_eq!(kept(name, "x"), None, "{name}");
    }
    assert_eq!(
        kept(
            "anthropic-beta",
            "mcp-client-2025-04-04, effort-2025-11-24,files-api-2025-04-14"
        )
        .as_deref(),
        Some("effort-2025-11-24")
    );
    assert_eq!(kept("anthropic-beta", "code-execution-2025-05-22"), None);
}
