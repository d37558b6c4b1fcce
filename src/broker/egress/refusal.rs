//! What the agent reads when it is refused: which line of the policy, that it is no outage, and that no other way exists.
//! It must never repeat a secret, nor the address that a name resolved to.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::json;

use super::body::AnswerBody;
use super::log::Event;
use super::log_writer::UNLOGGED;
use crate::policy::model::Place;
use crate::policy::verdict::Denial;

/// Marks a refusal as ours; an upstream's header of this name is removed.
pub(super) const DENIED: &str = "x-tagout-denied";
/// Marks a failure of the other side, told by us.
pub(super) const FAILED: &str = "x-tagout-failed";

/// Why a request ends here.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    /// It cannot be read without doubt: 400.
    Bad {
        code: &'static str,
        sentence: String,
    },
    /// The policy says no: 403.
    Deny(Denial),
    /// The proxy's password is missing: 407.
    Auth,
    /// It was allowed, and the other side failed: 502 or 504.
    Fail {
        status: StatusCode,
        code: &'static str,
        sentence: String,
    },
}

impl Stop {
    pub(super) fn bad(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::Bad {
            code,
            sentence: sentence.into(),
        }
    }

    pub(super) fn deny(code: &'static str, at: &Place, sentence: impl Into<String>) -> Self {
        Self::Deny(Denial {
            code,
            at: Some(at.clone()),
            sentence: sentence.into(),
        })
    }

    pub(super) fn fail(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::Fail {
            status: StatusCode::BAD_GATEWAY,
            code,
            sentence: sentence.into(),
        }
    }

    /// Nothing passes that the log cannot hold.
    pub(super) fn unlogged() -> Self {
        Self::fail(UNLOGGED, "the log of this run cannot be written")
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Bad { code, .. } | Self::Fail { code, .. } => code,
            Self::Deny(denial) => denial.code,
            Self::Auth => "proxy-password",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Bad { .. } => StatusCode::BAD_REQUEST,
            Self::Deny(_) => StatusCode::FORBIDDEN,
            Self::Auth => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            Self::Fail { status, .. } => *status,
        }
    }
}

/// `file:line`, as denials and the log name a rule.
pub(super) fn place(at: &Place) -> String {
    format!("{}:{}", at.file, at.line)
}

/// Whether the client asked for JSON.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| text.contains("application/json"))
}

const POLICY: &str = "This is the policy of this run, not an outage. Retrying, another tool or another address will not help: \
no other route out of the sandbox exists. If the task needs it, say so in your result; a human can change the policy.";
const FAILURE: &str = "The policy allows this request; the other side or the way to it failed.";

/// The answer.
pub(super) fn answer(
    stop: &Stop,
    event: &Event,
    policy_file: &str,
    json: bool,
) -> Response<AnswerBody> {
    let url = url(event);
    let method = &event.method;
    let (first, second) = match stop {
        Stop::Deny(denial) => {
            let at = denial
                .at
                .as_ref()
                .map_or_else(|| policy_file.to_owned(), place);
            let sentence = &denial.sentence;
            (
                format!("denied by {at} ({sentence}): {method} {url}"),
                POLICY,
            )
        }
        Stop::Bad { sentence, .. } => (
            format!("refused by tagout ({sentence}): {method} {url}"),
            POLICY,
        ),
        Stop::Auth => (
            "refused by tagout: the proxy's password is missing or wrong".to_owned(),
            "Use the proxy URL of the environment as it is, with its user and password.",
        ),
        Stop::Fail { sentence, .. } => (format!("failed ({sentence}): {method} {url}"), FAILURE),
    };
    let code = stop.code();
    let (body, kind) = if json {
        let body = json!({
            "error": {
                "type": "tagout",
                "code": code,
                "message": first,
                "explanation": second,
                "rule": event.rule,
                "method": event.method,
                "url": url,
            }
        });
        (format!("{body}\n"), "application/json")
    } else {
        (
            format!("{first}\n{second}\ncode: {code}\n"),
            "text/plain; charset=utf-8",
        )
    };
    let mut response = Response::new(AnswerBody::Own(Full::new(Bytes::from(body))));
    *response.status_mut() = stop.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let marker = if matches!(stop, Stop::Fail { .. }) {
        FAILED
    } else {
        DENIED
    };
    headers.insert(marker, HeaderValue::from_static(code));
    if matches!(stop, Stop::Auth) {
        headers.insert(
            hyper::header::PROXY_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"tagout\""),
        );
    }
    if matches!(stop, Stop::Bad { .. }) {
        headers.insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The URL as far as it was read, without its query.
fn url(event: &Event) -> String {
    if event.host.is_empty() {
        return event.path.clone();
    }
    let host = if event.host.contains(':') {
        format!("[{}]", event.host)
    } else {
        event.host.clone()
    };
    let port = match (event.scheme.as_str(), event.port) {
        ("http", 80) | ("https", 443) => String::new(),
        (_, port) => format!(":{port}"),
    };
    format!("{}://{host}{port}{}", event.scheme, event.path)
}
