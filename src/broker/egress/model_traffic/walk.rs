//! Walks a JSON document along a table of known fields and builds a new one from them.
//! It must never keep a field that no table names.

use std::collections::BTreeSet;

use super::Refusal;
use super::json::Json;

/// Longest scalar string that is not a text for the model: names, ids, modes.
const WORD_BYTES_MAX: usize = 1024;
/// Largest image or file in bytes of its base64 text.
pub(super) const DATA_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Most images and files in one request.
const DATA_PARTS_MAX: u64 = 100;
/// Estimate of tokens for one image; providers bill at most about 1,600 for the usual sizes.
const IMAGE_TOKENS: u64 = 2_000;
/// Estimate of base64 bytes of a file for one token.
const FILE_BYTES_PER_TOKEN: u64 = 16;

/// Why a document is refused, with the way to the place, innermost last.
#[derive(Debug)]
pub(super) struct Fault {
    code: &'static str,
    why: String,
    path: Vec<String>,
}

impl Fault {
    pub(super) fn new(code: &'static str, why: impl Into<String>) -> Self {
        Self {
            code,
            why: why.into(),
            path: Vec::new(),
        }
    }

    pub(super) fn within(mut self, step: impl Into<String>) -> Self {
        self.path.push(step.into());
        self
    }

    pub(super) fn refusal(self) -> Refusal {
        let mut place = String::new();
        for step in self.path.iter().rev() {
            if !place.is_empty() && !step.starts_with('[') {
                place.push('.');
            }
            place.extend(step.chars().take(80).flat_map(char::escape_debug));
        }
        let sentence = if place.is_empty() {
            self.why
        } else {
            format!("{place}: {}", self.why)
        };
        Refusal::new(self.code, sentence)
    }
}

/// What is gathered on the way.
#[derive(Debug, Default)]
pub(super) struct Walk {
    dropped: BTreeSet<&'static str>,
    data_parts: u64,
    data_bytes: u64,
    data_tokens: u64,
}

impl Walk {
    pub(super) fn dropped(&self) -> Vec<String> {
        self.dropped.iter().map(|&name| name.to_owned()).collect()
    }

    pub(super) fn drops(&mut self, name: &'static str) {
        self.dropped.insert(name);
    }

    /// Tokens of images and files, and how many bytes of the body they are.
    pub(super) fn data(&self) -> (u64, u64) {
        (self.data_tokens, self.data_bytes)
    }

    fn data_part(&mut self, bytes: usize, image: bool) -> Result<(), Fault> {
        self.data_parts += 1;
        if bytes > DATA_BYTES_MAX || self.data_parts > DATA_PARTS_MAX {
            return Err(Fault::new(
                "model-data-too-large",
                format!(
                    "at most {DATA_PARTS_MAX} images and files of {DATA_BYTES_MAX} bytes each may be sent"
                ),
            ));
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.data_bytes += bytes;
        self.data_tokens += if image {
            IMAGE_TOKENS
        } else {
            bytes / FILE_BYTES_PER_TOKEN
        };
        Ok(())
    }
}

/// Checks one value and gives what may be forwarded in its place.
pub(super) type Check = fn(Json, &mut Walk) -> Result<Json, Fault>;

/// What happens to a known field.
#[derive(Clone, Copy)]
pub(super) enum Field {
    /// It is forwarded as the check gives it back.
    Keep(Check),
    /// It does no harm and is left out: bookkeeping of the sender, or defaults of the provider.
    Drop,
    /// It may only be absent, null, false, or empty; all else is refused with this code and reason.
    Refuse(&'static str, &'static str),
}

/// Codes of refusals that more than one table names.
pub(super) const STORED: &str = "model-stored-reference";
pub(super) const COST: &str = "model-cost";
pub(super) const HOSTED: &str = "model-tool-hosted";
pub(super) const REMOTE: &str = "model-remote-reference";
const UNKNOWN: &str = "model-field-unknown";
const WRONG: &str = "model-field-wrong";

/// The reason for `STORED`.
pub(super) const STORED_WHY: &str =
    "an answer must carry its own context; nothing stored with the provider may be referred to";
/// The reason for `REMOTE`.
pub(super) const REMOTE_WHY: &str = "the provider may not fetch addresses; send the content itself";

pub(super) type Table = &'static [(&'static str, Field)];

/// An object by its table.
pub(super) fn object(value: Json, walk: &mut Walk, table: Table) -> Result<Json, Fault> {
    fields(value, walk, table).map(Json::Object)
}

/// The fields of an object by its table.
pub(super) fn fields(
    value: Json,
    walk: &mut Walk,
    table: Table,
) -> Result<Vec<(String, Json)>, Fault> {
    let Json::Object(fields) = value else {
        return Err(wrong("an object"));
    };
    let mut kept = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let Some((known, field)) = table.iter().find(|(known, _)| *known == name) else {
            let fault = Fault::new(UNKNOWN, "this field is not known and is not forwarded");
            return Err(fault.within(name));
        };
        match field {
            Field::Keep(check) => {
                let value = check(value, walk).map_err(|fault| fault.within(*known))?;
                kept.push((name, value));
            }
            Field::Drop => walk.drops(known),
            Field::Refuse(_, _) if harmless(&value) => walk.drops(known),
            Field::Refuse(code, why) => return Err(Fault::new(code, *why).within(*known)),
        }
    }
    Ok(kept)
}

fn harmless(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => true,
        Json::List(list) => list.is_empty(),
        Json::Bool(true) | Json::Number(_) | Json::Text(_) | Json::Object(_) => false,
    }
}

