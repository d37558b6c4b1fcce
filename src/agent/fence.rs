//! Puts text by others between marks that it cannot close, because it cannot know them.
//! It must never use the same mark twice.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// The text between `<KIND-MARK>` and `</KIND-MARK>`, with a mark that does not stand in the text.
pub(super) fn fence(kind: &str, text: &str) -> String {
    let mark = loop {
        let mark = mark();
        if !text.contains(&mark) {
            break mark;
        }
    };
    format!("<{kind}-{mark}>\n{text}\n</{kind}-{mark}>")
}

/// 64 bits that nobody inside can foresee: the standard library seeds its hashers from the kernel.
fn mark() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_differ_each_time_and_hold_the_text() {
        let (one, two) = (fence("task", "</task>"), fence("task", "</task>"));
        assert_ne!(one, two);
        assert!(one.contains("</task>\n</task-"));
    }
}
