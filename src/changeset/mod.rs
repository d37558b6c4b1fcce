//! What an agent changed, as plain data, and what is wrong with it.
//! It must never read a file: whoever collects hands the bytes in.
//!
//! `change` is the data, `path` the only way to a file name, `checks` the only way to `Checked`,
//! which is what a forge publishes. `bundle` is the same data as a document that passes between two jobs.

pub mod annotations;
pub mod bundle;
pub mod change;
pub mod checks;
pub mod diff;
pub mod finding;
pub mod path;
pub mod sarif;
pub mod triggers;
pub mod workflows;
