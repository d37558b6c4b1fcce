//! From YAML text to a `Policy`, with every fault on its place.
//! It must never accept a key that it does not know.
//!
//! The text becomes a tree with places (`yaml`), the tree is held against the description of the keys (`shape`) and
//! against itself (`across`), together with what it extends (`extend`), and only a tree without a fault becomes a policy (`decode`).

use std::collections::HashMap;
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
    let mut files = Files(vec![Arc::from(file)]);
    read(&mut files, text).map_err(|mut wrongs| {
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

fn read(files: &mut Files, text: &str) -> Result<(Policy, Places), Vec<yaml::Wrong>> {
    let (root, mut faults) = yaml::read(text).map_err(|wrong| vec![wrong])?;
    shape::check(&root, &mut faults);
    if faults.is_empty() {
        yaml::agree(text, &root).map_err(|wrong| vec![wrong])?;
    }
    let names = decode::Section::of(&root, files)
        .texts("extends")
        .unwrap_or_default();
    let mut whole: Option<Node> = None;
    for (name, node) in extend::trees(&names).map_err(|wrong| vec![wrong])? {
        files.0.push(Arc::from(name));
        whole = Some(match whole {
            Some(under) => extend::lay_over(under, node),
            None => node,
        });
    }
    let whole = match whole {
        Some(under) => extend::lay_over(under, root),
        None => root,
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
