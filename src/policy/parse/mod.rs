//! From YAML text to a `Policy`, with every fault on its place.
//! It must never accept a key that it does not know.
//!
//! The text becomes a tree with places (`yaml`), the tree is held against the description of the keys (`shape`) and
//! against itself (`across`), together with what it extends (`extend`), and only a tree without a fault becomes a policy (`decode`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::model::{Place, Policy};
use yaml::{Mark, Node};

mod across;
pub(crate) mod decode;
pub mod extend;
mod shape;
pub mod yaml;

/// One thing wrong with a policy file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}:{}: {what}; {mend}", at.file, at.line, at.column)]
pub struct Fault {
    /// Where.
    pub at: Place,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

/// Most faults that are named; a file with more is read again after these are mended.
pub const FAULTS_MAX: usize = 100;

/// Reads a policy. `file` is its name as the user knows it.
///
/// # Errors
/// All faults of the file at once (at most [`FAULTS_MAX`]), in the order of their places.
pub fn parse(file: &str, text: &str) -> Result<Policy, Vec<Fault>> {
    parse_placed(file, text).map(|(policy, _places)| policy)
}

/// Files of the commit that a policy may build on, by their paths, with their texts.
pub type Others = BTreeMap<String, String>;

/// As [`parse`], for a policy that builds on other files of the same commit; see [`extend::files`].
///
/// # Errors
/// As [`parse`], each fault at its place in its own file.
pub fn parse_whole(file: &str, text: &str, others: &Others) -> Result<Policy, Vec<Fault>> {
    parse_whole_placed(file, text, others).map(|(policy, _places)| policy)
}

/// Where the keys of a policy are written.
#[derive(Clone, Debug)]
pub struct Places {
    keys: HashMap<String, Place>,
    first: Place,
}

impl Places {
    /// Those of a policy that nobody wrote.
    #[must_use]
    pub fn none() -> Self {
        Self {
            keys: HashMap::new(),
            first: Policy::default().network.at,
        }
    }

    /// The place of a key by its dotted path, if it is written.
    #[must_use]
    pub fn written(&self, key: &str) -> Option<&Place> {
        self.keys.get(key)
    }

    /// The place of a key by its dotted path, or of the nearest key around it that is written, or the first line.
    #[must_use]
    pub fn of(&self, key: &str) -> Place {
        let mut key = key;
        loop {
            if let Some(place) = self.keys.get(key) {
                return place.clone();
            }
            match key.rsplit_once('.') {
                Some((around, _)) => key = around,
                None => return self.first.clone(),
            }
        }
    }
}

/// As [`parse`], with the places of the keys, for warnings.
///
/// # Errors
/// As [`parse`].
pub fn parse_placed(file: &str, text: &str) -> Result<(Policy, Places), Vec<Fault>> {
    parse_whole_placed(file, text, &Others::new())
}

/// As [`parse_whole`], with the places of the keys.
///
/// # Errors
/// As [`parse_whole`].
pub fn parse_whole_placed(
    file: &str,
    text: &str,
    others: &Others,
) -> Result<(Policy, Places), Vec<Fault>> {
    let mut files = Files(vec![Arc::from(file)]);
    read(&mut files, text, others).map_err(|mut wrongs| {
        wrongs.sort();
        wrongs.dedup();
        wrongs.truncate(FAULTS_MAX);
        let fault = |(at, what, mend): yaml::Wrong| Fault {
            at: files.place(at),
            what,
            mend,
        };
        wrongs.into_iter().map(fault).collect()
    })
}

/// The names of the files that a policy is made of, the policy itself first.
struct Files(Vec<Arc<str>>);

impl Files {
    fn add(&mut self, name: &str) -> u16 {
        self.0.push(Arc::from(name));
        u16::try_from(self.0.len() - 1).unwrap_or(u16::MAX)
    }

    fn place(&self, at: Mark) -> Place {
        let named = self.0.get(usize::from(at.file)).or(self.0.first());
        Place {
            file: named.map_or_else(|| Arc::from(""), Arc::clone),
            line: at.line,
            column: at.column,
        }
    }

    fn first_line(&self) -> Place {
        self.place(Mark {
            file: 0,
            line: 1,
            column: 1,
        })
    }
}

/// The policy and what it builds on, while they become one tree.
struct Joining<'a> {
    files: &'a mut Files,
    others: &'a Others,
    /// Files of the repository that are open now, from the policy down.
    open: Vec<String>,
    named: usize,
    wrongs: Vec<yaml::Wrong>,
}

impl Joining<'_> {
    /// One text held against the description, laid over what it extends. None where it is no YAML.
    fn tree(&mut self, number: u16, text: &str) -> Option<Node> {
        let in_file = |(mut at, what, mend): yaml::Wrong| {
            at.file = number;
            (at, what, mend)
        };
        let (mut root, mut found) = match yaml::read(text) {
            Ok(read) => read,
            Err(wrong) => {
                self.wrongs.push(in_file(wrong));
                return None;
            }
        };
        shape::check(&root, &mut found);
        if found.is_empty()
            && let Err(wrong) = yaml::agree(text, &root)
        {
            found.push(wrong);
        }
        self.wrongs.extend(found.into_iter().map(in_file));
        extend::renumber(&mut root, number);
        let mut under: Option<Node> = None;
        for (word, at) in extend::words(&root) {
            let Some(node) = self.named(&word, at) else {
                continue;
            };
            under = Some(match under {
                Some(under) => extend::lay_over(under, node),
                None => node,
            });
        }
        Some(match under {
            Some(under) => extend::lay_over(under, root),
            None => root,
        })
    }

    fn named(&mut self, word: &str, at: Mark) -> Option<Node> {
        let mut wrong = |what: &str, mend: &str| {
            self.wrongs
                .push((at, format!("`{word}` {what}"), mend.to_owned()));
        };
        if let Some((_, text)) = extend::BUILT_IN.iter().find(|(name, _)| *name == word) {
            let number = self.files.add(&format!("built-in policy {word}"));
            return self.tree(number, text);
        }
        if !extend::is_file(word) {
            // It was told when the list was held against the description.
            return None;
        }
        if self.open.iter().any(|open| open == word) {
            wrong("extends itself in the end", "take it out of the circle");
            return None;
        }
        self.named += 1;
        if self.named > extend::FILES_MAX {
            wrong(
                "is one file too many",
                "build on fewer files; sixteen is the most",
            );
            return None;
        }
        let Some(text) = self.others.get(word) else {
            wrong(
                "is not a readable file of the commit that the policy is of",
                "name a file that is there, by its path from the root of the repository",
            );
            return None;
        };
        let number = self.files.add(word);
        self.open.push(word.to_owned());
        let node = self.tree(number, text);
        self.open.pop();
        node
    }
}

fn read(
    files: &mut Files,
    text: &str,
    others: &Others,
) -> Result<(Policy, Places), Vec<yaml::Wrong>> {
    let own = files.0.first().map(ToString::to_string);
    let mut joining = Joining {
        files,
        others,
        open: own.into_iter().collect(),
        named: 0,
        wrongs: Vec::new(),
    };
    let whole = joining.tree(0, text);
    let mut faults = joining.wrongs;
    let Some(whole) = whole else {
        return Err(faults);
    };
    across::check(files, &whole, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut places = Places {
        keys: HashMap::new(),
        first: files.first_line(),
    };
    decode::places(files, &whole, "", &mut places.keys);
    Ok((decode::decode(files, &whole), places))
}
