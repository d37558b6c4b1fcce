//! Holds a tree against the description of the keys and names every fault.
//! It must never stop at the first one, nor let a key pass that the description does not know.

use super::yaml::{Mark, Node, Value, Wrong};
use crate::policy::host;
use crate::policy::keys::{Key, POLICY, Shape};
use crate::policy::{supported, units};

/// Names the faults of a whole policy.
pub(super) fn check(root: &Node, faults: &mut Vec<Wrong>) {
    let mut walk = Walk {
        path: String::new(),
        faults,
    };
    walk.section(root, POLICY);
}

struct Walk<'f> {
    /// The dotted path of the value under the eye, `[]` for list items and `*` for free names.
    path: String,
    faults: &'f mut Vec<Wrong>,
}

impl Walk<'_> {
    fn within(&mut self, part: &str, look: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if !self.path.is_empty() && part != "[]" {
            self.path.push('.');
        }
        self.path.push_str(part);
        look(self);
        self.path.truncate(length);
    }

    fn fault(&mut self, at: Mark, what: String, mend: String) {
        self.faults.push((at, what, mend));
    }

    /// `what` is wanted at the path; something else stands there.
    fn expected(&mut self, node: &Node, words: &str) {
        let key = self.name();
        self.fault(
            node.at,
            format!("{key} is {}", found(&node.value)),
            format!("write {words}"),
        );
    }

    fn refused(&mut self, at: Mark, (what, mend): host::Wrong) {
        let key = self.name();
        self.fault(at, format!("{key}: {what}"), mend);
    }

    fn name(&self) -> String {
        if self.path.is_empty() {
            "the policy".to_owned()
        } else {
            format!("`{}`", self.path)
        }
    }

    fn section(&mut self, node: &Node, keys: &'static [Key]) {
        let Value::Map(entries) = &node.value else {
            let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
            return self.expected(node, &format!("keys of its own: {}", names.join(", ")));
        };
        for (name_node, value) in entries {
            let Value::Text(name) = &name_node.value else {
                // The tree's own check has named it.
                continue;
            };
            match keys.iter().find(|key| key.name == name) {
                Some(key) => self.within(key.name, |walk| {
                    walk.value(value, &key.shape);
                    walk.supported(value);
                }),
                None => self.unknown(name_node.at, name, keys),
            }
        }
        for key in keys.iter().filter(|key| key.is_required()) {
            let written = entries
                .iter()
                .any(|(name, _)| matches!(&name.value, Value::Text(text) if text == key.name));
            if !written {
                let what = format!("{} has no `{}`", self.name(), key.name);
                self.fault(
                    node.at,
                    what,
                    format!("add `{}: {}`", key.name, key.example),
                );
            }
        }
    }

    fn unknown(&mut self, at: Mark, name: &str, keys: &'static [Key]) {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
        let what = if self.path.is_empty() {
            format!("unknown key `{shown}`")
        } else {
            format!("unknown key `{shown}` in `{}`", self.path)
        };
        let mend = match nearest(name, keys) {
            Some(near) => format!("write `{near}`, or remove it"),
            None => {
                let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
                format!("remove it; known here: {}", names.join(", "))
            }
        };
        self.fault(at, what, mend);
    }

    fn value(&mut self, node: &Node, shape: &'static Shape) {
        match (shape, &node.value) {
            (Shape::OrNull(_), Value::Null) => {}
            (Shape::OrNull(inner), _) => self.value(node, inner),
            (Shape::Section(keys), _) => self.section(node, keys),
            (Shape::List(each, least), Value::List(items)) => {
                if items.len() < *least {
                    let key = self.name();
                    self.fault(
                        node.at,
                        format!("{key} is empty"),
                        "name at least one, or leave the key out".to_owned(),
                    );
                }
                self.within("[]", |walk| {
                    items.iter().for_each(|item| walk.value(item, each))
                });
            }
            (Shape::Entries(name, each), Value::Map(entries)) => {
                for (key, value) in entries {
                    if let Value::Text(text) = &key.value
                        && let Err(wrong) = (name.check)(text)
                    {
                        self.refused(key.at, wrong);
                    }
                    self.within("*", |walk| walk.value(value, each));
                }
            }
            (Shape::OneOf(words), Value::Text(text)) if words.contains(&text.as_str()) => {}
            (Shape::OneOf(words), _) => {
                self.expected(node, &format!("one of {}", words.join(", ")))
            }
            (Shape::Flag, Value::Flag(_)) => {}
            (Shape::Flag, _) => self.expected(node, "true or false"),
            (Shape::Count(least, most), Value::Count(number))
                if (least..=most).contains(&number) => {}
            (Shape::Count(least, most), _) => self.expected(node, &count_words(*least, *most)),
            (Shape::Size(least, most), Value::Text(text)) => {
                self.bounded(node, units::size(text), *least, *most, &SIZE)
            }
            (Shape::Size(..), _) => self.expected(node, SIZE.words),
            (Shape::Duration(least, most), Value::Text(text)) => {
                let seconds = units::duration(text).map(|time| time.as_secs());
                self.bounded(node, seconds, *least, *most, &DURATION);
            }
            (Shape::Duration(..), _) => self.expected(node, DURATION.words),
            (Shape::Text(kind), Value::Text(text)) => {
                if let Err(wrong) = (kind.check)(text) {
                    self.refused(node.at, wrong);
                }
            }
            (Shape::Text(kind), Value::Flag(_) | Value::Count(_) | Value::OddNumber(_)) => {
                self.expected(node, &format!("{} in quotes", kind.words));
            }
            (Shape::Text(kind), Value::Null | Value::List(_) | Value::Map(_)) => {
                self.expected(node, kind.words)
            }
            (Shape::List(..), _) => self.expected(node, "a list, as in [a, b]"),
            (Shape::Entries(name, _), _) => {
                self.expected(node, &format!("entries, each under {}", name.words))
            }
        }
    }

    fn bounded(&mut self, node: &Node, value: Option<u64>, least: u64, most: u64, unit: &Unit) {
        match value {
            Some(value) if (least..=most).contains(&value) => {}
            Some(_) => {
                let words = format!(
                    "a value from {} to {}",
                    (unit.text)(least),
                    (unit.text)(most)
                );
                self.expected(node, &words);
            }
            None => self.expected(node, unit.words),
        }
    }

    fn supported(&mut self, node: &Node) {
        let Some(row) = supported::not_yet(&self.path) else {
            return;
        };
        let key = self.name();
        let (fine, mend) = match &node.value {
            Value::List(items) => (items.is_empty(), "leave it out".to_owned()),
            Value::Text(word) => (
                row.only.contains(&word.as_str()),
                format!("use {}", row.only.join(" or ")),
            ),
            Value::Flag(flag) => (
                row.only.contains(&flag.to_string().as_str()),
                format!("use {}", row.only.join(" or ")),
            ),
            // Anything else has the wrong type, which was named before.
            Value::Null | Value::Count(_) | Value::OddNumber(_) | Value::Map(_) => return,
        };
        if !fine {
            self.fault(
                node.at,
                format!(
                    "{key} is {}, which is not supported yet",
                    found(&node.value)
                ),
                mend,
            );
        }
    }
}

