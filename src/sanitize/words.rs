//! Words that act on GitHub or on its bots: mentions, references, closing words, commands, skip words, trailers.
//! It must never hide such a word: it stays readable and only loses its power.

use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::OutgoingRules;
use super::links::{self, Address};
use super::removals::{Kind, Removals};

/// Stands in a decoded text where an inline element begins or ends, so that no word reaches over it.
pub(super) const ELEMENT: char = '\u{0}';
/// Stands in a decoded text where a link ends.
pub(super) const LINK_END: char = '\u{1}';
/// Stands in a decoded text where a block begins or ends.
pub(super) const BLOCK: char = '\u{2}';

/// A part of a text and what it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) range: Range<usize>,
    pub(super) with: String,
    pub(super) kind: Kind,
}

impl Change {
    fn new(range: Range<usize>, with: impl Into<String>, kind: Kind) -> Self {
        Self {
            range,
            with: with.into(),
            kind,
        }
    }
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is a constant that the tests compile")
}

macro_rules! patterns {
    ($($name:ident = $text:expr;)*) => {
        $(static $name: LazyLock<Regex> = LazyLock::new(|| pattern($text));)*
        #[cfg(test)]
        const ALL: &[&LazyLock<Regex>] = &[$(&$name),*];
    };
}

patterns! {
    MENTION = r"@[A-Za-z0-9_-]";
    NUMBER = r"#[0-9]+";
    GH_NUMBER = r"(?i-u:\bGH-[0-9])";
    ADDRESS = r"(?i-u)(?P<schemes>(?:[a-z][a-z0-9+.-]*://)+)(?u-i:[^\x00-\x20<])*";
    WWW = r"(?:^|[^A-Za-z0-9])(?P<www>(?i-u:(?:www\.)+))";
    DEFINITION = r"(?:^|\x02)[ ]{0,3}\[[^\x02]{1,999}?\](?P<colon>:)";
    HALF_OPEN = r#"(?:^|\x02)(?P<whole>[ ]{0,3}\[[^\x02\]]{1,999}\]:[ \t]*\n?[ \t]*[^ \t\n\x02(]*\([^ \t\n\x02]*(?:[ \t\n]+(?:"[^"\x02]*"|'[^'\x02]*'|\([^)\x02]*\)))?[ \t]*)(?:\n|\x02|$)"#;
    CLOSING = r"(?i-u)\b(?P<word>close[sd]?|fix|fixe[sd]|resolve[sd]?)(?P<gap>:?[ \t\n]+)(?P<where>[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)?#(?P<number>[0-9]+)";
    SKIP = r"(?i-u)\[(?P<words>[ \t]*(?:no|(?:[a-z0-9]{1,20}[ \t_:-]+){0,3}skip)(?:[ \t_:-]+[a-z0-9]{1,20}){0,3}[ \t]*)\]";
    NO_CI = r"(?i-u)\*\*\*NO_CI\*\*\*";
    COMMAND = r"(?m-u)^(?P<blank>[ \t]*)(?P<command>[/!][A-Za-z][A-Za-z0-9_-]*(?:[ \t:]|$))";
    BORS = r"(?im-u)^(?P<blank>[ \t]*)(?P<command>(?:bors|homu|r)(?:[ \t]+(?:r|try|merge|retry|d|p)[+=-]|[ \t]+(?:try|merge|retry|ping)\b|\?[ \t]))";
    LONE = r"(?im-u)^(?P<blank>[ \t]*)(?P<command>(?:recheck|retest|rebuild|re-?run|run[ \t]+(?:ci|tests))[ \t]*[.!]?[ \t]*)$";
    PHRASE = r"(?i-u)\b(?P<first>ok|retest|test|add)(?P<gap>(?u-i:[^A-Za-z0-9_])+)(?P<second>to(?u-i:[^A-Za-z0-9_])+(?:test|white-?list|allow-?list)|this(?u-i:[^A-Za-z0-9_])+please)\b";
    TRAILER = r"(?im-u)^(?P<key>[ \t]*(?:[a-z][a-z-]*-by|tagout-[a-z-]+|skip-checks?|request-checks?|change-id|release-as|on-behalf-of|cc))(?P<colon>[ \t]*:)";
    ENCODED_COMMENT = r"(?i-u)(?:<|&(?:amp;|#0*38;|#x0*26;)*(?:lt|#0*60|#x0*3c);?)(?:!|&(?:amp;|#0*38;|#x0*26;)*(?:excl|#0*33|#x0*21);?)(?:(?:-|&(?:amp;|#0*38;|#x0*26;)*(?:#0*45|#x0*2d);?)){2}";
    ENCODED_COMMENT_END = r"(?i-u)(?:(?:-|&(?:amp;|#0*38;|#x0*26;)*(?:#0*45|#x0*2d);?)){2}!?(?:>|&(?:amp;|#0*38;|#x0*26;)*(?:gt|#0*62|#x0*3e);?)";
}

