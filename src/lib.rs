//! The map of the house. Data walks one way:
//! event, gate, policy, workspace, walls and egress and agent, changes, checks, proposal, approval.
//!
//! `broker` runs outside and may hold secrets; `sandbox` and `agent` run inside and hold none. They meet only in `wire`.

pub mod agent;
pub mod broker;
pub mod changeset;
pub mod cli;
pub mod console;
pub mod demo;
pub mod event;
pub mod gate;
pub mod names;
pub mod outcome;
pub mod policy;
pub mod report;
pub mod sandbox;
pub mod sanitize;
pub mod scratch;
pub mod wire;
