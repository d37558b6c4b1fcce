//! What a request to Chat Completions may hold (OpenAI's API reference, and what vLLM, llama.cpp and Ollama add).
//! It must never let the provider act on anything but the model.

use super::json::Json;
use super::walk::{
    COST, Fault, Field, HOSTED, STORED, STORED_WHY, Table, Walk, data, data_file, data_image, flag,
    kind, list, object, plain_tier, scalar, scalars, switches, text, unknown_kind,
};
use Field::{Drop, Keep, Refuse};

const HOSTED_WHY: &str = "only tools that run here are allowed: function and custom";

pub(super) const REQUEST: Table = &[
    ("model", Keep(scalar)),
    ("messages", Keep(messages)),
    ("tools", Keep(tools)),
    ("tool_choice", Keep(tool_choice)),
    ("functions", Keep(functions)),
    ("function_call", Keep(named)),
    ("parallel_tool_calls", Keep(scalar)),
    ("max_tokens", Keep(scalar)),
    ("max_completion_tokens", Keep(scalar)),
    ("response_format", Keep(response_format)),
    ("reasoning_effort", Keep(scalar)),
    ("reasoning", Keep(switches)),
    ("thinking", Keep(switches)),
    ("enable_thinking", Keep(scalar)),
    ("chat_template_kwargs", Keep(switches)),
    ("verbosity", Keep(scalar)),
    ("stream", Keep(flag)),
    ("stream_options", Keep(stream_options)),
    ("temperature", Keep(scalar)),
    ("top_p", Keep(scalar)),
    ("top_k", Keep(scalar)),
    ("min_p", Keep(scalar)),
    ("repetition_penalty", Keep(scalar)),
    ("frequency_penalty", Keep(scalar)),
    ("presence_penalty", Keep(scalar)),
    ("logit_bias", Keep(switches)),
    ("logprobs", Keep(scalar)),
    ("top_logprobs", Keep(scalar)),
    ("seed", Keep(scalar)),
    ("stop", Keep(scalars)),
    ("prompt_cache_key", Keep(scalar)),
    ("n", Keep(one)),
    ("modalities", Keep(text_only)),
    ("service_tier", Keep(tier)),
    ("store", Drop),
    ("metadata", Drop),
    ("user", Drop),
    ("safety_identifier", Drop),
    ("prediction", Drop),
    ("usage", Drop),
    ("prompt_cache_options", Drop),
    ("prompt_cache_retention", Drop),
    ("audio", Refuse(COST, "only text is asked for")),
    (
        "web_search_options",
        Refuse(HOSTED, "the provider may not search"),
    ),
    (
        "best_of",
        Refuse(COST, "one answer a request may be asked for"),
    ),
];

fn tier(value: Json, _: &mut Walk) -> Result<Json, Fault> {
    plain_tier(&value)?;
    Ok(Json::Null)
}

fn one(value: Json, _: &mut Walk) -> Result<Json, Fault> {
    if matches!(value, Json::Null) || value.whole() == Some(1) {
        Ok(Json::Null)
    } else {
        Err(Fault::new(COST, "one answer a request may be asked for"))
    }
}

fn text_only(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    fn text_word(value: Json, _: &mut Walk) -> Result<Json, Fault> {
        match value.text() {
            Some("text") => Ok(value),
            Some(_) | None => Err(Fault::new(COST, "only text is asked for")),
        }
    }
    if matches!(value, Json::Null) {
        return Ok(value);
    }
    list(value, walk, text_word)
}

fn stream_options(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    if matches!(value, Json::Null) {
        return Ok(value);
    }
    const TABLE: Table = &[
        ("include_usage", Keep(scalar)),
        ("include_obfuscation", Keep(scalar)),
    ];
    object(value, walk, TABLE)
}

fn response_format(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    if matches!(value, Json::Null) {
        return Ok(value);
    }
    const TABLE: Table = &[
        ("type", Keep(scalar)),
        ("json_schema", Keep(data)),
        ("schema", Keep(data)),
    ];
    object(value, walk, TABLE)
}

const FUNCTION: Table = &[
    ("name", Keep(scalar)),
    ("description", Keep(text)),
    ("parameters", Keep(data)),
    ("strict", Keep(scalar)),
];

