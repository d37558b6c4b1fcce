//! The standard streams of a run, which are its caller's own.
//! What passes through them must never be looked at.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode};

/// Whether stdout or stderr is a terminal.
pub(super) fn has_terminal_for_output() -> bool {
    rustix::termios::isatty(io::stdout()) || rustix::termios::isatty(io::stderr())
}

/// A program that opens /dev/stderr opens the caller's pipe anew, under another uid. Only who holds the pipe can get that
/// far, so its mode is of no other use.
pub(super) fn open_pipes_to_the_run() {
    let (input, output, errors) = (io::stdin(), io::stdout(), io::stderr());
    for stream in [input.as_fd(), output.as_fd(), errors.as_fd()] {
        let Ok(meta) = rustix::fs::fstat(stream) else {
            continue;
        };
        // A named pipe has a link in a folder; its mode is its owner's choice.
        let nameless = FileType::from_raw_mode(meta.st_mode) == FileType::Fifo
            && rustix::fs::fstatfs(stream).is_ok_and(|system| system.f_type == PIPE_SYSTEM);
        if nameless {
            // Somebody else's pipe stays as it is.
            if let Err(_not_ours) = rustix::fs::fchmod(stream, Mode::from_raw_mode(0o666)) {}
        }
    }
}

/// `PIPEFS_MAGIC` (statfs(2)).
const PIPE_SYSTEM: rustix::fs::FsWord = 0x5049_5045;
