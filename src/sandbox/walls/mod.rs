//! One room for each wall. Each raises its wall in the calling process and says what stands.
//! None of them may run a command, and none may pass over a failure in silence.

use std::io;

pub mod files;
pub mod limits;
pub mod namespaces;
pub mod privileges;
pub mod root;
pub mod sys;
pub mod syscalls;

/// A step in raising the walls that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct Fault {
    step: String,
    #[source]
    source: io::Error,
}

impl Fault {
    /// Names the step and what the kernel said.
    #[must_use]
    pub fn new(step: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self {
            step: step.into(),
            source: source.into(),
        }
    }

    /// The step and its cause in one sentence, for a report.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!("{}: {}", self.step, self.source)
    }
}

/// Puts the name of a step beside the error of a kernel call.
pub trait Step<T> {
    /// Names the step.
    ///
    /// # Errors
    /// The error it was called on, with the name.
    fn step(self, name: &str) -> Result<T, Fault>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, name: &str) -> Result<T, Fault> {
        self.map_err(|error| Fault::new(name, error))
    }
}
