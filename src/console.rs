//! What a person or a script sees: stdout carries answers only, stderr all the rest.
//! It must never end the process because nobody reads.

use std::io::{self, Write};

/// Writes a text to stdout. A closed pipe is no error: the reader has seen enough.
pub fn answer(text: &str) {
    drop(write_to(&mut io::stdout().lock(), text));
}

/// Writes a line to stderr: progress, warnings, denials.
pub fn notice(text: &str) {
    drop(write_to(&mut io::stderr().lock(), text));
}

fn write_to(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        stream.write_all(b"\n")?;
    }
    stream.flush()
}
