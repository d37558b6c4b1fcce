//! What the schema knows and the program does not do yet. Such a value is refused, for a policy that is silently ignored
//! protects nobody. Whoever builds an effect takes its row out.

/// A key that takes only some of its values so far.
#[derive(Debug)]
pub struct NotYet {
    /// The dotted path of the key; `[]` stands for the items of a list.
    pub key: &'static str,
    /// The words that have their effect; empty for a list that must be empty.
    pub only: &'static [&'static str],
}

/// The table.
#[rustfmt::skip]
pub static NOT_YET: &[NotYet] = &[
    NotYet { key: "pull-request.draft", only: &["true"] },
];

/// The row of a key, if it has one.
#[must_use]
pub fn not_yet(key: &str) -> Option<&'static NotYet> {
    NOT_YET.iter().find(|row| row.key == key)
}
