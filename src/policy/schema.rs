//! The JSON Schema of the policy, made from the description of the keys, for editors that check as one writes.
//! It must never promise more than the reader takes: what it cannot say, the reader still refuses.

use serde_json::{Map, Value, json};

use super::defaults;
use super::keys::{Key, POLICY, Shape};
use super::parse::yaml;
use super::supported;

/// The schema.
#[must_use]
pub fn schema() -> Value {
    let mut root = section(POLICY, "");
    if let Value::Object(root) = &mut root {
        root.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        root.insert("title".to_owned(), json!("Tagout policy"));
        root.insert(
            "description".to_owned(),
            json!("What a locked-in coding agent may do, in .github/tagout.yml"),
        );
    }
    root
}

fn section(keys: &[Key], path: &str) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let path = if path.is_empty() {
            key.name.to_owned()
        } else {
            format!("{path}.{}", key.name)
        };
        properties.insert(key.name.to_owned(), property(key, &path));
    }
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| key.is_required())
        .map(|key| key.name)
        .collect();
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("additionalProperties".to_owned(), json!(false));
    object.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        object.insert("required".to_owned(), json!(required));
    }
    Value::Object(object)
}

fn property(key: &Key, path: &str) -> Value {
    let mut value = shape(&key.shape, path);
    if let Value::Object(object) = &mut value {
        let so_far = supported::not_yet(path).map_or_else(String::new, |row| match row.only {
            [] => " (not supported yet)".to_owned(),
            words => format!(" (supported so far: {})", words.join(", ")),
        });
        object.insert(
            "description".to_owned(),
            json!(format!("{}{so_far}", key.about)),
        );
        let default = if path == "changes.protect" {
            Some(json!(defaults::PROTECT))
        } else {
            yaml::json(key.default)
        };
        if let Some(default) = default {
            object.insert("default".to_owned(), default);
        }
    }
    value
}

fn shape(shape_: &Shape, path: &str) -> Value {
    match shape_ {
        Shape::Section(keys) => section(keys, path),
        Shape::List(each, least) => {
            json!({ "type": "array", "items": shape(each, &format!("{path}[]")), "minItems": least })
        }
        Shape::Entries(_, each) => {
            json!({ "type": "object", "additionalProperties": shape(each, &format!("{path}.*")) })
        }
        Shape::OrNull(inner) => json!({ "anyOf": [{ "type": "null" }, shape(inner, path)] }),
        Shape::OneOf(words) => json!({ "type": "string", "enum": words }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Count(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Shape::Size(..) => {
            json!({ "type": "string", "pattern": "^(0|[1-9][0-9]*)(B|KiB|MiB|GiB|TiB)$" })
        }
        Shape::Duration(..) => json!({ "type": "string", "pattern": "^(0|[1-9][0-9]*)(s|m|h)$" }),
        Shape::Text(kind) => json!({ "type": "string", "title": kind.words }),
    }
}
