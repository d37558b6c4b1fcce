//! Which code points a reader sees. What is not on the list of visible categories goes, but for the invisible parts
//! that an emoji or a script needs, and those only where they stand rightly.
//! It must never judge by a list of bad characters alone: Unicode gets new ones every year.

use icu_properties::props::{
    BidiControl, CanonicalCombiningClass, DefaultIgnorableCodePoint, Emoji, EmojiModifier,
    GeneralCategory, JoiningType, RegionalIndicator, VariationSelector,
};
use icu_properties::{CodePointMapData, CodePointSetData};

use super::removals::{Kind, Removals};

/// Marks that may be stacked on one character: the stream-safe limit of UAX #15.
const STACKED_MARKS_MAX: usize = 30;

/// Longest string of a terminal that is looked for its end: a longer search for each of many would make a hostile text slow.
const ESCAPE_BYTES_MAX: usize = 1_024;

const ZWNJ: char = '\u{200C}';
const ZWJ: char = '\u{200D}';
const TEXT_STYLE: char = '\u{FE0E}';
const EMOJI_STYLE: char = '\u{FE0F}';
const KEYCAP: char = '\u{20E3}';
const BLACK_FLAG: char = '\u{1F3F4}';
const CANCEL_TAG: char = '\u{E007F}';

/// The three flags of subdivisions that are recommended for interchange (UTS #51): England, Scotland, Wales.
const SUBDIVISIONS: [&str; 3] = ["gbeng", "gbsct", "gbwls"];

/// The text without what a reader does not see; line ends become `\n`.
pub(super) fn clean(text: &str, removed: &mut Removals) -> String {
    let mut text = line_ends(&escapes(text, removed));
    loop {
        let hidden: Vec<(usize, char, Kind)> = hidden(&text).collect();
        if hidden.is_empty() {
            return text;
        }
        let mut kept = String::with_capacity(text.len());
        let mut from = 0;
        for (at, c, kind) in hidden {
            kept.push_str(&text[from..at]);
            from = at + c.len_utf8();
            removed.add(kind, 1);
        }
        kept.push_str(&text[from..]);
        text = kept;
    }
}

/// `\r\n` and a lone `\r` end a line, as do the separators of Unicode, NEL, form feed and vertical tab.
fn line_ends(text: &str) -> String {
    text.replace("\r\n", "\n").replace(
        ['\r', '\u{2028}', '\u{2029}', '\u{85}', '\u{B}', '\u{C}'],
        "\n",
    )
}

/// Whole escape sequences of a terminal go, so that `[31m` does not stay as litter (ECMA-48: CSI, and OSC up to BEL or ST).
fn escapes(text: &str, removed: &mut Removals) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\u{1B}', '\u{9B}']) {
        kept.push_str(&rest[..at]);
        let length = escape_length(&rest[at..]);
        removed.add(Kind::Control, 1);
        rest = &rest[at + length..];
    }
    kept.push_str(rest);
    kept
}

/// Bytes of the escape sequence at the start of the text; of ESC alone if it is none.
fn escape_length(text: &str) -> usize {
    let first = text.chars().next().map_or(0, char::len_utf8);
    let after = &text[first..];
    let csi = match text.strip_prefix("\u{1B}[") {
        Some(body) => Some(body),
        None => text.strip_prefix('\u{9B}'),
    };
    if let Some(body) = csi {
        let end = body.find(|c| !matches!(c, ' '..='?'));
        return match end.map(|end| (end, body.as_bytes().get(end))) {
            Some((end, Some(b'@'..=b'~'))) => text.len() - body.len() + end + 1,
            Some(_) | None => first,
        };
    }
    if after.starts_with([']', 'P', 'X', '^', '_']) {
        // The ends are ASCII, so that a place found in the bytes lies between characters.
        let window = &after.as_bytes()[..after.len().min(ESCAPE_BYTES_MAX)];
        let end = window.iter().enumerate().find_map(|(at, byte)| match byte {
            b'\n' => Some(0),
            0x7 => Some(at + 1),
            0x1B if window.get(at + 1) == Some(&b'\\') => Some(at + 2),
            _ => None,
        });
        return first + end.unwrap_or(0);
    }
    if after.starts_with(['(', ')', '*', '+', '#', ' '])
        && after.as_bytes().get(1).is_some_and(u8::is_ascii_graphic)
    {
        return first + 2;
    }
    first
}

