//! NuGet: project files, `packages.config`, `nuget.config` and `packages.lock.json`.

use serde_json::Value;

use super::xml::{attribute, elements};
use super::{Contents, Dependency, text_of};

/// Files of MSBuild and NuGet, which are XML.
pub(super) fn manifest(text: &str, contents: &mut Contents) {
    for element in elements(text) {
        let value = |name: &str| attribute(element.attributes, name).map(str::to_owned);
        match element.name {
            "PackageReference" | "PackageVersion" | "GlobalPackageReference" | "package" => {
                let name = value("Include")
                    .or_else(|| value("Update"))
                    .or_else(|| value("id"));
                contents.add(Dependency {
                    name: name.unwrap_or_default(),
                    version: value("Version")
                        .or_else(|| value("version"))
                        .unwrap_or_default(),
                    ..Dependency::default()
                });
            }
            "add" => contents
                .registries
                .extend(value("value").filter(|value| value.contains("://"))),
            "RestoreSources" | "RestoreAdditionalProjectSources" => {
                let sources = element.text.split(';').map(str::trim);
                contents.registries.extend(
                    sources
                        .filter(|source| source.contains("://"))
                        .map(str::to_owned),
                );
            }
            "Exec" => {
                let command = value("Command").unwrap_or_default();
                contents.scripts.insert(("Exec".to_owned(), command));
            }
            _ => {}
        }
    }
}

/// `packages.lock.json`.
pub(super) fn lock(text: &str, contents: &mut Contents) {
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
