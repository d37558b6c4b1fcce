//! Requests that two servers could read in two ways, sent byte by byte: refused, and the origin sees nothing of them.

use super::{Egress, Origin, network, raw, rule};

fn clear(origin: &Origin) -> Egress {
    let mut rule = rule("origin.test", origin.port(), 4);
    rule.methods.push("POST".to_owned());
    Egress::start(network(vec![rule]), origin, &["origin.test"])
}

#[test]
fn plain_request_in_absolute_form_passes() {
    let origin = Origin::clear();
    let egress = clear(&origin);
    let port = origin.port();
    let request = format!(
        "GET http://origin.test:{port}/ok/x HTTP/1.1\r\nHost: origin.test:{port}\r\nConnection: close\r\n\r\n"
    );
    let answer = raw(egress.address(), request.as_bytes());
    assert_eq!((answer.status, answer.body.as_str()), (200, "origin"));
    let chunked = format!(
        "POST http://origin.test:{port}/ok/x HTTP/1.1\r\nHost: origin.test:{port}\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    );
    assert_eq!(raw(egress.address(), chunked.as_bytes()).status, 200);
    let seen = origin.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(
        (
            seen[1].method.as_str(),
            seen[1].target.as_str(),
            seen[1].body
        ),
        ("POST", "/ok/x", 3)
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a long list of plain cases")]
fn ambiguous_requests_never_arrive() {
    let origin = Origin::clear();
    let egress = clear(&origin);
    let port = origin.port();
    let good = format!("origin.test:{port}");
    let post = format!("POST http://{good}/ok/x HTTP/1.1\r\nHost: {good}\r\n");
    let get = format!("GET http://{good}/ok/x HTTP/1.1\r\nHost: {good}\r\n");
    let corpus: Vec<(String, u16)> = vec![
        (
            format!("{post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            format!("{post}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
            400,
        ),
        (
            format!("{post}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
            400,
        ),
        (format!("{post}Content-Length: 3, 3\r\n\r\nabc"), 400),
        (format!("{post}Content-Length: +3\r\n\r\nabc"), 400),
        (format!("{post}Content-Length: 0x3\r\n\r\nabc"), 400),
        (format!("{post}Content_Length: 3\r\n\r\nabc"), 400),
        (
            format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (format!("{post}Transfer-Encoding: identity\r\n\r\n"), 400),
        (
            format!(
                "{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            400,
        ),
        (
            format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            format!("{post}Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (get.replace("\r\n", "\n") + "\n", 400),
        (format!("{get}X: a\n\r\n"), 400),
        (format!("{get}X: a\r\n folded\r\n\r\n"), 400),
        (format!("{get}X: a\0b\r\n\r\n"), 400),
        (format!("{get}X: a\rb\r\n\r\n"), 400),
        (format!("{get}Host: {good}\r\n\r\n"), 400),
        (format!("GET http://{good}/ok/x HTTP/1.1\r\n\r\n"), 400),
        (
            format!("GET http://{good}/ok/x HTTP/1.1\r\nHost: other.test\r\n\r\n"),
            403,
        ),
        (
            format!("GET http://{good}/ok/x HTTP/1.1\r\nHost: origin.test\r\n\r\n"),
            403,
        ),
        (
            format!("GET http://u@{good}/ok/x HTTP/1.1\r\nHost: {good}\r\n\r\n"),
            400,
        ),
        (format!("GET /ok/x HTTP/1.1\r\nHost: {good}\r\n\r\n"), 400),
        (
            format!("GET https://{good}/ok/x HTTP/1.1\r\nHost: {good}\r\n\r\n"),
            400,
        ),
        (
            format!("GET  http://{good}/ok/x HTTP/1.1\r\nHost: {good}\r\n\r\n"),
            400,
        ),
        (
            format!("GET http://{good}/ok/x#f HTTP/1.1\r\nHost: {good}\r\n\r\n"),
            400,
        ),
        (
            format!("GET http://{good}/ok/x HTTP/2.0\r\nHost: {good}\r\n\r\n"),
            400,
        ),
        (format!("\r\n{get}\r\n"), 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 400),
        (format!("{get}Content-Length: 3\r\n\r\nabc"), 403),
        (
            format!("{get}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            403,
        ),
        (
            format!("{get}Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
            403,
        ),
        (
            format!("TRACE http://{good}/ok/x HTTP/1.1\r\nHost: {good}\r\n\r\n"),
            403,
        ),
        (
            format!("get http://{good}/ok/x HTTP/1.1\r\nHost: {good}\r\n\r\n"),
            403,
        ),
    ];
    for (request, status) in &corpus {
        let answer = raw(egress.address(), request.as_bytes());
        assert_eq!(answer.status, *status, "{request:?} {answer:?}");
        assert!(answer.code().is_some(), "{request:?}");
    }
    assert_eq!(origin.accepted(), 0, "{:?}", origin.seen());
    assert_eq!(egress.finish().len(), corpus.len());
}

#[test]
fn broken_chunk_ends_the_request() {
    let origin = Origin::clear();
    let egress = clear(&origin);
    let good = format!("origin.test:{}", origin.port());
    for body in [
        "3;ext=1\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "zz\r\n",
        "3\nabc\n0\n\n",
        "0\r\nHost: b\r\n\r\n",
    ] {
        let request = format!(
            "POST http://{good}/ok/x HTTP/1.1\r\nHost: {good}\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        );
        let answer = raw(egress.address(), request.as_bytes());
        assert_ne!(answer.status, 200, "{body:?} {answer:?}");
    }
    // An origin that saw the beginning of a body also saw it break off.
    assert!(
        origin.seen().iter().all(|seen| seen.body == 0),
        "{:?}",
        origin.seen()
    );
}

#[test]
fn second_request_in_a_body_is_a_body() {
    let origin = Origin::clear();
    let egress = clear(&origin);
    let good = format!("origin.test:{}", origin.port());
    let inner = format!("GET http://{good}/no/x HTTP/1.1\r\nHost: {good}\r\n\r\n");
    let request = format!(
        "POST http://{good}/ok/x HTTP/1.1\r\nHost: {good}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{inner}",
        inner.len()
    );
    assert_eq!(raw(egress.address(), request.as_bytes()).status, 200);
    let seen = origin.seen();
    assert_eq!((seen.len(), seen[0].body), (1, inner.len()));
}

#[test]
fn pipelined_requests_are_each_judged() {
    let origin = Origin::clear();
    let egress = clear(&origin);
    let good = format!("origin.test:{}", origin.port());
    let get = |path: &str| format!("GET http://{good}{path} HTTP/1.1\r\nHost: {good}\r\n\r\n");
    let pipeline = format!("{}{}{}", get("/ok/1"), get("/no/2"), get("/ok/3\tx"));
    raw(egress.address(), pipeline.as_bytes());
    let targets: Vec<String> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/ok/1"]);
    let statuses: Vec<Option<u16>> = egress.finish().iter().map(|event| event.status).collect();
    assert_eq!(statuses, [Some(200), Some(403), Some(400)]);
}
