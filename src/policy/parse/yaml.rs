//! YAML, and nothing else of the policy: a tree with places from one parser's events, held against the values that a
//! second parser reads. It must never accept what the two read differently, nor grow beyond its bounds.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Largest policy in bytes.
pub const TEXT_BYTES_MAX: usize = 256 << 10;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 32;
/// Most values, those repeated by aliases counted each time.
pub const NODES_MAX: usize = 100_000;
/// Most bytes of text, those repeated by aliases counted each time.
pub const EXPANDED_BYTES_MAX: usize = 1 << 20;

/// A file by its number, a line and a column, the latter from one, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    /// 0 is the policy itself; those that it extends follow.
    pub(super) file: u16,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Mark,
    pub(super) value: Value,
}

/// A value of YAML 1.2's core schema.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Flag(bool),
    /// A plain decimal number.
    Count(u64),
    /// A number in another notation, or negative, or broken; as written.
    OddNumber(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// What is wrong, where, and how to mend it.
pub(super) type Wrong = (Mark, String, String);

/// Size of a subtree with every alias expanded.
#[derive(Clone, Copy, Default)]
struct Extent {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

enum Frame {
    List(Mark, usize, Vec<Node>, Extent),
    Map(Mark, usize, Vec<(Node, Node)>, Option<Node>, Extent),
}

/// The tree of a text, and the faults that do not hinder reading on (duplicate keys).
///
/// # Errors
/// What is not YAML, more than one document, tags, and everything over a bound.
pub(super) fn read(text: &str) -> Result<(Node, Vec<Wrong>), Wrong> {
    let start = Mark {
        file: 0,
        line: 1,
        column: 1,
    };
    if text.len() > TEXT_BYTES_MAX {
        let what = format!("the file is larger than {} KiB", TEXT_BYTES_MAX >> 10);
        return Err((start, what, "shorten it".to_owned()));
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => builder.take(event, mark(span))?,
            Err(error) => {
                let at = inside(text, error.marker().line(), error.marker().col() + 1);
                let what = format!("this is not YAML: {}", error.info());
                return Err((
                    at,
                    what,
                    "mend the indentation, quotes or brackets here".to_owned(),
                ));
            }
        }
    }
    let node = builder.root.unwrap_or(Node {
        at: start,
        value: Value::Null,
    });
    let mut faults = Vec::new();
    check_keys(&node, &mut faults);
    Ok((node, faults))
}

/// Holds the tree against what the second parser reads.
///
/// # Errors
/// Where they differ, or the second one's refusal.
pub(super) fn agree(text: &str, node: &Node) -> Result<(), Wrong> {
    let mend = || "write it in a plainer form of YAML".to_owned();
    let value: serde_yaml::Value = serde_yaml::from_str(text).map_err(|error| {
        let at = error.location().map_or(node.at, |place| Mark {
            file: 0,
            line: number(place.line()),
            column: number(place.column()),
        });
        (at, "a second YAML reader refuses this".to_owned(), mend())
    })?;
    match difference(node, &value) {
        None => Ok(()),
        Some(at) => Err((
            at,
            "two YAML readers read this differently".to_owned(),
            mend(),
        )),
    }
}

/// The JSON value of a short YAML text of our own; nothing where it is empty.
pub(in crate::policy) fn json(text: &str) -> Option<serde_json::Value> {
    if text.is_empty() {
        return None;
    }
    serde_yaml::from_str(text).ok()
}

/// Any YAML document as plain values, bounded as a policy is; none where it cannot be read. Of a key that stands twice
/// the last counts, and keys that are no text are left out: for looking at files that others wrote, never for a policy.
#[must_use]
pub fn document(text: &str) -> Option<serde_json::Value> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    read(text).ok().map(|(node, _)| plain(&node))
}

fn plain(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Flag(flag) => (*flag).into(),
        Value::Count(count) => (*count).into(),
        Value::OddNumber(text) | Value::Text(text) => text.as_str().into(),
        Value::List(list) => list.iter().map(plain).collect(),
        Value::Map(map) => map
            .iter()
            .filter_map(|(key, value)| match &key.value {
                Value::Text(key) => Some((key.clone(), plain(value))),
                Value::Flag(flag) => Some((flag.to_string(), plain(value))),
                Value::Null
                | Value::Count(_)
                | Value::OddNumber(_)
                | Value::List(_)
                | Value::Map(_) => None,
            })
            .collect(),
    }
}

