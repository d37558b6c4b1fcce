//! Finds the lines that a patch names, exactly if it can, and more and more forgiving if not.
//! It must never take a forgiving match where a stricter one exists further on.

use super::PatchError;
use super::parse::{Chunk, Line};
use super::text::{New, Text};

/// How much a line may differ, strictest first.
#[derive(Clone, Copy)]
enum Stage {
    Exact,
    TrailingSpace,
    AllSpace,
    Punctuation,
}

const STAGES: [Stage; 4] = [
    Stage::Exact,
    Stage::TrailingSpace,
    Stage::AllSpace,
    Stage::Punctuation,
];

/// Applies all chunks of one file, in the order of the file.
pub(super) fn apply(path: &str, mut text: Text, chunks: &[Chunk]) -> Result<Text, PatchError> {
    let mut from = 0;
    for chunk in chunks {
        for context in &chunk.context {
            let wanted = [context.as_str()];
            let at =
                find(&text, &wanted, from, false).ok_or_else(|| not_found(path, &wanted, from))?;
            from = at + 1;
        }
        from = replace(path, &mut text, chunk, from)?;
    }
    Ok(text)
}

/// Replaces the chunk's part and gives the line after it.
fn replace(path: &str, text: &mut Text, chunk: &Chunk, from: usize) -> Result<usize, PatchError> {
    let mut lines: &[Line] = &chunk.lines;
    let mut wanted = old(lines);
    if wanted.is_empty() {
        let at = if chunk.context.is_empty() {
            text.lines.len()
        } else {
            from
        };
        text.splice(at, 0, new(lines));
        return Ok(at + lines.len());
    }
    let mut found = find(text, &wanted, from, chunk.at_end);
    // A blank line at the end of a chunk is often only the end of the patch.
    while found.is_none()
        && let Some((Line::Keep(last), rest)) = lines.split_last()
        && last.is_empty()
        && wanted.len() > 1
    {
        lines = rest;
        wanted = old(lines);
        found = find(text, &wanted, from, chunk.at_end);
    }
    let at = found.ok_or_else(|| not_found(path, &wanted, from))?;
    let count = wanted.len();
    let new = new(lines);
    let length = new.len();
    text.splice(at, count, new);
    Ok(at + length)
}

fn old(lines: &[Line]) -> Vec<&str> {
    lines
        .iter()
        .filter_map(|line| match line {
            Line::Keep(text) | Line::Remove(text) => Some(text.as_str()),
            Line::Add(_) => None,
        })
        .collect()
}

/// The replacement. A kept line is kept as the file has it, not as the patch spells it. An added line takes the place of
/// the oldest removed line before it that has no successor yet.
fn new(lines: &[Line]) -> Vec<New> {
    let mut put = Vec::new();
    let mut offset = 0;
    let mut removed = std::collections::VecDeque::new();
    for line in lines {
        match line {
            Line::Keep(_) => {
                put.push(New::Kept(offset));
                offset += 1;
                removed.clear();
            }
            Line::Remove(_) => {
                removed.push_back(offset);
                offset += 1;
            }
            Line::Add(text) => put.push(New::Line {
                text: text.clone(),
                instead_of: removed.pop_front(),
            }),
        }
    }
    put
}

fn find(text: &Text, wanted: &[&str], from: usize, at_end: bool) -> Option<usize> {
    let last = text.lines.len().checked_sub(wanted.len())?;
    STAGES.into_iter().find_map(|stage| {
        let wanted: Vec<String> = wanted.iter().map(|line| plain(line, stage)).collect();
        let fits = |at: &usize| {
            text.lines
                .iter()
                .skip(*at)
                .zip(&wanted)
                .all(|(line, wanted)| {
                    plain(&String::from_utf8_lossy(&line.bytes), stage) == *wanted
                })
        };
        if at_end && from <= last && fits(&last) {
            return Some(last);
        }
        (from..=last).find(fits)
    })
}

