//! The cases. A new one is a row in the table of its room.

use crate::case::Case;

mod files;
mod kernel;
pub(crate) mod limits;
mod network;
mod outside;
mod processes;
mod unix;
mod workspace;

pub(crate) use outside::CREDENTIALS;
pub(crate) use processes::{SIGNAL, victim};

/// All of them, in the order of the matrix.
pub(crate) fn all() -> Vec<Case> {
    [
        files::CASES,
        outside::CASES,
        workspace::CASES,
        processes::CASES,
        unix::CASES,
        network::CASES,
        kernel::CASES,
        limits::CASES,
    ]
    .concat()
}
