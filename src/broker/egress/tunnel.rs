//! A host that the policy says is not inspected: its bytes pass unread, counted, under the one name of its hello.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;

use super::budget::Meter;
use super::log::{Decision, Tls};
use super::refusal::{Stop, place};
use super::resolve::Reach;
use super::road::Road;
use super::sending::{begin, no_line};
use super::target::Bound;
use super::ticket::Ticket;
use super::upstream::Goal;
use crate::policy::model::Rule;
use crate::policy::verdict::Scheme;

/// Bytes that are moved at once in either direction.
pub(super) const COPY_BYTES: usize = 64 << 10;

/// Passes a tunnel until either side ends it or its budget is spent. A refusal closes it: inside nothing can be answered.
pub(super) async fn pass(
    road: &Road,
    client: TcpStream,
    read: BytesMut,
    bound: &Bound,
    rule: &Rule,
) {
    let mut ticket = Ticket::new(&road.log, Tls::Tunnel, false);
    ticket.asked("CONNECT", Scheme::Https, &bound.host, bound.port);
    ticket.decided(Decision::Allow, None, Some(place(&rule.at)));
    if let Err(stop) = carry(road, client, read, bound, rule, &mut ticket).await {
        let verdict = match &stop {
            Stop::Deny(_) | Stop::Bad { .. } | Stop::Auth => Decision::Deny,
            Stop::Fail { .. } => Decision::Fail,
        };
        ticket.decided(verdict, Some(stop.code()), None);
    }
    ticket.finished();
}

async fn carry(
    road: &Road,
    client: TcpStream,
    read: BytesMut,
    bound: &Bound,
    rule: &Rule,
    ticket: &mut Ticket,
) -> Result<(), Stop> {
    if !road.log.holds().await {
        return Err(Stop::unlogged());
    }
    let meter = Arc::new(begin(
        road,
        &rule.at,
        &rule.host.to_string(),
        &bound.host,
        read.len() as u64,
    )?);
    ticket.meter(Arc::clone(&meter));
    let reach = if rule.private {
        Reach::Private
    } else {
        Reach::Public
    };
    let goal = Goal::new(Scheme::Https, &bound.host, bound.port, reach, false);
    let (mut upstream, checked) = road
        .upstreams
        .dial(&goal)
        .await
        .map_err(|error| no_line(&error, &rule.at, ticket))?;
    ticket.address(checked.class);
    let broken = |_error: io::Error| Stop::fail("upstream-broke", "the tunnel broke");
    upstream.write_all(&read).await.map_err(broken)?;
    drop(read);
    let mut counted = Counted::new(client, meter);
    let result =
        copy_bidirectional_with_sizes(&mut counted, &mut upstream, COPY_BYTES, COPY_BYTES).await;
    ticket.received(counted.received);
    // How a tunnel ends is the affair of its two sides.
    drop(result);
    Ok(())
}

/// The client's side: what is read from it goes out and is counted first.
pub(super) struct Counted<S> {
    inner: S,
    meter: Arc<Meter>,
    pub(super) received: u64,
}

impl<S> Counted<S> {
    pub(super) fn new(inner: S, meter: Arc<Meter>) -> Self {
        Self {
            inner,
            meter,
            received: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, out))?;
        let count = out.filled().len() - before;
        if this.meter.charge(count as u64) {
            Poll::Ready(Ok(()))
        } else {
            out.set_filled(before);
            Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()))
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.inner).poll_write(cx, bytes))?;
        this.received += count as u64;
        Poll::Ready(Ok(count))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
