//! The main job: from an event to a proposal, each step taking what the step before made.
//! It must never let the agent start before the gate has admitted the event, nor publish what the checks have not passed.

pub mod end;
pub mod inside;
pub mod record;
