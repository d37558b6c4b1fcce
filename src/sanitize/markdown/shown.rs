//! What of the source nobody sees: no part of it is shown or judged by itself.

use std::ops::Range;

use crate::sanitize::edit::Edit;
use crate::sanitize::removals::Kind;

/// The parts of the source that are shown or judged by themselves. What no part covers is seen by nobody on GitHub,
/// as the cells of a table's row beyond its columns, and what Markdown may yet come to swallow.
#[derive(Debug, Default)]
pub(super) struct Shown(Vec<Range<usize>>);

impl Shown {
    pub(super) fn add(&mut self, range: Range<usize>) {
        self.0.push(range);
    }

    /// Adds the line that stands at this place.
    pub(super) fn add_line(&mut self, text: &str, start: usize) {
        let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        self.0.push(start..end);
    }

    /// Edits that take away every word outside of the parts.
    pub(super) fn unseen(&mut self, text: &str) -> Vec<Edit> {
        let gaps = self.gaps(text);
        gaps.iter()
            .flat_map(|(start, gap)| unseen_words(gap, *start))
            .collect()
    }

    /// Edits that take away every line outside of the parts that is written as a link reference definition.
    pub(super) fn definitions(&mut self, text: &str) -> Vec<Edit> {
        let gaps = self.gaps(text);
        gaps.iter()
            .flat_map(|(start, gap)| definition_lines(gap, *start))
            .collect()
    }

    /// What no part covers, each with where it begins.
    fn gaps<'a>(&mut self, text: &'a str) -> Vec<(usize, &'a str)> {
        self.0.sort_by_key(|range| range.start);
        let mut gaps = Vec::new();
        let mut from = 0;
        let end = std::iter::once(text.len()..text.len());
        for range in self.0.iter().cloned().chain(end) {
            if range.start > from
                && let Some(gap) = text.get(from..range.start)
            {
                gaps.push((from, gap));
            }
            from = from.max(range.end);
        }
        gaps
    }
}

/// Lines that begin with a label in brackets and a colon, behind the marks of quotes and lists.
fn definition_lines(gap: &str, start: usize) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut at = start;
    for line in gap.split_inclusive('\n') {
        let text = line.trim_end_matches('\n');
        let marks = |c: char| c.is_ascii_digit() || " \t>*+-.)".contains(c);
        let first = text.len() - text.trim_start_matches(marks).len();
        if text[first..].starts_with('[') && text.contains("]:") {
            edits.push(Edit::new(
                at + first..at + text.len(),
                "",
                &[Kind::Definition],
            ));
        }
        at += line.len();
    }
    edits
}

/// Runs of letters in a part that is not shown, each with what follows it up to the end of its line.
fn unseen_words(gap: &str, start: usize) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut at = start;
    for line in gap.split_inclusive('\n') {
        if let Some(first) = line.find(char::is_alphabetic) {
            let last = line.rfind(char::is_alphabetic).map_or(line.len(), |last| {
                last + line[last..].chars().next().map_or(0, char::len_utf8)
            });
            edits.push(Edit::new(at + first..at + last, "", &[Kind::HiddenText]));
        }
        at += line.len();
    }
    edits
}