/// How a kind of number with a unit is written.
struct Unit {
    words: &'static str,
    text: fn(u64) -> String,
}

static SIZE: Unit = Unit {
    words: "a size with its unit, as 4GiB, 1MiB, 2KiB or 512B",
    text: units::size_text,
};

static DURATION: Unit = Unit {
    words: "a duration with its unit, as 20m, 90s or 1h",
    text: |seconds| units::duration_text(std::time::Duration::from_secs(seconds)),
};

fn count_words(least: u64, most: u64) -> String {
    match (least, most) {
        (1, 1) => "1".to_owned(),
        (_, u64::MAX) => format!("a whole number from {least}"),
        (_, _) => format!("a whole number from {least} to {most}"),
    }
}

/// What stands there, in words.
fn found(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Flag(flag) => format!("`{flag}`"),
        Value::Count(number) => format!("`{number}`"),
        Value::OddNumber(text) | Value::Text(text) => {
            let shown: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
            format!("`{shown}`")
        }
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    }
}

/// The known key that was probably meant.
fn nearest(name: &str, keys: &'static [Key]) -> Option<&'static str> {
    let name: String = name
        .chars()
        .take(64)
        .map(|c| {
            if c == '_' {
                '-'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect();
    let part = |key: &&Key| key.name.len() >= 4 && name.contains(key.name);
    keys.iter()
        .map(|key| (distance(&name, key.name), key.name))
        .filter(|(steps, key)| *steps <= 1 + key.len() / 3)
        .min()
        .map(|(_, key)| key)
        .or_else(|| keys.iter().find(part).map(|key| key.name))
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((to, above), diagonal) in b.iter().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or_default();
            let cost = usize::from(from != *to);
            next.push((above + 1).min(left + 1).min(diagonal + cost));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
