//! Finds and hides texts in a stream of bytes, also where they lie across two pieces.
//! A secret that an answer repeats must never reach the agent, not even in halves.

use hyper::body::Bytes;

/// What stands in place of a secret, byte by byte, so that lengths stay true.
const STAR: u8 = b'*';

/// The texts to look for.
#[derive(Clone, Default)]
pub(super) struct Needles {
    all: Vec<Vec<u8>>,
    longest: usize,
}

impl Needles {
    /// Empty texts are left out.
    pub(super) fn new(texts: impl Iterator<Item = Vec<u8>>) -> Self {
        let mut all: Vec<Vec<u8>> = texts.filter(|text| !text.is_empty()).collect();
        // Longer ones first, so that a secret that contains another one is hidden whole.
        all.sort_by_key(|text| std::cmp::Reverse(text.len()));
        all.dedup();
        let longest = all.first().map_or(0, Vec::len);
        Self { all, longest }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether one of the texts is in these bytes.
    pub(super) fn found_in(&self, bytes: &[u8]) -> bool {
        self.all
            .iter()
            .any(|text| position(bytes, text, 0).is_some())
    }

    /// Hides every text in place; whether there was one.
    pub(super) fn hide(&self, bytes: &mut [u8]) -> bool {
        let mut hidden = false;
        for text in &self.all {
            let mut from = 0;
            while let Some(at) = position(bytes, text, from) {
                if let Some(place) = bytes.get_mut(at..at + text.len()) {
                    place.fill(STAR);
                }
                hidden = true;
                from = at + text.len();
            }
        }
        hidden
    }

    /// Hides every text in the values of headers; whether there was one.
    pub(super) fn hide_in_headers(&self, headers: &mut hyper::HeaderMap) -> bool {
        let mut hidden = false;
        for value in headers.values_mut() {
            if self.found_in(value.as_bytes()) {
                let mut bytes = value.as_bytes().to_vec();
                hidden |= self.hide(&mut bytes);
                *value = hyper::header::HeaderValue::from_bytes(&bytes)
                    .unwrap_or(hyper::header::HeaderValue::from_static("***"));
            }
        }
        hidden
    }

    /// How many bytes at the end could be the beginning of a text.
    fn tail(&self, bytes: &[u8]) -> usize {
        let most = bytes.len().min(self.longest.saturating_sub(1));
        (1..=most)
            .rev()
            .find(|length| {
                let tail = bytes.get(bytes.len() - length..).unwrap_or_default();
                self.all
                    .iter()
                    .any(|text| text.len() > *length && text.starts_with(tail))
            })
            .unwrap_or(0)
    }
}

fn position(bytes: &[u8], text: &[u8], from: usize) -> Option<usize> {
    let first = *text.first()?;
    let mut at = from;
    while let Some(rest) = bytes.get(at..) {
        let next = rest.iter().position(|byte| *byte == first)?;
        if rest.get(next..)?.starts_with(text) {
            return Some(at + next);
        }
        at += next + 1;
    }
    None
}

/// Hides texts in a stream. It holds back only what may be the beginning of one.
pub(super) struct Scrub {
    needles: Needles,
    held: Vec<u8>,
    pub(super) hidden: bool,
}

impl Scrub {
    pub(super) fn new(needles: Needles) -> Self {
        Self {
            needles,
            held: Vec::new(),
            hidden: false,
        }
    }

    /// Takes the next piece and gives what may pass; possibly nothing.
    pub(super) fn feed(&mut self, piece: Bytes) -> Bytes {
        if self.held.is_empty() && !self.needles.found_in(&piece) {
            let tail = self.needles.tail(&piece);
            let passed = piece.len() - tail;
            self.held
                .extend_from_slice(piece.get(passed..).unwrap_or_default());
            return piece.slice(..passed);
        }
        self.held.extend_from_slice(&piece);
        self.hidden |= self.needles.hide(&mut self.held);
        let tail = self.needles.tail(&self.held);
        let rest = self.held.split_off(self.held.len() - tail);
        Bytes::from(std::mem::replace(&mut self.held, rest))
    }

    /// Hides texts in the values of headers.
    pub(super) fn hide_in_headers(&mut self, headers: &mut hyper::HeaderMap) {
        self.hidden |= self.needles.hide_in_headers(headers);
    }

    /// What is held back at the end of the stream.
    pub(super) fn finish(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.held))
    }
}

/// Looks for texts in a stream without changing it.
pub(super) struct Watch {
    needles: Needles,
    tail: Vec<u8>,
}

impl Watch {
    pub(super) fn new(needles: Needles) -> Self {
        Self {
            needles,
            tail: Vec::new(),
        }
    }

    /// Whether one of the texts ends in this piece.
    pub(super) fn found(&mut self, piece: &[u8]) -> bool {
        let keep = self.needles.longest.saturating_sub(1);
        let head = piece.get(..piece.len().min(keep)).unwrap_or_default();
        self.tail.extend_from_slice(head);
        let found = self.needles.found_in(&self.tail) || self.needles.found_in(piece);
        if piece.len() >= keep {
            self.tail = piece.get(piece.len() - keep..).unwrap_or_default().to_vec();
        } else {
            let surplus = self.tail.len().saturating_sub(keep);
            self.tail.drain(..surplus);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needles() -> Needles {
        Needles::new([b"sk-secret-1".to_vec(), b"abab".to_vec()].into_iter())
    }

    fn scrubbed(text: &[u8], size: usize) -> Vec<u8> {
        let mut scrub = Scrub::new(needles());
        let mut out = Vec::new();
        for piece in text.chunks(size) {
            out.extend_from_slice(&scrub.feed(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&scrub.finish());
        out
    }

    #[test]
    fn secret_is_hidden_at_every_split() {
        let text = b"key=sk-secret-1; sk-secret-2 xababab abasksk-secret-1";
        let hidden = b"key=***********; sk-secret-2 x****ab abask***********";
        for size in 1..=text.len() {
            assert_eq!(
                String::from_utf8_lossy(&scrubbed(text, size)),
                String::from_utf8_lossy(hidden),
                "{size}"
            );
        }
    }

    #[test]
    fn innocent_bytes_are_not_held_back() {
        let mut scrub = Scrub::new(needles());
        let piece = Bytes::from_static(b"data: hello\n\n");
        assert_eq!(scrub.feed(piece.clone()), piece);
    }

    #[test]
    fn watch_sees_a_text_at_every_split() {
        let text = b"xxxx sk-secret-1 yy";
        for size in 1..=text.len() {
            let mut watch = Watch::new(needles());
            let found = text.chunks(size).any(|piece| watch.found(piece));
            assert!(found, "{size}");
        }
        let mut watch = Watch::new(needles());
        assert!(!watch.found(b"sk-secret-") && !watch.found(b"2"));
    }
}
