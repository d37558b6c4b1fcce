//! What was typed. Options work before and after each other.
//! It must never read the environment or a file; what a word means here is for the rooms to say.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, FromArgMatches, Parser, Subcommand, ValueEnum};

/// Runs a coding agent in CI locked in by the kernel, and posts its work as a draft pull request for a human to release.
#[derive(Debug, Parser)]
#[command(name = "tagout", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of the contract.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// From an event to a draft pull request, in one process tree
    Run(RunArgs),
    /// Phase 1 of run: the agent works, the changes are sealed in a bundle
    Execute(ExecuteArgs),
    /// Phase 2 of run: the bundle is verified, checked and proposed
    Publish(PublishArgs),
    /// Judges whether a human has released a pull request
    Approval(ApprovalArgs),
    /// Runs one command inside the walls
    Sandbox(SandboxArgs),
    /// Serves the allowlisted network on a loopback port
    Egress(EgressArgs),
    /// Checks, shows and tests policies
    Policy {
        /// What to do with it.
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Runs the publisher's checks on commits of any repository
    Check(CheckArgs),
    /// Cleans a text as the model would read it, or as we would post it
    Sanitize(SanitizeArgs),
    /// Says what this host can enforce
    Doctor(DoctorArgs),
    /// Prints the tasks that came due as a matrix for GitHub Actions
    Plan(PlanArgs),
    /// Shows what a run left
    Report(ReportArgs),
    /// The built-in agent; meant to be started inside the walls
    Agent(AgentArgs),
    /// The whole job on a sample repository; needs no account, no key, no network
    Demo(DemoArgs),
}

/// Where a proposal goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Forge {
    /// GitHub, by its API.
    Github,
    /// A branch in the repository, the report beside it.
    Local,
}

/// A token other than `GITHUB_TOKEN` to publish with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PublishWith {
    /// An App's.
    App,
    /// A person's.
    Pat,
}

/// Options of `run`, `execute` and `publish`.
#[derive(Clone, Debug, Args)]
pub struct JobArgs {
    /// The event's payload [default: GITHUB_EVENT_PATH]
    #[arg(long, value_name = "FILE")]
    pub event: Option<PathBuf>,
    /// What to do, when no event asks for it
    #[arg(long, value_name = "TEXT")]
    pub task: Option<String>,
    /// A policy file instead of the base commit's; only without GITHUB_ACTIONS
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Where the proposal goes [default: github in GitHub Actions, else local]
    #[arg(long, value_enum)]
    pub forge: Option<Forge>,
    /// The repository
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub repo: PathBuf,
    /// Where the run leaves its journal, report, patch and bundle [default: a fresh folder]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    pub json: bool,
    /// A variable whose value a credential or the model key may use; repeatable
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<String>,
    /// run, publish: publish with such a token although what it pushes starts workflows at once
    #[arg(long, value_enum, value_name = "TOKEN")]
    pub publish_with: Option<PublishWith>,
    /// Fixes a name's address, as curl's option does; repeatable
    #[arg(long, value_name = "HOST:PORT:ADDR", hide = true)]
    pub resolve: Vec<String>,
}

/// `tagout run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Shared options.
    #[command(flatten)]
    pub job: JobArgs,
    /// The agent's command instead of the policy's
    #[arg(last = true, value_name = "AGENT")]
    pub agent: Vec<String>,
}

/// `tagout execute`.
#[derive(Clone, Debug, Args)]
pub struct ExecuteArgs {
    /// Shared options.
    #[command(flatten)]
    pub job: JobArgs,
    /// Where the sealed bundle is put
    #[arg(long, value_name = "DIR")]
    pub bundle: PathBuf,
    /// The agent's command instead of the policy's
    #[arg(last = true, value_name = "AGENT")]
    pub agent: Vec<String>,
}

/// `tagout publish`.
#[derive(Clone, Debug, Args)]
pub struct PublishArgs {
    /// Shared options.
    #[command(flatten)]
    pub job: JobArgs,
    /// The sealed bundle
    #[arg(long, value_name = "DIR")]
    pub bundle: PathBuf,
    /// The digest that the execute step handed over
    #[arg(long, value_name = "SHA256")]
    pub digest: String,
}

/// Whose token published what is judged, where it is not the one that judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PublishedWith {
    /// A workflow's own.
    GithubToken,
}

/// `tagout approval`.
#[derive(Clone, Debug, Args)]
pub struct ApprovalArgs {
    /// The event's payload [default: GITHUB_EVENT_PATH]
    #[arg(long, value_name = "FILE")]
    pub event: Option<PathBuf>,
    /// The pull request's number
    #[arg(long, value_name = "N")]
    pub pull: Option<u64>,
    /// Judge what GITHUB_TOKEN published with the token of an App
    #[arg(long, value_enum, value_name = "TOKEN")]
    pub published_with: Option<PublishedWith>,
    /// A policy file instead of the base commit's; only without GITHUB_ACTIONS
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// A level asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LevelChoice {
    /// The strongest that works.
    Auto,
    /// A root helper's walls.
    A,
    /// User namespaces.
    B,
    /// Landlock and seccomp.
    C,
    /// seccomp alone.
    D,
}

