//! From YAML text to a `Policy`, with every fault on its place.
//! It must never accept a key that it does not know.
//!
//! The text becomes a tree with places (`yaml`), the tree is held against the description of the keys (`shape`) and
//! against itself (`across`), and only a tree without a fault becomes a policy (`decode`).

use std::collections::HashMap;
use std::sync::Arc;

use super::model::{Place, Policy};

mod across;
pub(crate) mod decode;
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
    let file: Arc<str> = Arc::from(file);
    read(&file, text).map_err(|mut wrongs| {
        wrongs.sort();
        wrongs.dedup();
        wrongs.truncate(FAULTS_MAX);
        let fault = |(at, what, mend): yaml::Wrong| Fault {
            at: Place {
                file: Arc::clone(&file),
                line: at.line,
                column: at.column,
            },
            what,
            mend,
        };
        wrongs.into_iter().map(fault).collect()
    })
}

fn read(file: &Arc<str>, text: &str) -> Result<(Policy, Places), Vec<yaml::Wrong>> {
    let (root, mut faults) = yaml::read(text).map_err(|wrong| vec![wrong])?;
    shape::check(&root, &mut faults);
    across::check(file, &root, &mut faults);
    if faults.is_empty() {
        yaml::agree(text, &root).map_err(|wrong| vec![wrong])?;
        let mut places = Places {
            keys: HashMap::new(),
            first: Place {
                file: Arc::clone(file),
                line: 1,
                column: 1,
            },
        };
        decode::places(file, &root, "", &mut places.keys);
        Ok((decode::decode(file, &root), places))
    } else {
        Err(faults)
    }
}
