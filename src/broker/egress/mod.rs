//! The only road out of the walls: a process of its own that judges every request, holds the secrets and puts them on the wire.
//! It must never forward a request that the verdict did not allow, and nothing in it may look like a way round.
//!
//! `process` is what callers use, `setup` what they hand over, `log` and `denials` what they get back.

mod ahead;
mod authority;
mod body;
mod budget;
pub mod command;
pub mod denials;
mod door;
pub mod error;
mod exchange;
pub mod fetch;
mod guard;
mod head;
mod headers;
mod hello;
#[doc(hidden)]
pub mod hostile;
mod intake;
mod keystore;
mod lockdown;
pub mod log;
mod log_writer;
mod model_exchange;
mod model_gate;
pub mod model_traffic;
pub mod origin;
pub mod process;
mod proxy;
mod refusal;
pub mod replay;
mod resolve;
mod road;
mod roots;
mod scrub;
mod sending;
pub mod serve;
pub mod setup;
mod socks;
mod target;
mod ticket;
mod tunnel;
mod upgrade;
mod upstream;
