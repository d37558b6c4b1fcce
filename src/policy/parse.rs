//! From YAML text to a `Policy`, with every fault on its place.
//! It must never accept a key that it does not know.

use super::model::{Place, Policy};

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

/// Reads a policy. `file` is its name as the user knows it.
///
/// # Errors
/// All faults of the file at once, in the order of their places.
pub fn parse(file: &str, _text: &str) -> Result<Policy, Vec<Fault>> {
    Err(vec![Fault {
        at: Place {
            file: file.into(),
            line: 1,
            column: 1,
        },
        what: "policies are not read yet".to_owned(),
        mend: "remove the file".to_owned(),
    }])
}
