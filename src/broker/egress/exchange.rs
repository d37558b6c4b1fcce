//! One request from its arrival to its answer: read, judged, counted, cleaned, sent. The order is the security property.
//! Nothing must be dialled, resolved or sent before everything that may refuse the request has had its say.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderName, HeaderValue, PROXY_AUTHORIZATION, UPGRADE};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, Version};

use super::body::{AnswerBody, Passed};
use super::headers;
use super::log::Decision;
use super::model_exchange;
use super::model_traffic::usage::Reader;
use super::refusal::{self, Stop, place};
use super::resolve::Reach;
use super::road::{Arrival, Road};
use super::scrub::Scrub;
use super::sending::{Came, Going, Through, forward, url_bytes};
use super::target::{self, Target};
use super::ticket::Ticket;
use super::upgrade;
use crate::policy::host;
use crate::policy::model::{AuthMode, Credential, Place, Rule};
use crate::policy::verdict::{self, Denial, Scheme, Verdict};

/// Answers one request. Refusals are answers too, so this never fails.
pub(super) async fn answer(
    road: Arc<Road>,
    arrival: Arc<Arrival>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let mut ticket = Ticket::new(&road.log, arrival.tls, arrival.h2);
    let json = refusal::wants_json(request.headers());
    let stop = match pass(&road, &arrival, request, &mut ticket).await {
        Ok(Through::Answer { came, scrub, usage }) => {
            return Ok(hand_back(came, scrub, usage, ticket));
        }
        Ok(Through::Upgraded {
            response,
            client,
            meter,
        }) => {
            let notes = arrival.notes.as_deref();
            return Ok(upgrade::join(response, client, meter, notes, ticket));
        }
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

/// What a request asks of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Plain,
    WebSocket,
}

async fn pass(
    road: &Arc<Road>,
    arrival: &Arrival,
    request: Request<Incoming>,
    ticket: &mut Ticket,
) -> Result<Through, Stop> {
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
    let client = parts.extensions.remove::<OnUpgrade>();
    let target = read(road, arrival, &mut parts, ticket)?;
    if !road.log.holds().await {
        return Err(Stop::unlogged());
    }
    let path = parts.uri.path();
    if let Some(model) = &road.model
        && model.lives_at(target.scheme, &target.host, target.port)
        && model.covers(parts.method.as_str(), path)
    {
        let (came, usage) = model_exchange::pass(road, model, parts, body, ticket).await?;
        return Ok(Through::Answer {
            came,
            scrub: Some(Scrub::new(road.values.clone())),
            usage: Some(usage),
        });
    }
    let grant = judge(road, &target, &parts)?;
    ticket.decided(grant.decision, grant.code, Some(place(grant.at)));
    let client = match check_shape(road, arrival, &grant, &parts, &body)? {
        Shape::Plain => None,
        Shape::WebSocket => client,
    };
    let going = Going {
        credential: swap(road, &grant, &target, &parts)?,
        target,
        parts,
        body,
        client,
    };
    forward(road, arrival, &grant, going, ticket).await
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
    pub(super) at: &'a Place,
    pub(super) reach: Reach,
    pub(super) keep_auth: bool,
    websocket: bool,
    credential: Option<&'a Credential>,
    /// Whose budget it uses.
    pub(super) budget: String,
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
            budget: rule.host.to_string(),
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
    let denial = match road.judge.judge_with_query(&request, parts.uri.query()) {
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
    if verdict::only_reported(network, &request, &denial) {
        return Ok(Grant {
            decision: Decision::Report,
            code: Some(denial.code),
            at: &network.at,
            reach: Reach::Public,
            keep_auth: false,
            websocket: false,
            credential: None,
            // Nobody chose these names: all that one owner can make up share a budget.
            budget: host::registrable(&target.host).to_owned(),
        });
    }
    Err(Stop::Deny(denial))
}

/// What no rule can allow: bodies where none belong, upgrades, endless URLs.
fn check_shape(
    road: &Road,
    arrival: &Arrival,
    grant: &Grant<'_>,
    parts: &Parts,
    body: &Incoming,
) -> Result<Shape, Stop> {
    verdict::url_fits(road.judge.network(), url_bytes(parts)).map_err(Stop::Deny)?;
    let bodyless = matches!(parts.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE");
    if bodyless && !body.is_end_stream() {
        return Err(Stop::deny(
            "body-not-allowed",
            grant.at,
            "a GET, HEAD or OPTIONS request has a body",
        ));
    }
    let Some(asked) = parts.headers.get(UPGRADE) else {
        return Ok(Shape::Plain);
    };
    // h2c is asked for by some clients on every plain request; ignoring it is an answer (RFC 9110, 7.8).
    if asked.as_bytes().eq_ignore_ascii_case(b"h2c") {
        return Ok(Shape::Plain);
    }
    let web_socket = asked.as_bytes().eq_ignore_ascii_case(b"websocket")
        && parts.method == Method::GET
        && !arrival.h2;
    if web_socket && grant.websocket && grant.credential.is_none() {
        return Ok(Shape::WebSocket);
    }
    Err(Stop::deny(
        "upgrade-not-allowed",
        grant.at,
        "the rule allows no such upgrade of the connection",
    ))
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

/// The answer as the agent gets it.
fn hand_back(
    came: Came,
    mut scrub: Option<Scrub>,
    usage: Option<Reader>,
    mut ticket: Ticket,
) -> Response<AnswerBody> {
    let (mut parts, incoming) = came.response.into_parts();
    headers::clean_answer(&mut parts.headers);
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
        error: None,
        ended: false,
    };
    if passed.incoming.is_end_stream() {
        passed.end();
    }
    Response::from_parts(parts, AnswerBody::Passed(Box::new(passed)))
}
