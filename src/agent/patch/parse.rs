//! Reads the envelope of a patch.
//! It must never guess a path; small slips of models in the frame are forgiven, in the content they are not.

use super::PatchError;

/// What a patch does to one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A new file with these lines.
    Add { path: String, lines: Vec<String> },
    /// The file goes.
    Delete { path: String },
    /// Parts of the file are replaced, and it may move.
    Update {
        path: String,
        to: Option<String>,
        chunks: Vec<Chunk>,
    },
}

/// One replaced part.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Lines after `@@`: each is searched for before the next, and the part stands after the last.
    pub(super) context: Vec<String>,
    /// The lines in order.
    pub(super) lines: Vec<Line>,
    /// The part reaches to the end of the file.
    pub(super) at_end: bool,
}

/// One line of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It is there and stays.
    Keep(String),
    /// It comes.
    Add(String),
    /// It goes.
    Remove(String),
}

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const ADD: &str = "*** Add File: ";
const DELETE: &str = "*** Delete File: ";
const UPDATE: &str = "*** Update File: ";
const MOVE: &str = "*** Move to: ";
const END_OF_FILE: &str = "*** End of File";

struct Reader<'a> {
    lines: Vec<&'a str>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.at).copied()
    }

    fn wrong(&self, why: &'static str) -> PatchError {
        PatchError::Unreadable {
            line: self.at + 1,
            why,
        }
    }
}

/// Reads a whole patch.
pub(super) fn parse(patch: &str) -> Result<Vec<Deed>, PatchError> {
    // A line of the patch may end in CRLF; whether the file's lines do is the file's own affair.
    let lines = patch
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .collect();
    let mut reader = Reader { lines, at: 0 };
    open(&mut reader)?;
    let mut deeds = Vec::new();
    loop {
        let Some(line) = reader.peek() else {
            return Err(reader.wrong("\"*** End Patch\" is missing"));
        };
        if line.trim_end() == END {
            break;
        }
        if line.trim().is_empty() {
            reader.at += 1;
            continue;
        }
        deeds.push(deed(&mut reader, line)?);
    }
    if deeds.is_empty() {
        return Err(reader.wrong("the patch names no file"));
    }
    Ok(deeds)
}

/// Skips blank lines and the `<<'EOF'` that models know from shells.
fn open(reader: &mut Reader<'_>) -> Result<(), PatchError> {
    while let Some(line) = reader.peek() {
        let line = line.trim();
        reader.at += 1;
        if line == BEGIN {
            return Ok(());
        }
        let heredoc =
            line.starts_with("<<") || line.ends_with("<<'EOF'") || line.starts_with("```");
        if !line.is_empty() && !heredoc {
            break;
        }
    }
    reader.at = 0;
    Err(reader.wrong("it must begin with \"*** Begin Patch\""))
}

fn deed(reader: &mut Reader<'_>, line: &str) -> Result<Deed, PatchError> {
    let path = |text: &str| text.trim().to_owned();
    if let Some(name) = line.strip_prefix(ADD) {
        reader.at += 1;
        let mut lines = Vec::new();
        while let Some(line) = reader.peek() {
            if let Some(text) = line.strip_prefix('+') {
                lines.push(text.to_owned());
            } else if line.starts_with("*** ") {
                break;
            } else {
                return Err(reader.wrong("each line of a new file begins with +"));
            }
            reader.at += 1;
        }
        return Ok(Deed::Add {
            path: path(name),
            lines,
        });
    }
    if let Some(name) = line.strip_prefix(DELETE) {
        reader.at += 1;
        return Ok(Deed::Delete { path: path(name) });
    }
    if let Some(name) = line.strip_prefix(UPDATE) {
        reader.at += 1;
        return update(reader, path(name));
    }
    Err(reader.wrong(
        "expected \"*** Add File: \", \"*** Delete File: \", \"*** Update File: \" or \"*** End Patch\"",
    ))
}

fn update(reader: &mut Reader<'_>, path: String) -> Result<Deed, PatchError> {
    let mut to = None;
    if let Some(name) = reader.peek().and_then(|line| line.strip_prefix(MOVE)) {
        to = Some(name.trim().to_owned());
        reader.at += 1;
    }
    let mut chunks = Vec::new();
    while let Some(line) = reader.peek() {
        if line.starts_with("*** ") && line.trim_end() != END_OF_FILE {
            break;
        }
        chunks.push(chunk(reader)?);
    }
    if chunks.is_empty() && to.is_none() {
        return Err(reader.wrong("an update needs lines, or a file to move to"));
    }
    Ok(Deed::Update { path, to, chunks })
}

fn chunk(reader: &mut Reader<'_>) -> Result<Chunk, PatchError> {
    let mut chunk = Chunk::default();
    while let Some(line) = reader.peek() {
        if line.trim_end() == "@@" {
            if !chunk.context.is_empty() {
                break;
            }
        } else if let Some(text) = line.strip_prefix("@@ ") {
            chunk.context.push(text.to_owned());
        } else {
            break;
        }
        reader.at += 1;
    }
    while let Some(line) = reader.peek() {
        if line.trim_end() == END_OF_FILE {
            chunk.at_end = true;
            reader.at += 1;
            break;
        }
        if line.starts_with("@@") || line.starts_with("*** ") {
            break;
        }
        let read = match line.split_at_checked(1) {
            Some((" ", text)) => Line::Keep(text.to_owned()),
            Some(("+", text)) => Line::Add(text.to_owned()),
            Some(("-", text)) => Line::Remove(text.to_owned()),
            // Models leave the space of an empty line away.
            None if line.is_empty() => Line::Keep(String::new()),
            Some(_) | None => {
                return Err(reader.wrong("a line must begin with a space, + or -"));
            }
        };
        chunk.lines.push(read);
        reader.at += 1;
    }
    if chunk.lines.is_empty() {
        return Err(reader.wrong("there are no lines after @@"));
    }
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_deed_is_read() {
        let patch = "*** Begin Patch\n*** Add File: a.txt\n+one\n+\n*** Delete File: b.txt\n*** Update File: c.txt\n*** Move to: d.txt\n@@ fn main\n keep\n-old\n+new\n\n*** End of File\n*** End Patch";
        let deeds = parse(patch).unwrap();
        assert_eq!(deeds.len(), 3);
        let Deed::Update { to, chunks, .. } = &deeds[2] else {
            panic!("an update");
        };
        assert_eq!(to.as_deref(), Some("d.txt"));
        assert_eq!(chunks[0].context, ["fn main"]);
        assert_eq!(chunks[0].lines.len(), 4);
        assert!(chunks[0].at_end);
    }

    #[test]
    fn text_outside_the_envelope_is_refused() {
        for patch in [
            "",
            "hello",
            "*** Begin Patch\n*** End Patch",
            "*** Begin Patch\n*** Add File: a\n+x",
            "*** Begin Patch\n*** Add File: a\nx\n*** End Patch",
            "*** Begin Patch\n*** Update File: a\n*** End Patch",
            "*** Begin Patch\n*** Update File: a\n@@\n*** End Patch",
            "*** Begin Patch\n*** Update File: a\n@@\nnaked\n*** End Patch",
            "*** Begin Patch\n*** Rename File: a\n*** End Patch",
        ] {
            assert!(parse(patch).is_err(), "{patch}");
        }
    }

    #[test]
    fn shell_frame_is_forgiven() {
        let patch = "<<'EOF'\n*** Begin Patch\n*** Delete File: b\n*** End Patch\nEOF\n";
        assert_eq!(parse(patch).unwrap().len(), 1);
    }
}
