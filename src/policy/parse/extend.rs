//! `extends`: one tree made of several files, each of which was held against the description on its own.
//! It must never read a file: what can be named is compiled in, so that nothing but the program and the trusted commit
//! decides.

use super::yaml::{self, Mark, Node, Value};

/// Policies that every other one can build on, with their names.
pub const BUILT_IN: &[(&str, &str)] = &[(
    "maintenance",
    include_str!("../../../policies/maintenance.yml"),
)];

/// Files of the repository that one policy is made of at most, each counted as often as it is named.
pub const FILES_MAX: usize = 16;
/// Bytes of the longest path of such a file.
const PATH_BYTES_MAX: usize = 200;

/// Whether a word names a file that can be built on: a YAML file below `.github/`, by a path that can be read in one way.
#[must_use]
pub fn is_file(word: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    word.len() <= PATH_BYTES_MAX
        && word.strip_prefix(".github/").is_some_and(|rest| {
            rest.split('/').all(plain) && (rest.ends_with(".yml") || rest.ends_with(".yaml"))
        })
}

/// The files of the repository that a policy names under `extends`, each once. What is wrong with it is not said here.
#[must_use]
pub fn files(text: &str) -> Vec<String> {
    let Ok((root, _)) = yaml::read(text) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (word, _) in words(&root) {
        if is_file(&word) && !found.contains(&word) {
            found.push(word);
        }
    }
    found
}

/// The words under `extends`, with their places.
pub(super) fn words(root: &Node) -> Vec<(String, Mark)> {
    let Value::Map(entries) = &root.value else {
        return Vec::new();
    };
    let is_extends = |key: &Node| key.value == Value::Text("extends".to_owned());
    let listed = entries.iter().find(|(key, _)| is_extends(key));
    let Some((
        _,
        Node {
            value: Value::List(items),
            ..
        },
    )) = listed
    else {
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| match &item.value {
            Value::Text(word) => Some((word.clone(), item.at)),
            Value::Null
            | Value::Flag(_)
            | Value::Count(_)
            | Value::OddNumber(_)
            | Value::List(_)
            | Value::Map(_) => None,
        })
        .collect()
}

/// Says of a tree which file it is of.
pub(super) fn renumber(node: &mut Node, file: u16) {
    node.at.file = file;
    match &mut node.value {
        Value::Null | Value::Flag(_) | Value::Count(_) | Value::OddNumber(_) | Value::Text(_) => {}
        Value::List(items) => items.iter_mut().for_each(|item| renumber(item, file)),
        Value::Map(entries) => {
            for (key, value) in entries {
                renumber(key, file);
                renumber(value, file);
            }
        }
    }
}

/// Lays one tree over another: maps are merged, lists are added to, and everything else is replaced.
pub(super) fn lay_over(under: Node, over: Node) -> Node {
    let value = match (under.value, over.value) {
        (Value::Map(mut entries), Value::Map(others)) => {
            for (key, value) in others {
                match entries.iter().position(|(known, _)| *known == key) {
                    Some(index) => {
                        let (_, below) = entries.remove(index);
                        entries.insert(index, (key, lay_over(below, value)));
                    }
                    None => entries.push((key, value)),
                }
            }
            Value::Map(entries)
        }
        (Value::List(mut items), Value::List(others)) => {
            for item in others {
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            Value::List(items)
        }
        (_, value) => value,
    };
    Node { at: over.at, value }
}
