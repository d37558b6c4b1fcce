//! npm, Yarn, pnpm and Bun: `package.json` and the lock files.

use serde_json::Value;

use super::{Contents, Dependency, tables, text_of};

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

/// `package.json`.
pub(super) fn manifest(text: &str, contents: &mut Contents) {
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return;
    };
    let dependencies = [
        "dependencies",
        "devDependencies",
        "optionalDependencies",
        "peerDependencies",
        "overrides",
        "resolutions",
    ];
    for (name, value) in tables(&json, &dependencies) {
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
    for (name, value) in tables(&json, &["scripts"]) {
        if NPM_SCRIPTS.contains(&name.as_str()) {
            contents.scripts.insert((name.clone(), value.to_string()));
        }
    }
}

/// `package-lock.json` and `npm-shrinkwrap.json`.
pub(super) fn lock(text: &str, contents: &mut Contents) {
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return;
    };
    for (path, value) in tables(&json, &["packages", "dependencies"]) {
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

/// `yarn.lock`, of both forms.
pub(super) fn yarn(text: &str, contents: &mut Contents) {
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

/// `pnpm-lock.yaml`.
pub(super) fn pnpm(text: &str, contents: &mut Contents) {
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

/// `bun.lock`: a name, then `name@version`, the registry if it is another, and the check sum, in a list.
pub(super) fn bun(text: &str, contents: &mut Contents) {
    let Ok(json) = serde_json::from_str::<Value>(&without_last_commas(text)) else {
        return;
    };
    for (_, value) in tables(&json, &["packages"]) {
        let part = |at: usize| value.get(at).and_then(Value::as_str).unwrap_or_default();
        let (name, version) = part(0).rsplit_once('@').unwrap_or((part(0), ""));
        let place = [part(1), version]
            .into_iter()
            .find(|text| text.contains("://"));
        contents.add(Dependency {
            name: name.to_owned(),
            version: version.to_owned(),
            place: place.map(str::to_owned),
            sum: Some(part(3).to_owned()).filter(|sum| !sum.is_empty()),
        });
    }
}

/// JSON as Bun writes it, with a comma behind the last entry, as JSON.
fn without_last_commas(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_string = false;
    let mut escaped = false;
    for c in text.chars() {
        if !in_string && matches!(c, '}' | ']') {
            let kept = out.trim_end().len();
            if out[..kept].ends_with(',') {
                out.truncate(kept - 1);
            }
        }
        if c == '"' && !escaped {
            in_string = !in_string;
        }
        escaped = c == '\\' && !escaped;
        out.push(c);
    }
    out
}
