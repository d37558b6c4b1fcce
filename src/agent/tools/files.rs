//! Shows text files.
//! It must never open what is not a regular file: a fifo would hold the agent for ever.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde::Deserialize;

use super::super::cut;
use super::super::fence::fence;

/// Most bytes that are shown at once.
const SHOWN_BYTES_MAX: usize = 40 * 1024;
/// Lines that are shown if the model does not say.
const LINES_DEFAULT: usize = 800;
/// Longest line that is shown whole, in bytes.
const LINE_BYTES_MAX: usize = 4 * 1024;

#[derive(Debug, Deserialize)]
pub(super) struct Arguments {
    path: String,
    #[serde(default)]
    offset: Option<usize>,
    #[serde(default)]
    limit: Option<usize>,
}

/// The lines, and what was left out.
pub(super) fn read(workspace: &Path, arguments: &Arguments) -> Result<String, String> {
    let file = open(workspace, &arguments.path)?;
    let first = arguments.offset.unwrap_or(1).max(1);
    let limit = arguments.limit.unwrap_or(LINES_DEFAULT);
    let mut shown = String::new();
    let mut count = 0;
    let mut more = false;
    for (number, line) in (1..).zip(BufReader::new(file).split(b'\n')) {
        let line = line.map_err(|error| format!("{}: {error}", arguments.path))?;
        if number < first {
            continue;
        }
        if count >= limit || shown.len() >= SHOWN_BYTES_MAX {
            more = true;
            break;
        }
        if line.contains(&0) {
            return Err(format!("{}: it is not a text file", arguments.path));
        }
        let text = String::from_utf8_lossy(&line);
        let whole = cut(&text, LINE_BYTES_MAX);
        shown.push_str(whole);
        if whole.len() < text.len() {
            shown.push_str(" [... the line goes on ...]");
        }
        shown.push('\n');
        count += 1;
    }
    let last = first + count;
    let note = if more {
        format!("\n(more follows; go on with offset {last})")
    } else {
        String::new()
    };
    Ok(format!(
        "{}{note}",
        fence("output", shown.trim_end_matches('\n'))
    ))
}

/// A regular file by its path from the workspace.
pub(super) fn open(workspace: &Path, path: &str) -> Result<std::fs::File, String> {
    let whole = workspace.join(path);
    let words = |error: std::io::Error| format!("{path}: {error}");
    let metadata = std::fs::metadata(&whole).map_err(words)?;
    if !metadata.is_file() {
        return Err(format!("{path}: it is not a regular file"));
    }
    std::fs::File::open(&whole).map_err(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &[u8], offset: Option<usize>, limit: Option<usize>) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f"), text).unwrap();
        let path = "f".to_owned();
        read(
            folder.path(),
            &Arguments {
                path,
                offset,
                limit,
            },
        )
    }

    #[test]
    fn part_of_a_file_is_shown_with_the_way_to_the_rest() {
        let told = shown(b"a\nb\nc\nd\n", Some(2), Some(2)).unwrap();
        assert!(
            told.contains("\nb\nc\n") && !told.contains("\na\n"),
            "{told}"
        );
        assert!(told.contains("offset 4"), "{told}");
    }

    #[test]
    fn binary_files_and_folders_are_refused_in_words() {
        assert!(shown(b"a\0b", None, None).is_err());
        let folder = tempfile::tempdir().unwrap();
        assert!(open(folder.path(), ".").is_err());
        assert!(open(folder.path(), "missing").is_err());
    }

    #[test]
    fn long_files_and_lines_are_bounded() {
        let told = shown(&b"x".repeat(1_000_000), None, None).unwrap();
        assert!(told.len() < LINE_BYTES_MAX + 500);
        let told = shown(&b"line of text\n".repeat(100_000), None, Some(1_000_000)).unwrap();
        assert!(told.len() < SHOWN_BYTES_MAX + 500);
    }
}
