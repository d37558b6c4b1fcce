//! Maven and Gradle.

use super::xml::{attribute, elements};
use super::{Contents, Dependency, inline, within_quotes};

/// `pom.xml`.
pub(super) fn maven(text: &str, contents: &mut Contents) {
    let mut current: Option<Dependency> = None;
    let mut group = "";
    for element in elements(text) {
        match (element.name, current.as_mut()) {
            ("dependency" | "plugin" | "parent" | "extension", _) => {
                group = "";
                current = Some(Dependency::default());
            }
            ("/dependency" | "/plugin" | "/parent" | "/extension", Some(_)) => {
                contents.add(current.take().unwrap_or_default());
            }
            ("groupId", Some(_)) => group = element.text,
            ("artifactId", Some(dependency)) if dependency.name.is_empty() => {
                // A plugin without a group is one of Maven's own.
                let group = if group.is_empty() {
                    "org.apache.maven.plugins"
                } else {
                    group
                };
                dependency.name = format!("{group}:{}", element.text);
            }
            ("version", Some(dependency)) => element.text.clone_into(&mut dependency.version),
            ("url", None) if element.text.contains("://") => {
                contents.registries.insert(element.text.to_owned());
            }
            _ => {}
        }
    }
}

/// Build scripts of Gradle, in Groovy or Kotlin.
pub(super) fn gradle(text: &str, contents: &mut Contents) {
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
    {
        if let Some(rest) = line
            .strip_prefix("id")
            .filter(|rest| rest.starts_with([' ', '(']))
            && let Some(name) = within_quotes(rest.trim_start_matches([' ', '(']))
        {
            let version = rest.split_once("version").map_or("", |(_, rest)| rest);
            contents.add(Dependency {
                name: name.to_owned(),
                version: within_quotes(version.trim_start_matches([' ', '(']))
                    .unwrap_or_default()
                    .to_owned(),
                ..Dependency::default()
            });
        }
        for item in line.split(['"', '\'']).skip(1).step_by(2) {
            if let [group, name, version, ..] = item.split(':').collect::<Vec<_>>().as_slice() {
                contents.add(Dependency {
                    name: format!("{group}:{name}"),
                    version: (*version).to_owned(),
                    ..Dependency::default()
                });
            } else if item.contains("://")
                && ["url", "maven", "uri"]
                    .iter()
                    .any(|word| line.contains(word))
            {
                contents.registries.insert(item.to_owned());
            }
        }
    }
}

/// `gradle.lockfile`.
pub(super) fn gradle_lock(text: &str, contents: &mut Contents) {
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let item = line.split('=').next().unwrap_or(line);
        if let [group, name, version] = item.split(':').collect::<Vec<_>>().as_slice() {
            contents.add(Dependency {
                name: format!("{group}:{name}"),
                version: (*version).to_owned(),
                ..Dependency::default()
            });
        }
    }
}

/// `libs.versions.toml`.
pub(super) fn catalog(text: &str, contents: &mut Contents) {
    for line in text.lines().map(str::trim) {
        let Some((_, rest)) = line.split_once('=') else {
            continue;
        };
        let whole = within_quotes(rest).unwrap_or_default();
        let module = inline(rest, "module")
            .map(str::to_owned)
            .or_else(|| {
                Some(format!(
                    "{}:{}",
                    inline(rest, "group")?,
                    inline(rest, "name")?
                ))
            })
            .or_else(|| inline(rest, "id").map(str::to_owned));
        let parts: Vec<&str> = whole.split(':').collect();
        let (name, version) = match (module, parts.as_slice()) {
            (Some(module), _) => (module, inline(rest, "version").unwrap_or_default()),
            (None, [group, name, version]) => (format!("{group}:{name}"), *version),
            (None, _) => continue,
        };
        contents.add(Dependency {
            name,
            version: version.to_owned(),
            ..Dependency::default()
        });
    }
}

/// `gradle-wrapper.properties`: which Gradle is fetched and run.
pub(super) fn wrapper(text: &str, contents: &mut Contents) {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.replace("\\:", ":"))
    };
    let url = value("distributionUrl").unwrap_or_default();
    contents.add(Dependency {
        name: "gradle".to_owned(),
        version: url.clone(),
        place: Some(url).filter(|url| !url.is_empty()),
        sum: value("distributionSha256Sum"),
    });
}

/// `verification-metadata.xml`: the check sums that Gradle demands.
pub(super) fn verification(text: &str, contents: &mut Contents) {
    let mut current = Dependency::default();
    for element in elements(text) {
        let value = |name: &str| {
            attribute(element.attributes, name)
                .unwrap_or_default()
                .to_owned()
        };
        match element.name {
            "component" => {
                current.name = format!("{}:{}", value("group"), value("name"));
                current.version = value("version");
            }
            "artifact" => {
                let of = format!("{} {}", current.version, value("name"));
                current.sum = None;
                current.place = Some(of);
            }
            "sha256" | "sha512" => {
                let artifact = current.place.clone().unwrap_or_default();
                contents.add(Dependency {
                    name: current.name.clone(),
                    version: artifact,
                    place: None,
                    sum: Some(value("value")),
                });
            }
            _ => {}
        }
    }
}