/// The YAML text of a value.
///
/// # Errors
/// What the serialiser refuses; none of our own values is.
pub fn write(value: &impl serde::Serialize) -> Result<String, serde_yaml::Error> {
    serde_yaml::to_string(value)
}

/// A place of the file. What is missing at its end is missing on its last line, not behind it.
fn inside(text: &str, line: usize, column: usize) -> Mark {
    let (last, words) = text.lines().enumerate().last().unwrap_or_default();
    if line > last + 1 {
        return Mark {
            file: 0,
            line: number(last + 1),
            column: number(words.chars().count() + 1),
        };
    }
    Mark {
        file: 0,
        line: number(line),
        column: number(column),
    }
}

fn mark(span: Span) -> Mark {
    Mark {
        file: 0,
        line: number(span.start.line()),
        column: number(span.start.col() + 1),
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn refuse<T>(at: Mark, what: &str, mend: &str) -> Result<T, Wrong> {
    Err((at, what.to_owned(), mend.to_owned()))
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    anchors: HashMap<usize, (Node, Extent)>,
    total: Extent,
    root: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Mark) -> Result<(), Wrong> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                if self.root.is_some() {
                    return refuse(
                        at,
                        "a second document starts here",
                        "keep one document and remove the others",
                    );
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                no_tag(tag.as_deref(), at)?;
                let extent = Extent {
                    nodes: 1,
                    bytes: text.len(),
                    depth: 0,
                };
                self.add(
                    Node {
                        at,
                        value: scalar(&text, style),
                    },
                    anchor,
                    extent,
                )
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some((node, extent)) => {
                    let (extent, within) = (*extent, self.fits(*extent));
                    let node = within.then(|| Node {
                        at,
                        value: node.value.clone(),
                    });
                    match node {
                        Some(node) => self.add(node, 0, extent),
                        None => refuse(
                            at,
                            "the aliases expand beyond all bounds",
                            "write the values out",
                        ),
                    }
                }
                None => refuse(
                    at,
                    "the alias leads to itself or to nothing",
                    "write the value out",
                ),
            },
            Event::SequenceStart(anchor, tag) => {
                no_tag(tag.as_deref(), at)?;
                self.open(Frame::List(at, anchor, Vec::new(), Extent::default()), at)
            }
            Event::MappingStart(anchor, tag) => {
                no_tag(tag.as_deref(), at)?;
                self.open(
                    Frame::Map(at, anchor, Vec::new(), None, Extent::default()),
                    at,
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn open(&mut self, frame: Frame, at: Mark) -> Result<(), Wrong> {
        if self.stack.len() >= DEPTH_MAX {
            return refuse(
                at,
                "this is nested too deeply",
                "a policy needs no such depth; remove it",
            );
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Wrong> {
        let (node, anchor, extent) = match self.stack.pop() {
            Some(Frame::List(at, anchor, items, extent)) => (
                Node {
                    at,
                    value: Value::List(items),
                },
                anchor,
                extent,
            ),
            Some(Frame::Map(at, anchor, entries, _, extent)) => (
                Node {
                    at,
                    value: Value::Map(entries),
                },
                anchor,
                extent,
            ),
            None => return Ok(()),
        };
        let extent = Extent {
            nodes: extent.nodes + 1,
            depth: extent.depth + 1,
            ..extent
        };
        // What is inside was counted as it came.
        self.total.nodes = self.total.nodes.saturating_sub(extent.nodes - 1);
        self.total.bytes = self.total.bytes.saturating_sub(extent.bytes);
        self.add(node, anchor, extent)
    }

    fn fits(&self, extent: Extent) -> bool {
        self.total.nodes.saturating_add(extent.nodes) <= NODES_MAX
            && self.total.bytes.saturating_add(extent.bytes) <= EXPANDED_BYTES_MAX
            && self.stack.len() + extent.depth <= DEPTH_MAX
    }

    fn add(&mut self, node: Node, anchor: usize, extent: Extent) -> Result<(), Wrong> {
        if !self.fits(extent) {
            return refuse(node.at, "the file has too many values", "shorten it");
        }
        self.total.nodes += extent.nodes;
        self.total.bytes += extent.bytes;
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), extent));
        }
        let grow = |all: &mut Extent| {
            all.nodes += extent.nodes;
            all.bytes += extent.bytes;
            all.depth = all.depth.max(extent.depth);
        };
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List(_, _, items, all)) => {
                grow(all);
                items.push(node);
            }
            Some(Frame::Map(_, _, entries, key, all)) => {
                grow(all);
                match key.take() {
                    None => *key = Some(node),
                    Some(name) => entries.push((name, node)),
                }
            }
        }
        Ok(())
    }
}

