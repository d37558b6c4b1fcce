//! Programs that tests copy and start.

use std::path::Path;
use std::process::Command;

/// Copies a program by a process of its own. Were it written by this one, a thread that starts something meanwhile would
/// pass the open descriptor on, and nobody could start the copy for as long ("Text file busy").
pub(crate) fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let copied = Command::new("cp")
        .args([from.as_ref(), to.as_ref()])
        .status();
    assert!(copied.expect("cp is everywhere").success());
}
