//! What the maintainers allow: read from a trusted commit, parsed, validated, and asked for verdicts.
//! It must never read a file, a clock, the network or the environment, and never the branch under work.

pub mod model;
pub mod parse;
pub mod verdict;
