//! One name in every place where a name stands: CONNECT, TLS, Host, `:authority`, the URL. Where they differ nothing is dialled.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{Answer, Egress, Origin, network, rule};

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn start(origin: &Origin) -> Egress {
    let mut rule = rule("origin.test", origin.port(), 4);
    rule.methods.push("POST".to_owned());
    Egress::start(network(vec![rule]), origin, &["origin.test"])
}

/// A connection to the proxy, with a CONNECT that was answered.
pub(crate) fn connected(egress: &Egress, target: &str) -> TcpStream {
    let mut stream = TcpStream::connect(egress.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    stream.set_nodelay(true).unwrap();
    write!(
        stream,
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
    )
    .unwrap();
    let mut head = Vec::new();
    let mut byte = [0_u8; 1];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{target}");
    stream
}

pub(crate) fn client(egress: &Egress, name: &str, protocol: &[u8]) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(egress.ca()).unwrap();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

fn tls(egress: &Egress, target: &str, name: &str, protocol: &[u8]) -> Tls {
    let stream = connected(egress, target);
    StreamOwned::new(client(egress, name, protocol), stream)
}

/// Sends bytes inside TLS and reads what comes until the end, or until nothing comes.
fn said(mut stream: Tls, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).unwrap();
    let mut got = Vec::new();
    let mut piece = [0_u8; 4096];
    while let Ok(count) = stream.read(&mut piece) {
        if count == 0 {
            break;
        }
        got.extend_from_slice(&piece[..count]);
    }
    got
}

