//! The variables of the runner that Tagout honours, read once, by name.
//! It must never pass a variable on: what goes inside is the policy's allowlist.

use std::env;
use std::path::PathBuf;

use crate::names::Secret;

/// Where GitHub's own tools look for a token, beside GITHUB_TOKEN (cli.github.com/manual/gh_help_environment).
const OTHER_TOKENS: [&str; 3] = ["GH_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"];

/// GitHub's standard variables, and where temporary files go.
/// <https://docs.github.com/actions/reference/workflows-and-actions/variables>
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Whether GITHUB_ACTIONS is `true`.
    pub in_actions: bool,
    /// GITHUB_EVENT_PATH.
    pub event_path: Option<PathBuf>,
    /// GITHUB_EVENT_NAME.
    pub event_name: Option<String>,
    /// GITHUB_REPOSITORY.
    pub repository: Option<String>,
    /// GITHUB_SHA.
    pub sha: Option<String>,
    /// GITHUB_REF_NAME.
    pub ref_name: Option<String>,
    /// GITHUB_API_URL.
    pub api_url: Option<String>,
    /// GITHUB_GRAPHQL_URL.
    pub graphql_url: Option<String>,
    /// GITHUB_SERVER_URL.
    pub server_url: Option<String>,
    /// GITHUB_OUTPUT.
    pub output: Option<PathBuf>,
    /// GITHUB_STEP_SUMMARY.
    pub step_summary: Option<PathBuf>,
    /// GITHUB_TOKEN.
    pub token: Option<Secret>,
    /// GITHUB_RUN_ID.
    pub run_id: Option<String>,
    /// GITHUB_RUN_ATTEMPT.
    pub run_attempt: Option<String>,
    /// GITHUB_TRIGGERING_ACTOR.
    pub triggering_actor: Option<String>,
    /// RUNNER_TEMP.
    pub runner_temp: Option<PathBuf>,
    /// Tokens under the other names that GitHub's own tools read, where they are not the one of GITHUB_TOKEN.
    pub other_tokens: Vec<(&'static str, Secret)>,
    /// Names of ACTIONS_ID_TOKEN_REQUEST_* that are set: with them an identity could be asked for.
    pub identity_requests: Vec<&'static str>,
}

impl Surroundings {
    /// Reads the variables. One that is not UTF-8 counts as absent.
    #[must_use]
    pub fn read() -> Self {
        let text = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name: &str| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let token = text("GITHUB_TOKEN");
        let other_tokens = OTHER_TOKENS
            .into_iter()
            .filter_map(|name| Some((name, text(name)?)))
            .filter(|(_, value)| token.as_ref() != Some(value))
            .map(|(name, value)| (name, Secret::new(value)))
            .collect();
        Self {
            in_actions: text("GITHUB_ACTIONS").as_deref() == Some("true"),
            event_path: path("GITHUB_EVENT_PATH"),
            event_name: text("GITHUB_EVENT_NAME"),
            repository: text("GITHUB_REPOSITORY"),
            sha: text("GITHUB_SHA"),
            ref_name: text("GITHUB_REF_NAME"),
            api_url: text("GITHUB_API_URL"),
            graphql_url: text("GITHUB_GRAPHQL_URL"),
            server_url: text("GITHUB_SERVER_URL"),
            output: path("GITHUB_OUTPUT"),
            step_summary: path("GITHUB_STEP_SUMMARY"),
            token: token.map(Secret::new),
            other_tokens,
            run_id: text("GITHUB_RUN_ID"),
            run_attempt: text("GITHUB_RUN_ATTEMPT"),
            triggering_actor: text("GITHUB_TRIGGERING_ACTOR"),
            runner_temp: path("RUNNER_TEMP"),
            identity_requests: [
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
                "ACTIONS_ID_TOKEN_REQUEST_URL",
            ]
            .into_iter()
            .filter(|name| env::var_os(name).is_some())
            .collect(),
        }
    }

    /// The folder for temporary files: RUNNER_TEMP, else the system's.
    #[must_use]
    pub fn temp(&self) -> PathBuf {
        self.runner_temp.clone().unwrap_or_else(env::temp_dir)
    }
}
