//! Reads manifests and lock files into names, versions, places and check sums, as far as a plain reader can.
//! It must never fail: what it cannot read gives no entries, and the file is still reported as changed.

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
    match name {
        "cargo.lock" | "poetry.lock" | "uv.lock" | "pdm.lock" => packages(text, &mut contents),
        "cargo.toml" => cargo(text, &mut contents),
        "pyproject.toml" | "pipfile" => python_manifest(text, &mut contents),
        "package.json" => package_json(text, &mut contents),
        "package-lock.json" | "npm-shrinkwrap.json" => package_lock(text, &mut contents),
        "yarn.lock" => yarn(text, &mut contents),
        "pnpm-lock.yaml" => pnpm(text, &mut contents),
        "go.mod" => go_mod(text, &mut contents),
        "go.sum" => go_sum(text, &mut contents),
        "gemfile.lock" => gemfile_lock(text, &mut contents),
        "composer.lock" => composer_lock(text, &mut contents),
        "packages.lock.json" => nuget_lock(text, &mut contents),
        _ if name.ends_with(".txt") => requirements(text, &mut contents),
        _ if name.ends_with(".gradle") || name.ends_with(".gradle.kts") => {
            gradle(text, &mut contents)
        }
        _ => return None,
    }
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

/// Lock files of blocks: `[[package]]`, then a line a key.
fn packages(text: &str, contents: &mut Contents) {
    let mut current = Dependency::default();
    for line in text.lines().chain(std::iter::once("[[package]]")) {
        if line.trim() == "[[package]]" {
            contents.add(std::mem::take(&mut current));
        } else if let Some(name) = quoted(line, "name") {
            name.clone_into(&mut current.name);
        } else if let Some(version) = quoted(line, "version") {
            version.clone_into(&mut current.version);
        } else if let Some(sum) = quoted(line, "checksum") {
            current.sum = Some(sum.to_owned());
        } else if let Some(place) = quoted(line, "source").or_else(|| {
            ["registry", "git", "url"].iter().find_map(|key| {
                line.trim_start()
                    .starts_with("source")
                    .then(|| inline(line, key))
                    .flatten()
            })
        }) {
            current.place = Some(place.to_owned());
        }
    }
}

fn cargo(text: &str, contents: &mut Contents) {
    let mut section = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            name.trim_matches(['[', ']']).clone_into(&mut section);
            let parts: Vec<&str> = section.split('.').collect();
            if let [.., table, name] = parts.as_slice()
                && table.ends_with("dependencies")
            {
                contents.add(Dependency {
                    name: name.trim_matches('"').to_owned(),
                    ..Dependency::default()
                });
            }
            continue;
        }
        let in_table = section.ends_with("dependencies")
            || section.starts_with("patch")
            || section == "replace";
        if let Some((name, rest)) = line.split_once('=')
            && in_table
            && !line.starts_with('#')
        {
            contents.add(Dependency {
                name: inline(rest, "package")
                    .unwrap_or(
                        name.trim()
                            .trim_matches('"')
                            .split('.')
                            .next()
                            .unwrap_or(name),
                    )
                    .to_owned(),
                version: inline(rest, "version")
                    .or_else(|| within_quotes(rest))
                    .unwrap_or_default()
                    .to_owned(),
                place: inline(rest, "git")
                    .or_else(|| inline(rest, "registry"))
                    .map(str::to_owned),
                sum: None,
            });
        }
        if let Some(script) = quoted(line, "build").filter(|_| section == "package") {
            contents
                .scripts
                .insert(("build".to_owned(), script.to_owned()));
        }
    }
}

fn python_manifest(text: &str, contents: &mut Contents) {
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

fn requirements(text: &str, contents: &mut Contents) {
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
        sum: None,
    });
}

/// Scripts that npm runs by itself at install (npm documentation, "scripts": life cycle).
const NPM_SCRIPTS: [&str; 7] = [
    "preinstall",
    "install",
    "postinstall",
    "prepare",
    "prepublish",
    "preprepare",
    "postprepare",
];

