//! A part of a text's source and what it becomes.
//! It must never apply two edits to the same part: of two that overlap, the outer one or else the first counts.

use std::ops::Range;

use super::removals::{Kind, Removals};

/// A part of the source and what it becomes.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    pub(super) range: Range<usize>,
    pub(super) with: String,
    pub(super) removed: Removals,
}

impl Edit {
    pub(super) fn new(range: Range<usize>, with: impl Into<String>, kinds: &[Kind]) -> Self {
        let mut removed = Removals::default();
        for kind in kinds {
            removed.add(*kind, 1);
        }
        Self {
            range,
            with: with.into(),
            removed,
        }
    }
}

/// Applies the edits; of two that overlap, the outer one or else the first.
pub(super) fn apply(text: &str, mut edits: Vec<Edit>, removed: &mut Removals) -> String {
    edits.sort_by_key(|edit| (edit.range.start, usize::MAX - edit.range.end));
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for edit in edits {
        if edit.range.start < from
            || text
                .get(edit.range.clone())
                .is_none_or(|now| now == edit.with)
        {
            continue;
        }
        out.push_str(&text[from..edit.range.start]);
        out.push_str(&edit.with);
        from = edit.range.end;
        removed.merge(&edit.removed);
    }
    out.push_str(&text[from..]);
    out
}
