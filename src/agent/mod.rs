//! The built-in agent, a program among others that is started when the walls stand: it asks a model, runs the tools that
//! the model calls, and tells what came of it.
//! It must never need a privilege that another agent would not have.

mod client;
mod fence;
mod history;
mod instructions;
pub mod patch;
mod protocol;
mod settings;
mod sse;
mod tools;
mod work;

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::AgentArgs;
use crate::console;
use crate::outcome::Outcome;
use settings::Settings;

/// Why the agent did not finish.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    /// A variable that tells where the model is is missing or wrong.
    #[error("the variable {0} is missing or wrong; `tagout run` sets it")]
    Variable(&'static str),
    /// There is nothing to do.
    #[error("no task: give --prompt or --prompt-file")]
    NoTask,
    /// The task cannot be read.
    #[error("cannot read the task in {}: {source}", path.display())]
    Prompt {
        path: PathBuf,
        source: std::io::Error,
    },
    /// There is no workspace.
    #[error("cannot find the current folder: {source}")]
    Workspace { source: std::io::Error },
    /// The HTTP client or its runtime cannot be made.
    #[error("cannot set up the connection to the model: {0}")]
    Setup(String),
    /// The egress refused.
    #[error("the policy does not let the model be asked ({code}): {sentence}")]
    Denied { code: String, sentence: String },
    /// The provider refused.
    #[error("the model's provider refused the request with {status}: {body}")]
    Refused { status: u16, body: String },
    /// The provider cannot be reached, or answers cannot be used, again and again.
    #[error("the model gave no usable answer after {attempts} attempts: {last}")]
    Unanswered { attempts: u32, last: String },
    /// The model says nothing.
    #[error("the model gave empty answers")]
    Silent,
    /// All turns are used.
    #[error("the limit of {0} turns is reached; the work so far is kept")]
    Turns(u32),
    /// All tokens are used.
    #[error("the limit of tokens is reached; the work so far is kept")]
    Tokens,
}

/// What the agent says of its work, in one line of JSON behind the mark that the broker gave.
#[derive(Clone, Debug, Default, Serialize)]
struct Told {
    title: String,
    summary: String,
    tests: Vec<String>,
    limit: Option<&'static str>,
    tokens: u64,
    turns: u32,
}

/// Longest title, summary, and note on a test, in bytes.
const TITLE_BYTES_MAX: usize = 200;
const SUMMARY_BYTES_MAX: usize = 16 * 1024;
const TEST_BYTES_MAX: usize = 500;
const TESTS_MAX: usize = 30;

/// `tagout agent`; the answer is its exit code.
#[must_use]
pub fn run(args: &AgentArgs) -> u8 {
    let settings = match Settings::read(args) {
        Ok(settings) => settings,
        Err(error) => return fail(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&AgentError::Setup(error.to_string())),
    };
    let mut told = Told::default();
    let ended = runtime.block_on(work::work(&settings, &mut told));
    told.limit = match &ended {
        Err(AgentError::Turns(_)) => Some("turns"),
        Err(AgentError::Tokens) => Some("tokens"),
        _ => None,
    };
    tell(&settings, &told);
    match ended {
        Ok(()) => Outcome::Clean.code(),
        Err(error) => fail(&error),
    }
}

fn fail(error: &AgentError) -> u8 {
    console::notice(&format!("tagout agent: {error}"));
    Outcome::AgentFailed.code()
}

/// The last line on stdout for the broker, or a few plain lines for a person.
fn tell(settings: &Settings, told: &Told) {
    match &settings.mark {
        Some(mark) => {
            let json = serde_json::to_string(told).expect("strings and numbers always serialise");
            console::answer(&format!("{mark}{json}"));
        }
        None if told.title.is_empty() => console::answer(&told.summary),
        None => console::answer(&format!("{}\n\n{}", told.title, told.summary)),
    }
}

/// The first bytes of a text, whole characters only.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}
