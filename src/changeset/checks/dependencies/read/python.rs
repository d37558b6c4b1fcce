//! Python: requirements, `pyproject.toml`, `Pipfile`, the lock files of poetry, uv, pdm and pipenv, and `pip.conf`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Contents, Dependency, inline, quoted, tables, text_of, within_quotes};

/// Lock files of blocks: `[[package]]`, then a line a key, with the files of the package and their check sums in a list.
pub(super) fn lock(text: &str, contents: &mut Contents) {
    let mut current = Dependency::default();
    let mut sums = BTreeSet::new();
    for line in text.lines().chain(std::iter::once("[[package]]")) {
        if line.trim() == "[[package]]" {
            current.sum = joined(&mut sums);
            contents.add(std::mem::take(&mut current));
            continue;
        }
        if let Some(name) = quoted(line, "name") {
            name.clone_into(&mut current.name);
        } else if let Some(version) = quoted(line, "version") {
            version.clone_into(&mut current.version);
        } else if let Some(place) = quoted(line, "url").or_else(|| source(line)) {
            current.place = Some(place.to_owned());
        } else if let Some(url) = inline(line, "url") {
            contents.registries.extend(origin(url));
        }
        sums.extend(inline(line, "hash").map(str::to_owned));
    }
}

/// The place in `source = { registry = "..." }`.
fn source(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("source").and_then(|rest| {
        ["registry", "git", "url", "path"]
            .iter()
            .find_map(|key| inline(rest, key))
    })
}

/// The scheme and host of an address: a registry may serve its files from another host than its index.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    Some(format!("{scheme}://{host}"))
}

fn joined(sums: &mut BTreeSet<String>) -> Option<String> {
    let sums = std::mem::take(sums);
    (!sums.is_empty()).then(|| sums.into_iter().collect::<Vec<_>>().join(" "))
}

/// The lock file of pipenv.
pub(super) fn pipfile_lock(text: &str, contents: &mut Contents) {
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return;
    };
    let sources = json.pointer("/_meta/sources").and_then(Value::as_array);
    contents.registries.extend(
        sources
            .into_iter()
            .flatten()
            .filter_map(|source| text_of(source, "url")),
    );
    for (name, value) in tables(&json, &["default", "develop"]) {
        let hashes = value.get("hashes").and_then(Value::as_array);
        let mut sums = hashes
            .into_iter()
            .flatten()
            .filter_map(|hash| hash.as_str().map(str::to_owned))
            .collect();
        contents.add(Dependency {
            name: name.clone(),
            version: text_of(value, "version").unwrap_or_default(),
            place: text_of(value, "git").or_else(|| text_of(value, "file")),
            sum: joined(&mut sums),
        });
    }
}

/// `pip.conf`: the registries that pip asks.
pub(super) fn settings(text: &str, contents: &mut Contents) {
    for line in text.lines() {
        if let Some((key, value)) = line.split_once('=')
            && matches!(key.trim(), "index-url" | "extra-index-url" | "find-links")
        {
            contents
                .registries
                .extend(value.split_whitespace().map(str::to_owned));
        }
    }
}

/// `pyproject.toml` and `Pipfile`.
pub(super) fn manifest(text: &str, contents: &mut Contents) {
    let mut section = String::new();
    let mut in_list = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') && !in_list {
            line.trim_matches(['[', ']']).clone_into(&mut section);
            continue;
        }
        if section.contains("source") || section.contains("index") {
            contents
                .registries
                .extend(quoted(line, "url").map(str::to_owned));
        }
        let opens = ["dependencies", "requires"]
            .iter()
            .any(|key| line.starts_with(key))
            || section.contains("optional-dependencies")
            || section == "dependency-groups";
        if in_list || opens && line.contains('[') {
            let items = if in_list {
                line
            } else {
                line.split_once('[').map_or("", |(_, rest)| rest)
            };
            for item in items.split(['"', '\'']).skip(1).step_by(2) {
                requirement(item, contents);
            }
            in_list =
                !items.contains(']') || items.trim_end().ends_with("],") && section.is_empty();
            continue;
        }
        let is_table = section.ends_with("dependencies")
            || section == "packages"
            || section == "dev-packages"
            || section.ends_with("sources");
        if let Some((name, rest)) = line.split_once('=').filter(|_| is_table) {
            contents.add(Dependency {
                name: name.trim().trim_matches('"').to_owned(),
                version: inline(rest, "version")
                    .or_else(|| within_quotes(rest))
                    .unwrap_or_default()
                    .to_owned(),
                place: inline(rest, "git")
                    .or_else(|| inline(rest, "url"))
                    .map(str::to_owned),
                sum: None,
            });
        }
    }
}

/// `requirements.txt` and its kin.
pub(super) fn requirements(text: &str, contents: &mut Contents) {
    let text = text.replace("\\\n", " ");
    for line in text.lines().map(str::trim) {
        if let Some(rest) = [
            "--index-url",
            "--extra-index-url",
            "-i ",
            "--find-links",
            "-f ",
        ]
        .iter()
        .find_map(|option| line.strip_prefix(option))
        {
            contents
                .registries
                .insert(rest.trim_start_matches(['=', ' ']).to_owned());
        } else if let Some(rest) = line
            .strip_prefix("-e")
            .or_else(|| line.strip_prefix("--editable"))
        {
            requirement(rest.trim_start_matches(['=', ' ']), contents);
        } else if !line.starts_with(['#', '-']) {
            requirement(line, contents);
        }
    }
}

/// One requirement as PEP 508 writes it, or an address.
fn requirement(text: &str, contents: &mut Contents) {
    let text = text.split(" #").next().unwrap_or(text).trim();
    let (text, hashes) = text.split_once(" --hash").unwrap_or((text, ""));
    let mut sums = hashes
        .split([' ', '='])
        .filter(|word| word.contains(':'))
        .map(str::to_owned)
        .collect();
    let is_place = |text: &str| text.contains("://");
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let (name, place) = if is_place(name) || rest.starts_with("://") || rest.starts_with('+') {
        (text, Some(text.to_owned()))
    } else {
        let place = rest
            .split_once('@')
            .map(|(_, place)| place.trim().to_owned());
        (name, place.filter(|place| is_place(place)))
    };
    contents.add(Dependency {
        name: name.to_lowercase().replace('_', "-"),
        version: rest.split(';').next().unwrap_or_default().trim().to_owned(),
        place,
        sum: joined(&mut sums),
    });
}