/// Faults of the keys of a whole tree: duplicates, and keys that are no text.
fn check_keys(node: &Node, faults: &mut Vec<Wrong>) {
    match &node.value {
        Value::Null | Value::Flag(_) | Value::Count(_) | Value::OddNumber(_) | Value::Text(_) => {}
        Value::List(items) => items.iter().for_each(|item| check_keys(item, faults)),
        Value::Map(entries) => {
            let mut seen: HashMap<&str, Mark> = HashMap::with_capacity(entries.len());
            for (key, value) in entries {
                if let Value::Text(name) = &key.value {
                    if let Some(first) = seen.insert(name, key.at) {
                        let what = format!(
                            "`{name}` stands here a second time; the first is at line {}",
                            first.line
                        );
                        faults.push((key.at, what, "remove one of them".to_owned()));
                    }
                } else {
                    faults.push((
                        key.at,
                        "this key is not a word".to_owned(),
                        "write it in quotes or remove it".to_owned(),
                    ));
                }
                check_keys(value, faults);
            }
        }
    }
}

fn no_tag(tag: Option<&saphyr_parser::Tag>, at: Mark) -> Result<(), Wrong> {
    match tag {
        None => Ok(()),
        Some(_) => refuse(
            at,
            "a tag stands here, and a policy has none",
            "remove the word that starts with !",
        ),
    }
}

/// The value of a scalar. Only a plain one can be something else than text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Flag(true),
        "false" | "False" | "FALSE" => Value::Flag(false),
        other => match other.parse::<u64>() {
            Ok(number) if number.to_string() == other => Value::Count(number),
            Ok(_) | Err(_) if is_number(other) => Value::OddNumber(other.to_owned()),
            Ok(_) | Err(_) => Value::Text(other.to_owned()),
        },
    }
}

/// Whether the second parser takes a plain scalar for a number, asked of itself.
fn is_number(text: &str) -> bool {
    text.len() <= 400
        && text.starts_with([
            '+', '-', '.', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
        ])
        && matches!(serde_yaml::from_str(text), Ok(serde_yaml::Value::Number(_)))
}

