//! GitHub's own description of its API, cut to the paths in use, as a judge of every request and answer, and as the
//! source of everything in an answer that our small server does not keep.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};
use tagout::names::Digest;

use super::{Answer, Request};

const PACKAGES: [&str; 2] = [
    "@octokit/openapi@23.0.2",
    "@octokit/webhooks-examples@7.6.1",
];

/// Installs the packages by others once, under `target`, and gives the folder; none where npm is missing or fails,
/// which is printed, and is a failure where `TAGOUT_TEST_ALL` is set.
pub(crate) fn packages() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/npm");
    std::fs::create_dir_all(&root).expect("target is writable");
    let lock = std::fs::File::create(root.join("lock")).expect("target is writable");
    lock.lock().expect("the lock can be had");
    let modules = root.join("node_modules/@octokit");
    let done = root.join(format!(
        "done-{}",
        PACKAGES.join("-").replace(['/', '@'], "_")
    ));
    if done.exists() {
        return Some(modules);
    }
    let installed = Command::new("npm")
        .args([
            "install",
            "--no-save",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ])
        .arg("--prefix")
        .arg(&root)
        .args(PACKAGES)
        .output();
    let why = match installed {
        Ok(output) if output.status.success() => {
            std::fs::write(&done, "").expect("target is writable");
            return Some(modules);
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    let all = std::env::var_os("TAGOUT_TEST_ALL").is_some_and(|value| value == "1");
    assert!(!all, "npm cannot install {}: {why}", PACKAGES.join(" and "));
    let names = PACKAGES.join(" and ");
    let said = writeln!(
        std::io::stderr(),
        "left out: what needs {names}, since npm cannot install them: {why}"
    );
    drop(said);
    None
}

/// The cut description.
pub(crate) struct Contract {
    document: Value,
    validators: Mutex<BTreeMap<String, Arc<jsonschema::Validator>>>,
}

impl Contract {
    /// Loads the description; none where it cannot be had, and then nothing is checked.
    pub(crate) fn load() -> Option<Self> {
        let modules = packages()?;
        let names = Digest::of(super::routes::templates().join(" ").as_bytes());
        let cut = modules.join(format!("../../cut-3-{}.json", &names.as_str()[..12]));
        let document = match std::fs::read(&cut) {
            Ok(bytes) => serde_json::from_slice(&bytes).expect("our own file"),
            Err(_) => {
                let whole = std::fs::read(modules.join("openapi/generated/api.github.com.json"))
                    .expect("the package holds it");
                let document = cut_down(&serde_json::from_slice(&whole).expect("JSON"));
                let fresh = cut.with_extension(format!("{}", std::process::id()));
                std::fs::write(&fresh, document.to_string()).expect("target is writable");
                std::fs::rename(&fresh, &cut).expect("target is writable");
                document
            }
        };
        Some(Self {
            document,
            validators: Mutex::default(),
        })
    }

    /// Fills the answer up with GitHub's example, and judges request and answer.
    pub(crate) fn check(&self, request: &Request, answer: &mut Answer) -> Vec<String> {
        let method = request.method.to_ascii_lowercase();
        let operation = &self.document["paths"][answer.template][&method];
        let name = format!("{method} {}", answer.template);
        if operation.is_null() {
            return vec![format!("{name}: GitHub has no such operation")];
        }
        let mut found = Vec::new();
        let asked = &operation["requestBody"]["content"]["application/json"]["schema"];
        if answer.status < 400 && !asked.is_null() {
            found.extend(self.judge(&format!("{name} request"), asked, &request.body));
        }
        let response = &operation["responses"][answer.status.to_string()];
        if response.is_null() && !matches!(answer.status, 401 | 403 | 404) {
            found.push(format!("{name}: GitHub never answers {}", answer.status));
        }
        let content = &response["content"]["application/json"];
        if let Some(body) = &mut answer.body
            && !content["schema"].is_null()
        {
            if answer.status < 300 {
                *body = filled(&content["example"], body);
            }
            found.extend(self.judge(
                &format!("{name} {}", answer.status),
                &content["schema"],
                body,
            ));
        }
        found
    }

    /// What GitHub would find wrong with a body that is sent to it.
    pub(crate) fn refusals(&self, template: &str, method: &str, body: &Value) -> Vec<String> {
        let operation = &self.document["paths"][template][method];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        assert!(!schema.is_null(), "GitHub has no {method} {template}");
        self.judge(template, schema, body)
    }

    fn judge(&self, name: &str, schema: &Value, instance: &Value) -> Vec<String> {
        let validator = {
            let mut known = self.validators.lock().expect("no thread panicked");
            Arc::clone(known.entry(name.to_owned()).or_insert_with(|| {
                let root = json!({"allOf": [schema], "components": self.document["components"]});
                Arc::new(jsonschema::validator_for(&root).expect("GitHub's schema is one"))
            }))
        };
        validator
            .iter_errors(instance)
            .map(|error| format!("{name}: {} at {}", error, error.instance_path()))
            .collect()
    }
}

/// Our fields over the example's. A list of ours replaces the example's list, each entry filled up by its first entry.
fn filled(example: &Value, ours: &Value) -> Value {
    match (example, ours) {
        (Value::Object(example), Value::Object(ours)) => {
            let mut all = example.clone();
            for (key, value) in ours {
                let under = example.get(key).unwrap_or(&Value::Null);
                all.insert(key.clone(), filled(under, value));
            }
            Value::Object(all)
        }
        (Value::Array(example), Value::Array(ours)) => {
            let first = example.first().unwrap_or(&Value::Null);
            Value::Array(ours.iter().map(|entry| filled(first, entry)).collect())
        }
        (_, ours) => ours.clone(),
    }
}

/// Keeps the operations in use, with one example an answer, and the schemas that they lead to, as JSON Schema.
fn cut_down(whole: &Value) -> Value {
    let mut paths = Map::new();
    for template in super::routes::templates() {
        let mut operations = whole["paths"][template].clone();
        for operation in operations
            .as_object_mut()
            .into_iter()
            .flat_map(|map| map.values_mut())
        {
            simplify(operation, whole);
        }
        paths.insert(template.to_owned(), operations);
    }
    let mut paths = Value::Object(paths);
    let mut schemas = Map::new();
    let mut wanted = references(&paths);
    while let Some(reference) = wanted.pop() {
        let name = reference.rsplit('/').next().expect("a name").to_owned();
        if !schemas.contains_key(&name) {
            let schema = whole["components"]["schemas"][&name].clone();
            wanted.extend(references(&schema));
            schemas.insert(name, schema);
        }
    }
    let mut schemas = Value::Object(schemas);
    to_json_schema(&mut paths);
    to_json_schema(&mut schemas);
    json!({"paths": paths, "components": {"schemas": schemas}})
}

/// Resolves the references of an operation's answers and keeps one example of each.
fn simplify(operation: &mut Value, whole: &Value) {
    let Some(responses) = operation
        .get_mut("responses")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    for response in responses.values_mut() {
        *response = resolved(response, whole);
        let Some(content) = response
            .get_mut("content")
            .and_then(|content| content.get_mut("application/json"))
        else {
            continue;
        };
        let example = match content.get("examples").and_then(Value::as_object) {
            // A file's content has four examples, one for each kind of entry; files are what is asked for.
            Some(examples) => examples
                .iter()
                .find(|(name, _)| name.ends_with("file"))
                .or_else(|| examples.iter().next())
                .map(|(_, example)| example)
                .map(|example| resolved(example, whole)["value"].clone()),
            None => content.get("example").cloned(),
        };
        *content = json!({"schema": content["schema"], "example": example});
    }
}

fn resolved(value: &Value, whole: &Value) -> Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => whole
            .pointer(reference.trim_start_matches('#'))
            .expect("the description holds what it names")
            .clone(),
        None => value.clone(),
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| match value {
                Value::String(text) if key == "$ref" && text.contains("/schemas/") => {
                    vec![text.clone()]
                }
                other => references(other),
            })
            .collect(),
        Value::Array(list) => list.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// OpenAPI 3.0 says `nullable` where JSON Schema says a type of null.
fn to_json_schema(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                if key != "example" {
                    to_json_schema(inner);
                }
            }
            if map.get("nullable") == Some(&Value::Bool(true)) {
                map.remove("nullable");
                let inner = Value::Object(std::mem::take(map));
                map.insert("anyOf".to_owned(), json!([inner, {"type": "null"}]));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(to_json_schema),
        _ => {}
    }
}
