//! `tagout sanitize`: a text from stdin to stdout, as the model would read it or as we would post it.
//! It must never add to the text: what comes out can go in again and stays as it is.

use std::io::{self, Read, Write};

use crate::cli::SanitizeArgs;
use crate::console;
use crate::outcome::Outcome;
use crate::sanitize::{self, OutgoingRules};

/// Most bytes that are read from stdin.
const INPUT_BYTES_MAX: u64 = 1024 * 1024;

/// Why a text could not be cleaned.
#[derive(Debug, thiserror::Error)]
enum SanitizeError {
    #[error("stdin cannot be read")]
    Read(#[source] io::Error),
    #[error("the text on stdin is longer than {INPUT_BYTES_MAX} bytes")]
    TooLong,
}

/// Cleans stdin and counts on stderr what was removed. Bytes that are no UTF-8 become U+FFFD.
/// `--outgoing` lists no host, so every link loses its address.
#[must_use]
pub fn command(args: SanitizeArgs) -> Outcome {
    let text = match input() {
        Ok(text) => text,
        Err(error) => {
            console::notice(&format!("tagout: {error}"));
            return match error {
                SanitizeError::Read(_) => Outcome::Internal,
                SanitizeError::TooLong => Outcome::Usage,
            };
        }
    };
    let clean = if args.outgoing {
        sanitize::outgoing(&text, &OutgoingRules::default())
    } else {
        sanitize::incoming(&text)
    };
    let mut stdout = io::stdout().lock();
    // A reader that goes away has seen enough.
    drop(
        stdout
            .write_all(clean.text().as_bytes())
            .and_then(|()| stdout.flush()),
    );
    console::notice(&format!("removed: {}", clean.removed()));
    Outcome::Clean
}

fn input() -> Result<String, SanitizeError> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(INPUT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(SanitizeError::Read)?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(SanitizeError::TooLong);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