/// The first place where tree and value differ.
fn difference(node: &Node, value: &serde_yaml::Value) -> Option<Mark> {
    use serde_yaml::Value as Other;
    let same = match (&node.value, value) {
        (Value::Null, Other::Null) => true,
        (Value::Flag(ours), Other::Bool(theirs)) => ours == theirs,
        (Value::Count(ours), Other::Number(theirs)) => theirs.as_u64() == Some(*ours),
        (Value::OddNumber(_), Other::Number(_)) => true,
        (Value::Text(ours), Other::String(theirs)) => ours == theirs,
        (Value::List(ours), Other::Sequence(theirs)) => {
            if let Some(at) = ours
                .iter()
                .zip(theirs)
                .find_map(|(ours, theirs)| difference(ours, theirs))
            {
                return Some(at);
            }
            ours.len() == theirs.len()
        }
        (Value::Map(ours), Other::Mapping(theirs)) => {
            for ((key, value), (their_key, their_value)) in ours.iter().zip(theirs) {
                let found = difference(key, their_key).or_else(|| difference(value, their_value));
                if found.is_some() {
                    return found;
                }
            }
            ours.len() == theirs.len()
        }
        (
            Value::Null
            | Value::Flag(_)
            | Value::Count(_)
            | Value::OddNumber(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_),
            _,
        ) => false,
    };
    (!same).then_some(node.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::show::Tree;
    use proptest::prelude::*;

    /// Whether both readers accept the text and differ; that one of them refuses is no difference.
    fn differ(text: &str) -> bool {
        let Ok((node, faults)) = read(text) else {
            return false;
        };
        let value: Result<serde_yaml::Value, _> = serde_yaml::from_str(text);
        faults.is_empty() && value.is_ok_and(|value| difference(&node, &value).is_some())
    }

    /// Words of YAML in any order, most of them nonsense.
    fn soup() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just("version: 1"),
            Just("network:"),
            Just("  allow:"),
            Just("    - host: a.example"),
            Just("limits: {memory: 4GiB}"),
            Just("tasks: {a: {prompt: x}}"),
            Just("environment: {set: {A: "),
            Just("}}"),
            Just("'"),
            Just("\""),
            Just("&a"),
            Just("*a"),
            Just("- "),
            Just(": "),
            Just("|"),
            Just(">-"),
            Just("#"),
            Just("~"),
            Just("0x1"),
            Just("1e3"),
            Just("\t"),
            Just("[1, 2"),
            Just("]"),
            Just("? "),
            Just("!!str"),
            Just("---"),
            Just("\u{feff}"),
            Just("\u{85}"),
            Just("ü"),
            Just(".inf"),
            Just("+1"),
            Just("-1"),
            Just("007"),
            Just("yes"),
            Just("%YAML 1.1"),
        ];
        let space = prop_oneof![Just(""), Just(" "), Just("\n"), Just("\n  "), Just("\r\n")];
        proptest::collection::vec((word, space), 0..24).prop_map(|parts| {
            parts
                .into_iter()
                .map(|(word, space)| format!("{word}{space}"))
                .collect()
        })
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            Just(Tree::Null),
            any::<bool>().prop_map(Tree::Flag),
            any::<u64>().prop_map(Tree::Count),
            "[ -~]{0,12}".prop_map(Tree::Text),
            "[0-9a-fxobe+._~-]{1,8}".prop_map(Tree::Text),
            "(\n| |é|#|:|-|a){0,8}".prop_map(Tree::Text),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let names = proptest::collection::btree_map("[a-z ~0-9]{1,4}", inner.clone(), 0..5);
            prop_oneof![
                proptest::collection::vec(inner, 0..5).prop_map(Tree::List),
                names.prop_map(|entries| Tree::Map(entries.into_iter().collect())),
            ]
        })
    }

    fn same(node: &Node, tree: &Tree) -> bool {
        match (&node.value, tree) {
            (Value::Null, Tree::Null) => true,
            (Value::Flag(a), Tree::Flag(b)) => a == b,
            (Value::Count(a), Tree::Count(b)) => a == b,
            (Value::Text(a), Tree::Text(b)) => a == b,
            (Value::List(a), Tree::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Value::Map(a), Tree::Map(b)) => {
                let entry = |((key, value), (name, tree)): (&(Node, Node), &(String, Tree))| {
                    key.value == Value::Text(name.clone()) && same(value, tree)
                };
                a.len() == b.len() && a.iter().zip(b).all(entry)
            }
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_by_both_alike(tree in tree()) {
            let text = write(&tree).unwrap();
            let (node, _) = read(&text).unwrap();
            prop_assert!(same(&node, &tree), "{text}\n{node:?}");
            prop_assert!(agree(&text, &node).is_ok(), "{text}");
        }

        #[test]
        fn plain_scalars_are_read_alike(value in "[0-9a-fxobe+._~-]{1,12}") {
            for text in [format!("a: {value}"), format!("[{value}, {value}]"), format!("? {value}")] {
                prop_assert!(!differ(&text), "{text}");
            }
        }

        #[test]
        fn no_soup_of_yaml_is_read_in_two_ways(text in soup()) {
            if differ(&text) {
                // Whatever the readers differ on is refused, which is all that the policy needs.
                let (node, _) = read(&text).unwrap();
                prop_assert!(agree(&text, &node).is_err());
            }
        }
    }

    #[test]
    fn known_differences_are_refused_not_chosen_from() {
        let text = "a: 1\nb: \"x\"\n";
        let (mut node, _) = read(text).unwrap();
        assert_eq!(agree(text, &node), Ok(()));
        if let Value::Map(entries) = &mut node.value {
            entries[0].1.value = Value::Text("1".to_owned());
        }
        let (at, what, _) = agree(text, &node).unwrap_err();
        assert_eq!(
            (at.line, at.column, what.as_str()),
            (1, 4, "two YAML readers read this differently")
        );
    }
}
