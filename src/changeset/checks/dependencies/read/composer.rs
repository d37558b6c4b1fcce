//! Composer: `composer.json` and `composer.lock`.

use serde_json::Value;

use super::{Contents, Dependency, tables, text_of};

/// Events at which Composer runs a command by itself (getcomposer.org, "Scripts").
const EVENTS: [&str; 10] = [
    "pre-install-cmd",
    "post-install-cmd",
    "pre-update-cmd",
    "post-update-cmd",
    "pre-autoload-dump",
    "post-autoload-dump",
    "post-root-package-install",
    "post-create-project-cmd",
    "pre-package-install",
    "post-package-install",
];

/// `composer.json`.
pub(super) fn manifest(text: &str, contents: &mut Contents) {
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return;
    };
    for (name, version) in tables(&json, &["require", "require-dev"]) {
        contents.add(Dependency {
            name: name.clone(),
            version: version.as_str().unwrap_or_default().to_owned(),
            ..Dependency::default()
        });
    }
    let list = json.get("repositories").and_then(Value::as_array);
    let named = tables(&json, &["repositories"]).map(|(_, repository)| repository);
    contents.registries.extend(
        list.into_iter()
            .flatten()
            .chain(named)
            .filter_map(|repository| text_of(repository, "url")),
    );
    for (name, command) in tables(&json, &["scripts"]) {
        if EVENTS.contains(&name.as_str()) {
            contents.scripts.insert((name.clone(), command.to_string()));
        }
    }
}

/// `composer.lock`.
pub(super) fn lock(text: &str, contents: &mut Contents) {
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
                place: text_of(dist, "url").or_else(|| text_of(value.get("source")?, "url")),
                sum: text_of(dist, "shasum").filter(|sum| !sum.is_empty()),
            });
        }
    }
}
