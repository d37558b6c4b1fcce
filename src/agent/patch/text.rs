//! A file as lines that remember their endings, so that what a patch does not name stays byte for byte.
//! It must never change an ending on its own.

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// `\n`
    Lf,
    /// `\r\n`
    CrLf,
    /// The last line of a file without a final newline.
    None,
}

/// One line without its ending, and the ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextLine {
    pub(super) bytes: Vec<u8>,
    pub(super) ending: Ending,
}

/// A file's lines. Bytes that are not UTF-8 are kept as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) lines: Vec<TextLine>,
}

impl Text {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let lines = bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| match line.strip_suffix(b"\n") {
                None => TextLine {
                    bytes: line.to_vec(),
                    ending: Ending::None,
                },
                Some(rest) => match rest.strip_suffix(b"\r") {
                    Some(rest) => TextLine {
                        bytes: rest.to_vec(),
                        ending: Ending::CrLf,
                    },
                    None => TextLine {
                        bytes: rest.to_vec(),
                        ending: Ending::Lf,
                    },
                },
            })
            .collect();
        Self { lines }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in &self.lines {
            bytes.extend_from_slice(&line.bytes);
            match line.ending {
                Ending::Lf => bytes.extend_from_slice(b"\n"),
                Ending::CrLf => bytes.extend_from_slice(b"\r\n"),
                Ending::None => {}
            }
        }
        bytes
    }

    /// Replaces `count` lines from `at`. A kept line keeps its bytes and ending; a new one ends as its neighbour before
    /// it does, and the file ends with or without a final newline as before.
    pub(super) fn splice(&mut self, at: usize, count: usize, with: Vec<New>) {
        let open_end = self
            .lines
            .last()
            .is_some_and(|line| line.ending == Ending::None);
        let usual = self.usual();
        let old: Vec<TextLine> = self.lines.drain(at..at + count).collect();
        let neighbour = at
            .checked_sub(1)
            .and_then(|before| self.lines.get(before))
            .or_else(|| old.first())
            .map_or(usual, |line| line.ending);
        let mut ending = if neighbour == Ending::None {
            usual
        } else {
            neighbour
        };
        let mut put = Vec::with_capacity(with.len());
        for new in with {
            match new {
                New::Kept(offset) => {
                    if let Some(line) = old.get(offset) {
                        if line.ending != Ending::None {
                            ending = line.ending;
                        }
                        put.push(line.clone());
                    }
                }
                New::Line { text, instead_of } => {
                    let replaced = instead_of
                        .and_then(|offset| old.get(offset))
                        .map(|line| line.ending)
                        .filter(|ending| *ending != Ending::None);
                    put.push(TextLine {
                        bytes: text.into_bytes(),
                        ending: replaced.unwrap_or(ending),
                    });
                }
            }
        }
        drop(self.lines.splice(at..at, put));
        self.mend_ends(open_end, usual);
    }

    /// Only the last line may be open, and it is open if the file's last line was.
    fn mend_ends(&mut self, open_end: bool, usual: Ending) {
        let last = self.lines.len().saturating_sub(1);
        for (at, line) in self.lines.iter_mut().enumerate() {
            if at == last && open_end {
                line.ending = Ending::None;
            } else if line.ending == Ending::None {
                line.ending = usual;
            }
        }
    }

    /// The ending that most lines have.
    fn usual(&self) -> Ending {
        let count = |ending| {
            self.lines
                .iter()
                .filter(|line| line.ending == ending)
                .count()
        };
        if count(Ending::CrLf) > count(Ending::Lf) {
            Ending::CrLf
        } else {
            Ending::Lf
        }
    }
}

/// A line of a replacement.
#[derive(Clone, Debug)]
pub(super) enum New {
    /// The old line at this offset of the replaced part.
    Kept(usize),
    /// A new line; if it stands in the place of an old one, it takes that one's ending.
    Line {
        text: String,
        instead_of: Option<usize>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_and_writing_keeps_every_byte() {
        for bytes in [
            &b""[..],
            b"a",
            b"a\n",
            b"a\r\nb\nc",
            b"\n\n\r\n",
            b"\xff\xfe\n\r",
        ] {
            assert_eq!(Text::read(bytes).write(), bytes);
        }
    }
}
