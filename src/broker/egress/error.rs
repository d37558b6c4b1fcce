//! What can go wrong around the egress process. No message holds a secret.

use std::io;
use std::path::PathBuf;

/// A fault of the egress or of what it was given.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The process cannot be started.
    #[error("cannot start the egress process")]
    Start(#[source] io::Error),
    /// The process cannot be given its setup, or its answer cannot be read.
    #[error("cannot talk to the egress process")]
    Talk(#[source] io::Error),
    /// The process said no.
    #[error("the egress process does not start: {0}")]
    Refused(String),
    /// A message of the process or to it is not what was agreed.
    #[error("the egress message is not valid: {0}")]
    Message(&'static str),
    /// A file cannot be used.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A text of `--resolve` is not `HOST:PORT:ADDR`.
    #[error("{0:?} is not HOST:PORT:ADDR")]
    Resolve(String),
    /// The explicit proxy would listen on something else than loopback.
    #[error("{0} is not a loopback address and port")]
    Listen(String),
    /// The policy uses a variable that the caller did not name.
    #[error("the policy uses the variable {0}, which no --secret names")]
    SecretNotNamed(String),
    /// A variable that was named has no value.
    #[error("the variable {0} is named by --secret but has no value")]
    SecretMissing(String),
    /// A variable that never counts as a secret of the policy.
    #[error("the variable {0} belongs to the runner and is never put on the wire")]
    SecretReserved(String),
    /// A secret that cannot be told from ordinary text, or cannot stand in a header.
    #[error("the value of {0} is too short or cannot stand in a header")]
    SecretUnfit(String),
    /// A URL of a model that cannot be used.
    #[error("the model's base-url {0:?} cannot be used")]
    ModelUrl(String),
}