fn function(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    object(value, walk, FUNCTION)
}

fn functions(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    list(value, walk, function)
}

fn custom(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    const TABLE: Table = &[
        ("name", Keep(scalar)),
        ("description", Keep(text)),
        ("format", Keep(data)),
    ];
    object(value, walk, TABLE)
}

fn tools(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    fn tool(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
        const TABLE: Table = &[
            ("type", Keep(scalar)),
            ("function", Keep(function)),
            ("custom", Keep(custom)),
            ("cache_control", Keep(switches)),
        ];
        match kind(&value, "") {
            "function" | "custom" => object(value, walk, TABLE),
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
    if matches!(value, Json::Null) {
        return Ok(value);
    }
    list(value, walk, tool)
}

fn named(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    match value {
        Json::Object(_) => object(value, walk, &[("name", Keep(scalar))]),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::List(_) => {
            scalar(value, walk)
        }
    }
}

fn tool_choice(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    const TABLE: Table = &[
        ("type", Keep(scalar)),
        ("function", Keep(named)),
        ("custom", Keep(named)),
        ("allowed_tools", Keep(data)),
    ];
    if !matches!(value, Json::Object(_)) {
        return scalar(value, walk);
    }
    match kind(&value, "") {
        // The tools that may be named here are only those of `tools`, which are local.
        "function" | "custom" | "allowed_tools" => object(value, walk, TABLE),
        _ => Err(Fault::new(HOSTED, HOSTED_WHY)),
    }
}

fn messages(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    fn message(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
        const TABLE: Table = &[
            ("role", Keep(scalar)),
            ("content", Keep(content)),
            ("name", Keep(scalar)),
            ("refusal", Keep(text)),
            ("tool_calls", Keep(tool_calls)),
            ("tool_call_id", Keep(scalar)),
            ("function_call", Keep(called)),
            ("reasoning", Keep(text)),
            ("reasoning_content", Keep(text)),
            ("reasoning_details", Drop),
            ("cache_control", Keep(switches)),
            ("annotations", Drop),
            ("prefix", Keep(scalar)),
            ("audio", Refuse(STORED, STORED_WHY)),
        ];
        object(value, walk, TABLE)
    }
    list(value, walk, message)
}

fn called(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    if matches!(value, Json::Null) {
        return Ok(value);
    }
    object(
        value,
        walk,
        &[("name", Keep(scalar)), ("arguments", Keep(text))],
    )
}

fn tool_calls(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    fn custom_call(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
        object(
            value,
            walk,
            &[("name", Keep(scalar)), ("input", Keep(text))],
        )
    }
    fn call(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
        const TABLE: Table = &[
            ("id", Keep(scalar)),
            ("index", Keep(scalar)),
            ("type", Keep(scalar)),
            ("function", Keep(called)),
            ("custom", Keep(custom_call)),
        ];
        object(value, walk, TABLE)
    }
    if matches!(value, Json::Null) {
        return Ok(value);
    }
    list(value, walk, call)
}

fn content(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    match value {
        Json::Text(_) | Json::Null => Ok(value),
        Json::Bool(_) | Json::Number(_) | Json::List(_) | Json::Object(_) => {
            list(value, walk, part)
        }
    }
}

fn part(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    fn image(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
        object(
            value,
            walk,
            &[("url", Keep(data_image)), ("detail", Keep(scalar))],
        )
    }
    fn file(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
        const TABLE: Table = &[
            ("filename", Keep(scalar)),
            ("file_data", Keep(data_file)),
            ("file_id", Refuse(STORED, STORED_WHY)),
        ];
        object(value, walk, TABLE)
    }
    let table: Table = match kind(&value, "") {
        "text" => &[
            ("type", Keep(scalar)),
            ("text", Keep(text)),
            ("cache_control", Keep(switches)),
        ],
        "refusal" => &[("type", Keep(scalar)), ("refusal", Keep(text))],
        "image_url" => &[("type", Keep(scalar)), ("image_url", Keep(image))],
        "file" => &[("type", Keep(scalar)), ("file", Keep(file))],
        other => return Err(unknown_kind(other)),
    };
    object(value, walk, table)
}
