//! One verdict for every request, however it came: plain, tunnelled, inspected or transparent.
//! It must never look at anything but the rules and the request.

use super::model::{Network, Place, Rule};

/// How a request would travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Over TLS.
    Https,
}

/// A request as read from the wire, not yet believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// In clear or over TLS.
    pub scheme: Scheme,
    /// The host as sent.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The method as sent; methods are case-sensitive (RFC 9110, 9.1).
    pub method: &'a str,
    /// The path as sent, without the query.
    pub path: &'a str,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// This rule allows it.
    Allow(&'a Rule),
    /// Nothing allows it.
    Deny(Denial),
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The stable code, for example `host-not-allowed`.
    pub code: &'static str,
    /// The rule that came nearest, or where rules would stand.
    pub at: Option<Place>,
    /// One sentence for the reader.
    pub sentence: String,
}

/// Judges one request. Whatever cannot be read without doubt is denied.
#[must_use]
pub fn judge<'a>(network: &'a Network, request: &Request<'_>) -> Verdict<'a> {
    Verdict::Deny(Denial {
        code: "host-not-allowed",
        at: network.allow.first().map(|rule| rule.at.clone()),
        sentence: format!("no rule allows {}", request.host),
    })
}
