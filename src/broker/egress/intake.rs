//! One connection that was made to a host and port: what is spoken on it, under whose name, and who reads it.
//! It must never pass a byte on before the whole beginning is understood; what is neither TLS nor HTTP is closed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::ahead::Ahead;
use super::exchange;
use super::guard::Guarded;
use super::head;
use super::hello::{self, First, Hello};
use super::log::{Decision, Tls};
use super::refusal::Stop;
use super::road::{Arrival, Road};
use super::target::{Bound, spelled};
use super::ticket::Ticket;
use super::tunnel;
use crate::policy::model::Place;
use crate::policy::verdict::{Denial, Road as Way, Scheme};

/// Longest wait for the first bytes and for a whole beginning.
const BEGIN_WAIT: Duration = Duration::from_secs(60);
/// Longest wait for the client's half of TLS.
const TLS_WAIT: Duration = Duration::from_secs(20);
/// Longest wait for a request's head, idle time between requests included.
const HEAD_WAIT: Duration = Duration::from_secs(75);
/// Most requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// Buffer of one HTTP/1 connection in bytes.
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// By which road a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// CONNECT to the explicit proxy.
    Connect,
    /// The walls handed it over.
    Door,
}

/// Serves a connection to `bound`, of which `read` was read already.
pub(super) async fn serve(
    road: Arc<Road>,
    mut stream: TcpStream,
    mut read: BytesMut,
    bound: Bound,
    via: Via,
) {
    let first = match tokio::time::timeout(BEGIN_WAIT, begin(&mut stream, &mut read)).await {
        Ok(Ok(first)) => first,
        // Nothing was said: a connection that is opened ahead of need, or a protocol in which the server speaks first.
        Ok(Err(_)) | Err(_) => First::Incomplete,
    };
    match first {
        First::Tls(hello) => Box::pin(tls(road, stream, read, bound, hello)).await,
        First::Http => {
            let refused = (via == Via::Connect && bound.port != 80).then(|| {
                deny(
                    &road,
                    "clear-not-allowed",
                    "inside CONNECT only port 80 is spoken to in clear",
                )
            });
            let arrival = Arrival {
                scheme: Scheme::Http,
                bound: Some(bound),
                refused,
                tls: Tls::Clear,
                h2: false,
                notes: None,
            };
            Box::pin(serve_h1(road, arrival, stream, read)).await;
        }
        First::Other => {
            note(&road, &bound, "protocol-unknown");
        }
        First::Incomplete => {}
    }
}

async fn begin(stream: &mut TcpStream, read: &mut BytesMut) -> io::Result<First> {
    loop {
        match hello::first(read) {
            First::Incomplete => {}
            known => return Ok(known),
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(First::Incomplete);
        }
    }
}

/// A line of the log for a connection on which no request could be read.
fn note(road: &Road, bound: &Bound, code: &str) {
    let mut ticket = Ticket::new(&road.log, Tls::Clear, false);
    ticket.asked("", Scheme::Https, &bound.host, bound.port);
    ticket.decided(Decision::Deny, Some(code), None);
    ticket.finished();
}

fn deny(road: &Road, code: &'static str, sentence: &str) -> Stop {
    let at: Place = road.judge.network().at.clone();
    Stop::Deny(Denial {
        code,
        at: Some(at),
        sentence: sentence.to_owned(),
    })
}

async fn tls(road: Arc<Road>, stream: TcpStream, read: BytesMut, bound: Bound, hello: Hello) {
    let refused = check_name(&road, &bound, &hello);
    let is_model = road
        .model
        .as_ref()
        .is_some_and(|model| model.lives_at(Scheme::Https, &bound.host, bound.port));
    if refused.is_none()
        && !is_model
        && let Way::Tunnel(rule) = road.judge.road(&bound.host, bound.port)
    {
        let rule = rule.clone();
        Box::pin(tunnel::pass(&road, stream, read, &bound, &rule)).await;
        return;
    }
    let name = hello
        .name
        .as_deref()
        .map_or_else(|| bound.host.clone(), spelled);
    let Ok(leaf) = road.authority.leaf(&name) else {
        note(&road, &bound, "tls-name-invalid");
        return;
    };
    let accept = TlsAcceptor::from(leaf).accept(Ahead::new(stream, read));
    let Ok(Ok(stream)) = tokio::time::timeout(TLS_WAIT, accept).await else {
        // A client that keeps roots of its own does not know the run's CA; the report must be able to say so.
        let code = refused.map_or("tls-client-refused", |stop| stop.code());
        note(&road, &bound, code);
        return;
    };
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let arrival = Arrival {
        scheme: Scheme::Https,
        bound: Some(bound),
        refused,
        tls: Tls::Inspected,
        h2,
        notes: None,
    };
    if h2 {
        Box::pin(serve_h2(road, arrival, stream)).await;
    } else {
        Box::pin(serve_h1(road, arrival, stream, BytesMut::new())).await;
    }
}

/// The name of the connection, the server name of TLS, and later Host or `:authority` must be one.
fn check_name(road: &Road, bound: &Bound, hello: &Hello) -> Option<Stop> {
    if hello.encrypted {
        return Some(deny(
            road,
            "ech-refused",
            "the TLS hello hides its server name (ECH)",
        ));
    }
    let is_address = bound.host.parse::<std::net::IpAddr>().is_ok();
    match &hello.name {
        Some(name) if spelled(name) == bound.host => None,
        Some(_) => Some(deny(
            road,
            "sni-mismatch",
            "the server name of TLS is not the host of the connection",
        )),
        None if is_address => None,
        None => Some(deny(road, "sni-missing", "the TLS hello names no server")),
    }
}

/// Serves HTTP/1 on a stream, every request read strictly first.
pub(super) async fn serve_h1<S>(road: Arc<Road>, mut arrival: Arrival, stream: S, read: BytesMut)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (guarded, notes) = Guarded::new(stream, read);
    arrival.notes = Some(notes);
    let arrival = Arc::new(arrival);
    let service = service_fn(move |request| {
        Box::pin(exchange::answer(
            Arc::clone(&road),
            Arc::clone(&arrival),
            request,
        ))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_headers(head::HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(guarded), service)
        .with_upgrades();
    // What ends a connection early was told to its request; there is nobody else to tell.
    drop(connection.await);
}

async fn serve_h2<S>(road: Arc<Road>, arrival: Arrival, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let arrival = Arc::new(arrival);
    let service = service_fn(move |request| {
        Box::pin(exchange::answer(
            Arc::clone(&road),
            Arc::clone(&arrival),
            request,
        ))
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(head::HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .adaptive_window(true)
        .keep_alive_interval(Some(Duration::from_secs(60)))
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    drop(connection.await);
}
