//! Reads `METHOD URL` as a person writes it and as a client would send it, or denies it.
//! It must never judge something else than what would be sent: a URL that readers take apart differently is denied.

use super::host;
use super::path::{self, Shape};
use super::verdict::{Denial, Request, Scheme};

/// Longest request line in bytes.
pub const REQUEST_BYTES_MAX: usize = 8 << 10;

/// A request in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    request: Request<'a>,
    query: Option<&'a str>,
    url_bytes: usize,
}

impl<'a> Asked<'a> {
    /// Reads `METHOD URL`.
    ///
    /// # Errors
    /// A denial for whatever cannot be read without doubt.
    pub fn read(line: &'a str) -> Result<Self, Denial> {
        if line.len() > REQUEST_BYTES_MAX {
            return deny("request-unreadable", "the request is longer than 8 KiB");
        }
        let Some((method, url)) = line.split_once(' ') else {
            return deny(
                "request-unreadable",
                "a request is a method, one space and a URL",
            );
        };
        if url
            .bytes()
            .any(|byte| !(b'!'..=b'~').contains(&byte) && byte < 0x80)
        {
            return deny(
                "request-unreadable",
                "the URL has a space or a control character",
            );
        }
        let (scheme, rest) = scheme(url)?;
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority_text, rest) = rest.split_at(end);
        let clear = match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        let (host, port) = authority(authority_text, clear)?;
        // The fragment stays with the client; the query is not part of the path.
        let sent = rest.split('#').next().unwrap_or_default();
        let (path, query) = match sent.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (sent, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        if !query.unwrap_or_default().is_ascii() || !path.starts_with('/') {
            return deny(
                "request-unreadable",
                "the URL has a backslash or a raw character outside of ASCII",
            );
        }
        let asked = Self {
            request: Request {
                scheme,
                host,
                port,
                method,
                path,
            },
            query,
            url_bytes: url.split('#').next().unwrap_or_default().len(),
        };
        asked.same_to_a_browser(url)?;
        Ok(asked)
    }

    /// What to judge.
    #[must_use]
    pub fn request(&self) -> &Request<'a> {
        &self.request
    }

    /// The query, without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// Bytes of the URL as it would be sent.
    #[must_use]
    pub fn url_bytes(&self) -> usize {
        self.url_bytes
    }

    /// A second reader, the one that browsers agreed on, must find the same host and port, and the same path where that
    /// path has one reading.
    fn same_to_a_browser(&self, url: &str) -> Result<(), Denial> {
        // What `host::read` refuses is denied by the verdict, with the better sentence.
        let Ok(host) = host::read(self.request.host) else {
            return Ok(());
        };
        let same = url::Url::parse(url).is_ok_and(|read| {
            let other = read.host_str().map(|text| host::read(text) == Ok(host));
            let path_same =
                path::shape(self.request.path) != Shape::Plain || read.path() == self.request.path;
            other == Some(true)
                && read.port_or_known_default() == Some(self.request.port)
                && read.username().is_empty()
                && path_same
        });
        if same {
            Ok(())
        } else {
            deny(
                "request-ambiguous",
                "two readers take this URL apart differently",
            )
        }
    }
}

fn scheme(url: &str) -> Result<(Scheme, &str), Denial> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return deny(
            "request-unreadable",
            "the URL does not start with https:// or http://",
        );
    };
    if scheme.eq_ignore_ascii_case("https") {
        Ok((Scheme::Https, rest))
    } else if scheme.eq_ignore_ascii_case("http") {
        Ok((Scheme::Http, rest))
    } else {
        deny("scheme-not-allowed", "only https and http leave the walls")
    }
}

/// Host and port of `host[:port]`; the port is `otherwise` where none is written.
///
/// # Errors
/// Userinfo, a broken bracket, an empty or impossible port.
pub fn authority(text: &str, otherwise: u16) -> Result<(&str, u16), Denial> {
    if text.contains('@') {
        return deny(
            "userinfo",
            "the URL has a part before @, which hides the host from readers",
        );
    }
    let split = match text.strip_prefix('[') {
        Some(inner) => match inner.find(']') {
            Some(end) => text.split_at(end + 2),
            None => return deny("host-invalid", "the URL has an open bracket"),
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let (host, port) = split;
    if port.is_empty() {
        return Ok((host, otherwise));
    }
    let digits = port.strip_prefix(':').unwrap_or_default();
    let plain = !digits.is_empty()
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse::<u16>() {
        Ok(port) if plain => Ok((host, port)),
        Ok(_) | Err(_) => deny(
            "port-invalid",
            "the URL has a port that is no number from 1 to 65535",
        ),
    }
}

fn deny<T>(code: &'static str, sentence: &str) -> Result<T, Denial> {
    Err(Denial {
        code,
        at: None,
        sentence: sentence.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_would_be_sent() {
        let asked = Asked::read("GET https://API.example.com./v1/x?y=/../z#frag").unwrap();
        assert_eq!(asked.request().host, "API.example.com.");
        assert_eq!(asked.request().path, "/v1/x");
        assert_eq!(asked.request().port, 443);
        assert_eq!(
            asked.url_bytes(),
            "https://API.example.com./v1/x?y=/../z".len()
        );
        let asked = Asked::read("POST http://a.example:8080").unwrap();
        assert_eq!(
            (
                asked.request().scheme,
                asked.request().port,
                asked.request().path
            ),
            (Scheme::Http, 8080, "/")
        );
        assert_eq!(
            Asked::read("GET https://[::1]:8443/x")
                .unwrap()
                .request()
                .host,
            "[::1]"
        );
        assert_eq!(
            Asked::read("GET https://a.example:443/x")
                .unwrap()
                .request()
                .port,
            443
        );
    }

    #[test]
    fn what_cannot_be_read_is_denied() {
        let long = format!("GET https://a.example/{}", "a".repeat(REQUEST_BYTES_MAX));
        for line in [
            "",
            "GET",
            "https://a.example/",
            "GET  https://a.example/",
            "GET https://a.example/ x",
            "GET ftp://a.example/",
            "GET //a.example/",
            "GET https:a.example",
            "GET https:/a.example",
            "GET https://a@b.example/",
            "GET https://a.example:/",
            "GET https://a.example:0/",
            "GET https://a.example:65536/",
            "GET https://a.example:+443/",
            "GET https://a.example:0443/",
            "GET https://[::1/",
            "GET https://[::1]x/",
            "GET https://a.example\\@b.example/",
            "GET https:\\\\a.example/",
            "GET https://a.example/\u{0}",
            "GET https://a.example/\r\n",
            "GET\thttps://a.example/",
            "GET https://a.example/?ü",
            "GET wss://a.example/",
            "GET javascript:alert(1)",
            "GET https://a.example/a\tb",
            &long,
        ] {
            assert!(Asked::read(line).is_err(), "{line:?}");
        }
    }
}
