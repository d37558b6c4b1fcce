//! The text of a Markdown document as it is shown, with the way back to its source.
//! It must never lose that way: a rule finds what is shown, and the source is what is edited.

use std::ops::Range;

use super::characters;
use super::edit::Edit;
use super::removals::Kind;
use super::words::Change;

/// A run of shown text and where it comes from.
#[derive(Clone, Debug)]
struct Run {
    shown: Range<usize>,
    source: Range<usize>,
    verbatim: bool,
}

/// Everything that is shown as text, code left out, with marks where elements and blocks begin and end.
#[derive(Clone, Debug, Default)]
pub(super) struct Decoded {
    text: String,
    runs: Vec<Run>,
    edits: Vec<Edit>,
}

impl Decoded {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Adds a mark that is not text.
    pub(super) fn mark(&mut self, mark: char) {
        self.text.push(mark);
    }

    /// Adds a text and the range of the document that it was read from.
    pub(super) fn text(&mut self, shown: &str, source: Range<usize>, document: &str) {
        if shown.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
            self.edits.push(Edit::new(source, "", &[Kind::Control]));
            return;
        }
        let verbatim = document.get(source.clone()) == Some(shown);
        // A back-slash before the text belongs to it: the parser leaves it out.
        let escaped = verbatim
            && source.start > 0
            && document.as_bytes().get(source.start - 1) == Some(&b'\\')
            && self
                .runs
                .last()
                .is_none_or(|last| last.source.end < source.start);
        let start = self.text.len();
        if escaped && let Some(first) = shown.chars().next() {
            let middle = start + first.len_utf8();
            let source_middle = source.start + first.len_utf8();
            self.runs.push(Run {
                shown: start..middle,
                source: source.start - 1..source_middle,
                verbatim: false,
            });
            self.runs.push(Run {
                shown: middle..start + shown.len(),
                source: source_middle..source.end,
                verbatim: true,
            });
        } else {
            self.runs.push(Run {
                shown: start..start + shown.len(),
                source,
                verbatim,
            });
        }
        self.text.push_str(shown);
    }

    /// Whether the range is written in the source as it is shown.
    pub(super) fn is_verbatim(&self, range: &Range<usize>) -> bool {
        self.touched(range).all(|run| run.verbatim) && self.touched(range).count() == 1
    }

    fn touched(&self, range: &Range<usize>) -> impl Iterator<Item = &Run> {
        let first = self
            .runs
            .partition_point(|run| run.shown.end <= range.start);
        let end = range.end;
        self.runs
            .iter()
            .skip(first)
            .take_while(move |run| run.shown.start < end)
    }

    /// The edit of the source that makes this change.
    pub(super) fn edit(&self, change: &Change) -> Edit {
        let mut source: Option<Range<usize>> = None;
        for run in self.touched(&change.range) {
            let part = if run.verbatim {
                let from = change.range.start.max(run.shown.start) - run.shown.start;
                let to = change.range.end.min(run.shown.end) - run.shown.start;
                run.source.start + from..run.source.start + to
            } else {
                run.source.clone()
            };
            source = Some(match source {
                None => part,
                Some(whole) => whole.start.min(part.start)..whole.end.max(part.end),
            });
        }
        // A range that touches no run has no source; an empty edit at the start changes nothing.
        Edit::new(source.unwrap_or(0..0), change.with.clone(), &[change.kind])
    }

    /// Edits that take away what entities write and a reader does not see.
    pub(super) fn hidden(&self) -> Vec<Edit> {
        let mut edits = self.edits.clone();
        for (at, c, kind) in characters::hidden(&self.text) {
            if self.touched(&(at..at + 1)).next().is_some() {
                let change = Change {
                    range: at..at + c.len_utf8(),
                    with: String::new(),
                    kind,
                };
                edits.push(self.edit(&change));
            }
        }
        edits
    }
}