#[test]
fn one_name_in_every_place_passes_in_every_spelling() {
    let origin = Origin::tls(&["origin.test"]);
    let egress = start(&origin);
    let port = origin.port();
    for (connect, name, host) in [
        ("origin.test", "origin.test", "origin.test"),
        ("ORIGIN.test", "origin.test", "Origin.Test"),
        ("origin.test.", "origin.test", "origin.test."),
        ("origin.test", "origin.test", "origin%2etest"),
        ("origin.test", "origin.test", "origin.test:443"),
    ] {
        let target = format!("{connect}:{port}");
        let stream = tls(&egress, &target, name, b"http/1.1");
        let host = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:{port}")
        };
        let get = format!("GET /ok/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = Answer::read(&said(stream, get.as_bytes()));
        let good = !host.contains('%') && !host.ends_with(":443");
        assert_eq!(
            answer.status == 200,
            good,
            "{connect} {name} {host} {answer:?}"
        );
    }
    assert_eq!(origin.seen().len(), 3);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a long list of plain cases")]
fn names_that_differ_are_refused_and_nothing_is_dialled() {
    let origin = Origin::tls(&["origin.test"]);
    let egress = start(&origin);
    let port = origin.port();
    let good = format!("origin.test:{port}");
    for (connect, name, line, host, code) in [
        (
            "origin.test",
            "other.test",
            "/ok/x",
            "origin.test",
            "sni-mismatch",
        ),
        (
            "other.test",
            "origin.test",
            "/ok/x",
            "origin.test",
            "sni-mismatch",
        ),
        (
            "origin.test",
            "a.origin.test",
            "/ok/x",
            "origin.test",
            "sni-mismatch",
        ),
        (
            "origin.test",
            "origin.test",
            "/ok/x",
            "other.test",
            "host-mismatch",
        ),
        (
            "origin.test",
            "origin.test",
            "/ok/x",
            "origin.test.other",
            "host-mismatch",
        ),
        (
            "origin.test",
            "origin.test",
            "https://other.test/ok/x",
            "origin.test",
            "host-mismatch",
        ),
        (
            "origin.test",
            "origin.test",
            "https://other.test/ok/x",
            "other.test",
            "host-mismatch",
        ),
        (
            "origin.test",
            "origin.test",
            "http://origin.test/ok/x",
            "origin.test",
            "target-scheme",
        ),
        (
            "origin.test",
            "origin.test",
            "https://u@origin.test/ok/x",
            "origin.test",
            "target-invalid",
        ),
        (
            "origin.test",
            "origin.test",
            "/ok/x",
            "u@origin.test",
            "request-host",
        ),
        (
            "origin.test",
            "origin.test",
            "/ok/x",
            "origin.test, other.test",
            "host-mismatch",
        ),
        (
            "origin.test",
            "origin.test",
            "//other.test/ok/x",
            "origin.test",
            "path-ambiguous",
        ),
        (
            "127.0.0.1",
            "origin.test",
            "/ok/x",
            "origin.test",
            "sni-mismatch",
        ),
    ] {
        let with_port = |text: &str| {
            text.replace("other.test/", &format!("other.test:{port}/"))
                .replace("origin.test/", &format!("{good}/"))
        };
        let stream = tls(&egress, &format!("{connect}:{port}"), name, b"http/1.1");
        let line = if line.starts_with("//") {
            line.to_owned()
        } else {
            with_port(line)
        };
        let get =
            format!("GET {line} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
        let answer = Answer::read(&said(stream, get.as_bytes()));
        assert_eq!(
            answer.code(),
            Some(code),
            "{connect} {name} {get:?} {answer:?}"
        );
    }
    // The port is part of the name.
    for host in ["origin.test", "origin.test:443", "origin.test:1"] {
        let stream = tls(&egress, &good, "origin.test", b"http/1.1");
        let get = format!("GET /ok/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = Answer::read(&said(stream, get.as_bytes()));
        assert_eq!(answer.code(), Some("host-mismatch"), "{host} {answer:?}");
    }
    assert_eq!(origin.accepted(), 0);
    assert!(egress.finish().iter().all(|event| event.code.is_some()));
}

#[test]
fn a_hello_without_a_name_or_with_a_hidden_one_is_refused() {
    let origin = Origin::tls(&["origin.test"]);
    let egress = start(&origin);
    let target = format!("origin.test:{}", origin.port());
    // An address has no server name in TLS, so this client sends none.
    let nameless = tls(&egress, &target, "127.0.0.1", b"http/1.1");
    let mut stream = nameless;
    let get = format!("GET /ok/x HTTP/1.1\r\nHost: {target}\r\n\r\n");
    // Our leaf is for the connection's name, which this client does not accept: nothing is said inside.
    assert!(stream.write_all(get.as_bytes()).is_err() || stream.read(&mut [0_u8; 1]).is_err());
    // A real hello with the extension of Encrypted Client Hello put in.
    let mut hello = Vec::new();
    client(&egress, "origin.test", b"http/1.1")
        .write_tls(&mut hello)
        .unwrap();
    let mut plain = connected(&egress, &target);
    plain
        .write_all(&with_extension(&hello, 0xfe0d, &[0, 1, 2, 3]))
        .unwrap();
    plain.read_to_end(&mut Vec::new()).ok();
    drop(plain);
    assert_eq!(origin.accepted(), 0);
    let events = egress.finish();
    let codes: Vec<&str> = events
        .iter()
        .filter_map(|event| event.code.as_deref())
        .collect();
    assert_eq!(codes, ["sni-missing", "ech-refused"], "{events:?}");
}

/// A TLS record of one ClientHello with one more extension at its end.
fn with_extension(record: &[u8], kind: u16, body: &[u8]) -> Vec<u8> {
    let extension = [
        &kind.to_be_bytes()[..],
        &u16::try_from(body.len()).unwrap().to_be_bytes(),
        body,
    ]
    .concat();
    let mut bytes = record.to_vec();
    // Record header 5, handshake header 4, version 2, random 32, then session, suites and compression methods.
    let mut at = 5 + 4 + 34;
    at += 1 + usize::from(bytes[at]);
    at += 2 + usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    at += 1 + usize::from(bytes[at]);
    let more = extension.len();
    let grow = |bytes: &mut Vec<u8>, at: usize| {
        let length = u16::from_be_bytes([bytes[at], bytes[at + 1]]) + u16::try_from(more).unwrap();
        bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
    };
    grow(&mut bytes, at);
    grow(&mut bytes, 7);
    grow(&mut bytes, 3);
    bytes.extend_from_slice(&extension);
    bytes
}

#[test]
fn a_hello_in_single_bytes_is_put_together() {
    struct Slowly(TcpStream);
    impl Read for Slowly {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(out)
        }
    }
    impl Write for Slowly {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.write(&bytes[..bytes.len().min(7)])
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }
    let origin = Origin::tls(&["origin.test"]);
    let egress = start(&origin);
    let target = format!("origin.test:{}", origin.port());
    let slow = Slowly(connected(&egress, &target));
    let mut stream = StreamOwned::new(client(&egress, "origin.test", b"http/1.1"), slow);
    write!(
        stream,
        "GET /ok/x HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).ok();
    assert_eq!(Answer::read(&got).status, 200);
}

/// A request over HTTP/2, its fields written as they are given (RFC 7541, literals without indexing).
fn h2_request(fields: &[(&str, &str)], body: Option<&[u8]>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [
            length[1], length[2], length[3], kind, flags, 0, 0, 0, stream,
        ];
        [&head[..], payload].concat()
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    let end = u8::from(body.is_none());
    bytes.extend(frame(1, 4 | end, 1, &block));
    if let Some(body) = body {
        bytes.extend(frame(0, 1, 1, body));
    }
    bytes
}

/// What the client must see of a request: an answer's head (frame 1), or the end of its stream (3) or connection (7).
fn h2_kinds(egress: &Egress, target: &str, bytes: &[u8]) -> Vec<u8> {
    let stream = tls(egress, target, "origin.test", b"h2");
    stream
        .sock
        .set_read_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    let got = said(stream, bytes);
    let mut kinds = Vec::new();
    let mut rest = &got[..];
    while let [a, b, c, kind, _, _, _, _, _, more @ ..] = rest {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        kinds.push(*kind);
        rest = more.get(length..).unwrap_or_default();
    }
    kinds
}

#[test]
fn what_http2_may_not_say_never_arrives() {
    // An origin without HTTP/2: what comes in fields would be written as lines.
    let origin = Origin::tls_h1(&["origin.test"]);
    let egress = start(&origin);
    let target = format!("origin.test:{}", origin.port());
    let pseudo = |method, path, authority| {
        vec![
            (":method", method),
            (":scheme", "https"),
            (":path", path),
            (":authority", authority),
        ]
    };
    let good = pseudo("GET", "/ok/x", target.as_str());
    assert!(h2_kinds(&egress, &target, &h2_request(&good, None)).contains(&1));
    assert_eq!(origin.seen().len(), 1);
    let post = pseudo("POST", "/ok/x", target.as_str());
    let mut corpus: Vec<Vec<(&str, &str)>> = vec![
        pseudo("GET", "/ok/x", "other.test"),
        pseudo("GET", "/ok/x", "origin.test"),
        pseudo("GET", "/ok/x", "u@origin.test"),
        pseudo("GET", "https://other.test/ok/x", target.as_str()),
        pseudo("GET", "ok/x", target.as_str()),
        pseudo("GET", "*", target.as_str()),
        pseudo("GET", "/ok/../no", target.as_str()),
        pseudo(
            "GET",
            "/ok/x HTTP/1.1\r\nHost: other.test\r\n\r\nGET /no",
            target.as_str(),
        ),
        pseudo("GET /no HTTP/1.1\r\nX: ", "/ok/x", target.as_str()),
        pseudo("get", "/ok/x", target.as_str()),
        pseudo("CONNECT", "/ok/x", target.as_str()),
    ];
    for more in [
        ("host", "other.test"),
        ("x", "a\r\nHost: other.test"),
        ("x", "a\0b"),
        ("x\r\ny", "a"),
        ("X-Upper", "a"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "1"),
        (":path", "/no/x"),
        (":status", "200"),
    ] {
        corpus.push([&good[..], &[more]].concat());
    }
    for fields in &corpus {
        h2_kinds(&egress, &target, &h2_request(fields, None));
    }
    for length in ["1", "9", "3, 3", "-3", "x"] {
        let fields = [&post[..], &[("content-length", length)]].concat();
        h2_kinds(&egress, &target, &h2_request(&fields, Some(b"abc")));
    }
    let seen = origin.seen();
    let odd: Vec<_> = seen[1..]
        .iter()
        .filter(|seen| seen.target != "/ok/x" || seen.body > 0)
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
    for seen in &seen[1..] {
        for name in ["connection", "transfer-encoding", "upgrade", "keep-alive"] {
            assert!(!seen.headers.contains_key(name), "{seen:?}");
        }
        assert_eq!(seen.headers["host"], target, "{seen:?}");
    }
}
