//! A request that was granted goes out: counted, cleaned, dressed with its credential, over a checked connection.
//! It must never be called for a request that the verdict did not allow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HOST, HeaderName, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Request, Response, StatusCode, Uri, Version};

use super::body::{Lease, SentBody, SentStream};
use super::budget::{Meter, Spent};
use super::exchange::Grant;
use super::headers;
use super::model_traffic::usage::Reader;
use super::refusal::Stop;
use super::resolve::NoRoad;
use super::road::{Arrival, Road};
use super::scrub::{Scrub, Watch};
use super::target::Target;
use super::ticket::Ticket;
use super::upgrade;
use super::upstream::{Goal, Line, NoLine, Sender};
use crate::policy::model::Place;

/// Longest wait for the head of an answer; models that do not stream think for minutes.
const ANSWER_WAIT: Duration = Duration::from_secs(15 * 60);

/// What came back, and how it goes on.
pub(super) struct Came {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Option<Lease>,
}

/// What became of a request that was let through.
pub(super) enum Through {
    /// An answer.
    Answer {
        came: Came,
        scrub: Option<Scrub>,
        usage: Option<Reader>,
    },
    /// A connection that speaks something else from here on.
    Upgraded {
        response: Response<Incoming>,
        client: OnUpgrade,
        meter: Arc<Meter>,
    },
}

/// A request on its way out.
pub(super) struct Going {
    pub(super) target: Target,
    pub(super) parts: Parts,
    pub(super) body: Incoming,
    pub(super) credential: Option<(HeaderName, HeaderValue)>,
    /// The client's side of the upgrade that the request asks for.
    pub(super) client: Option<OnUpgrade>,
}

