//! One request to the model: whole, reviewed, reserved, dressed with the key, and only then sent.
//! It must never forward a byte of the agent's body as it came.

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{Method, Request};
use std::sync::Arc;

use super::body::SentBody;
use super::budget::Meter;
use super::log::Decision;
use super::model_gate::ModelGate;
use super::model_traffic::{BODY_BYTES_MAX, Reviewed, usage::Reader};
use super::refusal::{Stop, place};
use super::resolve::Reach;
use super::road::Road;
use super::sending::{Came, refuse_encoded, send};
use super::ticket::Ticket;
use super::upstream::Goal;

/// Passes one request to the model. The answer's reader learns what it cost.
pub(super) async fn pass(
    road: &Arc<Road>,
    gate: &ModelGate,
    parts: Parts,
    body: Incoming,
    ticket: &mut Ticket,
) -> Result<(Came, Reader), Stop> {
    let at = gate.at();
    ticket.decided(Decision::Allow, None, Some(place(at)));
    let deny = |code, sentence: &str| Stop::deny(code, at, sentence);
    let reviewed = read(gate, &parts, body).await?;
    let turn = Arc::clone(&gate.turns)
        .acquire_owned()
        .await
        .or(Err(Stop::fail("model-busy", "the egress is ending")))?;
    let reservation = gate.reserve(reviewed.tokens_reserved()).ok_or_else(|| {
        deny("model-tokens-spent", "what is left of the run's model tokens does not cover this request (agent.limits.tokens)")
    })?;
    ticket.reserved(reservation, turn);
    let meter = Arc::new(Meter::unlimited());
    let bytes = reviewed.into_body();
    meter.charge(bytes.len() as u64);
    ticket.meter(meter);
    let mut request = Request::new(SentBody::Whole(Full::new(Bytes::from(bytes))));
    *request.method_mut() = Method::POST;
    // The query is not forwarded: some gateways read keys and switches from it.
    *request.uri_mut() = parts.uri.path().parse().or(Err(Stop::bad(
        "target-invalid",
        "the path cannot be written",
    )))?;
    *request.headers_mut() = parts.headers;
    gate.dress(request.headers_mut()).or(Err(Stop::fail(
        "model-key",
        "the model's key cannot stand in a header",
    )))?;
    // The policy names this endpoint itself, so it may be a gateway in a private network.
    let goal = Goal::new(
        gate.scheme(),
        gate.host(),
        gate.port(),
        Reach::Private,
        false,
    );
    let came = send(road, goal, request, at, ticket).await?;
    refuse_encoded(came.response.headers())?;
    let kind = came
        .response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let reader = Reader::new(gate.model().api, kind);
    Ok((came, reader))
}

/// Takes the body whole, and has it reviewed.
async fn read(gate: &ModelGate, parts: &Parts, body: Incoming) -> Result<Reviewed, Stop> {
    let at = gate.at();
    let deny = |code, sentence: &str| Stop::deny(code, at, sentence);
    if !gate.has_placeholder(&parts.headers) {
        return Err(deny(
            "model-placeholder-missing",
            "the request does not carry this run's placeholder for the model's key",
        ));
    }
    if parts.headers.contains_key(CONTENT_ENCODING) {
        return Err(deny(
            "model-body-encoded",
            "the body of a request to the model may not be encoded",
        ));
    }
    let content_type = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|_too_long_or_broken| {
        deny(
            "model-body-too-large",
            "the body is broken off, or longer than the model's limit",
        )
    })?;
    gate.review(content_type, &body.to_bytes())
        .map_err(|refusal| Stop::deny(refusal.code, at, refusal.sentence))
}
