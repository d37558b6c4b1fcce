//! Texts that are no Markdown when they are read: titles, log lines, what stands inside a fence.
//! It must never rely on Markdown's escapes, because nobody there parses them.

use super::characters;
use super::removals::{Kind, Removals};
use super::{Clean, PASSES_MAX, words};

/// Most characters of a title; GitHub refuses more than 256.
const TITLE_CHARACTERS_MAX: usize = 200;

/// Most characters of a commit's message.
const MESSAGE_CHARACTERS_MAX: usize = 16_384;

/// Most characters of a log line; the rest is cut.
const LOG_LINE_CHARACTERS_MAX: usize = 4_096;

pub(super) fn title(text: &str) -> Clean {
    let mut removed = Removals::default();
    let text = one_line(&characters::clean(text, &mut removed), &mut removed);
    let text = settle(&text, &mut removed, |text, removed| {
        first(
            words::plain(text, removed).trim(),
            TITLE_CHARACTERS_MAX,
            removed,
        )
    });
    Clean { text, removed }
}

/// A text of several lines that is not rendered, such as the message of a commit.
pub(super) fn message(text: &str) -> Clean {
    let mut removed = Removals::default();
    let text = characters::clean(text, &mut removed);
    let text = settle(&text, &mut removed, |text, removed| {
        first(
            &words::plain(text, removed),
            MESSAGE_CHARACTERS_MAX,
            removed,
        )
    });
    Clean { text, removed }
}

/// Repeats a step until nothing changes; each step only breaks words, so a few rounds are enough.
fn settle(
    text: &str,
    removed: &mut Removals,
    step: impl Fn(&str, &mut Removals) -> String,
) -> String {
    let mut text = text.to_owned();
    for _ in 0..PASSES_MAX {
        let next = step(&text, removed);
        if next == text {
            return text;
        }
        text = next;
    }
    removed.add(Kind::Cut, 1);
    "(left out)".to_owned()
}

/// The words of the text on one line, with one space between them.
fn one_line(text: &str, removed: &mut Removals) -> String {
    let text = text.trim();
    removed.add(
        Kind::LineBreak,
        text.matches('\n').count().try_into().unwrap_or(u64::MAX),
    );
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn first(text: &str, characters: usize, removed: &mut Removals) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    removed.add(Kind::Cut, 1);
    let kept: String = text.chars().take(characters - 1).collect();
    kept.trim_end().to_owned() + "…"
}

pub(super) fn log_line(text: &str) -> String {
    let mut removed = Removals::default();
    let text = characters::clean(text, &mut removed).replace('\n', " ");
    let text = first(text.trim_end(), LOG_LINE_CHARACTERS_MAX, &mut removed);
    // A runner reads `::` at the start of a line, after any blanks, and `##[` anywhere in it.
    let text = text.replace("##[", "## [");
    let blanks = text.len() - text.trim_start().len();
    if text.trim_start().starts_with("::") {
        format!("{}: {}", &text[..blanks], &text[blanks + 1..])
    } else {
        text
    }
}

pub(super) fn fence(text: &str, info: &str) -> String {
    let mut removed = Removals::default();
    let text = words::raw(&characters::clean(text, &mut removed), &mut removed);
    let info: String = info
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '_'))
        .take(32)
        .collect();
    let bar = "`".repeat((longest_run(&text, '`') + 1).max(3));
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    format!("{bar}{info}\n{text}{end}{bar}\n")
}

/// The longest run of one character.
pub(super) fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workflow_commands_cannot_act() {
        assert_eq!(
            log_line("::set-output name=a::b"),
            ": :set-output name=a::b"
        );
        assert_eq!(log_line("  ::add-mask::x"), "  : :add-mask::x");
        assert_eq!(log_line("x ##[error]y"), "x ## [error]y");
        assert_eq!(log_line("a\n::stop-commands::t"), "a ::stop-commands::t");
        assert_eq!(log_line("\u{200B}::notice::x"), ": :notice::x");
        assert_eq!(log_line("std::env is fine"), "std::env is fine");
    }

    #[test]
    fn a_fence_is_longer_than_what_it_holds() {
        assert_eq!(fence("a```b", "sh evil"), "````sh\na```b\n````\n");
        assert_eq!(fence("", ""), "```\n```\n");
    }

    #[test]
    fn a_title_is_one_line() {
        assert_eq!(title(" Fix\n\nthe \u{200B}test ").text(), "Fix the test");
        assert_eq!(
            title(&"x".repeat(500)).text().chars().count(),
            TITLE_CHARACTERS_MAX
        );
    }
}
