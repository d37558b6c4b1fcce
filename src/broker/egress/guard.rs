//! Stands between the socket and the HTTP/1 server and passes only bytes whose framing is beyond doubt.
//! The server behind it is lenient in places; what it must never see is a head that somebody else could read differently.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::head::{self, Framing, Violation};

/// Bytes that are read from the socket at once: few while little comes, for a crowd of idle connections must fit into memory.
const READ_BYTES_MIN: usize = 1 << 10;
/// The same where much comes.
const READ_BYTES_MAX: usize = 64 << 10;

/// What the guard tells the service: the head that it replaced, and what the service tells the guard.
#[derive(Debug, Default)]
pub(super) struct Notes {
    heads: Mutex<VecDeque<Option<Violation>>>,
    upgraded: AtomicBool,
}

impl Notes {
    /// What was wrong with the next request, in the order in which the service sees them.
    pub(super) fn next(&self) -> Option<Violation> {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.pop_front().flatten()
    }

    /// How many heads were refused and not asked for yet.
    pub(super) fn refused(&self) -> usize {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.iter().filter(|head| head.is_some()).count()
    }

    /// From here on the bytes are no longer HTTP.
    pub(super) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Release);
    }

    fn push(&self, violation: Option<Violation>) {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.push_back(violation);
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    Bytes(u64),
    ChunkSize,
    ChunkBytes(u64),
    ChunkEnd,
    Trailers,
    /// A head was replaced; nothing of the connection is read any more.
    Dead,
}

/// What the service sees instead of a refused head. `Notes` says why; the answer closes the connection.
const REPLACEMENT: &[u8] = b"GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n";

/// A stream whose reading side is checked.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    inner: S,
    buffer: BytesMut,
    /// Bytes at the front of the buffer that may pass.
    checked: usize,
    /// How far an unfinished head or trailer section was searched for its end, from `checked`.
    scanned: usize,
    state: State,
    /// How much is read at once.
    read_bytes: usize,
    notes: Arc<Notes>,
}

impl<S> Guarded<S> {
    /// Guards a stream of which `read` was read already.
    pub(super) fn new(inner: S, read: BytesMut) -> (Self, Arc<Notes>) {
        let notes = Arc::new(Notes::default());
        let mut guarded = Self {
            inner,
            buffer: read,
            checked: 0,
            scanned: 0,
            state: State::Head,
            read_bytes: READ_BYTES_MIN,
            notes: Arc::clone(&notes),
        };
        guarded.start();
        (guarded, notes)
    }

    fn start(&mut self) {
        // A body cannot have begun before its head, so an error here is impossible; it would show at the next read.
        drop(self.check());
    }

    /// Moves on through what is in the buffer.
    fn check(&mut self) -> io::Result<()> {
        while self.step()? {}
        Ok(())
    }

    /// One step; false when more bytes are needed.
    fn step(&mut self) -> io::Result<bool> {
        if self.notes.upgraded.load(Ordering::Acquire) {
            self.checked = self.buffer.len();
            return Ok(false);
        }
        let rest = self.buffer.get(self.checked..).unwrap_or_default();
        if rest.is_empty() && !matches!(self.state, State::Bytes(0)) {
            return Ok(false);
        }
        match self.state {
            State::Head => Ok(self.head()),
            State::Bytes(0) => Ok(self.go(0, State::Head)),
            State::Bytes(left) => {
                let passed = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                Ok(self.go(passed, State::Bytes(left - passed as u64)))
            }
            State::ChunkSize => self.chunk_size(),
            State::ChunkBytes(0) => Ok(self.go(0, State::ChunkEnd)),
            State::ChunkBytes(left) => {
                let passed = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                Ok(self.go(passed, State::ChunkBytes(left - passed as u64)))
            }
            State::ChunkEnd => match rest {
                [b'\r'] => Ok(false),
                [b'\r', b'\n', ..] => Ok(self.go(2, State::ChunkSize)),
                _ => Err(broken(head::CHUNK)),
            },
            State::Trailers => self.trailers(),
            State::Dead => Ok(false),
        }
    }

    fn go(&mut self, passed: usize, next: State) -> bool {
        self.checked += passed;
        self.scanned = 0;
        self.state = next;
        true
    }

    fn head(&mut self) -> bool {
        let rest = self.buffer.get(self.checked..).unwrap_or_default();
        let read = match head::end(rest, &mut self.scanned) {
            Ok(None) => return false,
            Ok(Some(end)) => {
                head::read(rest.get(..end).unwrap_or_default()).map(|head| (end, head.framing))
            }
            Err(violation) => Err(violation),
        };
        match read {
            Ok((end, framing)) => {
                self.notes.push(None);
                let next = match framing {
                    Framing::None => State::Head,
                    Framing::Length(bytes) => State::Bytes(bytes),
                    Framing::Chunked => State::ChunkSize,
                };
                self.go(end, next)
            }
            Err(violation) => {
                self.notes.push(Some(violation));
                self.buffer.truncate(self.checked);
                self.buffer.extend_from_slice(REPLACEMENT);
                self.go(REPLACEMENT.len(), State::Dead);
                false
            }
        }
    }

    fn chunk_size(&mut self) -> io::Result<bool> {
        let rest = self.buffer.get(self.checked..).unwrap_or_default();
        let Some(end) = rest.iter().take(18).position(|byte| *byte == b'\n') else {
            return if rest.len() < 18 {
                Ok(false)
            } else {
                Err(broken(head::CHUNK))
            };
        };
        let line = rest.get(..end).and_then(|line| line.strip_suffix(b"\r"));
        match line.and_then(head::chunk_size) {
            Some(0) => Ok(self.go(end + 1, State::Trailers)),
            Some(bytes) => Ok(self.go(end + 1, State::ChunkBytes(bytes))),
            None => Err(broken(head::CHUNK)),
        }
    }

    fn trailers(&mut self) -> io::Result<bool> {
        let rest = self.buffer.get(self.checked..).unwrap_or_default();
        match head::end(rest, &mut self.scanned).map_err(broken)? {
            None => Ok(false),
            Some(end) => {
                head::check_trailers(rest.get(..end).unwrap_or_default()).map_err(broken)?;
                Ok(self.go(end, State::Head))
            }
        }
    }
}

fn broken(violation: Violation) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, violation.sentence)
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.checked > 0 {
                let count = this.checked.min(out.remaining());
                out.put_slice(this.buffer.get(..count).unwrap_or_default());
                this.buffer.advance(count);
                this.checked -= count;
                return Poll::Ready(Ok(()));
            }
            if matches!(this.state, State::Dead) {
                // The answer to the replaced head closes the connection; an end of file here would cancel that answer.
                return Poll::Pending;
            }
            this.buffer.reserve(this.read_bytes);
            let reading = std::pin::pin!(this.inner.read_buf(&mut this.buffer));
            let count = ready!(reading.poll(cx))?;
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            if count >= this.read_bytes {
                this.read_bytes = (this.read_bytes * 4).min(READ_BYTES_MAX);
            }
            this.check()?;
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, slices)
    }
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
