//! The one table from the end of a command to its word and its exit code.
//! A number once released keeps its meaning.

use serde::{Deserialize, Serialize};

/// The word in which `run`, `execute`, `publish`, `approval` and `check` end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A draft pull request (or a local branch) was made.
    Proposed,
    /// The proposal of an earlier run was updated.
    Updated,
    /// The agent changed nothing.
    NoChanges,
    /// The event was not addressed to us.
    Ignored,
    /// The changes are sealed in a bundle, ready for `publish`.
    Sealed,
    /// A human with permission approved exactly this head.
    Approved,
    /// The checks found nothing.
    Clean,
    /// The arguments are wrong.
    Usage,
    /// The policy is unreadable or wrong.
    PolicyInvalid,
    /// The gate said no.
    Refused,
    /// A wall that the policy requires cannot be raised here.
    WallsMissing,
    /// The agent ended with a failure of its own.
    AgentFailed,
    /// A limit of the policy was reached.
    LimitReached,
    /// The checks said no.
    ChangesRefused,
    /// GitHub or git said no; nothing half-done is left behind.
    ForgeFailed,
    /// Not approved yet.
    Pending,
    /// A bug of our own.
    Internal,
}

impl Outcome {
    /// The exit code of the process.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Proposed
            | Self::Updated
            | Self::NoChanges
            | Self::Ignored
            | Self::Sealed
            | Self::Approved
            | Self::Clean => 0,
            Self::Usage => 2,
            Self::PolicyInvalid => 3,
            Self::Refused => 4,
            Self::WallsMissing => 5,
            Self::AgentFailed | Self::LimitReached => 6,
            Self::ChangesRefused => 7,
            Self::ForgeFailed => 8,
            Self::Pending => 9,
            Self::Internal => 10,
        }
    }

    /// The word, as in `--json`, in the step output and in the report.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Updated => "updated",
            Self::NoChanges => "no-changes",
            Self::Ignored => "ignored",
            Self::Sealed => "sealed",
            Self::Approved => "approved",
            Self::Clean => "clean",
            Self::Usage => "usage",
            Self::PolicyInvalid => "policy-invalid",
            Self::Refused => "refused",
            Self::WallsMissing => "walls-missing",
            Self::AgentFailed => "agent-failed",
            Self::LimitReached => "limit-reached",
            Self::ChangesRefused => "changes-refused",
            Self::ForgeFailed => "forge-failed",
            Self::Pending => "pending",
            Self::Internal => "internal",
        }
    }
}

/// Exit codes of `tagout sandbox` for what is ours and not the command's, as shells and `env` use them.
pub mod sandbox_code {
    /// A limit was reached.
    pub const LIMIT: u8 = 124;
    /// Our own refusal or fault before the command started.
    pub const OURS: u8 = 125;
    /// The command was found but cannot be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// The command was not found.
    pub const NOT_FOUND: u8 = 127;
    /// Added to the number of the signal that killed the command.
    pub const SIGNAL_BASE: u8 = 128;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_is_the_serialised_name() {
        for outcome in [Outcome::NoChanges, Outcome::WallsMissing, Outcome::Internal] {
            let json = serde_json::to_string(&outcome).unwrap();
            assert_eq!(json, format!("\"{}\"", outcome.word()));
        }
    }
}
