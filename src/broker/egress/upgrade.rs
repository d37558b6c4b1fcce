//! WebSocket where a rule allows it: the request is judged, then the two sides talk, counted and unread.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;

use super::body::AnswerBody;
use super::budget::Meter;
use super::guard::Notes;
use super::headers;
use super::ticket::Ticket;
use super::tunnel::{COPY_BYTES, Counted};

/// Puts back what asks for the upgrade; it was taken off with all that belongs to one connection.
pub(super) fn ask(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Answers the client with the other side's consent, and joins the two connections.
pub(super) fn join(
    mut response: Response<Incoming>,
    client: OnUpgrade,
    meter: Arc<Meter>,
    notes: Option<&Notes>,
    mut ticket: Ticket,
) -> Response<AnswerBody> {
    if let Some(notes) = notes {
        notes.upgrade();
    }
    ticket.status(response.status().as_u16());
    let upstream = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        if let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) {
            let mut client = Counted::new(TokioIo::new(client), meter);
            let mut upstream = TokioIo::new(upstream);
            let copied =
                copy_bidirectional_with_sizes(&mut client, &mut upstream, COPY_BYTES, COPY_BYTES);
            // How the conversation ends is the affair of its two sides.
            drop(copied.await);
            ticket.received(client.received);
        }
        ticket.finished();
    });
    let mut answer = Response::new(AnswerBody::Own(Full::new(Bytes::new())));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let mut cleaned = std::mem::take(response.headers_mut());
    headers::clean_answer(&mut cleaned);
    ask(&mut cleaned);
    *answer.headers_mut() = cleaned;
    answer
}
