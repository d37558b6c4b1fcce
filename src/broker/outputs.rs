//! Step outputs and the step summary of GitHub Actions.
//! It must never let a value set a further output: the delimiter is random and checked against the value.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// Largest step summary in bytes (GitHub: 1 MiB a step).
pub const SUMMARY_BYTES_MAX: usize = 1024 * 1024;

/// Appends outputs in the form `name<<delimiter`, value, `delimiter`.
/// <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#multiline-strings>
///
/// # Errors
/// When the file cannot be written, or no delimiter can be found.
pub fn set(file: &Path, values: &[(&str, &str)]) -> io::Result<()> {
    let mut text = String::new();
    for (name, value) in values {
        let delimiter = delimiter_for(value)?;
        text.push_str(&format!("{name}<<{delimiter}\n{value}\n{delimiter}\n"));
    }
    append(file, &text)
}

/// Appends to the step summary, cut at what GitHub takes.
///
/// # Errors
/// When the file cannot be written.
pub fn summarise(file: &Path, markdown: &str) -> io::Result<()> {
    let note = "\n\n(cut: the step summary takes no more)\n";
    if markdown.len() <= SUMMARY_BYTES_MAX {
        return append(file, markdown);
    }
    let mut end = SUMMARY_BYTES_MAX - note.len();
    while !markdown.is_char_boundary(end) {
        end -= 1;
    }
    append(file, &format!("{}{note}", &markdown[..end]))
}

fn append(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)?
        .write_all(text.as_bytes())
}

/// 128 random bits in hexadecimal, as no value may hold them.
pub fn random_word() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn delimiter_for(value: &str) -> io::Result<String> {
    let word = random_word()?;
    if value.contains(&word) {
        return Err(io::Error::other("a value holds the random delimiter"));
    }
    Ok(format!("tagout-{word}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_with_the_old_fixed_delimiter_sets_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("output");
        set(&file, &[("title", "x\nEOF\nadmin<<EOF\ntrue\nEOF")]).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let first = text.lines().next().unwrap();
        let delimiter = first.strip_prefix("title<<").unwrap();
        let ends: Vec<_> = text.lines().filter(|line| *line == delimiter).collect();
        assert_eq!(ends.len(), 1);
        assert_eq!(text.lines().last(), Some(delimiter));
    }

    #[test]
    fn long_summary_is_cut_at_a_character() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("summary");
        summarise(&file, &"ä".repeat(SUMMARY_BYTES_MAX)).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.len() <= SUMMARY_BYTES_MAX && text.ends_with("no more)\n"));
    }
}
