//! Reads manifests and lock files into names, versions, places and check sums, as far as a plain reader can.
//! It must never fail: what it cannot read gives no entries, and the file is still reported as changed.

mod cargo;
mod composer;
mod go;
mod jvm;
mod npm;
mod nuget;
mod python;
mod ruby;
mod xml;

use std::collections::BTreeSet;

use serde_json::Value;

/// Most entries that are read of one file.
const ENTRIES_MAX: usize = 50_000;

/// One dependency of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// A version, or what a manifest demands.
    pub(super) version: String,
    /// Where it comes from, if the file says so: a URL, a git address, a path.
    pub(super) place: Option<String>,
    /// What the content must be, if the file says so.
    pub(super) sum: Option<String>,
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) dependencies: BTreeSet<Dependency>,
    /// Addresses of registries that the file itself names.
    pub(super) registries: BTreeSet<String>,
    /// Commands that run at install, with their names.
    pub(super) scripts: BTreeSet<(String, String)>,
}

/// Reads a file by its name in lower case; none where its form is not known.
pub(super) fn read(name: &str, text: &str) -> Option<Contents> {
    let mut contents = Contents::default();
    let reader: fn(&str, &mut Contents) = match name {
        "cargo.lock" => cargo::lock,
        "cargo.toml" => cargo::manifest,
        "poetry.lock" | "uv.lock" | "pdm.lock" => python::lock,
        "pipfile.lock" => python::pipfile_lock,
        "pyproject.toml" | "pipfile" => python::manifest,
        "pip.conf" => python::settings,
        "package.json" => npm::manifest,
        "package-lock.json" | "npm-shrinkwrap.json" => npm::lock,
        "yarn.lock" => npm::yarn,
        "pnpm-lock.yaml" => npm::pnpm,
        "bun.lock" => npm::bun,
        "go.mod" => go::manifest,
        "go.sum" => go::sums,
        "gemfile" => ruby::manifest,
        "gemfile.lock" => ruby::lock,
        "composer.json" => composer::manifest,
        "composer.lock" => composer::lock,
        "packages.lock.json" => nuget::lock,
        "packages.config" | "nuget.config" => nuget::manifest,
        "pom.xml" => jvm::maven,
        "gradle.lockfile" => jvm::gradle_lock,
        "libs.versions.toml" => jvm::catalog,
        "gradle-wrapper.properties" => jvm::wrapper,
        "verification-metadata.xml" => jvm::verification,
        _ if name.ends_with(".txt") => python::requirements,
        _ if name.ends_with(".gradle") || name.ends_with(".gradle.kts") => jvm::gradle,
        _ if name.ends_with(".gemspec") => ruby::manifest,
        _ if name.ends_with("proj") || name.ends_with(".props") || name.ends_with(".targets") => {
            nuget::manifest
        }
        _ => return None,
    };
    reader(text, &mut contents);
    Some(contents)
}

impl Contents {
    fn add(&mut self, dependency: Dependency) {
        if self.dependencies.len() < ENTRIES_MAX && !dependency.name.is_empty() {
            self.dependencies.insert(dependency);
        }
    }
}

/// The value of `key = "value"`.
fn quoted<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let rest = line.trim().strip_prefix(key)?.trim_start();
    within_quotes(rest.strip_prefix('=')?)
}

fn within_quotes(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    text.get(1..)?.split(quote).next()
}

/// The `key = "value"` somewhere in an inline table.
fn inline<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.match_indices(key).find_map(|(at, _)| {
        let before = line.get(..at)?.chars().next_back();
        let stands_alone = before.is_none_or(|c| matches!(c, '{' | ',' | ' ' | '\t'));
        let rest = line.get(at + key.len()..)?.trim_start();
        within_quotes(rest.strip_prefix('=').filter(|_| stands_alone)?)
    })
}

/// The entries of the tables with these names.
fn tables<'a>(json: &'a Value, names: &'a [&str]) -> impl Iterator<Item = (&'a String, &'a Value)> {
    names
        .iter()
        .filter_map(|name| json.get(name).and_then(Value::as_object))
        .flatten()
}

fn text_of(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}
