//! Cargo: `Cargo.toml` and `Cargo.lock`.

use super::{Contents, Dependency, inline, quoted, within_quotes};

/// Lock files of blocks: `[[package]]`, then a line a key.
pub(super) fn lock(text: &str, contents: &mut Contents) {
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

pub(super) fn manifest(text: &str, contents: &mut Contents) {
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
