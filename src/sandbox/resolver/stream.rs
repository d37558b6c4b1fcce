//! DNS over TCP: messages with their length in front (RFC 7766). Bytes in, bytes out; it holds no socket.
//! What a slow or hostile client can make it keep is bounded.

use super::Resolver;
use super::message::MESSAGE_BYTES_MAX;

/// Most answers in bytes that wait for a client to read them.
pub const WAITING_BYTES_MAX: usize = 64 << 10;

/// The client sent what no resolver would, or does not read its answers: close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name client does not speak DNS over TCP")]
pub struct Close;

/// One connection.
#[derive(Debug, Default)]
pub struct Stream {
    arrived: Vec<u8>,
    waiting: Vec<u8>,
}

impl Stream {
    /// Takes bytes that arrived and answers every whole message among them.
    ///
    /// # Errors
    /// A message that is too long, that may not be answered, or too many unread answers.
    pub fn take(&mut self, bytes: &[u8], resolver: &mut Resolver) -> Result<(), Close> {
        self.arrived.extend_from_slice(bytes);
        let mut used = 0;
        while let Some((message, after)) = first(self.arrived.get(used..).unwrap_or_default())? {
            let answer = resolver.answer(message).ok_or(Close)?.message;
            let length = u16::try_from(answer.len()).or(Err(Close))?;
            if self.waiting.len() + answer.len() + 2 > WAITING_BYTES_MAX {
                return Err(Close);
            }
            self.waiting.extend(length.to_be_bytes());
            self.waiting.extend(answer);
            used += after;
        }
        self.arrived.drain(..used);
        Ok(())
    }

    /// Answers that are not sent yet.
    #[must_use]
    pub fn waiting(&self) -> &[u8] {
        &self.waiting
    }

    /// Forgets the first `count` bytes of `waiting`, which were sent.
    pub fn sent(&mut self, count: usize) {
        self.waiting.drain(..count.min(self.waiting.len()));
    }
}

/// The first whole message and where the next one starts.
fn first(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Close> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<2>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes(*prefix));
    if length > MESSAGE_BYTES_MAX {
        return Err(Close);
    }
    Ok(rest.get(..length).map(|message| (message, length + 2)))
}
