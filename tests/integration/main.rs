//! What is seen from outside: the binary's commands, and the plan of the house.

mod agent;
mod agents;
mod approval;
mod bundle;
mod changes;
mod check;
mod demo;
mod documents;
mod egress;
mod event;
mod gate;
mod gate_context;
mod gate_events;
mod gate_pins;
mod github;
#[path = "../github/mod.rs"]
mod github_server;
mod house;
mod job;
mod job_github;
mod job_threads;
mod job_verify;
mod local_forge;
mod model_sdks;
mod model_traffic;
mod plan;
mod policy;
mod publisher;
mod readings;
mod registries;
mod sandbox;
mod sanitize;
mod supervisor;
mod verdict;
mod workflows;
mod workspace;