fn plain(line: &str, stage: Stage) -> String {
    match stage {
        Stage::Exact => line.to_owned(),
        Stage::TrailingSpace => line.trim_end().to_owned(),
        Stage::AllSpace => line.trim().to_owned(),
        Stage::Punctuation => line.trim().chars().map(ascii).collect(),
    }
}

/// Typographic dashes, quotes and spaces as the keyboard has them.
fn ascii(character: char) -> char {
    match character {
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{2018}'..='\u{201B}' => '\'',
        '\u{201C}'..='\u{201F}' => '"',
        '\u{00A0}' | '\u{2002}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}' => ' ',
        other => other,
    }
}

fn not_found(path: &str, wanted: &[&str], from: usize) -> PatchError {
    PatchError::NotFound {
        path: path.to_owned(),
        after: if from == 0 {
            String::new()
        } else {
            format!(" after line {from}")
        },
        lines: wanted.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::{Deed, parse};
    use super::*;

    fn patched(before: &[u8], body: &str) -> Result<Vec<u8>, PatchError> {
        let patch = format!("*** Begin Patch\n*** Update File: f\n{body}\n*** End Patch");
        let Deed::Update { chunks, .. } = parse(&patch)?.remove(0) else {
            panic!("an update");
        };
        apply("f", Text::read(before), &chunks).map(|text| text.write())
    }

    #[test]
    fn endings_and_final_newline_stay() {
        for (before, body, after) in [
            (
                &b"a\r\nb\r\nc\r\n"[..],
                " a\n-b\n+B\n c",
                &b"a\r\nB\r\nc\r\n"[..],
            ),
            (b"a\nb", "-b\n+B", b"a\nB"),
            (b"a\nb", " b\n+c", b"a\nb\nc"),
            (b"a\r\nb", " b\n+c", b"a\r\nb\r\nc"),
            (b"a\nb\r\nc\n", "-b\n+x\n+y", b"a\nx\r\ny\nc\n"),
            (b"a\nb", "-b", b"a"),
            (b"", "+x", b"x\n"),
            (b"a\n", "-a", b""),
        ] {
            assert_eq!(patched(before, body).unwrap(), after, "{body}");
        }
    }

    #[test]
    fn forgiving_stages_keep_the_files_own_spelling() {
        let before = "fn a() {  \n\tlet x = \u{201C}q\u{201D};\n}\n".as_bytes();
        let after = patched(before, " fn a() {\n let x = \"q\";\n+done\n }").unwrap();
        let wanted = "fn a() {  \n\tlet x = \u{201C}q\u{201D};\ndone\n}\n";
        assert_eq!(String::from_utf8(after).unwrap(), wanted);
    }

    #[test]
    fn exact_match_further_on_beats_a_forgiving_one() {
        let after = patched(b"  x\nx\n", "-x\n+y").unwrap();
        assert_eq!(after, b"  x\ny\n");
    }

    #[test]
    fn context_and_end_of_file_choose_among_equal_lines() {
        let before = b"fn a\n x\nfn b\n x\nfn c\n x\n";
        assert_eq!(
            patched(before, "@@ fn b\n- x\n+ y").unwrap(),
            b"fn a\n x\nfn b\n y\nfn c\n x\n"
        );
        assert_eq!(
            patched(before, "@@\n- x\n+ y\n*** End of File").unwrap(),
            b"fn a\n x\nfn b\n x\nfn c\n y\n"
        );
    }

    #[test]
    fn lines_that_are_not_there_are_named() {
        let error = patched(b"a\n", "-b\n+c").unwrap_err();
        assert!(error.to_string().contains("not found"), "{error}");
        assert!(patched(b"a\nb\n", "-b\n+B\n@@\n-a\n+A").is_err());
    }

    #[test]
    fn bytes_that_are_not_utf8_stay() {
        let after = patched(b"\xff\xfe\nold\n", "-old\n+new").unwrap();
        assert_eq!(after, b"\xff\xfe\nnew\n");
    }
}