/// `tagout sandbox`.
#[derive(Clone, Debug, Args)]
pub struct SandboxArgs {
    /// The policy [default: the built-in defaults]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The folder that the command works in
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub workspace: PathBuf,
    /// Throw away what the command writes
    #[arg(long)]
    pub copy: bool,
    /// Exactly this level
    #[arg(long, value_enum, default_value = "auto")]
    pub level: LevelChoice,
    /// Fixes a name's address, as curl's option does; repeatable
    #[arg(long, value_name = "HOST:PORT:ADDR")]
    pub resolve: Vec<String>,
    /// Where to write what the walls say of the run
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// A variable whose value a credential may use; repeatable
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<String>,
    /// The command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

impl SandboxArgs {
    /// Reads the arguments of `tagout sandbox` without the tables of all other commands, which take as long to build as some
    /// walls to raise. None for any other command, and where the whole parser has something to say: a fault, or help.
    pub fn read_alone(mut arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        if arguments.nth(1)? != "sandbox" {
            return None;
        }
        let alone = Self::augment_args(clap::Command::new("sandbox").no_binary_name(true));
        let matches = alone.try_get_matches_from(arguments).ok()?;
        Self::from_arg_matches(&matches).ok()
    }
}

/// `tagout egress`.
#[derive(Clone, Debug, Args)]
pub struct EgressArgs {
    /// The policy
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// A loopback address and port
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub listen: String,
    /// Fixes a name's address, as curl's option does; repeatable
    #[arg(long, value_name = "HOST:PORT:ADDR")]
    pub resolve: Vec<String>,
    /// Where to write the run's CA certificate
    #[arg(long, value_name = "FILE")]
    pub ca_out: Option<PathBuf>,
    /// Where to write the log, one JSON line a request
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Serve whoever connects
    #[arg(long)]
    pub no_auth: bool,
    /// A variable whose value a credential may use; repeatable
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<String>,
}

/// `tagout policy`.
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyCommand {
    /// Reads a policy and names every fault
    Check {
        /// The policy
        file: PathBuf,
    },
    /// Shows a policy with every default filled in
    Show {
        /// The policy
        file: PathBuf,
    },
    /// Judges requests: 'METHOD URL', or - for one a line on stdin
    Test {
        /// The policy
        file: PathBuf,
        /// The requests
        #[arg(required = true)]
        requests: Vec<String>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Shows what a changed policy would have said to the requests of a recorded log
    Replay {
        /// The log: `--log` of egress, or `egress.jsonl` of a run
        log: PathBuf,
        /// The changed policy
        #[arg(long, value_name = "FILE")]
        policy: PathBuf,
        /// One JSON object a line, for every request
        #[arg(long)]
        json: bool,
    },
    /// Prints the JSON Schema of the policy
    Schema,
    /// Prints a policy with every key and its default
    Init,
}

/// `tagout check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The commits
    #[arg(default_value = "HEAD~..HEAD")]
    pub range: String,
    /// The policy [default: .github/tagout.yml of the range's base]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long, conflicts_with = "sarif")]
    pub json: bool,
    /// Print SARIF on stdout
    #[arg(long)]
    pub sarif: bool,
}

/// `tagout sanitize`.
#[derive(Clone, Copy, Debug, Args)]
pub struct SanitizeArgs {
    /// As we would post it, instead of as the model would read it
    #[arg(long)]
    pub outgoing: bool,
}

/// `tagout doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// The policy to hold against this host
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Instead, try each installed tool against a server on loopback, through walls and egress
    #[arg(long, conflicts_with = "policy")]
    pub tools: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// `tagout plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// The policy whose tasks are looked at [default: .github/tagout.yml]
    #[arg(long, value_name = "FILE", conflicts_with = "organization")]
    pub policy: Option<PathBuf>,
    /// An organisation whose repositories are looked at, each with its own policy
    #[arg(long, value_name = "NAME")]
    pub organization: Option<String>,
    /// The time until which tasks are due, as 2026-01-31T10:20:30Z [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// The time after which tasks are due [default: an hour before]
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

/// `tagout report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// What a run left
    pub out_dir: PathBuf,
    /// Where to write the page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Where to write the Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

/// `tagout agent`.
#[derive(Clone, Debug, Args)]
pub struct AgentArgs {
    /// The task; without it, TAGOUT_PROMPT_FILE
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// A file with the task
    #[arg(long, value_name = "FILE")]
    pub prompt_file: Option<PathBuf>,
}

/// `tagout demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Where the demo leaves its files [default: a fresh folder]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sandbox_is_read_alone_as_with_all_commands() {
        for (line, there) in [
            ("tagout sandbox -- true", true),
            (
                "tagout sandbox --level c --copy --workspace=/w --json F -- a --copy -- b",
                true,
            ),
            (
                "tagout sandbox --secret A --secret B --resolve h:1:a --policy p -- x",
                true,
            ),
            ("tagout sandbox true", false),
            ("tagout sandbox --level e -- true", false),
            ("tagout sandbox --help", false),
            ("tagout sandbox", false),
            ("tagout doctor", false),
            ("tagout", false),
        ] {
            let words = || line.split(' ').map(OsString::from);
            let alone = SandboxArgs::read_alone(words()).map(|args| format!("{args:?}"));
            let whole = match Cli::try_parse_from(words()) {
                Ok(Cli {
                    command: Command::Sandbox(args),
                }) => Some(format!("{args:?}")),
                Ok(_) | Err(_) => None,
            };
            assert_eq!((&alone, alone.is_some()), (&whole, there), "{line}");
        }
    }
}
