//! What the agent is told by its environment. None of it is secret: the key is a placeholder that the egress replaces.
//! It must never look for credentials.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::AgentError;
use super::protocol::Api;
use crate::cli::AgentArgs;

/// Largest task in bytes.
const PROMPT_BYTES_MAX: u64 = 1024 * 1024;

/// Where the agent works, for whom, and how long.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) api: Api,
    pub(super) base_url: String,
    pub(super) model: String,
    pub(super) key: String,
    pub(super) prompt: String,
    pub(super) workspace: PathBuf,
    pub(super) turns: u32,
    /// Tokens of the whole run as far as the agent counts them itself, to say so in time; the egress holds the limit.
    pub(super) tokens: Option<u64>,
    /// Put before the last line on stdout, so that it can be told from anything that a command printed.
    pub(super) mark: Option<String>,
}

/// Turns if nothing else is said.
const TURNS_DEFAULT: u32 = 60;

impl Settings {
    pub(super) fn read(args: &AgentArgs) -> Result<Self, AgentError> {
        let variable =
            |name: &'static str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let needed = |name| variable(name).ok_or(AgentError::Variable(name));
        let number = |name| match variable(name) {
            None => Ok(None),
            Some(text) => text
                .parse::<u64>()
                .map(Some)
                .map_err(|_not_a_number| AgentError::Variable(name)),
        };
        let api = match variable("TAGOUT_MODEL_API").as_deref() {
            None | Some("responses") => Api::Responses,
            Some("chat") => Api::Chat,
            Some("messages") => Api::Messages,
            Some(_) => return Err(AgentError::Variable("TAGOUT_MODEL_API")),
        };
        let turns = number("TAGOUT_TURNS")?.and_then(|turns| u32::try_from(turns).ok());
        Ok(Self {
            api,
            base_url: needed("TAGOUT_MODEL_BASE_URL")?
                .trim_end_matches('/')
                .to_owned(),
            model: needed("TAGOUT_MODEL_NAME")?,
            key: variable("TAGOUT_MODEL_KEY").unwrap_or_else(|| "placeholder".to_owned()),
            prompt: prompt(args)?,
            workspace: std::env::current_dir()
                .map_err(|source| AgentError::Workspace { source })?,
            turns: turns.unwrap_or(TURNS_DEFAULT),
            tokens: number("TAGOUT_TOKENS")?,
            mark: variable("TAGOUT_RESULT_MARK"),
        })
    }
}

/// `--prompt`, `--prompt-file`, TAGOUT_PROMPT_FILE, TAGOUT_PROMPT, in this order.
fn prompt(args: &AgentArgs) -> Result<String, AgentError> {
    let file = args
        .prompt_file
        .clone()
        .or_else(|| std::env::var_os("TAGOUT_PROMPT_FILE").map(PathBuf::from));
    let text = match (&args.prompt, file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) => read(&file)?,
        (None, None) => std::env::var("TAGOUT_PROMPT").map_err(|_missing| AgentError::NoTask)?,
    };
    if text.trim().is_empty() {
        return Err(AgentError::NoTask);
    }
    Ok(text)
}

fn read(file: &Path) -> Result<String, AgentError> {
    let source = |source| AgentError::Prompt {
        path: file.to_owned(),
        source,
    };
    let mut text = String::new();
    std::fs::File::open(file)
        .map_err(source)?
        .take(PROMPT_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(source)?;
    Ok(text)
}
