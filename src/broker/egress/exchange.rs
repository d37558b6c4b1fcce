//! One request from its arrival to its answer: read, judged, counted, cleaned, sent. The order is the security property.
//! Nothing must be dialled, resolved or sent before everything that may refuse the request has had its say.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HOST, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};

use super::body::{AnswerBody, Lease, Passed, SentBody, SentStream};
use super::budget::{Meter, Spent};
use super::headers;
use super::log::Decision;
use super::model_exchange;
use super::refusal::{self, Stop, place};
use super::resolve::{NoRoad, Reach};
use super::road::{Arrival, Road};
use super::scrub::{Scrub, Watch};
use super::target::{self, Target};
use super::ticket::Ticket;
use super::upstream::{Goal, Line, NoLine, Sender};
use crate::policy::model::{AuthMode, Credential, NetworkMode, Place, Rule};
use crate::policy::verdict::{self, Denial, Scheme, Verdict};

/// Longest wait for the head of an answer; models that do not stream think for minutes.
const ANSWER_WAIT: Duration = Duration::from_secs(15 * 60);

/// What came back, and how it goes on.
pub(super) struct Came {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Option<Lease>,
}

/// Answers one request. Refusals are answers too, so this never fails.
pub(super) async fn answer(
    road: Arc<Road>,
    arrival: Arc<Arrival>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let mut ticket = Ticket::new(&road.log, arrival.tls, arrival.h2);
    let json = refusal::wants_json(request.headers());
    let stop = match pass(&road, &arrival, request, &mut ticket).await {
        Ok((came, scrub, usage)) => return Ok(hand_back(came, scrub, usage, ticket)),
        Err(stop) => stop,
    };
    let verdict = match &stop {
        Stop::Bad { .. } | Stop::Deny(_) | Stop::Auth => Decision::Deny,
        Stop::Fail { .. } => Decision::Fail,
    };
    let at = match &stop {
        Stop::Deny(denial) => denial.at.as_ref().map(place),
        Stop::Bad { .. } | Stop::Auth | Stop::Fail { .. } => None,
    };
    ticket.decided(verdict, Some(stop.code()), at);
    let response = refusal::answer(&stop, ticket.event(), &road.policy_file, json);
    ticket.status(response.status().as_u16());
    ticket.finished();
    Ok(response)
}

type Usage = super::model_traffic::usage::Reader;

async fn pass(
    road: &Arc<Road>,
    arrival: &Arrival,
    request: Request<Incoming>,
    ticket: &mut Ticket,
) -> Result<(Came, Option<Scrub>, Option<Usage>), Stop> {
    let violation = arrival.notes.as_ref().and_then(|notes| notes.next());
    if let Some(violation) = violation {
        ticket.asked(
            "",
            arrival.scheme,
            &arrival.host(),
            arrival.bound.as_ref().map_or(0, |bound| bound.port),
        );
        return Err(Stop::bad(violation.code, violation.sentence));
    }
    let (mut parts, body) = request.into_parts();
    let target = read(road, arrival, &mut parts, ticket)?;
    let path = parts.uri.path();
    if let Some(model) = &road.model
        && model.lives_at(target.scheme, &target.host, target.port)
        && model.covers(parts.method.as_str(), path)
    {
        let (came, usage) = model_exchange::pass(road, model, parts, body, ticket).await?;
        return Ok((came, Some(Scrub::new(road.values.clone())), Some(usage)));
    }
    let grant = judge(road, &target, &parts)?;
    ticket.decided(grant.decision, grant.code, Some(place(grant.at)));
    check_shape(road, &grant, &parts, &body)?;
    let credential = swap(road, &grant, &target, &parts)?;
    let (came, scrub) = forward(
        road, arrival, &target, &grant, credential, parts, body, ticket,
    )
    .await?;
    Ok((came, scrub, None))
}

/// Reads what is asked for, and checks what holds for the connection.
fn read(
    road: &Road,
    arrival: &Arrival,
    parts: &mut Parts,
    ticket: &mut Ticket,
) -> Result<Target, Stop> {
    let port = arrival.bound.as_ref().map_or(0, |bound| bound.port);
    let method = parts.method.as_str().to_owned();
    ticket.asked(&method, arrival.scheme, &arrival.host(), port);
    ticket.path(parts.uri.path(), parts.uri.query());
    if arrival.bound.is_none() {
        let authorization = parts.headers.remove(PROXY_AUTHORIZATION);
        let text = authorization.as_ref().and_then(|value| value.to_str().ok());
        if !road.opens(text) {
            return Err(Stop::Auth);
        }
    }
    if let Some(stop) = &arrival.refused {
        return Err(stop.clone());
    }
    if parts.method == Method::CONNECT {
        return Err(Stop::bad(
            "method-invalid",
            "CONNECT opens a connection of its own",
        ));
    }
    let target = target::read(parts, arrival.scheme, arrival.bound.as_ref())
        .map_err(|stop| with_place(stop, road))?;
    ticket.asked(&method, target.scheme, &target.host, target.port);
    Ok(target)
}

