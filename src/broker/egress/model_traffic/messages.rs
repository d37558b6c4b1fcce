//! What a request to Anthropic Messages may hold (`POST /v1/messages`, Anthropic's API reference).
//! It must never let the provider act on anything but the model.

use super::json::Json;
use super::walk::{
    COST, Fault, Field, HOSTED, REMOTE, REMOTE_WHY, STORED, STORED_WHY, Table, Walk, data,
    file_bytes, flag, image_bytes, kind, list, object, plain_tier, scalar, scalars, switches, text,
    unknown_kind,
};
use Field::{Drop, Keep, Refuse};

const HOSTED_WHY: &str = "only tools that run here are allowed: those with an input_schema";

pub(super) const REQUEST: Table = &[
    ("model", Keep(scalar)),
    ("messages", Keep(messages)),
    ("system", Keep(content)),
    ("tools", Keep(tools)),
    ("tool_choice", Keep(tool_choice)),
    ("max_tokens", Keep(scalar)),
    ("thinking", Keep(switches)),
    ("output_config", Keep(output_config)),
    ("output_format", Keep(format)),
    ("stop_sequences", Keep(scalars)),
    ("stream", Keep(flag)),
    ("temperature", Keep(scalar)),
    ("top_k", Keep(scalar)),
    ("top_p", Keep(scalar)),
    ("cache_control", Keep(switches)),
    ("service_tier", Keep(tier)),
    ("speed", Keep(tier)),
    ("metadata", Drop),
    ("betas", Drop),
    ("diagnostics", Drop),
    ("context_management", Keep(context_management)),
    ("container", Refuse(STORED, STORED_WHY)),
    ("thread", Refuse(STORED, STORED_WHY)),
    ("workspace_id", Refuse(STORED, STORED_WHY)),
    ("user_profile_id", Refuse(STORED, STORED_WHY)),
    ("mcp_servers", Refuse(HOSTED, HOSTED_WHY)),
    (
        "fallbacks",
        Refuse("model-name", "no other model may be asked for"),
    ),
    (
        "compaction",
        Refuse(COST, "compaction by the provider is not used"),
    ),
];

fn tier(value: Json, _: &mut Walk) -> Result<Json, Fault> {
    plain_tier(&value)?;
    Ok(Json::Null)
}

/// Clearing old thoughts is housekeeping of the request itself.
fn context_management(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    fn edits(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
        fn edit(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
            if kind(&value, "").starts_with("clear_") {
                const TABLE: Table = &[
                    ("type", Keep(scalar)),
                    ("keep", Keep(data)),
                    ("trigger", Keep(switches)),
                    ("clear_at_least", Keep(switches)),
                    ("clear_tool_inputs", Keep(scalars)),
                    ("exclude_tools", Keep(scalars)),
                ];
                object(value, walk, TABLE)
            } else {
                Err(unknown_kind(kind(&value, "")))
            }
        }
        list(value, walk, edit)
    }
    if matches!(value, Json::Null) {
        return Ok(value);
    }
    object(value, walk, &[("edits", Keep(edits))])
}

fn output_config(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    if matches!(value, Json::Null) {
        return Ok(value);
    }
    const TABLE: Table = &[
        ("effort", Keep(scalar)),
        ("format", Keep(format)),
        ("task_budget", Keep(switches)),
    ];
    object(value, walk, TABLE)
}

fn format(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    if matches!(value, Json::Null) {
        return Ok(value);
    }
    object(
        value,
        walk,
        &[("type", Keep(scalar)), ("schema", Keep(data))],
    )
}

