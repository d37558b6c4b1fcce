//! Reads in pieces of a better size than those above ask for. TLS asks the socket for 4 KiB at a time and gives one record at
//! a time; where much comes, both cost more than the bytes themselves. No byte may be lost, doubled or kept back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Bytes that are read at once from a socket on which much comes. A crowd of idle connections holds no such buffer.
const AHEAD_BYTES: usize = 64 << 10;
/// A read of fewer bytes shows that no more is waiting.
const LITTLE_BYTES: usize = 4 << 10;

/// A socket below TLS: reads ahead while much comes, and may begin with bytes that were read before.
#[derive(Debug)]
pub(super) struct Ahead<S> {
    inner: S,
    read: BytesMut,
    much: bool,
}

impl<S> Ahead<S> {
    /// A stream of which `read` was read already.
    pub(super) fn new(inner: S, read: BytesMut) -> Self {
        Self {
            inner,
            read,
            much: false,
        }
    }

    /// The stream, and what was read of it and not taken.
    pub(super) fn into_parts(self) -> (S, BytesMut) {
        (self.inner, self.read)
    }

    fn give(&mut self, out: &mut ReadBuf<'_>) {
        let count = self.read.len().min(out.remaining());
        out.put_slice(self.read.get(..count).unwrap_or_default());
        self.read.advance(count);
        if self.read.is_empty() && !self.much {
            self.read = BytesMut::new();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ahead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.read.is_empty() {
            this.give(out);
            return Poll::Ready(Ok(()));
        }
        if !this.much || out.remaining() >= AHEAD_BYTES {
            ready!(Pin::new(&mut this.inner).poll_read(cx, out))?;
            this.much = out.remaining() == 0;
            return Poll::Ready(Ok(()));
        }
        this.read.reserve(AHEAD_BYTES);
        let reading = std::pin::pin!(this.inner.read_buf(&mut this.read));
        let Poll::Ready(count) = reading.poll(cx) else {
            this.read = BytesMut::new();
            return Poll::Pending;
        };
        this.much = count? >= LITTLE_BYTES;
        this.give(out);
        Poll::Ready(Ok(()))
    }
}

/// A stream above TLS: gives as many records at once as are there.
#[derive(Debug)]
pub(super) struct Gathered<S> {
    inner: S,
    /// What ended the reading after bytes had come; it is told next.
    error: Option<io::Error>,
}

impl<S> Gathered<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, error: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(error) = this.error.take() {
            return Poll::Ready(Err(error));
        }
        let mut before = out.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, out))?;
        // A short piece is the last of what came together; asking again would only cost a call.
        while out.filled().len() - before >= LITTLE_BYTES && out.remaining() > 0 {
            before = out.filled().len();
            match Pin::new(&mut this.inner).poll_read(cx, out) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    this.error = Some(error);
                    break;
                }
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Passes the writing side through.
macro_rules! write_through {
    ($name:ident) => {
        impl<S: AsyncWrite + Unpin> AsyncWrite for $name<S> {
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
    };
}
write_through!(Ahead);
write_through!(Gathered);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use super::*;

    /// Pieces that come in time, `None` where nothing is there yet; then the end, or an error.
    struct Script {
        pieces: VecDeque<Option<Vec<u8>>>,
        error: bool,
    }

    impl AsyncRead for Script {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let this = self.get_mut();
            match this.pieces.pop_front() {
                Some(Some(mut piece)) => {
                    let rest = piece.split_off(piece.len().min(out.remaining()));
                    out.put_slice(&piece);
                    if !rest.is_empty() {
                        this.pieces.push_front(Some(rest));
                    }
                    Poll::Ready(Ok(()))
                }
                Some(None) => Poll::Pending,
                None if this.error => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                None => Poll::Ready(Ok(())),
            }
        }
    }

    /// All that comes, read `step` bytes at a time, and whether it ended in an error.
    fn drain(mut stream: impl AsyncRead + Unpin, step: usize) -> (Vec<u8>, bool) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut all = Vec::new();
        let mut space = vec![0; step];
        loop {
            let mut out = ReadBuf::new(&mut space);
            match Pin::new(&mut stream).poll_read(&mut cx, &mut out) {
                Poll::Ready(Ok(())) if out.filled().is_empty() => return (all, false),
                Poll::Ready(Ok(())) => all.extend_from_slice(out.filled()),
                Poll::Ready(Err(_)) => return (all, true),
                Poll::Pending => {}
            }
        }
    }

    #[test]
    fn every_byte_comes_once_and_in_order() {
        let sizes = [1, 4096, 4095, 70_000, 16_384, 3, 200_000, 5];
        for step in [1000, 4096, 1 << 17] {
            for error in [false, true] {
                let mut expected = b"read before".to_vec();
                let mut pieces = VecDeque::new();
                for (number, size) in sizes.into_iter().enumerate() {
                    let piece: Vec<u8> = (0..size)
                        .map(|at: usize| u8::try_from(at % 251).unwrap())
                        .collect();
                    expected.extend_from_slice(&piece);
                    pieces.push_back(Some(piece));
                    if number % 2 == 0 {
                        pieces.push_back(None);
                    }
                }
                let script = Script { pieces, error };
                let ahead = Ahead::new(script, BytesMut::from(&b"read before"[..]));
                assert_eq!(drain(Gathered::new(ahead), step), (expected, error));
            }
        }
    }
}
