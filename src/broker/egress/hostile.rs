//! The readers of hostile bytes as fuzz targets and properties reach them: the TLS hello, the guard before HTTP/1, SOCKS, and
//! the search for secrets in answers.
//! It must never be called by the program itself.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guard::Guarded;
use super::hello::{self, First};
use super::road::Road;
use super::scrub::{Needles, Scrub};
use super::socks;

/// What the first bytes of a connection are taken for: `more`, `http`, `other`, or `tls` with the server name.
#[must_use]
pub fn hello(bytes: &[u8]) -> (&'static str, Option<String>) {
    match hello::first(bytes) {
        First::Incomplete => ("more", None),
        First::Http => ("http", None),
        First::Other => ("other", None),
        First::Tls(hello) => ("tls", hello.name),
    }
}

/// What the guard lets through of bytes that come in these pieces, and how many heads it refused; none where it breaks off.
#[must_use]
pub fn guarded(pieces: &[&[u8]]) -> Option<(Vec<u8>, usize)> {
    let source = Pieces {
        pieces: pieces.iter().map(|piece| piece.to_vec()).rev().collect(),
    };
    let (mut guarded, notes) = Guarded::new(source, BytesMut::new());
    let mut cx = Context::from_waker(Waker::noop());
    let mut passed = Vec::new();
    let mut space = vec![0_u8; 4096];
    loop {
        let mut out = ReadBuf::new(&mut space);
        match Pin::new(&mut guarded).poll_read(&mut cx, &mut out) {
            Poll::Ready(Ok(())) if out.filled().is_empty() => break,
            Poll::Ready(Ok(())) => passed.extend_from_slice(out.filled()),
            Poll::Ready(Err(_)) => return None,
            // Dead after a refused head.
            Poll::Pending => break,
        }
    }
    Some((passed, notes.refused()))
}

/// Which host and port SOCKS bytes ask for, with or without this password; none where they are refused or too few.
#[must_use]
pub fn socks(password: Option<&str>, bytes: &[u8]) -> Option<(String, u16)> {
    let expected = password.map(Road::expected_authorization);
    let mut source = Pieces {
        pieces: vec![bytes.to_vec()],
    };
    let greeting = std::pin::pin!(socks::greet(expected.as_ref(), &mut source));
    let mut cx = Context::from_waker(Waker::noop());
    // The source never makes anybody wait.
    match greeting.poll(&mut cx) {
        Poll::Ready(Ok(bound)) => Some((bound.host, bound.port)),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}

/// What is left of an answer that comes in these pieces when these texts are hidden in it.
#[must_use]
pub fn scrubbed(texts: &[&str], pieces: &[&[u8]]) -> Vec<u8> {
    let needles = Needles::new(texts.iter().map(|text| text.as_bytes().to_vec()));
    let mut scrub = Scrub::new(needles);
    let mut passed = Vec::new();
    for piece in pieces {
        passed.extend_from_slice(&scrub.feed(Bytes::copy_from_slice(piece)));
    }
    passed.extend_from_slice(&scrub.finish());
    passed
}

/// Pieces, the first one last.
#[derive(Debug)]
struct Pieces {
    pieces: Vec<Vec<u8>>,
}

impl AsyncRead for Pieces {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let pieces = &mut self.get_mut().pieces;
        while let Some(mut piece) = pieces.pop() {
            if piece.is_empty() {
                continue;
            }
            let rest = piece.split_off(piece.len().min(out.remaining()));
            out.put_slice(&piece);
            if !rest.is_empty() {
                pieces.push(rest);
            }
            break;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
