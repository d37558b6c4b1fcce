//! The side outside the walls: it may hold secrets, prepares the run and believes nothing that comes from inside.
//! It must never run or interpret what the agent wrote.

pub mod agents;
pub mod approval;
pub mod attach;
pub mod bundle;
pub mod check;
pub mod collect;
pub mod doctor;
pub mod egress;
pub mod forge;
pub mod git;
pub mod job;
pub mod journal;
pub mod launch;
pub mod outputs;
pub mod patterns;
pub mod plan;
pub mod policies;
pub mod refusals;
pub mod registries;
pub mod reports;
pub mod sanitize;
pub mod surroundings;
pub mod toolchains;
pub mod workspace;
