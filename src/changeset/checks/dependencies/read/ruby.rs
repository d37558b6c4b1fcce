//! RubyGems: `Gemfile`, `Gemfile.lock` and gem specifications.

use std::collections::BTreeMap;

use super::{Contents, Dependency, within_quotes};

/// Words before the name of a gem.
const CALLS: [&str; 4] = [
    "gem",
    "add_dependency",
    "add_runtime_dependency",
    "add_development_dependency",
];

/// `Gemfile` and `*.gemspec`.
pub(super) fn manifest(text: &str, contents: &mut Contents) {
    for line in text.lines().map(str::trim) {
        let (word, rest) = line.split_once([' ', '(']).unwrap_or((line, ""));
        let call = word.rsplit('.').next().unwrap_or(word);
        if call == "source" {
            contents
                .registries
                .extend(within_quotes(rest).map(str::to_owned));
        } else if call == "extensions" {
            contents
                .scripts
                .insert(("extensions".to_owned(), rest.to_owned()));
        } else if CALLS.contains(&call)
            && let Some(name) = within_quotes(rest)
        {
            let mut texts = rest.split(['"', '\'']).skip(3).step_by(2);
            contents.add(Dependency {
                name: name.to_owned(),
                place: texts
                    .clone()
                    .find(|text| text.contains('/'))
                    .map(str::to_owned),
                version: texts.next().unwrap_or_default().to_owned(),
                sum: None,
            });
        }
    }
}

/// `Gemfile.lock`.
pub(super) fn lock(text: &str, contents: &mut Contents) {
    let sums: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.trim().split_once(" sha256="))
        .collect();
    let mut place = None;
    for line in text.lines() {
        if let Some(remote) = line.trim().strip_prefix("remote: ") {
            contents.registries.insert(remote.to_owned());
            place = Some(remote.to_owned());
        } else if line.starts_with("    ") && !line.starts_with("     ") {
            let line = line.trim();
            let (name, version) = line.split_once(' ').unwrap_or((line, ""));
            contents.add(Dependency {
                name: name.to_owned(),
                version: version.trim_matches(['(', ')']).to_owned(),
                place: place.clone(),
                sum: sums.get(line).map(|sum| (*sum).to_owned()),
            });
        }
    }
}
