//! Footnotes: which of them a reader sees, and their labels, which nobody sees.

use std::collections::BTreeSet;

use super::walk::Walk;
use crate::sanitize::edit::Edit;
use crate::sanitize::removals::Kind;

impl Walk<'_> {
    /// A footnote is shown once, and only if the text itself refers to it. Its label is not shown at all: GitHub counts.
    pub(super) fn footnotes(&mut self) {
        let mut shown = BTreeSet::new();
        for (label, range) in std::mem::take(&mut self.footnotes) {
            let wanted = self.referred.contains(&label) && shown.insert(label.clone());
            if !wanted {
                self.edits.push(Edit::new(range, "\n", &[Kind::Footnote]));
            } else if !is_number(&label) {
                let sign = range.start..range.start + label.len() + "[^]".len();
                self.edits
                    .push(Edit::new(sign, number_of(&label), &[Kind::HiddenText]));
            }
        }
        for (label, range) in std::mem::take(&mut self.references) {
            if !is_number(&label) {
                self.edits.push(Edit::new(range, number_of(&label), &[]));
            }
        }
    }
}

fn is_number(label: &str) -> bool {
    label.len() <= 8 && label.bytes().all(|byte| byte.is_ascii_digit())
}

/// The sign of a footnote by a number that its label gives, so that both ends find each other without a list.
fn number_of(label: &str) -> String {
    let number = label.bytes().fold(17_u32, |number, byte| {
        number
            .wrapping_mul(31)
            .wrapping_add(u32::from(byte.to_ascii_lowercase()))
            % 90_000_000
    });
    format!("[^{}]", 10_000_000 + number)
}