/// Every hidden character with its byte offset and kind.
pub(super) fn hidden(text: &str) -> impl Iterator<Item = (usize, char, Kind)> + '_ {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let mut found = Vec::new();
    let mut at = 0;
    let mut marks = 0;
    while let Some(&(offset, c)) = chars.get(at) {
        if let Some(length) = emoji_sequence(&chars[at..]) {
            at += length;
            marks = 0;
            continue;
        }
        let seen = if is_mark(c) { marks + 1 } else { 0 };
        let kind = if seen > STACKED_MARKS_MAX {
            Some(Kind::StackedMark)
        } else if joins(&chars, at) {
            None
        } else {
            kind_of(c)
        };
        match kind {
            Some(kind) => found.push((offset, c, kind)),
            None => marks = seen,
        }
        at += 1;
    }
    found.into_iter()
}

/// Why this character does not pass by itself, if it does not.
fn kind_of(c: char) -> Option<Kind> {
    match c {
        '\n' | '\t' | ' '..='~' => return None,
        '\u{E0000}'..='\u{E007F}' => return Some(Kind::Tag),
        // The first five letters are blank (Hangul fillers, Khmer inherent vowels), the last is a Braille cell without dots.
        '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}' | '\u{17B4}' | '\u{17B5}'
        | '\u{2800}' => {
            return Some(Kind::Filler);
        }
        _ => {}
    }
    if CodePointSetData::new::<BidiControl>().contains(c) {
        return Some(Kind::Bidi);
    }
    if CodePointSetData::new::<VariationSelector>().contains(c) {
        return Some(Kind::VariationSelector);
    }
    if CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) {
        return Some(Kind::ZeroWidth);
    }
    match CodePointMapData::<GeneralCategory>::new().get(c) {
        GeneralCategory::Control => Some(Kind::Control),
        GeneralCategory::Format if is_number_sign(c) => None,
        GeneralCategory::Format
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator => Some(Kind::ZeroWidth),
        GeneralCategory::PrivateUse | GeneralCategory::Unassigned | GeneralCategory::Surrogate => {
            Some(Kind::Unassigned)
        }
        _ => None,
    }
}

/// Format characters that are drawn: the signs that Arabic, Syriac and Kaithi write around numbers and words.
fn is_number_sign(c: char) -> bool {
    matches!(
        c,
        '\u{600}'
            ..='\u{605}'
                | '\u{6DD}'
                | '\u{70F}'
                | '\u{890}'
                | '\u{891}'
                | '\u{8E2}'
                | '\u{110BD}'
                | '\u{110CD}'
    )
}

fn is_mark(c: char) -> bool {
    !c.is_ascii()
        && matches!(
            CodePointMapData::<GeneralCategory>::new().get(c),
            GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
        )
}

/// Whether the character is a joiner where RFC 5892 (appendix A.1 and A.2) says that a script needs it:
/// after a virama, or, for the non-joiner, between letters that would join (Persian writes so).
fn joins(chars: &[(usize, char)], at: usize) -> bool {
    let Some(&(_, c @ (ZWJ | ZWNJ))) = chars.get(at) else {
        return false;
    };
    let Some((before, after)) = chars.split_at_checked(at) else {
        return false;
    };
    let virama = before.last().is_some_and(|&(_, c)| {
        CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
    });
    if virama || c == ZWJ {
        return virama;
    }
    let joining = CodePointMapData::<JoiningType>::new();
    let shown = |&&(_, c): &&(usize, char)| joining.get(c) != JoiningType::Transparent;
    // Few marks stand between two letters; a longer search would make a hostile text slow.
    let left = before
        .iter()
        .rev()
        .take(8)
        .find(shown)
        .map(|&(_, c)| joining.get(c));
    let right = after
        .iter()
        .skip(1)
        .take(8)
        .find(shown)
        .map(|&(_, c)| joining.get(c));
    matches!(
        left,
        Some(JoiningType::LeftJoining | JoiningType::DualJoining)
    ) && matches!(
        right,
        Some(JoiningType::RightJoining | JoiningType::DualJoining)
    )
}

/// Characters of the emoji at the start, by the grammar of UTS #51 (1.4.9), if there is one that uses more than one character.
fn emoji_sequence(chars: &[(usize, char)]) -> Option<usize> {
    let mut length = emoji_element(chars)?;
    while chars.get(length).is_some_and(|&(_, c)| c == ZWJ) {
        let Some(next) = chars.get(length + 1..).and_then(emoji_element) else {
            break;
        };
        length += 1 + next;
    }
    (length > 1).then_some(length)
}

