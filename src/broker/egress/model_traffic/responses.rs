//! What a request to OpenAI Responses may hold (`POST /v1/responses`, API reference of OpenAI).
//! It must never let the provider act on anything but the model: no hosted tool, no address, nothing stored.

use super::json::Json;
use super::walk::{
    COST, Check, Fault, Field, HOSTED, REMOTE, REMOTE_WHY, STORED, STORED_WHY, Table, Walk, data,
    data_file, data_image, flag, kind, list, object, scalar, text, unknown_kind,
};
use Field::{Drop, Keep, Refuse};

const HOSTED_WHY: &str = "only tools that run here are allowed: function and custom";

pub(super) const REQUEST: Table = &[
    ("model", Keep(scalar)),
    ("input", Keep(input)),
    ("instructions", Keep(text)),
    ("tools", Keep(tools)),
    ("tool_choice", Keep(tool_choice)),
    ("parallel_tool_calls", Keep(scalar)),
    ("max_tool_calls", Keep(scalar)),
    ("max_output_tokens", Keep(scalar)),
    ("reasoning", Keep(reasoning)),
    ("text", Keep(text_format)),
    ("include", Keep(include)),
    ("stream", Keep(flag)),
    ("stream_options", Keep(stream_options)),
    ("temperature", Keep(scalar)),
    ("top_p", Keep(scalar)),
    ("top_logprobs", Keep(scalar)),
    ("truncation", Keep(scalar)),
    ("prompt_cache_key", Keep(scalar)),
    ("store", Drop),
    ("metadata", Drop),
    ("client_metadata", Drop),
    ("user", Drop),
    ("safety_identifier", Drop),
    ("prompt_cache_options", Drop),
    ("prompt_cache_retention", Drop),
    (
        "background",
        Refuse("model-background", "the answer must come in this request"),
    ),
    ("previous_response_id", Refuse(STORED, STORED_WHY)),
    ("conversation", Refuse(STORED, STORED_WHY)),
    ("prompt", Refuse(STORED, STORED_WHY)),
    (
        "context_management",
        Refuse(COST, "compaction by the provider is not used"),
    ),
    ("service_tier", Keep(tier)),
];

/// Becomes null, which is left out at the end: the default tier is what a plain request gets.
fn tier(value: Json, _: &mut Walk) -> Result<Json, Fault> {
    super::walk::plain_tier(&value)?;
    Ok(Json::Null)
}

fn stream_options(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    if matches!(value, Json::Null) {
        return Ok(value);
    }
    const TABLE: Table = &[
        ("include_obfuscation", Keep(scalar)),
        ("starting_after", Refuse(STORED, STORED_WHY)),
    ];
    object(value, walk, TABLE)
}

fn include(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    let Json::List(names) = value else {
        return scalar(value, walk);
    };
    let before = names.len();
    let kept: Vec<Json> = names
        .into_iter()
        .filter(|name| {
            matches!(
                name.text(),
                Some("reasoning.encrypted_content" | "message.output_text.logprobs")
            )
        })
        .collect();
    if kept.len() < before {
        walk.drops("include");
    }
    Ok(Json::List(kept))
}

fn reasoning(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    if matches!(value, Json::Null) {
        return Ok(value);
    }
    const TABLE: Table = &[
        ("effort", Keep(scalar)),
        ("summary", Keep(scalar)),
        ("generate_summary", Keep(scalar)),
        ("context", Drop),
        ("mode", Keep(mode)),
    ];
    object(value, walk, TABLE)
}

fn mode(value: Json, _: &mut Walk) -> Result<Json, Fault> {
    super::walk::plain_tier(&value)?;
    Ok(value)
}

fn text_format(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    if matches!(value, Json::Null) {
        return Ok(value);
    }
    object(
        value,
        walk,
        &[("format", Keep(format)), ("verbosity", Keep(scalar))],
    )
}

fn format(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    const TABLE: Table = &[
        ("type", Keep(scalar)),
        ("name", Keep(scalar)),
        ("description", Keep(text)),
        ("schema", Keep(data)),
        ("strict", Keep(scalar)),
    ];
    object(value, walk, TABLE)
}

fn tools(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    match value {
        Json::Null => Ok(Json::Null),
        Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => {
            list(value, walk, tool)
        }
    }
}

const FUNCTION: Table = &[
    ("type", Keep(scalar)),
    ("name", Keep(scalar)),
    ("description", Keep(text)),
    ("parameters", Keep(data)),
    ("output_schema", Keep(data)),
    ("strict", Keep(scalar)),
    ("defer_loading", Drop),
    ("allowed_callers", Keep(direct_callers)),
];

