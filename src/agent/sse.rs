//! Reads a stream of server-sent events (WHATWG HTML, 9.2) in bounded memory.
//! It must never grow with what the server sends.

/// Longest line, and longest data of one event, in bytes.
pub(super) const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An event that is longer than is read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream has more than {EVENT_BYTES_MAX} bytes")]
pub(super) struct TooLong;

/// Takes bytes in any pieces and gives the data of whole events.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    after_cr: bool,
}

impl Parser {
    /// The data of each event that these bytes complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::take(&mut self.after_cr);
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    events.extend(self.line_ends()?);
                }
                _ => {
                    if self.line.len() >= EVENT_BYTES_MAX {
                        return Err(TooLong);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(events)
    }

    fn line_ends(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return Ok(self.data.take());
        }
        if let Some(rest) = line.strip_prefix(b"data:") {
            let rest = rest.strip_prefix(b" ").unwrap_or(rest);
            match &mut self.data {
                None => self.data = Some(rest.to_vec()),
                Some(data) => {
                    if data.len() + rest.len() >= EVENT_BYTES_MAX {
                        return Err(TooLong);
                    }
                    data.push(b'\n');
                    data.extend_from_slice(rest);
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &[u8], piece: usize) -> Vec<String> {
        let mut parser = Parser::default();
        text.chunks(piece)
            .flat_map(|part| parser.feed(part).unwrap())
            .map(|event| String::from_utf8(event).unwrap())
            .collect()
    }

    #[test]
    fn events_are_the_same_in_any_pieces_and_with_any_line_ends() {
        let text = "event: a\ndata: one\n\n: comment\n\ndata:two\r\ndata: lines\r\n\r\ndata: three\r\rdata: unfinished";
        for piece in 1..text.len() {
            assert_eq!(
                events(text.as_bytes(), piece),
                ["one", "two\nlines", "three"]
            );
        }
    }

    #[test]
    fn endless_line_is_an_error() {
        let mut parser = Parser::default();
        let part = vec![b'x'; 1024 * 1024];
        let failed = (0..20).any(|_| parser.feed(&part) == Err(TooLong));
        assert!(failed);
    }
}
