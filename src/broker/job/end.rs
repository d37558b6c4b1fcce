//! How a step ended when it did not hand a value on: the outcome, its stable code and one sentence.

use std::error::Error;

use crate::outcome::Outcome;

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The word and the exit code.
    pub outcome: Outcome,
    /// Stable kebab-case code of a refusal or fault.
    pub code: Option<&'static str>,
    /// One sentence for the reader; holds no secret.
    pub sentence: String,
}

impl End {
    /// An end with a code.
    #[must_use]
    pub fn new(outcome: Outcome, code: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            outcome,
            code: Some(code),
            sentence: sentence.into(),
        }
    }

    /// A good end.
    #[must_use]
    pub fn good(outcome: Outcome, sentence: impl Into<String>) -> Self {
        Self {
            outcome,
            code: None,
            sentence: sentence.into(),
        }
    }

    /// An end with everything that an error knows of its causes.
    #[must_use]
    pub fn of(outcome: Outcome, code: &'static str, error: &dyn Error) -> Self {
        Self::new(outcome, code, causes(error))
    }

    /// A bug or a fault of ours.
    #[must_use]
    pub fn internal(code: &'static str, error: &dyn Error) -> Self {
        Self::of(Outcome::Internal, code, error)
    }
}

/// An error and its causes in one line; a cause that the message repeats is left out.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = inner.source();
    }
    line
}