fn tool(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    match kind(&value, "") {
        "function" => object(value, walk, FUNCTION),
        "custom" => object(value, walk, CUSTOM),
        // A named group of local tools, as codex sends them.
        "namespace" => object(value, walk, NAMESPACE),
        // Run by the agent itself; the provider only knows their shape.
        "local_shell" | "apply_patch" => object(value, walk, &[("type", Keep(scalar))]),
        other => {
            let other: String = other
                .chars()
                .take(60)
                .flat_map(char::escape_debug)
                .collect();
            Err(Fault::new(HOSTED, format!("\"{other}\": {HOSTED_WHY}")))
        }
    }
}

const CUSTOM: Table = &[
    ("type", Keep(scalar)),
    ("name", Keep(scalar)),
    ("description", Keep(text)),
    ("format", Keep(custom_format)),
    ("defer_loading", Drop),
    ("allowed_callers", Keep(direct_callers)),
];

const NAMESPACE: Table = &[
    ("type", Keep(scalar)),
    ("name", Keep(scalar)),
    ("description", Keep(text)),
    ("tools", Keep(grouped)),
];

fn grouped(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    fn member(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
        match kind(&value, "") {
            "function" => object(value, walk, FUNCTION),
            "custom" => object(value, walk, CUSTOM),
            _ => Err(Fault::new(HOSTED, HOSTED_WHY)),
        }
    }
    list(value, walk, member)
}

/// `programmatic` would let code that the provider runs call the tool.
fn direct_callers(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    fn direct(value: Json, _: &mut Walk) -> Result<Json, Fault> {
        match value.text() {
            Some("direct") => Ok(value),
            Some(_) | None => Err(Fault::new(HOSTED, HOSTED_WHY)),
        }
    }
    match value {
        Json::Null => Ok(value),
        Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => {
            list(value, walk, direct)
        }
    }
}

fn custom_format(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    const TABLE: Table = &[
        ("type", Keep(scalar)),
        ("syntax", Keep(scalar)),
        ("definition", Keep(text)),
    ];
    object(value, walk, TABLE)
}

fn tool_choice(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    if !matches!(value, Json::Object(_)) {
        return scalar(value, walk);
    }
    match kind(&value, "") {
        "function" | "custom" | "apply_patch" => object(
            value,
            walk,
            &[("type", Keep(scalar)), ("name", Keep(scalar))],
        ),
        "allowed_tools" => object(
            value,
            walk,
            &[
                ("type", Keep(scalar)),
                ("mode", Keep(scalar)),
                ("tools", Keep(allowed_tools)),
            ],
        ),
        _ => Err(Fault::new(HOSTED, HOSTED_WHY)),
    }
}

fn allowed_tools(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    fn one(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
        match kind(&value, "") {
            "function" | "custom" => object(
                value,
                walk,
                &[("type", Keep(scalar)), ("name", Keep(scalar))],
            ),
            _ => Err(Fault::new(HOSTED, HOSTED_WHY)),
        }
    }
    list(value, walk, one)
}

fn input(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    match value {
        Json::Text(_) => Ok(value),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::List(_) | Json::Object(_) => {
            list(value, walk, item)
        }
    }
}

/// One item of the conversation. Ids of items are always left out: with them the provider could look up what it stored,
/// and without `store` it has nothing of ours to look up.
fn item(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    if kind(&value, "").is_empty() && value.get("role").is_none() {
        return Err(Fault::new(STORED, STORED_WHY));
    }
    let table: Table = match kind(&value, "message") {
        "message" => MESSAGE,
        "function_call" => CALL,
        "custom_tool_call" => CUSTOM_CALL,
        "function_call_output" | "custom_tool_call_output" => OUTPUT,
        "reasoning" => REASONING,
        "local_shell_call" => LOCAL_SHELL_CALL,
        "local_shell_call_output" => OUTPUT,
        "apply_patch_call" => PATCH_CALL,
        "apply_patch_call_output" => OUTPUT,
        "item_reference" => return Err(Fault::new(STORED, STORED_WHY)),
        other => return Err(unknown_kind(other)),
    };
    object(value, walk, table)
}

const MESSAGE: Table = &[
    ("type", Keep(scalar)),
    ("role", Keep(scalar)),
    ("content", Keep(content)),
    ("phase", Keep(scalar)),
    ("status", Keep(scalar)),
    ("id", Drop),
];

