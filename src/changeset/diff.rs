//! What lines a change adds, and the whole change as a patch that `git apply` takes.
//! It must never leave a change out because it is not text.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use imara_diff::sources::byte_lines;
use imara_diff::{Algorithm, Diff, Hunk, InternedInput};
use sha1::{Digest as _, Sha1};

use super::change::{Change, Changeset, FileMode};

/// Lines shown around a change.
const CONTEXT_LINES: u32 = 3;

/// A line of a file with its number, from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number.
    pub number: u32,
    /// Its bytes without the line end.
    pub bytes: &'a [u8],
}

/// The lines that are in `new` and not in `old`. Without an old side every line counts.
#[must_use]
pub fn added<'a>(old: Option<&[u8]>, new: &'a [u8]) -> Vec<Line<'a>> {
    let input = InternedInput::new(byte_lines(old.unwrap_or_default()), byte_lines(new));
    let diff = Diff::compute(Algorithm::Histogram, &input);
    let mut number = 0;
    byte_lines(new)
        .filter_map(|line| {
            number += 1;
            diff.is_added(number - 1).then_some(Line {
                number,
                bytes: strip_end(line),
            })
        })
        .collect()
}

/// The lines that are in `old` and not in `new`.
#[must_use]
pub fn removed<'a>(old: &'a [u8], new: &[u8]) -> Vec<Line<'a>> {
    added(Some(new), old)
}

fn strip_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether git would show no lines of it: a NUL in the first 8,000 bytes, as git decides.
#[must_use]
pub fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(8000).any(|byte| *byte == 0)
}

/// The change as `git diff --binary --full-index` writes it. Where the old content is not at hand the change is
/// written as a whole new file, which reads well and applies nowhere.
#[must_use]
pub fn patch(changeset: &Changeset) -> Vec<u8> {
    let mut out = Vec::new();
    for change in changeset.changes() {
        let old = Side::old(change);
        let new = Side::new(change);
        let is_link = |side: &Side<'_>| side.mode == Some(FileMode::Symlink);
        if old.mode.is_some() && new.mode.is_some() && is_link(&old) != is_link(&new) {
            // A patch cannot turn a file into a link; git writes two.
            one(change, &old, &Side::NONE, &mut out);
            one(change, &Side::NONE, &new, &mut out);
        } else {
            one(change, &old, &new, &mut out);
        }
    }
    out
}

/// One side of a change.
struct Side<'a> {
    mode: Option<FileMode>,
    bytes: &'a [u8],
}

impl<'a> Side<'a> {
    const NONE: Self = Self {
        mode: None,
        bytes: b"",
    };

    fn old(change: &'a Change) -> Self {
        Self {
            mode: change.old_mode(),
            bytes: change.old_content().map_or(b"", super::change::Blob::bytes),
        }
    }

    fn new(change: &'a Change) -> Self {
        Self {
            mode: change.mode(),
            bytes: change.content().map_or(b"", super::change::Blob::bytes),
        }
    }