/// The object's `type`, or `fallback` where it has none.
pub(super) fn kind<'a>(value: &'a Json, fallback: &'a str) -> &'a str {
    value.get("type").and_then(Json::text).unwrap_or(fallback)
}

pub(super) fn unknown_kind(kind: &str) -> Fault {
    let kind: String = kind.chars().take(60).flat_map(char::escape_debug).collect();
    Fault::new(UNKNOWN, format!("the type \"{kind}\" is not forwarded"))
}

fn wrong(wanted: &str) -> Fault {
    Fault::new(WRONG, format!("it must be {wanted}"))
}

/// A list, each item by the check.
pub(super) fn list(value: Json, walk: &mut Walk, check: Check) -> Result<Json, Fault> {
    let Json::List(items) = value else {
        return Err(wrong("a list"));
    };
    let mut kept = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        kept.push(check(item, walk).map_err(|fault| fault.within(format!("[{at}]")))?);
    }
    Ok(Json::List(kept))
}

/// A text for the model, of any length within the body; or null.
pub(super) fn text(value: Json, _: &mut Walk) -> Result<Json, Fault> {
    match value {
        Json::Text(_) | Json::Null => Ok(value),
        Json::Bool(_) | Json::Number(_) | Json::List(_) | Json::Object(_) => Err(wrong("a string")),
    }
}

/// A short string, a number, a boolean, or null.
pub(super) fn scalar(value: Json, _: &mut Walk) -> Result<Json, Fault> {
    match value {
        Json::Text(ref word) if word.len() > WORD_BYTES_MAX => Err(wrong("a short string")),
        Json::Text(_) | Json::Null | Json::Bool(_) | Json::Number(_) => Ok(value),
        Json::List(_) | Json::Object(_) => Err(wrong("a string, number or boolean")),
    }
}

/// A boolean, or null.
pub(super) fn flag(value: Json, _: &mut Walk) -> Result<Json, Fault> {
    match value {
        Json::Bool(_) | Json::Null => Ok(value),
        Json::Text(_) | Json::Number(_) | Json::List(_) | Json::Object(_) => {
            Err(wrong("true or false"))
        }
    }
}

/// A list of scalars, or one.
pub(super) fn scalars(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    match value {
        Json::List(_) => list(value, walk, scalar),
        Json::Text(_) | Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => {
            scalar(value, walk)
        }
    }
}

/// An object of scalars: switches that the provider reads and that name nothing outside.
pub(super) fn switches(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    let fields = match value {
        Json::Object(fields) => fields,
        Json::Null => return Ok(Json::Null),
        Json::Text(_) | Json::Bool(_) | Json::Number(_) | Json::List(_) => {
            return Err(wrong("an object"));
        }
    };
    let mut kept = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        match scalar(value, walk) {
            Ok(value) => kept.push((name, value)),
            Err(fault) => return Err(fault.within(name)),
        }
    }
    Ok(Json::Object(kept))
}

/// Any JSON: schemas and arguments of local tools, which the provider shows to the model and does not act on.
#[expect(clippy::unnecessary_wraps, reason = "it is used as a Check")]
pub(super) fn data(value: Json, _: &mut Walk) -> Result<Json, Fault> {
    Ok(value)
}

/// `data:image/...;base64,...` and nothing else.
pub(super) fn data_image(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    const KINDS: [&str; 4] = ["png", "jpeg", "gif", "webp"];
    let content = value
        .text()
        .and_then(|url| url.strip_prefix("data:image/"))
        .and_then(|rest| rest.split_once(";base64,"))
        .filter(|(kind, _)| KINDS.contains(kind))
        .map(|(_, content)| content);
    match content {
        Some(content) if base64(content) => walk.data_part(content.len(), true)?,
        Some(_) | None => return Err(Fault::new(REMOTE, REMOTE_WHY)),
    }
    Ok(value)
}

/// `data:TYPE;base64,...` and nothing else.
pub(super) fn data_file(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    let word = |text: &str| {
        text.len() < 100
            && text.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'+')
            })
    };
    let content = value
        .text()
        .and_then(|url| url.strip_prefix("data:"))
        .and_then(|rest| rest.split_once(";base64,"))
        .filter(|(kind, _)| word(kind))
        .map(|(_, content)| content);
    match content {
        Some(content) if base64(content) => walk.data_part(content.len(), false)?,
        Some(_) | None => return Err(Fault::new(REMOTE, REMOTE_WHY)),
    }
    Ok(value)
}

/// Bare base64 of an image (Messages).
pub(super) fn image_bytes(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    bare(value, walk, true)
}

/// Bare base64 of a file (Messages).
pub(super) fn file_bytes(value: Json, walk: &mut Walk) -> Result<Json, Fault> {
    bare(value, walk, false)
}

fn bare(value: Json, walk: &mut Walk, image: bool) -> Result<Json, Fault> {
    match value.text() {
        Some(content) if base64(content) => walk.data_part(content.len(), image)?,
        Some(_) | None => return Err(wrong("base64")),
    }
    Ok(value)
}

fn base64(text: &str) -> bool {
    text.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
    })
}

/// Only what a plain request gets anyway; it is left out. Anything else raises the cost.
pub(super) fn plain_tier(value: &Json) -> Result<(), Fault> {
    match value.text() {
        None if matches!(value, Json::Null) => Ok(()),
        Some("auto" | "default" | "standard" | "standard_only") => Ok(()),
        Some(_) | None => Err(Fault::new(COST, "only the standard tier may be used")),
    }
}
