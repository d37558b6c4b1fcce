//! The strict reading of an HTTP/1 request's head and framing, before any lenient reader sees it.
//! It must never accept what two servers could frame in two ways (RFC 9112, 2.2, 5 and 6).

/// Longest head in bytes, and longest trailer section.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most header lines of one request.
pub(super) const HEADERS_MAX: usize = 128;

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// No body.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Why a head is refused: a stable code and a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) code: &'static str,
    pub(super) sentence: &'static str,
}

const fn violation(code: &'static str, sentence: &'static str) -> Violation {
    Violation { code, sentence }
}

pub(super) const TOO_LONG: Violation =
    violation("request-head-too-long", "the request's head is too long");
const BARE_LF: Violation = violation(
    "request-line-end",
    "a line of the request ends in something else than CR LF",
);
const REQUEST_LINE: Violation = violation(
    "request-line-invalid",
    "the request line is not METHOD TARGET HTTP/1.1 with single spaces",
);
const HEADER: Violation = violation(
    "request-header-invalid",
    "a header line is folded, unnamed or holds a character that none may",
);
const FRAMING: Violation = violation(
    "request-framing",
    "the length of the body is given twice, not as digits, or by another coding than chunked",
);
const HOST: Violation = violation(
    "request-host",
    "the request has no Host header, or more than one",
);
pub(super) const CHUNK: Violation = violation(
    "request-chunk",
    "a chunk of the body is not a plain size, its bytes, and CR LF",
);

/// A request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) framing: Framing,
    /// Empty only where HTTP/1.0 asks for a tunnel: then the target alone tells.
    pub(super) host: &'a str,
    pub(super) proxy_authorization: Option<&'a str>,
}

/// Finds the end of a head or trailer section that starts at zero: the index after its empty line.
/// `scanned` is how far an earlier call has looked, and is moved on.
pub(super) fn end(bytes: &[u8], scanned: &mut usize) -> Result<Option<usize>, Violation> {
    while let Some(at) = find(bytes, b'\n', *scanned) {
        if at == 0 || bytes.get(at - 1) != Some(&b'\r') {
            return Err(BARE_LF);
        }
        *scanned = at + 1;
        let empty = at == 1 || (at >= 3 && bytes.get(at - 3..at - 1) == Some(b"\r\n"));
        if empty {
            return Ok(Some(at + 1));
        }
        if at > HEAD_BYTES_MAX {
            return Err(TOO_LONG);
        }
    }
    *scanned = bytes.len();
    if bytes.len() > HEAD_BYTES_MAX {
        return Err(TOO_LONG);
    }
    Ok(None)
}

fn find(bytes: &[u8], wanted: u8, from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.iter()
        .position(|byte| *byte == wanted)
        .map(|at| at + from)
}

/// Reads a whole head, its empty line included.
pub(super) fn read(head: &[u8]) -> Result<Head<'_>, Violation> {
    let mut lines = lines(head);
    let (method, target, version) = request_line(lines.next().unwrap_or_default())?;
    let (mut length, mut chunked, mut host, mut count) = (None, false, None, 0_usize);
    let mut proxy_authorization = None;
    for line in lines {
        let (name, value) = header_line(line)?;
        count += 1;
        if count > HEADERS_MAX {
            return Err(TOO_LONG);
        }
        if name.eq_ignore_ascii_case("content-length") {
            if length.is_some() {
                return Err(FRAMING);
            }
            length = Some(digits(value).ok_or(FRAMING)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(FRAMING);
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case("host") {
            if host.is_some() {
                return Err(HOST);
            }
            host = Some(std::str::from_utf8(value).or(Err(HOST))?);
        } else if name.eq_ignore_ascii_case("proxy-authorization") {
            if proxy_authorization.is_some() {
                return Err(HEADER);
            }
            proxy_authorization = std::str::from_utf8(value).ok();
        } else if is_lookalike(name) {
            return Err(FRAMING);
        }
    }
    let framing = match (length, chunked) {
        (None, false) => Framing::None,
        (Some(bytes), false) => Framing::Length(bytes),
        (None, true) => Framing::Chunked,
        (Some(_), true) => return Err(FRAMING),
    };
    let host = match host {
        // Python's http.client before 3.12 asks for tunnels like this; HTTP/1.0 knows no Host.
        None if method == "CONNECT" && version == "HTTP/1.0" => "",
        named => named.filter(|host| !host.is_empty()).ok_or(HOST)?,
    };
    Ok(Head {
        method,
        target,
        framing,
        host,
        proxy_authorization,
    })
}

/// Reads a trailer section: header lines that frame and route nothing.
pub(super) fn check_trailers(section: &[u8]) -> Result<(), Violation> {
    for line in lines(section) {
        let (name, _) = header_line(line)?;
        let forbidden = ["content-length", "transfer-encoding", "host", "trailer"]
            .iter()
            .any(|word| name.eq_ignore_ascii_case(word));
        if forbidden {
            return Err(FRAMING);
        }
    }
    Ok(())
}

/// The lines of a section without their ends and without the empty one.
fn lines(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    section
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
}

/// Some servers read an underscore as a hyphen, and then see a second length.
fn is_lookalike(name: &str) -> bool {
    name.contains('_') && {
        let hyphened = name.replace('_', "-").to_ascii_lowercase();
        matches!(
            hyphened.as_str(),
            "content-length" | "transfer-encoding" | "host"
        )
    }
}

fn request_line(line: &[u8]) -> Result<(&str, &str, &str), Violation> {
    let line = std::str::from_utf8(line).or(Err(REQUEST_LINE))?;
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(REQUEST_LINE);
    };
    let target_is_plain = !target.is_empty()
        && target.bytes().all(|byte| {
            byte.is_ascii_graphic() && !matches!(byte, b'#' | b'<' | b'>' | b'"' | b'`')
        });
    // The server behind would refuse other targets by itself, without a word of ours and without a line in the log.
    let target_is_read = hyper::Uri::try_from(target).is_ok();
    if !is_token(method)
        || !target_is_plain
        || !target_is_read
        || !matches!(version, "HTTP/1.1" | "HTTP/1.0")
    {
        return Err(REQUEST_LINE);
    }
    Ok((method, target, version))
}