const CALL: Table = &[
    ("type", Keep(scalar)),
    ("call_id", Keep(scalar)),
    ("name", Keep(scalar)),
    ("namespace", Keep(scalar)),
    ("arguments", Keep(text)),
    ("status", Keep(scalar)),
    ("id", Drop),
    ("caller", Keep(direct_caller)),
];

const CUSTOM_CALL: Table = &[
    ("type", Keep(scalar)),
    ("call_id", Keep(scalar)),
    ("name", Keep(scalar)),
    ("namespace", Keep(scalar)),
    ("input", Keep(text)),
    ("status", Keep(scalar)),
    ("id", Drop),
    ("caller", Keep(direct_caller)),
];

const OUTPUT: Table = &[
    ("type", Keep(scalar)),
    ("call_id", Keep(scalar)),
    ("output", Keep(content)),
    ("status", Keep(scalar)),
    ("id", Drop),
    ("caller", Keep(direct_caller)),
];

const REASONING: Table = &[
    ("type", Keep(scalar)),
    ("summary", Keep(thoughts)),
    ("content", Keep(thoughts)),
    ("encrypted_content", Keep(text)),
    ("status", Keep(scalar)),
    ("id", Drop),
];

const LOCAL_SHELL_CALL: Table = &[
    ("type", Keep(scalar)),
    ("call_id", Keep(scalar)),
    ("action", Keep(data)),
    ("status", Keep(scalar)),
    ("id", Drop),
];

const PATCH_CALL: Table = &[
    ("type", Keep(scalar)),
    ("call_id", Keep(scalar)),
    ("operation", Keep(patch_operation)),
    ("status", Keep(scalar)),
    ("id", Drop),
];

fn patch_operation(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    const TABLE: Table = &[
        ("type", Keep(scalar)),
        ("path", Keep(scalar)),
        ("diff", Keep(text)),
    ];
    object(value, walk, TABLE)
}

fn direct_caller(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    match kind(&value, "") {
        "direct" => object(value, walk, &[("type", Keep(scalar))]),
        _ if matches!(value, Json::Null) => Ok(value),
        _ => Err(Fault::new(HOSTED, HOSTED_WHY)),
    }
}

fn thoughts(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    fn thought(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
        match kind(&value, "") {
            "summary_text" | "reasoning_text" | "text" => {
                object(value, walk, &[("type", Keep(scalar)), ("text", Keep(text))])
            }
            other => Err(unknown_kind(other)),
        }
    }
    if matches!(value, Json::Null) {
        return Ok(value);
    }
    list(value, walk, thought)
}

/// Content of a message or of a tool's output: a text, or parts.
fn content(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    match value {
        Json::Text(_) | Json::Null => Ok(value),
        Json::Bool(_) | Json::Number(_) | Json::List(_) | Json::Object(_) => {
            list(value, walk, part)
        }
    }
}

fn part(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    let table: Table = match kind(&value, "") {
        "input_text" | "output_text" | "text" => &[
            ("type", Keep(scalar)),
            ("text", Keep(text)),
            ("annotations", Keep(no_annotations)),
            ("logprobs", Drop),
            ("prompt_cache_breakpoint", Drop),
        ],
        "refusal" => &[("type", Keep(scalar)), ("refusal", Keep(text))],
        "input_image" => &[
            ("type", Keep(scalar)),
            ("image_url", Keep(data_image as Check)),
            ("detail", Keep(scalar)),
            ("file_id", Refuse(STORED, STORED_WHY)),
            ("prompt_cache_breakpoint", Drop),
        ],
        "input_file" => &[
            ("type", Keep(scalar)),
            ("filename", Keep(scalar)),
            ("file_data", Keep(data_file)),
            ("detail", Keep(scalar)),
            ("file_id", Refuse(STORED, STORED_WHY)),
            ("file_url", Refuse(REMOTE, REMOTE_WHY)),
            ("prompt_cache_breakpoint", Drop),
        ],
        other => return Err(unknown_kind(other)),
    };
    object(value, walk, table)
}

/// An answer's text comes back with its annotations. They name files and addresses, and are emptied; the field itself is required.
#[expect(clippy::unnecessary_wraps, reason = "it is used as a Check")]
fn no_annotations(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    if !matches!(&value, Json::List(list) if list.is_empty()) {
        walk.drops("annotations");
    }
    Ok(Json::List(Vec::new()))
}