    /// The id that git gives the bytes.
    fn id(&self) -> String {
        if self.mode.is_none() {
            return "0".repeat(40);
        }
        let mut sum = Sha1::new();
        sum.update(format!("blob {}\0", self.bytes.len()));
        sum.update(self.bytes);
        sum.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

fn one(change: &Change, old: &Side<'_>, new: &Side<'_>, out: &mut Vec<u8>) {
    let name = |prefix: &str| quoted(&format!("{prefix}/{}", change.path()));
    push(out, &format!("diff --git {} {}\n", name("a"), name("b")));
    match (old.mode, new.mode) {
        (None, Some(mode)) => push(out, &format!("new file mode {}\n", mode.octal())),
        (Some(mode), None) => push(out, &format!("deleted file mode {}\n", mode.octal())),
        (Some(one), Some(other)) if one != other => push(
            out,
            &format!("old mode {}\nnew mode {}\n", one.octal(), other.octal()),
        ),
        (Some(_), Some(_)) | (None, None) => {}
    }
    let (old_id, new_id) = (old.id(), new.id());
    if old_id == new_id {
        return;
    }
    let mode = match (old.mode, new.mode) {
        (Some(one), Some(other)) if one == other => format!(" {}", one.octal()),
        _ => String::new(),
    };
    push(out, &format!("index {old_id}..{new_id}{mode}\n"));
    if is_binary(old.bytes) || is_binary(new.bytes) {
        binary(old.bytes, new.bytes, out);
        return;
    }
    if old.bytes == new.bytes {
        return;
    }
    let header = |mode: Option<FileMode>, prefix: &str| match mode {
        None => "/dev/null".to_owned(),
        // A name with a space is ended by a tab, as git and GNU patch do.
        Some(_) if change.path().as_str().contains(' ') => format!("{}\t", name(prefix)),
        Some(_) => name(prefix),
    };
    push(
        out,
        &format!(
            "--- {}\n+++ {}\n",
            header(old.mode, "a"),
            header(new.mode, "b")
        ),
    );
    hunks(old.bytes, new.bytes, out);
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// A quotation mark is the only character of a `RepoPath` that git quotes in a patch.
fn quoted(name: &str) -> String {
    if name.contains('"') {
        format!("\"{}\"", name.replace('"', "\\\""))
    } else {
        name.to_owned()
    }
}

fn hunks(old: &[u8], new: &[u8], out: &mut Vec<u8>) {
    let input = InternedInput::new(byte_lines(old), byte_lines(new));
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let old: Vec<&[u8]> = byte_lines(old).collect();
    let new: Vec<&[u8]> = byte_lines(new).collect();
    let mut group: Vec<Hunk> = Vec::new();
    for hunk in diff.hunks() {
        let near = group
            .last()
            .is_none_or(|last| hunk.before.start - last.before.end <= 2 * CONTEXT_LINES);
        if !near {
            write_group(&group, &old, &new, out);
            group.clear();
        }
        group.push(hunk);
    }
    write_group(&group, &old, &new, out);
}

fn write_group(group: &[Hunk], old: &[&[u8]], new: &[&[u8]], out: &mut Vec<u8>) {
    let (Some(first), Some(last)) = (group.first(), group.last()) else {
        return;
    };
    let before = CONTEXT_LINES.min(first.before.start);
    let old_count = u32::try_from(old.len()).unwrap_or(u32::MAX);
    let after = CONTEXT_LINES.min(old_count - last.before.end);
    let old_range = first.before.start - before..last.before.end + after;
    let new_range = first.after.start - before..last.after.end + after;
    push(
        out,
        &format!("@@ -{} +{} @@\n", range(&old_range), range(&new_range)),
    );
    let mut at = old_range.start;
    for hunk in group {
        lines(out, b' ', old, at..hunk.before.start);
        lines(out, b'-', old, hunk.before.clone());
        lines(out, b'+', new, hunk.after.clone());
        at = hunk.before.end;
    }
    lines(out, b' ', old, at..old_range.end);
}

fn range(range: &std::ops::Range<u32>) -> String {
    let count = range.end - range.start;
    // An empty range names the line before it.
    let start = if count == 0 {
        range.start
    } else {
        range.start + 1
    };
    format!("{start},{count}")
}

fn lines(out: &mut Vec<u8>, sign: u8, from: &[&[u8]], range: std::ops::Range<u32>) {
    for line in from
        .iter()
        .skip(range.start as usize)
        .take((range.end.saturating_sub(range.start)) as usize)
    {
        out.push(sign);
        out.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            push(out, "\n\\ No newline at end of file\n");
        }
    }
}

/// gitformat: each side as zlib in base 85, 52 bytes a line.
fn binary(old: &[u8], new: &[u8], out: &mut Vec<u8>) {
    push(out, "GIT binary patch\n");
    for side in [new, old] {
        push(out, &format!("literal {}\n", side.len()));
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(side).expect("a Vec takes every write");
        let packed = encoder.finish().expect("a Vec takes every write");
        for piece in packed.chunks(52) {
            out.push(length_letter(piece.len()));
            base85(piece, out);
            out.push(b'\n');
        }
        out.push(b'\n');
    }
}

/// `A` to `Z` for 1 to 26 bytes, `a` to `z` for 27 to 52.
fn length_letter(count: usize) -> u8 {
    let count = u8::try_from(count).unwrap_or(52);
    if count <= 26 {
        b'A' + count - 1
    } else {
        b'a' + count - 27
    }
}

const BASE85: &[u8; 85] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

fn base85(bytes: &[u8], out: &mut Vec<u8>) {
    for group in bytes.chunks(4) {
        let mut word = [0; 4];
        for (to, from) in word.iter_mut().zip(group) {
            *to = *from;
        }
        let mut rest = u32::from_be_bytes(word);
        let mut digits = [0; 5];
        for digit in digits.iter_mut().rev() {
            *digit = BASE85
                .get((rest % 85) as usize)
                .copied()
                .unwrap_or_default();
            rest /= 85;
        }
        out.extend_from_slice(&digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_lines_carry_their_numbers() {
        let lines = added(Some(b"a\nb\nc\n"), b"a\nx\r\nb\nc\ny");
        let found: Vec<_> = lines.iter().map(|line| (line.number, line.bytes)).collect();
        assert_eq!(found, [(2, &b"x"[..]), (5, &b"y"[..])]);
        assert_eq!(added(None, b"a\nb").len(), 2);
        assert_eq!(removed(b"a\nb\n", b"b\n").len(), 1);
    }
}