fn emoji_element(chars: &[(usize, char)]) -> Option<usize> {
    let at = |index: usize| chars.get(index).map(|&(_, c)| c);
    let first = at(0)?;
    if first.is_ascii() {
        let keycap = matches!(first, '0'..='9' | '#' | '*');
        return match (at(1), at(2)) {
            (Some(EMOJI_STYLE), Some(KEYCAP)) if keycap => Some(3),
            (Some(KEYCAP), _) if keycap => Some(2),
            _ => None,
        };
    }
    let is_regional = |c: Option<char>| {
        c.is_some_and(|c| CodePointSetData::new::<RegionalIndicator>().contains(c))
    };
    if is_regional(at(0)) {
        return is_regional(at(1)).then_some(2);
    }
    if !CodePointSetData::new::<Emoji>().contains(first) {
        return None;
    }
    if first == BLACK_FLAG
        && let Some(length) = subdivision(chars)
    {
        return Some(length);
    }
    let modified = at(1).is_some_and(|c| {
        matches!(c, TEXT_STYLE | EMOJI_STYLE)
            || CodePointSetData::new::<EmojiModifier>().contains(c)
    });
    Some(1 + usize::from(modified))
}

/// Characters of a flag of a subdivision: the flag, five tags that spell its code, and the cancel tag.
fn subdivision(chars: &[(usize, char)]) -> Option<usize> {
    let tags: String = chars
        .iter()
        .skip(1)
        .take(5)
        .filter_map(|&(_, c)| u32::from(c).checked_sub(0xE0000).and_then(char::from_u32))
        .collect();
    let whole = SUBDIVISIONS.contains(&tags.as_str())
        && chars.get(6).is_some_and(|&(_, c)| c == CANCEL_TAG);
    whole.then_some(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> String {
        clean(text, &mut Removals::default())
    }

    #[test]
    fn natural_text_is_unchanged() {
        for text in [
            "plain text, with a tab\tand a line\n",
            "مرحبا بالعالم، كيف الحال؟ ١٢٣",
            "שָׁלוֹם עולם: בְּרֵאשִׁית",
            "漢字かな交じり文、한국어 문장, 中文。\u{3000}全角",
            "می\u{200C}خواهم",
            "क्\u{200D}ष ශ්\u{200D}රී",
            "👨‍👩‍👧‍👦 👩🏽‍💻 🏳️‍🌈 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇩🇪 1️⃣ ❤️ ☎︎ 👍🏿 🧑🏻‍❤️‍💋‍🧑🏿",
            "tiếng Việt, ภาษาไทย, Ελληνικά",
        ] {
            assert_eq!(cleaned(text), text);
        }
    }

    #[test]
    fn hidden_characters_go() {
        for (text, shown) in [
            ("a\u{200B}b\u{2060}c\u{FEFF}", "abc"),
            ("a\u{E0041}\u{E0042}b", "ab"),
            ("x\u{202E}y\u{2066}z\u{200F}", "xyz"),
            ("😀\u{FE0F}\u{FE00}\u{E0101}", "😀\u{FE0F}"),
            ("a\u{FE0F}", "a"),
            (
                "\u{115F}\u{1160}\u{3164}\u{FFA0}\u{180E}\u{2800}\u{FFF9}\u{FFFB}",
                "",
            ),
            ("a\u{200D}b\u{200C}c", "abc"),
            ("\u{1F3F4}\u{E0061}\u{E007F}", "\u{1F3F4}"),
            (
                "\u{1B}[31mred\u{1B}[0m \u{1B}]8;;http://x\u{7}link\u{9B}1m",
                "red link",
            ),
            ("a\u{0}\u{7F}\u{85}b\r\nc\rd\u{2028}e", "a\nb\nc\nd\ne"),
            ("\u{E000}\u{378}", ""),
        ] {
            assert_eq!(cleaned(text), shown, "{text:?}");
        }
    }

    #[test]
    fn characters_that_reassemble_go_too() {
        assert_eq!(cleaned("ب\u{200B}\u{200C}x"), "بx");
        assert_eq!(cleaned("\u{1B}\u{1B}[0m[31mx"), "[31mx");
    }

    #[test]
    fn stacked_marks_are_bounded() {
        let tower = "a".to_owned() + &"\u{301}".repeat(500);
        assert_eq!(cleaned(&tower).chars().count(), 1 + STACKED_MARKS_MAX);
    }
}