fn package_json(text: &str, contents: &mut Contents) {
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return;
    };
    for table in [
        "dependencies",
        "devDependencies",
        "optionalDependencies",
        "peerDependencies",
        "overrides",
        "resolutions",
    ] {
        for (name, value) in json
            .get(table)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let wanted = value.as_str().unwrap_or_default();
            let is_place = wanted.contains(':')
                && !wanted.starts_with("npm:")
                && !wanted.starts_with("workspace:")
                || wanted.contains('/') && !wanted.starts_with("npm:");
            contents.add(Dependency {
                name: wanted
                    .strip_prefix("npm:")
                    .and_then(|alias| alias.rsplit_once('@'))
                    .map_or(name.as_str(), |(real, _)| real)
                    .to_owned(),
                version: wanted.to_owned(),
                place: is_place.then(|| wanted.to_owned()),
                sum: None,
            });
        }
    }
    for (name, value) in json
        .get("scripts")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if NPM_SCRIPTS.contains(&name.as_str()) {
            contents.scripts.insert((name.clone(), value.to_string()));
        }
    }
}

fn text_of(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn package_lock(text: &str, contents: &mut Contents) {
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return;
    };
    for table in ["packages", "dependencies"] {
        for (path, value) in json
            .get(table)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let name = path
                .rsplit_once("node_modules/")
                .map_or(path.as_str(), |(_, name)| name);
            if value.get("hasInstallScript").and_then(Value::as_bool) == Some(true) {
                contents
                    .scripts
                    .insert(("install".to_owned(), name.to_owned()));
            }
            contents.add(Dependency {
                name: name.to_owned(),
                version: text_of(value, "version").unwrap_or_default(),
                place: text_of(value, "resolved"),
                sum: text_of(value, "integrity"),
            });
        }
    }
}

fn yarn(text: &str, contents: &mut Contents) {
    let mut current = Dependency::default();
    for line in text.lines() {
        if !line.starts_with([' ', '#']) && line.ends_with(':') {
            contents.add(std::mem::take(&mut current));
            let first = line
                .trim_matches(['"', ':'])
                .split(", ")
                .next()
                .unwrap_or(line);
            let at = first
                .char_indices()
                .skip(1)
                .find(|(_, c)| *c == '@')
                .map_or(first.len(), |(at, _)| at);
            first
                .get(..at)
                .unwrap_or(first)
                .clone_into(&mut current.name);
        }
        let value = |key: &str| {
            let rest = line
                .trim_start()
                .strip_prefix(key)?
                .trim_start_matches([' ', ':']);
            Some(rest.trim_matches('"').to_owned())
        };
        if line.starts_with("  ") && !line.starts_with("   ") {
            if let Some(version) = value("version") {
                current.version = version;
            }
            current.place = current
                .place
                .or_else(|| value("resolved").or_else(|| value("resolution")));
            current.sum = current
                .sum
                .or_else(|| value("integrity").or_else(|| value("checksum")));
        }
    }
    contents.add(current);
}

fn pnpm(text: &str, contents: &mut Contents) {
    let mut in_packages = false;
    let mut current = Dependency::default();
    for line in text.lines() {
        if !line.starts_with(' ') && !line.is_empty() {
            in_packages = line.starts_with("packages:");
            continue;
        }
        if !in_packages {
            continue;
        }
        let trimmed = line.trim();
        if line.starts_with("  ") && !line.starts_with("   ") && trimmed.ends_with(':') {
            contents.add(std::mem::take(&mut current));
            let key = trimmed.trim_matches([':', '\'', '"', '/']);
            let (name, version) = key
                .rsplit_once('@')
                .filter(|(name, _)| !name.is_empty())
                .unwrap_or((key, ""));
            name.clone_into(&mut current.name);
            version.clone_into(&mut current.version);
        }
        let after = |key: &str| {
            trimmed.split_once(key).map(|(_, rest)| {
                rest.split([',', '}'])
                    .next()
                    .unwrap_or(rest)
                    .trim()
                    .to_owned()
            })
        };
        current.sum = current.sum.or_else(|| after("integrity: "));
        current.place = current
            .place
            .or_else(|| after("tarball: ").or_else(|| after("repo: ")));
        if trimmed == "requiresBuild: true" {
            contents
                .scripts
                .insert(("install".to_owned(), current.name.clone()));
        }
    }
    contents.add(current);
}