fn tools(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    fn tool(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
        const TABLE: Table = &[
            ("type", Keep(scalar)),
            ("name", Keep(scalar)),
            ("description", Keep(text)),
            ("input_schema", Keep(data)),
            ("input_examples", Keep(data)),
            ("strict", Keep(scalar)),
            ("cache_control", Keep(switches)),
            ("eager_input_streaming", Keep(scalar)),
            ("defer_loading", Drop),
            ("allowed_callers", Keep(direct_callers)),
        ];
        match kind(&value, "custom") {
            "custom" => object(value, walk, TABLE),
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

fn direct_callers(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    fn direct(value: Json, _: &mut Walk) -> Result<Json, Fault> {
        match value.text() {
            Some("direct") => Ok(value),
            Some(_) | None => Err(Fault::new(HOSTED, HOSTED_WHY)),
        }
    }
    list(value, walk, direct)
}

fn tool_choice(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    const TABLE: Table = &[
        ("type", Keep(scalar)),
        ("name", Keep(scalar)),
        ("disable_parallel_tool_use", Keep(scalar)),
    ];
    if matches!(value, Json::Null) {
        return Ok(value);
    }
    object(value, walk, TABLE)
}

fn messages(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    fn message(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
        object(
            value,
            walk,
            &[("role", Keep(scalar)), ("content", Keep(content))],
        )
    }
    list(value, walk, message)
}

fn content(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    match value {
        Json::Text(_) | Json::Null => Ok(value),
        Json::Bool(_) | Json::Number(_) | Json::List(_) | Json::Object(_) => {
            list(value, walk, block)
        }
    }
}

fn block(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    let table: Table = match kind(&value, "") {
        "text" => &[
            ("type", Keep(scalar)),
            ("text", Keep(text)),
            ("cache_control", Keep(switches)),
            ("citations", Drop),
        ],
        "image" => &[
            ("type", Keep(scalar)),
            ("source", Keep(source)),
            ("cache_control", Keep(switches)),
        ],
        "document" => &[
            ("type", Keep(scalar)),
            ("source", Keep(source)),
            ("title", Keep(text)),
            ("context", Keep(text)),
            ("citations", Keep(switches)),
            ("cache_control", Keep(switches)),
        ],
        "tool_use" => &[
            ("type", Keep(scalar)),
            ("id", Keep(scalar)),
            ("name", Keep(scalar)),
            ("input", Keep(data)),
            ("cache_control", Keep(switches)),
            ("caller", Keep(direct_caller)),
        ],
        "tool_result" => &[
            ("type", Keep(scalar)),
            ("tool_use_id", Keep(scalar)),
            ("content", Keep(content)),
            ("is_error", Keep(scalar)),
            ("cache_control", Keep(switches)),
        ],
        "thinking" => &[
            ("type", Keep(scalar)),
            ("thinking", Keep(text)),
            ("signature", Keep(text)),
        ],
        "redacted_thinking" => &[("type", Keep(scalar)), ("data", Keep(text))],
        "container_upload" => return Err(Fault::new(STORED, STORED_WHY)),
        other => return Err(unknown_kind(other)),
    };
    object(value, walk, table)
}

fn direct_caller(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    match kind(&value, "") {
        "direct" => object(value, walk, &[("type", Keep(scalar))]),
        _ => Err(Fault::new(HOSTED, HOSTED_WHY)),
    }
}

fn source(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    let image = value
        .get("media_type")
        .and_then(Json::text)
        .is_some_and(|kind| kind.starts_with("image/"));
    let table: Table = match kind(&value, "") {
        "base64" if image => &[
            ("type", Keep(scalar)),
            ("media_type", Keep(scalar)),
            ("data", Keep(image_bytes)),
        ],
        "base64" => &[
            ("type", Keep(scalar)),
            ("media_type", Keep(scalar)),
            ("data", Keep(file_bytes)),
        ],
        "text" => &[
            ("type", Keep(scalar)),
            ("media_type", Keep(scalar)),
            ("data", Keep(text)),
        ],
        "content" => &[("type", Keep(scalar)), ("content", Keep(content))],
        "file" => return Err(Fault::new(STORED, STORED_WHY)),
        "url" => return Err(Fault::new(REMOTE, REMOTE_WHY)),
        other => return Err(unknown_kind(other)),
    };
    object(value, walk, table)
}