/// Comments that are not read as HTML here but would be after one more decoding: from their opening to their end,
/// or to the end of the block.
pub(super) fn encoded_comments(decoded: &str) -> Vec<Change> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(open) = ENCODED_COMMENT.find_at(decoded, from) {
        let end = ENCODED_COMMENT_END
            .find_at(decoded, open.end())
            .map_or_else(
                || {
                    decoded[open.end()..]
                        .find(BLOCK)
                        .map_or(decoded.len(), |at| open.end() + at)
                },
                |end| end.end(),
            );
        found.push(Change::new(open.start()..end, "", Kind::Comment));
        from = end;
    }
    found
}

/// Link reference definitions whose address opens more brackets than it closes: text for this parser, and for GitHub's a
/// definition, which no reader sees.
pub(super) fn half_open_definitions(decoded: &str) -> Vec<Change> {
    let whole = |captures: Captures<'_>| captures.name("whole").map(|part| part.range());
    HALF_OPEN
        .captures_iter(decoded)
        .filter_map(whole)
        .map(|range| Change::new(range, "", Kind::Definition))
        .collect()
}

/// What a rendered text must not contain when it goes out: mentions, references and addresses that are not listed.
/// `verbatim` says whether a range of the decoded text is written in the source as it is read.
pub(super) fn active(
    decoded: &str,
    rules: &OutgoingRules,
    verbatim: impl Fn(&Range<usize>) -> bool,
) -> Vec<Change> {
    let mut found = Vec::new();
    for captures in ADDRESS.captures_iter(decoded) {
        if let (Some(whole), Some(schemes)) = (captures.get(0), captures.name("schemes")) {
            let change = address_change(decoded, whole.range(), schemes.range(), rules, &verbatim);
            found.extend(change);
        }
    }
    let groups = [
        (&WWW, "www", "", Kind::Link),
        // What one parser takes for text another may take for a definition, which hides it and gives its label an address.
        (&DEFINITION, "colon", " :", Kind::Definition),
    ];
    for (pattern, group, with, kind) in groups {
        for captures in pattern.captures_iter(decoded) {
            let part = captures.name(group).map(|part| part.range());
            found.extend(part.map(|part| Change::new(part, with, kind)));
        }
    }
    found.extend(mentions_and_references(decoded));
    found
}

fn mentions_and_references(text: &str) -> Vec<Change> {
    let mut found = Vec::new();
    for at in MENTION.find_iter(text) {
        found.push(Change::new(at.start()..at.start() + 1, "@ ", Kind::Mention));
    }
    for number in NUMBER.find_iter(text) {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        if text[number.end()..].starts_with(word) {
            continue;
        }
        let with = if text[..number.start()].ends_with(|c| word(c) || matches!(c, '-' | '.')) {
            " no. "
        } else {
            "no. "
        };
        found.push(Change::new(
            number.start()..number.start() + 1,
            with,
            Kind::Reference,
        ));
    }
    for number in GH_NUMBER.find_iter(text) {
        found.push(Change::new(
            number.start() + 2..number.start() + 3,
            " ",
            Kind::Reference,
        ));
    }
    found
}