/// Sends a request that was granted: counted, cleaned, dressed.
pub(super) async fn forward(
    road: &Arc<Road>,
    arrival: &Arrival,
    grant: &Grant<'_>,
    going: Going,
    ticket: &mut Ticket,
) -> Result<Through, Stop> {
    let Going {
        target,
        mut parts,
        body,
        credential,
        client,
    } = going;
    let known_body = body.size_hint().exact().unwrap_or(0);
    let known = url_bytes(&parts) as u64 + headers::wire_bytes(&parts.headers) + known_body;
    let meter = Arc::new(begin(road, grant.at, &grant.budget, &target.host, known)?);
    ticket.meter(Arc::clone(&meter));
    headers::clean_request(&mut parts.headers, grant.keep_auth);
    parts.headers.extend(credential);
    if client.is_some() {
        upgrade::ask(&mut parts.headers);
    }
    let scrubbed = road.knows_secret(target.scheme, &target.host, target.port);
    if scrubbed {
        // An encoded answer could carry the secret unseen.
        parts
            .headers
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let attempt = Arc::new(AtomicBool::new(false));
    let sent = sent_body(road, body, &meter, known_body, &attempt);
    let h2 = arrival.h2;
    let goal = Goal::new(target.scheme, &target.host, target.port, grant.reach, h2);
    let result = send(
        road,
        goal,
        Request::from_parts(parts, sent),
        grant.at,
        ticket,
    )
    .await;
    if attempt.load(Ordering::Relaxed) {
        return Err(Stop::deny(
            "placeholder-misplaced",
            grant.at,
            "a placeholder of a secret stands in the body",
        ));
    }
    if meter.was_cut() {
        return Err(spent(Spent::Upload, grant.at));
    }
    let mut came = result?;
    let response_is_switch = came.response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if let Some(client) = client.filter(|_| response_is_switch) {
        if let Some(lease) = &mut came.lease {
            lease.driver.detach();
        }
        return Ok(Through::Upgraded {
            response: came.response,
            client,
            meter,
        });
    }
    let scrub = scrubbed.then(|| Scrub::new(road.values.clone()));
    if scrub.is_some() {
        refuse_encoded(came.response.headers())?;
    }
    Ok(Through::Answer {
        came,
        scrub,
        usage: None,
    })
}

/// An answer that may hold a secret must be readable, or it does not pass.
pub(super) fn refuse_encoded(headers: &HeaderMap) -> Result<(), Stop> {
    match headers.get(CONTENT_ENCODING) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"identity") => Err(Stop::fail(
            "answer-encoded",
            "the answer is encoded, though it was asked for as it is, and cannot be searched for secrets",
        )),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn begin(
    road: &Road,
    at: &Place,
    shared: &str,
    host: &str,
    known: u64,
) -> Result<Meter, Stop> {
    road.budgets
        .begin(shared, host, known)
        .map_err(|which| spent(which, at))
}

fn spent(which: Spent, at: &Place) -> Stop {
    let sentence = match which {
        Spent::Requests => {
            "the run's number of requests to this host is used up (network.limits.requests)"
        }
        Spent::Upload => "the run's bytes sent to this host are used up (network.limits.upload)",
        Spent::Hosts => "the run's number of different hosts is used up",
    };
    Stop::deny(which.code(), at, sentence)
}

/// Sends a request over a kept or a new connection. One that was kept may just have been closed; then it is sent once more,
/// but only if nothing of it had gone out.
pub(super) async fn send(
    road: &Arc<Road>,
    goal: Goal,
    mut request: Request<SentBody>,
    at: &Place,
    ticket: &mut Ticket,
) -> Result<Came, Stop> {
    *request.version_mut() = Version::HTTP_11;
    request.headers_mut().remove(HOST);
    let upgrades = request.headers().contains_key(UPGRADE);
    let mut line = road
        .upstreams
        .line(&goal)
        .await
        .map_err(|error| no_line(&error, at, ticket))?;
    loop {
        ticket.address(line.class);
        address_to(&mut request, &goal, &line)?;
        let (reused, class) = (line.reused, line.class);
        let (result, sender) = match line.sender {
            Sender::H1(mut sender, mut driver) => {
                if matches!(request.body(), SentBody::Stream(_)) {
                    driver.detach();
                }
                let sending = sender.try_send_request(request);
                let result = within(driver.during(sending)).await?;
                (result, Some((sender, driver)))
            }
            Sender::H2(mut sender) => (within(sender.try_send_request(request)).await?, None),
        };
        let mut error = match result {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS && !upgrades => {
                return Err(Stop::fail(
                    "upstream-http",
                    "the other side switches protocols unasked",
                ));
            }
            Ok(response) => {
                ticket.status(response.status().as_u16());
                let upstreams = Arc::clone(&road.upstreams);
                let lease = sender.map(|(sender, driver)| Lease {
                    upstreams,
                    goal,
                    sender,
                    driver,
                    class,
                });
                return Ok(Came { response, lease });
            }
            Err(error) => error,
        };
        let Some(again) = error.take_message().filter(|_| reused) else {
            return Err(Stop::fail(
                "upstream-broke",
                "the other side closed the connection or broke HTTP",
            ));
        };
        request = again;
        line = road
            .upstreams
            .new_line(&goal)
            .await
            .map_err(|error| no_line(&error, at, ticket))?;
    }
}

async fn within<T>(answer: impl Future<Output = T>) -> Result<T, Stop> {
    tokio::time::timeout(ANSWER_WAIT, answer)
        .await
        .or(Err(Stop::Fail {
            status: StatusCode::GATEWAY_TIMEOUT,
            code: "upstream-timeout",
            sentence: "the other side did not answer in time".to_owned(),
        }))
}

/// Writes the target in the form that the line speaks: path and Host over HTTP/1, the whole URL over HTTP/2.
fn address_to(request: &mut Request<SentBody>, goal: &Goal, line: &Line) -> Result<(), Stop> {
    let unspeakable = || Stop::bad("target-invalid", "the URL cannot be written");
    let host = if goal.host.contains(':') {
        format!("[{}]", goal.host)
    } else {
        goal.host.clone()
    };
    let authority = match (goal.scheme_is_tls, goal.port) {
        (true, 443) | (false, 80) => host,
        (_, port) => format!("{host}:{port}"),
    };
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    match &line.sender {
        Sender::H1(..) => {
            *request.uri_mut() = path.parse::<Uri>().map_err(|_not_a_uri| unspeakable())?;
            let value = HeaderValue::from_str(&authority).map_err(|_not_a_value| unspeakable())?;
            request.headers_mut().insert(HOST, value);
        }
        Sender::H2(_) => {
            *request.uri_mut() = Uri::builder()
                .scheme("https")
                .authority(authority)
                .path_and_query(path)
                .build()
                .map_err(|_not_a_uri| unspeakable())?;
            request.headers_mut().remove(HOST);
        }
    }
    Ok(())
}

/// Why nothing could be sent. The class of a refused address is told, the address is not.
pub(super) fn no_line(error: &NoLine, at: &Place, ticket: &mut Ticket) -> Stop {
    ticket.unsent();
    match error {
        NoLine::Road(NoRoad::Refused(class)) => {
            ticket.address(class);
            Stop::deny(
                "address-not-allowed",
                at,
                format!(
                    "the name leads to an address of the class {class}, which this rule does not reach"
                ),
            )
        }
        NoLine::Road(NoRoad::NoAddress) => Stop::fail("name-not-found", "the name has no address"),
        NoLine::Dial(error) => Stop::fail(
            "upstream-unreachable",
            format!("nothing answers at the name's address: {}", error.kind()),
        ),
        NoLine::Tls(error) => Stop::fail(
            "upstream-tls",
            format!("the other side does not prove its name: {error}"),
        ),
        NoLine::Http(error) => Stop::fail(
            "upstream-broke",
            format!("the other side broke HTTP at once: {error}"),
        ),
    }
}

fn sent_body(
    road: &Road,
    body: Incoming,
    meter: &Arc<Meter>,
    known: u64,
    attempt: &Arc<AtomicBool>,
) -> SentBody {
    if body.is_end_stream() {
        return SentBody::Empty;
    }
    let watch = (!road.placeholders.is_empty()).then(|| Watch::new(road.placeholders.clone()));
    let stream = SentStream::new(body, Arc::clone(meter), known, watch, Arc::clone(attempt));
    SentBody::Stream(Box::new(stream))
}

/// Bytes of the whole URL.
pub(super) fn url_bytes(parts: &Parts) -> usize {
    let authority = parts
        .uri
        .authority()
        .map(|authority| authority.as_str().len())
        .or_else(|| parts.headers.get(HOST).map(HeaderValue::len))
        .unwrap_or(0);
    let path = parts
        .uri
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    "https://".len() + authority + path
}
