//! What the maintainers allow: read from a trusted commit, parsed, validated, and asked for verdicts.
//! It must never read a file, a clock, the network or the environment, and never the branch under work.

#![deny(clippy::wildcard_enum_match_arm, clippy::indexing_slicing)]

pub mod address;
pub mod cron;
pub mod defaults;
pub mod endpoint;
pub mod host;
mod index;
pub mod keys;
pub mod lint;
pub mod model;
pub mod parse;
pub mod path;
pub mod registry;
pub mod request;
pub mod schema;
pub mod show;
pub mod supported;
pub mod texts;
pub mod units;
pub mod verdict;
pub mod words;