/// A mismatch has no rule; it is told with the place where rules stand.
fn with_place(stop: Stop, road: &Road) -> Stop {
    match stop {
        Stop::Deny(denial) => Stop::Deny(Denial {
            at: denial.at.or_else(|| Some(road.judge.network().at.clone())),
            ..denial
        }),
        other => other,
    }
}

/// What a verdict grants.
pub(super) struct Grant<'a> {
    decision: Decision,
    code: Option<&'static str>,
    at: &'a Place,
    reach: Reach,
    keep_auth: bool,
    websocket: bool,
    credential: Option<&'a Credential>,
}

impl<'a> Grant<'a> {
    fn by(rule: &'a Rule) -> Self {
        Self {
            decision: Decision::Allow,
            code: None,
            at: &rule.at,
            reach: if rule.private {
                Reach::Private
            } else {
                Reach::Public
            },
            keep_auth: rule.auth == AuthMode::Pass,
            websocket: rule.websocket,
            credential: rule.credential.as_ref(),
        }
    }
}

fn judge<'a>(road: &'a Road, target: &Target, parts: &Parts) -> Result<Grant<'a>, Stop> {
    let request = verdict::Request {
        scheme: target.scheme,
        host: &target.host,
        port: target.port,
        method: parts.method.as_str(),
        path: parts.uri.path(),
    };
    let denial = match road.judge.judge(&request) {
        Verdict::Allow(rule) => return Ok(Grant::by(rule)),
        Verdict::Deny(denial) => denial,
    };
    if let Some(model) = &road.model
        && model.lives_at(target.scheme, &target.host, target.port)
    {
        return Err(Stop::deny(
            "model-request-not-allowed",
            model.at(),
            model.allowed(),
        ));
    }
    let network = road.judge.network();
    let reported = network.mode == NetworkMode::Report
        && matches!(
            denial.code,
            "host-not-allowed" | "method-not-allowed" | "path-not-allowed"
        )
        && matches!(
            (target.scheme, target.port),
            (Scheme::Http, 80) | (Scheme::Https, 443)
        );
    if reported {
        return Ok(Grant {
            decision: Decision::Report,
            code: Some(denial.code),
            at: &network.at,
            reach: Reach::Public,
            keep_auth: false,
            websocket: false,
            credential: None,
        });
    }
    Err(Stop::Deny(denial))
}

/// What no rule can allow: bodies where none belong, upgrades, endless URLs.
fn check_shape(road: &Road, grant: &Grant<'_>, parts: &Parts, body: &Incoming) -> Result<(), Stop> {
    verdict::url_fits(road.judge.network(), url_bytes(parts)).map_err(Stop::Deny)?;
    let bodyless = matches!(parts.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE");
    if bodyless && !body.is_end_stream() {
        return Err(Stop::deny(
            "body-not-allowed",
            grant.at,
            "a GET, HEAD or OPTIONS request has a body",
        ));
    }
    match parts.headers.get(UPGRADE) {
        // Asked for by some clients on every plain request; ignoring it is an answer (RFC 9110, 7.8).
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"h2c") => Ok(()),
        Some(_) if grant.websocket => Err(Stop::deny(
            "upgrade-not-allowed",
            grant.at,
            "upgrades are not supported yet",
        )),
        Some(_) => Err(Stop::deny(
            "upgrade-not-allowed",
            grant.at,
            "the rule allows no upgrade of the connection",
        )),
        None => Ok(()),
    }
}

