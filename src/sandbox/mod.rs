//! The side inside the walls: raises them and runs commands in them. It holds no secret.
//! It must never fall to a weaker level than was asked for without saying so.
//!
//! The launcher (`launch`) makes a `scene` of the plan and starts the outer process (`stage`), which makes the namespaces,
//! starts the first process inside (`init`) and keeps the door. Each speaks to the launcher, which stays beside the run
//! (`watch`), through a `channel`.
//! A caller that held a secret has the launcher started afresh (`apart`), as the broker has (`hidden`).

pub mod apart;
pub mod audit;
pub mod channel;
pub mod claims;
pub mod copy;
pub mod doorkeeper;
pub mod ended;
pub mod escape;
pub mod git;
pub mod helper;
pub mod hidden;
pub mod identity;
pub mod init;
pub mod keeper;
pub mod launch;
pub mod limit;
pub mod meter;
pub mod protect;
pub mod relay;
pub mod resolver;
pub mod scene;
pub mod shared;
pub mod stage;
pub mod streams;
pub mod supervisor;
pub mod sweep;
pub mod system;
mod trust;
pub mod walls;
pub mod watch;