fn go_mod(text: &str, contents: &mut Contents) {
    let mut block = "";
    for line in text.lines().map(str::trim) {
        let line = line.split("//").next().unwrap_or(line).trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        let (verb, rest) = match (block, words.as_slice()) {
            ("", [verb, "("]) => {
                block = match *verb {
                    "require" => "require",
                    "replace" => "replace",
                    _ => "other",
                };
                continue;
            }
            (_, [")"]) => {
                block = "";
                continue;
            }
            ("", [verb, rest @ ..]) => (*verb, rest),
            (block, rest) => (block, rest),
        };
        match (verb, rest) {
            ("require", [name, version, ..]) => contents.add(Dependency {
                name: (*name).to_owned(),
                version: (*version).to_owned(),
                ..Dependency::default()
            }),
            ("replace", [name, .., "=>", target]) | ("replace", [name, .., "=>", target, _]) => {
                contents.add(Dependency {
                    name: (*name).to_owned(),
                    place: Some(format!("replaced by {target}")),
                    ..Dependency::default()
                })
            }
            _ => {}
        }
    }
}

fn go_sum(text: &str, contents: &mut Contents) {
    for line in text.lines() {
        if let [name, version, sum] = line.split_whitespace().collect::<Vec<_>>().as_slice() {
            contents.add(Dependency {
                name: (*name).to_owned(),
                version: (*version).to_owned(),
                place: None,
                sum: Some((*sum).to_owned()),
            });
        }
    }
}

fn gemfile_lock(text: &str, contents: &mut Contents) {
    let mut place = None;
    for line in text.lines() {
        if let Some(remote) = line.trim().strip_prefix("remote: ") {
            contents.registries.insert(remote.to_owned());
            place = Some(remote.to_owned());
        } else if line.starts_with("    ") && !line.starts_with("     ") {
            let (name, version) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            contents.add(Dependency {
                name: name.to_owned(),
                version: version.trim_matches(['(', ')']).to_owned(),
                place: place.clone(),
                sum: None,
            });
        }
    }
}

fn composer_lock(text: &str, contents: &mut Contents) {
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return;
    };
    for table in ["packages", "packages-dev"] {
        for value in json
            .get(table)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let dist = value.get("dist").unwrap_or(&Value::Null);
            contents.add(Dependency {
                name: text_of(value, "name").unwrap_or_default(),
                version: text_of(value, "version").unwrap_or_default(),
                place: text_of(dist, "url"),
                sum: text_of(dist, "shasum").filter(|sum| !sum.is_empty()),
            });
        }
    }
}

fn nuget_lock(text: &str, contents: &mut Contents) {
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return;
    };
    let frameworks = json.get("dependencies").and_then(Value::as_object);
    for table in frameworks
        .into_iter()
        .flatten()
        .filter_map(|(_, table)| table.as_object())
    {
        for (name, value) in table {
            contents.add(Dependency {
                name: name.clone(),
                version: text_of(value, "resolved").unwrap_or_default(),
                place: None,
                sum: text_of(value, "contentHash"),
            });
        }
    }
}

fn gradle(text: &str, contents: &mut Contents) {
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
    {
        for item in line.split(['"', '\'']).skip(1).step_by(2) {
            if let [group, name, version] = item.split(':').collect::<Vec<_>>().as_slice() {
                contents.add(Dependency {
                    name: format!("{group}:{name}"),
                    version: (*version).to_owned(),
                    ..Dependency::default()
                });
            } else if item.contains("://") && (line.contains("url") || line.contains("maven")) {
                contents.registries.insert(item.to_owned());
            }
        }
    }
}
