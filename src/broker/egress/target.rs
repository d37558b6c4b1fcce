//! What a request asks for, read from all the places where it says so, which must agree.
//! It must never pick one of two names: where they differ the request is refused.

use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use super::refusal::Stop;
use crate::policy::host::{self, Host};
use crate::policy::verdict::Scheme;

/// The host and port that a connection is bound to: the name of CONNECT, or of the address that was dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// In its one spelling, or as it came where it has none; the verdict then refuses it.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Bound {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self {
            host: spelled(host),
            port,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) scheme: Scheme,
    pub(super) host: String,
    pub(super) port: u16,
}

/// The one spelling of a host, an IPv6 address without brackets; or the text itself where it has none.
pub(super) fn spelled(text: &str) -> String {
    match host::read(text) {
        Ok(Host::Name(name)) => name.into_owned(),
        Ok(Host::Address(address)) => address.to_string(),
        Err(_) => text.to_owned(),
    }
}

/// Reads `host[:port]`, an IPv6 address in brackets. The host is not judged here.
pub(super) fn authority(text: &str, default_port: u16) -> Option<Bound> {
    if text.contains(['@', '/', '?', '#', '\\']) {
        return None;
    }
    let (host, port) = match text.rfind(':') {
        Some(at) if !text.ends_with(']') => {
            let digits = &text[at + 1..];
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let port: u16 = digits.parse().ok().filter(|port| plain && *port != 0)?;
            (&text[..at], port)
        }
        Some(_) | None => (text, default_port),
    };
    let bare_colon = host.contains(':') && !host.starts_with('[');
    (!host.is_empty() && !bare_colon).then(|| Bound::new(host, port))
}

fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// Brings URL, Host header and the connection's own name together.
pub(super) fn read(parts: &Parts, scheme: Scheme, bound: Option<&Bound>) -> Result<Target, Stop> {
    let in_url = match (parts.uri.scheme_str(), parts.uri.authority()) {
        (None, None) => None,
        (Some(named), Some(name)) => Some(absolute(scheme, named, name)?),
        _ => return Err(Stop::bad("target-invalid", "the target is no URL")),
    };
    let in_header = header(parts, scheme)?;
    let named = match (&in_url, &in_header) {
        (Some(url), Some(header)) if url != header => {
            return Err(mismatch("the URL and the Host header name different hosts"));
        }
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => return Err(Stop::bad("request-host", "the request names no host")),
    };
    if let Some(bound) = bound
        && named != bound
    {
        return Err(mismatch(
            "the request names another host or port than its connection was made to",
        ));
    }
    if bound.is_none() && in_url.is_none() {
        return Err(Stop::bad(
            "target-not-absolute",
            "this is a proxy, and the target is no absolute URL",
        ));
    }
    if !parts.uri.path().starts_with('/') {
        return Err(Stop::bad("target-invalid", "the target has no path"));
    }
    Ok(Target {
        scheme,
        host: named.host.clone(),
        port: named.port,
    })
}

fn absolute(scheme: Scheme, named: &str, name: &Authority) -> Result<Bound, Stop> {
    let expected = match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    // Over HTTP/2 some clients name the scheme of what they think they speak; it must be the one that they speak.
    if named != expected {
        return Err(Stop::bad(
            "target-scheme",
            "the URL's scheme is not that of the connection",
        ));
    }
    authority(name.as_str(), default_port(scheme))
        .ok_or_else(|| Stop::bad("target-invalid", "the URL's host and port cannot be read"))
}

fn header(parts: &Parts, scheme: Scheme) -> Result<Option<Bound>, Stop> {
    let mut values = parts.headers.get_all(HOST).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let bad = || Stop::bad("request-host", "the Host header cannot be read");
    if values.next().is_some() {
        return Err(bad());
    }
    let text = value.to_str().map_err(|_not_text| bad())?;
    authority(text, default_port(scheme))
        .map(Some)
        .ok_or_else(bad)
}

fn mismatch(sentence: &str) -> Stop {
    Stop::Deny(crate::policy::verdict::Denial {
        code: "host-mismatch",
        at: None,
        sentence: sentence.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(
        uri: &str,
        host: Option<&str>,
        bound: Option<(&str, u16)>,
    ) -> Result<String, &'static str> {
        let mut builder = hyper::Request::builder().uri(uri);
        if let Some(host) = host {
            builder = builder.header(HOST, host);
        }
        let (parts, ()) = builder.body(()).unwrap().into_parts();
        let bound = bound.map(|(host, port)| Bound::new(host, port));
        let scheme = if bound.is_some() {
            Scheme::Https
        } else {
            Scheme::Http
        };
        read(&parts, scheme, bound.as_ref())
            .map(|target| format!("{}:{}", target.host, target.port))
            .map_err(|stop| stop.code())
    }

    #[test]
    fn names_that_agree_pass() {
        let bound = Some(("a.example", 443));
        assert_eq!(
            ask("/x", Some("A.Example."), bound),
            Ok("a.example:443".to_owned())
        );
        assert_eq!(
            ask("/x", Some("a.example:443"), bound),
            Ok("a.example:443".to_owned())
        );
        assert_eq!(
            ask("https://a.example/x", None, bound),
            Ok("a.example:443".to_owned())
        );
        assert_eq!(
            ask("http://a.example/x", Some("a.example:80"), None),
            Ok("a.example:80".to_owned())
        );
        assert_eq!(
            ask("http://[::1]:81/x", Some("[::1]:81"), None),
            Ok("::1:81".to_owned())
        );
    }

    #[test]
    fn names_that_differ_are_refused() {
        let bound = Some(("a.example", 443));
        for (uri, host) in [
            ("/x", Some("b.example")),
            ("/x", Some("a.example:8443")),
            ("https://b.example/x", Some("a.example")),
            ("https://a.example/x", Some("b.example")),
            ("https://b.example/x", None),
        ] {
            assert_eq!(
                ask(uri, host, bound),
                Err("host-mismatch"),
                "{uri} {host:?}"
            );
        }
        assert_eq!(
            ask("http://a.example/", Some("b.example"), None),
            Err("host-mismatch")
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let bound = Some(("a.example", 443));
        assert_eq!(ask("/x", None, bound), Err("request-host"));
        assert_eq!(ask("/x", Some("u@a.example"), bound), Err("request-host"));
        assert_eq!(ask("/x", Some("a.example:"), bound), Err("request-host"));
        assert_eq!(ask("/x", Some("a.example:0"), bound), Err("request-host"));
        assert_eq!(
            ask("/x", Some("a.example:99999"), bound),
            Err("request-host")
        );
        assert_eq!(ask("/x", Some("::1"), bound), Err("request-host"));
        assert_eq!(ask("http://a.example/x", None, bound), Err("target-scheme"));
        assert_eq!(
            ask("http://u@a.example/x", None, None),
            Err("target-invalid")
        );
        assert_eq!(
            ask("/x", Some("a.example"), None),
            Err("target-not-absolute")
        );
    }
}
