//! `extends`: one tree made of several files, each of which was held against the description on its own.
//! It must never read a file: what can be named is compiled in, so that nothing but the program and the trusted commit
//! decides.

use super::yaml::{self, Node, Value, Wrong};

/// Policies that every other one can build on, with their names.
pub const BUILT_IN: &[(&str, &str)] = &[(
    "maintenance",
    include_str!("../../../policies/maintenance.yml"),
)];

/// The trees that a policy extends, in order, their marks numbered from 1, and their names.
///
/// # Errors
/// What is wrong in a built-in policy, which a test keeps from happening.
pub(super) fn trees(names: &[String]) -> Result<Vec<(String, Node)>, Wrong> {
    let mut found = Vec::new();
    for name in names {
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| known == name) {
            let (mut node, _) = yaml::read(text)?;
            let number = u16::try_from(found.len() + 1).unwrap_or(u16::MAX);
            renumber(&mut node, number);
            found.push((format!("built-in policy {name}"), node));
        }
    }
    Ok(found)
}

fn renumber(node: &mut Node, file: u16) {
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
