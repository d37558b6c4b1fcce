//! The explicit proxy on loopback: CONNECT for whoever tunnels, absolute URLs for plain HTTP, a password for both.
//! It must never serve anyone without the password, unless the caller opened it to all.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::ahead::Ahead;
use super::head::{self, Framing};
use super::intake::{self, Via};
use super::log::Tls;
use super::road::{Arrival, Road};
use super::socks;
use super::target::{self, Bound};
use crate::policy::verdict::Scheme;

/// Longest wait for a request to the proxy itself.
const HEAD_WAIT: Duration = Duration::from_secs(75);
/// Most requests for a password on one connection.
const TRIES_MAX: usize = 8;

/// Accepts until the process ends.
pub(super) async fn serve(road: Arc<Road>, listener: TcpListener, connections: Arc<Semaphore>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
                    return;
                };
                let road = Arc::clone(&road);
                tokio::spawn(async move {
                    // A connection that breaks at the front door concerns nobody but the one who made it.
                    drop(greet(road, stream).await);
                    drop(permit);
                });
            }
            // Out of descriptors: wait for some to come back instead of spinning.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn greet(road: Arc<Road>, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read = BytesMut::new();
    let reading = tokio::time::timeout(HEAD_WAIT, stream.read_buf(&mut read));
    reading.await.map_err(io::Error::from)??;
    if read.first() == Some(&socks::VERSION) {
        read.advance(1);
        let mut stream = Ahead::new(stream, read);
        let greeting = socks::greet(road.password.as_ref(), &mut stream);
        let bound = tokio::time::timeout(HEAD_WAIT, greeting).await;
        let bound = bound.map_err(io::Error::from)??;
        let (stream, read) = stream.into_parts();
        // What comes later is put on the heap when it comes: a crowd that only connects must stay small.
        Box::pin(intake::serve(road, stream, read, bound, Via::Connect)).await;
        return Ok(());
    }
    for _ in 0..TRIES_MAX {
        if !is_connect(&mut stream, &mut read).await? {
            let arrival = Arrival {
                scheme: Scheme::Http,
                bound: None,
                refused: None,
                tls: Tls::Clear,
                h2: false,
                notes: None,
            };
            Box::pin(intake::serve_h1(road, arrival, stream, read)).await;
            return Ok(());
        }
        let waited = tokio::time::timeout(HEAD_WAIT, connect_head(&mut stream, &mut read)).await;
        let end = waited.map_err(io::Error::from)??;
        match read_connect(&road, read.get(..end).unwrap_or_default()) {
            Connect::To(bound) => {
                read.advance(end);
                stream
                    .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    .await?;
                Box::pin(intake::serve(road, stream, read, bound, Via::Connect)).await;
                return Ok(());
            }
            Connect::NoPassword => {
                read.advance(end);
                stream.write_all(NO_PASSWORD).await?;
            }
            Connect::Bad(sentence) => {
                let text = format!(
                    "HTTP/1.1 400 Bad Request\r\nX-Tagout-Denied: connect-invalid\r\nContent-Type: text/plain\r\n\
                     Content-Length: {}\r\nConnection: close\r\n\r\n{sentence}\n",
                    sentence.len() + 1
                );
                stream.write_all(text.as_bytes()).await?;
                return stream.shutdown().await;
            }
        }
    }
    Ok(())
}

const NO_PASSWORD: &[u8] =
    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"tagout\"\r\n\
X-Tagout-Denied: proxy-password\r\nContent-Length: 0\r\n\r\n";

/// Whether the next request is a CONNECT; reads no more than it takes to tell.
async fn is_connect(stream: &mut TcpStream, read: &mut BytesMut) -> io::Result<bool> {
    const WORD: &[u8] = b"CONNECT ";
    loop {
        let known = read.len().min(WORD.len());
        if read.get(..known) != WORD.get(..known) {
            return Ok(false);
        }
        if known == WORD.len() {
            return Ok(true);
        }
        let reading = tokio::time::timeout(HEAD_WAIT, stream.read_buf(read)).await;
        if reading.map_err(io::Error::from)?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Reads a whole head; where it ends.
async fn connect_head(stream: &mut TcpStream, read: &mut BytesMut) -> io::Result<usize> {
    let mut scanned = 0;
    loop {
        match head::end(read, &mut scanned) {
            Ok(Some(end)) => return Ok(end),
            Ok(None) => {}
            // It is answered as a head that cannot be read.
            Err(_) => return Ok(read.len()),
        }
        if stream.read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

enum Connect {
    To(Bound),
    NoPassword,
    Bad(&'static str),
}

fn read_connect(road: &Road, head: &[u8]) -> Connect {
    let head = match head::read(head) {
        Ok(head) => head,
        Err(violation) => return Connect::Bad(violation.sentence),
    };
    if head.framing != Framing::None && head.framing != Framing::Length(0) {
        return Connect::Bad("a CONNECT request has a body");
    }
    if !road.opens(head.proxy_authorization) {
        return Connect::NoPassword;
    }
    let target = target::authority(head.target, 0).filter(|bound| bound.port != 0);
    if let (Some(target), "") = (&target, head.host) {
        return Connect::To(target.clone());
    }
    let header = target::authority(head.host, target.as_ref().map_or(443, |bound| bound.port));
    match (target, header) {
        (Some(target), Some(header)) if target.host == header.host => Connect::To(target),
        (Some(_), _) => Connect::Bad("the Host header names another host than CONNECT"),
        (None, _) => Connect::Bad("the target of CONNECT is not host:port"),
    }
}
