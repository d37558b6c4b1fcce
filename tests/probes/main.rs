//! The proof of the walls: every attack as a process of its own, judged from outside.
//!
//! `cargo test --test probes` runs everything; `-- --peer bwrap` (or `firejail`) runs the same cases behind another program
//! and prints a table. The program is its own attacker: `probes inside CASE AIM`.
#![expect(
    clippy::print_stdout,
    reason = "a test program speaks to whoever runs it"
)]

mod aim;
mod case;
mod cases;
mod document;
mod launch;
mod leftovers;
mod matrix;
mod peers;
mod raw;
mod rows;
mod samples;
mod stage;
mod tests;
mod usable;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some("inside") => aim::attack(&arguments[1..]).map_err(|error| error.to_string()),
        Some("victim") => cases::victim(arguments.get(1).map_or("", String::as_str))
            .map_err(|error| error.to_string()),
        Some("--peer") => tests::compare(&arguments[1..]),
        _ => tests::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}
