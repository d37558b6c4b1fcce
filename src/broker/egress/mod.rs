//! The only road out of the walls: a process of its own that judges every request, holds the secrets and puts them on the wire.
//! It must never forward a request that the verdict did not allow, and nothing in it may look like a way round.
//!
//! `process` is what callers use, `setup` what they hand over, `log` and `denials` what they get back.

pub mod denials;
pub mod error;
pub mod log;
pub mod model_traffic;
pub mod process;
pub mod serve;
pub mod setup;