fn header_line(line: &[u8]) -> Result<(&str, &[u8]), Violation> {
    let colon = find(line, b':', 0).ok_or(HEADER)?;
    let name = line
        .get(..colon)
        .and_then(|name| std::str::from_utf8(name).ok())
        .filter(|name| is_token(name))
        .ok_or(HEADER)?;
    let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
    let clean = value
        .iter()
        .all(|byte| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..=0xff));
    if clean {
        Ok((name, value))
    } else {
        Err(HEADER)
    }
}

fn is_token(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn digits(value: &[u8]) -> Option<u64> {
    let plain = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    plain
        .then(|| std::str::from_utf8(value).ok()?.parse().ok())
        .flatten()
}

/// Reads the line of a chunk's size without its end: hexadecimal digits and nothing else.
pub(super) fn chunk_size(line: &[u8]) -> Option<u64> {
    let plain = (1..=15).contains(&line.len()) && line.iter().all(u8::is_ascii_hexdigit);
    plain
        .then(|| u64::from_str_radix(std::str::from_utf8(line).ok()?, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(text: &str) -> Result<Framing, &'static str> {
        let bytes = text.as_bytes();
        let mut scanned = 0;
        let end = end(bytes, &mut scanned)
            .map_err(|violation| violation.code)?
            .expect("the head is whole");
        read(&bytes[..end])
            .map(|head| head.framing)
            .map_err(|violation| violation.code)
    }

    #[test]
    fn plain_requests_are_read() {
        let head = |rest: &str| format!("POST /a?b HTTP/1.1\r\nHost: a.example\r\n{rest}\r\n");
        assert_eq!(framing(&head("")), Ok(Framing::None));
        assert_eq!(
            framing(&head("Content-Length: 12\r\n")),
            Ok(Framing::Length(12))
        );
        assert_eq!(
            framing(&head("transfer-encoding: Chunked\r\n")),
            Ok(Framing::Chunked)
        );
    }

    #[test]
    fn only_a_tunnel_of_http_1_0_needs_no_host() {
        assert_eq!(
            framing("CONNECT a.example:443 HTTP/1.0\r\n\r\n"),
            Ok(Framing::None)
        );
        for head in [
            "CONNECT a.example:443 HTTP/1.1\r\n\r\n",
            "CONNECT a.example:443 HTTP/1.0\r\nHost:\r\n\r\n",
            "GET http://a.example/ HTTP/1.0\r\n\r\n",
        ] {
            assert_eq!(framing(head), Err(HOST.code), "{head:?}");
        }
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        for lines in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: \r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 9999999999999999999\r\n",
            "Content_Length: 1\r\n",
            "Transfer_Encoding: chunked\r\n",
        ] {
            let head = format!("POST / HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n");
            assert_eq!(framing(&head), Err("request-framing"), "{lines:?}");
        }
    }

    #[test]
    fn odd_lines_are_refused() {
        for (head, code) in [
            (
                "GET / HTTP/1.1\nHost: a.example\r\n\r\n",
                "request-line-end",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a.example\n\r\n",
                "request-line-end",
            ),
            (
                "GET  / HTTP/1.1\r\nHost: a.example\r\n\r\n",
                "request-line-invalid",
            ),
            (
                "GET /\tx HTTP/1.1\r\nHost: a.example\r\n\r\n",
                "request-line-invalid",
            ),
            (
                "GET /#x HTTP/1.1\r\nHost: a.example\r\n\r\n",
                "request-line-invalid",
            ),
            (
                "GET / HTTP/1.2\r\nHost: a.example\r\n\r\n",
                "request-line-invalid",
            ),
            ("GET /\r\nHost: a.example\r\n\r\n", "request-line-invalid"),
            (
                "GET http://127.0.0.1%00/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
                "request-line-invalid",
            ),
            ("\r\n", "request-line-invalid"),
            (
                "GET / HTTP/1.1\r\nHost: a.example\r\n folded\r\n\r\n",
                "request-header-invalid",
            ),
            (
                "GET / HTTP/1.1\r\nHost : a.example\r\n\r\n",
                "request-header-invalid",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a.example\r\nX: a\0b\r\n\r\n",
                "request-header-invalid",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a.example\r\nX: a\rb\r\n\r\n",
                "request-header-invalid",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a.example\r\n: x\r\n\r\n",
                "request-header-invalid",
            ),
            ("GET / HTTP/1.1\r\nX: y\r\n\r\n", "request-host"),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                "request-host",
            ),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "request-host"),
        ] {
            assert_eq!(framing(head), Err(code), "{head:?}");
        }
    }

    #[test]
    fn endless_head_is_refused() {
        let mut scanned = 0;
        let endless = vec![b'a'; HEAD_BYTES_MAX + 1];
        assert_eq!(end(&endless, &mut scanned), Err(TOO_LONG));
    }

    #[test]
    fn chunk_sizes_are_digits_only() {
        assert_eq!(chunk_size(b"1aF"), Some(0x1af));
        for line in [
            &b""[..],
            b"-1",
            b"0x1",
            b"1;a=b",
            b" 1",
            b"1 ",
            b"ffffffffffffffff",
        ] {
            assert_eq!(chunk_size(line), None);
        }
    }
}
