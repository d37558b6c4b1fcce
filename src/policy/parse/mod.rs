//! From YAML text to a `Policy`, with every fault on its place.
//! It must never accept a key that it does not know.
//!
//! The text becomes a tree with places (`yaml`), the tree is held against the description of the keys (`shape`) and
//! against itself (`across`), and only a tree without a fault becomes a policy (`decode`).

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

fn read(file: &Arc<str>, text: &str) -> Result<Policy, Vec<yaml::Wrong>> {
    let (root, mut faults) = yaml::read(text).map_err(|wrong| vec![wrong])?;
    shape::check(&root, &mut faults);
    across::check(file, &root, &mut faults);
    if faults.is_empty() {
        yaml::agree(text, &root).map_err(|wrong| vec![wrong])?;
        Ok(decode::decode(file, &root))
    } else {
        Err(faults)
    }
}
