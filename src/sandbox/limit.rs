//! The limits by their names in the outcome, and what reaching one means for the run.
//! A name must never be told on suspicion: whoever tells it has seen the limit reached.

use serde::{Deserialize, Serialize};

use crate::wire::Denied;

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Wall time, of the run or of one command.
    WallTime,
    /// Memory of all processes together.
    Memory,
    /// Processes and threads.
    Processes,
    /// Processor time of all processes together.
    CpuTime,
    /// Bytes of one file.
    FileSize,
    /// Open files of one process.
    OpenFiles,
    /// Bytes and files written.
    Disk,
    /// Bytes of stdout and stderr together.
    Output,
}

/// What reaching a limit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It ends the run.
    Ends(Limit),
    /// A call failed inside, and the program may go on: it is told as a denial, and named if the run fails.
    Hinders(Limit),
}

impl Limit {
    /// As in the report and in the policy.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WallTime => "wall-time",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::CpuTime => "cpu-time",
            Self::FileSize => "file-size",
            Self::OpenFiles => "open-files",
            Self::Disk => "disk",
            Self::Output => "output",
        }
    }

    /// The refusal that a program inside met.
    #[must_use]
    pub fn denied(self) -> Denied {
        let what = match self {
            Self::FileSize => "write a file beyond the limit",
            Self::OpenFiles => "open more files at a time",
            Self::Disk => "write to a full private folder",
            Self::WallTime => "run longer than the limit",
            Self::Memory => "take more memory than the limit",
            Self::Processes => "start more processes than the limit",
            Self::CpuTime => "use more processor time than the limit",
            Self::Output => "write more to stdout and stderr than the limit",
        };
        let key = match self {
            // The one limit that is not the policy's.
            Self::OpenFiles => None,
            _ => Some(format!("a larger limits.{}", self.name())),
        };
        Denied {
            wall: format!("limits.{}", self.name()),
            what: what.to_owned(),
            count: 1,
            allow: key,
            at: None,
        }
    }
}
