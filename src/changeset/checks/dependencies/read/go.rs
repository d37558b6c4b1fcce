//! Go: `go.mod` and `go.sum`.

use super::{Contents, Dependency};

pub(super) fn manifest(text: &str, contents: &mut Contents) {
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

pub(super) fn sums(text: &str, contents: &mut Contents) {
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
