//! Which rules of one host cover a path, found without asking each of thousands.
//! It must never find a rule that `path::covers` would not, nor miss one.

use std::collections::HashMap;

use super::model::PathPattern;

/// The rules of one host.
#[derive(Clone, Debug, Default)]
pub(super) struct PathIndex {
    /// All of them, in the order of the file.
    all: Vec<usize>,
    /// Those without paths.
    open: Vec<usize>,
    root: Node,
}

/// What can follow a part of a path.
#[derive(Clone, Debug, Default)]
struct Node {
    literal: HashMap<Box<str>, Node>,
    /// `*`.
    any: Option<Box<Node>>,
    /// Rules whose `**` stands here.
    rest: Vec<usize>,
    /// Rules whose path ends here.
    end: Vec<usize>,
}

impl PathIndex {
    /// Adds a rule by its number.
    pub(super) fn add(&mut self, rule: usize, paths: &[PathPattern]) {
        self.all.push(rule);
        if paths.is_empty() {
            self.open.push(rule);
        }
        for path in paths {
            self.root.add(rule, path);
        }
    }

    /// All rules, in the order of the file.
    pub(super) fn all(&self) -> &[usize] {
        &self.all
    }

    /// Rules that allow every path.
    pub(super) fn open(&self) -> &[usize] {
        &self.open
    }

    /// Calls a function with each rule of which a path covers this one, which must be plain and normal.
    pub(super) fn each_covering(&self, path: &str, look: &mut impl FnMut(usize)) {
        let mut nodes = vec![&self.root];
        let mut each = |rules: &[usize]| rules.iter().for_each(|rule| look(*rule));
        for segment in path.split('/').skip(1) {
            let mut next = Vec::with_capacity(2);
            for node in nodes {
                each(&node.rest);
                next.extend(node.literal.get(segment));
                next.extend(node.any.as_deref().filter(|_| !segment.is_empty()));
            }
            nodes = next;
        }
        nodes.into_iter().for_each(|node| each(&node.end));
    }
}

impl Node {
    fn add(&mut self, rule: usize, path: &PathPattern) {
        let mut node = self;
        for segment in path.0.split('/').skip(1) {
            node = match segment {
                "**" => {
                    node.rest.push(rule);
                    return;
                }
                "*" => node.any.get_or_insert_default(),
                literal => node.literal.entry(Box::from(literal)).or_default(),
            };
        }
        node.end.push(rule);
    }
}
