//! Picks what was asked for and turns its end into an exit code.
//! It must pick its side (inside or outside) before any thread exists.

use std::ffi::OsStr;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use tagout::agent;
use tagout::broker::surroundings::Surroundings;
use tagout::broker::{check, doctor, egress, job, plan, policies, reports, sanitize};
use tagout::cli::{Cli, Command, SandboxArgs};
use tagout::console;
use tagout::demo;
use tagout::outcome::Outcome;
use tagout::wire;

/// Version and commit, for `--version`.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("TAGOUT_COMMIT"), ")");

fn main() -> ExitCode {
    if std::env::args_os().nth(1).as_deref() == Some(OsStr::new(wire::EGRESS_WORD)) {
        return egress::serve::main();
    }
    if std::env::args_os().nth(1).as_deref() == Some(OsStr::new(wire::LAUNCH_WORD)) {
        return tagout::sandbox::hidden::main();
    }
    if std::env::args_os().nth(1).as_deref() == Some(OsStr::new(wire::ESCAPE_WORD)) {
        return tagout::sandbox::escape::main();
    }
    if std::env::args_os().nth(1).as_deref() == Some(OsStr::new(wire::HELPER_WORD)) {
        return tagout::sandbox::helper::main();
    }
    let command = match SandboxArgs::read_alone(std::env::args_os()) {
        Some(args) => Command::Sandbox(args),
        None => match parse() {
            Ok(cli) => cli.command,
            Err(error) => return usage(&error),
        },
    };
    match command {
        Command::Approval(args) => code(tagout::broker::approval::command(&args)),
        Command::Policy { command } => policies::run(&command),
        Command::Sandbox(args) => ExitCode::from(tagout::broker::launch::sandbox(
            &args,
            // What is cloned inside must never have held a secret, and this process has its environment.
            if args.secrets.is_empty() {
                tagout::sandbox::launch::run
            } else {
                tagout::sandbox::apart::run
            },
        )),
        Command::Report(args) => code(reports::command(&args)),
        Command::Check(args) => code(check::command(&args)),
        Command::Sanitize(args) => code(sanitize::command(args)),
        Command::Demo(args) => ExitCode::from(demo::run(&args)),
        Command::Agent(args) => ExitCode::from(agent::run(&args)),
        Command::Egress(args) => ExitCode::from(egress::command::run(&args)),
        Command::Run(args) => code(job::run(&args, &Surroundings::read())),
        Command::Execute(args) => code(job::execute(&args, &Surroundings::read())),
        Command::Publish(args) => code(job::publish(&args, &Surroundings::read())),
        Command::Plan(args) => code(plan::command(&args)),
        Command::Doctor(args) => code(doctor::command(&args)),
    }
}

fn parse() -> Result<Cli, clap::Error> {
    let matches = Cli::command().version(VERSION).try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

fn code(outcome: Outcome) -> ExitCode {
    ExitCode::from(outcome.code())
}

/// Help and version go to stdout and end in 0; a wrong argument goes to stderr and ends in 2.
/// Inside `sandbox` every fault of ours is 125, so that a script can tell it from the command's own code.
fn usage(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if error.use_stderr() {
        console::notice(&text);
        let sandbox = std::env::args_os()
            .nth(1)
            .is_some_and(|word| word == "sandbox");
        let code = if sandbox {
            tagout::outcome::sandbox_code::OURS
        } else {
            Outcome::Usage.code()
        };
        return ExitCode::from(code);
    }
    console::answer(&text);
    ExitCode::SUCCESS
}