fn url_bytes(parts: &Parts) -> usize {
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

/// Finds this rule's placeholder in this rule's header, and gives what stands for it on the wire.
/// A placeholder anywhere else is an attempt to send it where it does not belong.
fn swap(
    road: &Road,
    grant: &Grant<'_>,
    target: &Target,
    parts: &Parts,
) -> Result<Option<(HeaderName, HeaderValue)>, Stop> {
    if road.placeholders.is_empty() {
        return Ok(None);
    }
    let attempt = |sentence: &str| Stop::deny("placeholder-misplaced", grant.at, sentence);
    if road.placeholders.found_in(parts.uri.to_string().as_bytes()) {
        return Err(attempt("a placeholder of a secret stands in the URL"));
    }
    let injected = grant
        .credential
        .and_then(|credential| Some((credential, road.secrets.get(&credential.variable)?)));
    let mut put = None;
    for (name, value) in &parts.headers {
        if !road.placeholders.found_in(value.as_bytes()) {
            continue;
        }
        let Some((credential, injected)) =
            injected.filter(|(credential, _)| name.as_str() == credential.header)
        else {
            return Err(attempt(
                "a placeholder of a secret stands in a header or goes to a host where it does not belong",
            ));
        };
        if target.scheme != Scheme::Https {
            return Err(attempt("a credential leaves only over TLS"));
        }
        let text = String::from_utf8_lossy(value.as_bytes());
        if !text.contains(&injected.placeholder) || put.is_some() {
            return Err(attempt(
                "the placeholder of another secret stands in the header",
            ));
        }
        let front = format!("${{{}}}", credential.variable);
        let wire =
            zeroize::Zeroizing::new(credential.value.replace(&front, injected.value.expose()));
        let mut value = HeaderValue::from_str(&wire)
            .map_err(|_not_a_value| attempt("the credential cannot stand in a header"))?;
        value.set_sensitive(true);
        put = Some((name.clone(), value));
    }
    Ok(put)
}

#[expect(
    clippy::too_many_arguments,
    reason = "the pieces of one request, each used once"
)]
async fn forward(
    road: &Arc<Road>,
    arrival: &Arrival,
    target: &Target,
    grant: &Grant<'_>,
    credential: Option<(HeaderName, HeaderValue)>,
    mut parts: Parts,
    body: Incoming,
    ticket: &mut Ticket,
) -> Result<(Came, Option<Scrub>), Stop> {
    let known_body = body.size_hint().exact().unwrap_or(0);
    let known = url_bytes(&parts) as u64 + headers::wire_bytes(&parts.headers) + known_body;
    let meter = Arc::new(begin(road, grant.at, &target.host, known)?);
    ticket.meter(Arc::clone(&meter));
    headers::clean_request(&mut parts.headers, grant.keep_auth);
    if let Some((name, value)) = credential {
        parts.headers.insert(name, value);
    }
    let scrubbed = road.knows_secret(target.scheme, &target.host, target.port);
    if scrubbed {
        // An encoded answer could carry the secret unseen.
        parts
            .headers
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let attempt = Arc::new(AtomicBool::new(false));
    let sent = if body.is_end_stream() {
        SentBody::Empty
    } else {
        let watch = (!road.placeholders.is_empty()).then(|| Watch::new(road.placeholders.clone()));
        let stream = SentStream::new(
            body,
            Arc::clone(&meter),
            known_body,
            watch,
            Arc::clone(&attempt),
        );
        SentBody::Stream(Box::new(stream))
    };
    let goal = Goal::new(
        target.scheme,
        &target.host,
        target.port,
        grant.reach,
        arrival.h2,
    );
    let request = Request::from_parts(parts, sent);
    let result = send(road, goal, request, grant.at, ticket).await;
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
    let came = result?;
    if !scrubbed {
        return Ok((came, None));
    }
    refuse_encoded(came.response.headers())?;
    Ok((came, Some(Scrub::new(road.values.clone()))))
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

pub(super) fn begin(road: &Road, at: &Place, host: &str, known: u64) -> Result<Meter, Stop> {
    road.budgets
        .begin(host, known)
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
            Sender::H1(mut sender) => (
                within(sender.try_send_request(request)).await?,
                Some(sender),
            ),
            Sender::H2(mut sender) => (within(sender.try_send_request(request)).await?, None),
        };
        let mut error = match result {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Stop::fail(
                    "upstream-http",
                    "the other side switches protocols unasked",
                ));
            }
            Ok(response) => {
                ticket.status(response.status().as_u16());
                let upstreams = Arc::clone(&road.upstreams);
                let lease = sender.map(|sender| Lease {
                    upstreams,
                    goal,
                    sender,
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
        Sender::H1(_) => {
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

/// The answer as the agent gets it.
fn hand_back(
    came: Came,
    mut scrub: Option<Scrub>,
    usage: Option<Usage>,
    mut ticket: Ticket,
) -> Response<AnswerBody> {
    let (mut parts, incoming) = came.response.into_parts();
    headers::clean_answer(&mut parts.headers);
    parts.headers.remove(AUTHORIZATION);
    if let Some(scrub) = &mut scrub {
        scrub.hide_in_headers(&mut parts.headers);
    }
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    ticket.status(parts.status.as_u16());
    let mut passed = Passed {
        incoming,
        scrub,
        usage,
        ticket,
        lease: came.lease,
        trailers: None,
        ended: false,
    };
    if passed.incoming.is_end_stream() {
        passed.end();
    }
    Response::from_parts(parts, AnswerBody::Passed(Box::new(passed)))
}
