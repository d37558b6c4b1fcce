//! Which headers go on, in either direction.
//! An agent's own credential must never leave unless the rule says so: an attacker's account on an allowed host is a drop box.

use hyper::HeaderMap;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TE};

/// Headers of one connection only (RFC 9110, 7.6.1), and what would speak of us or of a route. `trailer` stays: without it
/// the next side of HTTP/1 sends no trailer section.
const HOP_BY_HOP: [&str; 15] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "expect",
    "http2-settings",
    "alt-svc",
    "alt-used",
    "content-length",
    "host",
];

/// Headers by which a framework takes another method, path or host than the one that was judged.
const OVERRIDES: [&str; 14] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-method",
    "x-original-method",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-uri",
    "x-forwarded-prefix",
    "x-host",
    "forwarded",
];

/// Words by which a header's name tells that its value is a credential.
const KEY_WORDS: [&str; 14] = [
    "auth",
    "authorization",
    "authentication",
    "token",
    "apitoken",
    "apikey",
    "secret",
    "password",
    "passwd",
    "credential",
    "credentials",
    "session",
    "jwt",
    "key",
];

/// Names that end like a key and are none.
const NO_KEYS: [&str; 4] = [
    "sec-websocket-key",
    "idempotency-key",
    "x-idempotency-key",
    "surrogate-key",
];

/// Whether a header's value is a credential, judging by its lower-case name.
pub(super) fn is_key_like(name: &str) -> bool {
    if matches!(name, "cookie" | "cookie2") {
        return true;
    }
    !NO_KEYS.contains(&name)
        && name
            .split(['-', '_', '.'])
            .any(|word| KEY_WORDS.contains(&word))
}

/// Removes from a request what must not travel on. `keep_auth` is the rule's `auth: pass`.
pub(super) fn clean_request(headers: &mut HeaderMap, keep_auth: bool) {
    let trailers = headers
        .get_all(TE)
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    remove_where(headers, |name| {
        OVERRIDES.contains(&name) || (!keep_auth && is_key_like(name))
    });
    if trailers {
        // gRPC asks for it; the trailers are passed on.
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes from an answer what belongs to the upstream connection, what leads round us, and what only we may say.
pub(super) fn clean_answer(headers: &mut HeaderMap) {
    let length = headers.remove(CONTENT_LENGTH);
    remove_where(headers, |name| name.starts_with("x-tagout-"));
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length);
    }
}

/// Removes from a trailer section what may not stand in one.
pub(super) fn clean_trailers(headers: &mut HeaderMap) {
    remove_where(headers, |name| {
        name == "trailer"
            || OVERRIDES.contains(&name)
            || is_key_like(name)
            || name.starts_with("x-tagout-")
    });
}

/// Removes what belongs to one connection, what `Connection` names as such, and what else is unwanted: in one pass over the
/// names that are there, which are few.
fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let named = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|word| HeaderName::from_bytes(word.trim_ascii()).ok());
    let found = headers.keys().filter(|name| {
        let name = name.as_str();
        HOP_BY_HOP.contains(&name) || unwanted(name)
    });
    let names: Vec<HeaderName> = named.chain(found.cloned()).collect();
    for name in names {
        headers.remove(name);
    }
}

/// Bytes that the headers take on a wire in clear.
pub(super) fn wire_bytes(headers: &HeaderMap) -> u64 {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(names: &[(&'static str, &'static str)]) -> HeaderMap {
        names
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    fn left(names: &[(&'static str, &'static str)], keep_auth: bool) -> Vec<String> {
        let mut map = headers(names);
        clean_request(&mut map, keep_auth);
        let mut names: Vec<String> = map.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn credentials_leave_only_where_the_rule_says_pass() {
        let sent = [
            ("authorization", "x"),
            ("cookie", "x"),
            ("x-api-key", "x"),
            ("private-token", "x"),
            ("x-amz-security-token", "x"),
            ("accept", "x"),
            ("idempotency-key", "x"),
        ];
        assert_eq!(left(&sent, false), ["accept", "idempotency-key"]);
        assert_eq!(left(&sent, true).len(), sent.len());
    }

    #[test]
    fn hop_headers_and_overrides_never_leave() {
        let sent = [
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("proxy-authorization", "x"),
            ("x-http-method-override", "DELETE"),
            ("x-original-url", "/admin"),
            ("upgrade", "h2c"),
            ("accept", "x"),
        ];
        assert_eq!(left(&sent, true), ["accept"]);
    }

    #[test]
    fn trailers_stay_asked_for() {
        assert_eq!(left(&[("te", "trailers")], false), ["te"]);
        assert!(left(&[("te", "gzip")], false).is_empty());
    }

    #[test]
    fn an_answer_cannot_speak_for_us() {
        let mut map = headers(&[
            ("x-tagout-denied", "no"),
            ("alt-svc", "h3"),
            ("content-length", "3"),
        ]);
        clean_answer(&mut map);
        let names: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-length"]);
    }
}