/// An address that is not listed loses its scheme: it stays readable and is no link.
fn address_change(
    decoded: &str,
    range: Range<usize>,
    schemes: Range<usize>,
    rules: &OutgoingRules,
    verbatim: impl Fn(&Range<usize>) -> bool,
) -> Option<Change> {
    let whole = &decoded[range.clone()];
    let address = whole.trim_end_matches(['.', ',', ';', ':', '!', '?', '"', '\'', ')', ']', '}']);
    let place = range.start..range.start + address.len();
    // An inline element right behind it might belong to the address in GitHub's eyes.
    let cut_off = decoded[range.end..].starts_with(ELEMENT)
        || decoded[..range.start].ends_with(|c: char| c.is_alphanumeric());
    let plain = address
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?#=%+&".contains(&byte));
    if plain && !cut_off && verbatim(&range) {
        match links::outgoing(address, rules) {
            Address::Stays => return None,
            Address::Becomes(with) => return Some(Change::new(place, with, Kind::Query)),
            Address::Goes => {}
        }
    }
    Some(Change::new(schemes, "", Kind::Link))
}

/// What acts on the raw text, wherever it stands: bots and commit messages know no code blocks.
pub(super) fn raw(text: &str, removed: &mut Removals) -> String {
    let text = replace(&NO_CI, text, Kind::Skip, removed, |_| "NO CI".to_owned());
    let text = replace(&SKIP, &text, Kind::Skip, removed, |found| {
        format!("({})", &found["words"])
    });
    let text = replace(&CLOSING, &text, Kind::Reference, removed, |found| {
        let place = found
            .name("where")
            .map_or(String::new(), |place| format!("{} ", place.as_str()));
        format!(
            "{}{}{place}no. {}",
            &found["word"], &found["gap"], &found["number"]
        )
    });
    let text = replace(&PHRASE, &text, Kind::Command, removed, |found| {
        format!("{}_{}", &found["first"], &found["second"])
    });
    let text = replace(&COMMAND, &text, Kind::Command, removed, |found| {
        format!("{}\\{}", &found["blank"], &found["command"])
    });
    let text = replace(&BORS, &text, Kind::Command, removed, |found| {
        format!("{}\\- {}", &found["blank"], &found["command"])
    });
    let text = replace(&LONE, &text, Kind::Command, removed, |found| {
        format!("{}\\- {}", &found["blank"], &found["command"])
    });
    replace(&TRAILER, &text, Kind::Trailer, removed, |found| {
        format!("{} -", &found["key"])
    })
}

fn replace(
    pattern: &Regex,
    text: &str,
    kind: Kind,
    removed: &mut Removals,
    with: impl Fn(&Captures<'_>) -> String,
) -> String {
    let mut count = 0;
    let text = pattern.replace_all(text, |found: &Captures<'_>| {
        count += 1;
        with(found)
    });
    removed.add(kind, count);
    text.into_owned()
}

/// The same for a text that is not rendered: a title, a commit message.
pub(super) fn plain(text: &str, removed: &mut Removals) -> String {
    let mut text = raw(text, removed);
    let mut changes = mentions_and_references(&text);
    changes.sort_by_key(|change| change.range.start);
    for change in changes.into_iter().rev() {
        removed.add(change.kind, 1);
        text.replace_range(change.range, &change.with);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        for pattern in ALL {
            assert!(!pattern.as_str().is_empty());
        }
    }

    #[test]
    fn a_plain_text_starts_nothing() {
        for (text, inert) in [
            ("fixes #12", "fixes no. 12"),
            ("Closes: o/r#3", "Closes: o/r no. 3"),
            ("see gh-4", "see gh 4"),
            ("ask @octocat", "ask @ octocat"),
            ("x [skip ci]", "x (skip ci)"),
            ("x [CI Skip] [no ci]", "x (CI Skip) (no ci)"),
            ("***NO_CI***", "NO CI"),
            ("/approve", "\\/approve"),
            ("a\n  /ok to test", "a\n  \\/ok_to test"),
            ("bors r+", "\\- bors r+"),
            ("Co-authored-by: A <a@b.c>", "Co-authored-by - A <a@ b.c>"),
            ("Tagout-Digest: x", "Tagout-Digest - x"),
            ("/usr/bin/env", "/usr/bin/env"),
            ("C# 12 and #define", "C# 12 and #define"),
        ] {
            let mut removed = Removals::default();
            assert_eq!(plain(text, &mut removed), inert);
            assert_eq!(plain(inert, &mut removed), inert);
        }
    }
}
