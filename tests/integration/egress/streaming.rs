//! What flows: events at once, trailers, large bodies, tunnels, WebSocket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Egress, Origin, network, rule};
use tagout::broker::egress::log::Decision;
use tagout::policy::model::{Network, NetworkMode, Rule, TlsMode};

fn open(origin: &Origin) -> Egress {
    let rule = Rule {
        methods: vec!["GET".to_owned(), "POST".to_owned()],
        ..rule("origin.test", origin.port(), 4)
    };
    let network = Network {
        upload_bytes: 1 << 30,
        ..network(vec![rule])
    };
    Egress::start(network, origin, &["origin.test"])
}

#[test]
fn events_are_not_held_back() {
    let origin = Origin::tls(&["origin.test"]);
    let egress = open(&origin);
    for version in ["--http1.1", "--http2"] {
        let mut child = Command::new("curl")
            .env_clear()
            .args([
                "-sN",
                version,
                "--proxy",
                egress.handle.proxy().unwrap(),
                "--cacert",
            ])
            .arg(egress.ca())
            .arg(origin.url("origin.test", "/ok/events/10"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "data: 0");
        let first = Instant::now();
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        assert!(
            first.elapsed() > Duration::from_millis(120),
            "{version}: the events came at once at the end"
        );
        assert_eq!(
            rest.iter().filter(|line| line.starts_with("data")).count(),
            9
        );
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn trailers_pass() {
    let origin = Origin::tls(&["origin.test"]);
    let egress = open(&origin);
    for version in ["--http1.1", "--http2"] {
        let answer = egress.curl(&[
            version,
            "-H",
            "TE: trailers",
            &origin.url("origin.test", "/ok/trailers"),
        ]);
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("grpc-status: 0"), "{answer:?}");
        assert!(answer.body.starts_with("data"), "{answer:?}");
    }
}

#[test]
fn a_body_is_waited_for_only_where_it_may_go() {
    let origin = Origin::clear();
    let egress = open(&origin);
    let port = origin.port();
    let say = |path: &str, length: u64| {
        let mut stream = TcpStream::connect(egress.address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        write!(
            stream,
            "POST http://origin.test:{port}{path} HTTP/1.1\r\nHost: origin.test:{port}\r\nContent-Length: {length}\r\n\
             Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap())
            .read_line(&mut line)
            .unwrap();
        (stream, line)
    };
    let (mut stream, line) = say("/ok/x", 3);
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    stream.write_all(b"abc").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).ok();
    assert!(rest.contains("HTTP/1.1 200 OK"), "{rest}");
    assert_eq!(origin.seen().pop().unwrap().body, 3);
    // Neither for a path that is not allowed, nor for a body that is over the budget, is the body asked for.
    for (path, length) in [("/no/x", 3), ("/ok/x", 2 << 30)] {
        let (_, line) = say(path, length);
        assert_eq!(line, "HTTP/1.1 403 Forbidden\r\n", "{path} {length}");
    }
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn large_bodies_pass_in_constant_memory() {
    let origin = Origin::tls(&["origin.test"]);
    let egress = open(&origin);
    for version in ["--http1.1", "--http2"] {
        let output = Command::new("curl")
            .env_clear()
            .args([
                "-s",
                version,
                "-o",
                "/dev/null",
                "-w",
                "%{size_download}",
                "--proxy",
                egress.handle.proxy().unwrap(),
                "--cacert",
            ])
            .arg(egress.ca())
            .arg(origin.url("origin.test", "/ok/big/200"))
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            (200_u64 << 20).to_string()
        );
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(64 << 20).unwrap();
    let body = format!("@{}", file.path().display());
    let answer = egress.curl(&["--data-binary", &body, &origin.url("origin.test", "/ok/x")]);
    assert_eq!(answer.status, 200);
    assert_eq!(origin.seen().pop().unwrap().body, 64 << 20);
    let status = std::fs::read_to_string(format!("/proc/{}/status", egress.handle.pid())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kibibytes < 64 * 1024, "{kibibytes} KiB at most");
}

#[test]
fn a_tunnel_passes_unread_under_its_own_name_only() {
    let origin = Origin::tls(&["origin.test"]);
    let tunnel = Rule {
        tls: TlsMode::Tunnel,
        methods: Vec::new(),
        paths: Vec::new(),
        ..rule("origin.test", origin.port(), 4)
    };
    let egress = Egress::start(network(vec![tunnel]), &origin, &["origin.test"]);
    let ca = origin.ca_file();
    let url = origin.url("origin.test", "/any");
    // The origin's own certificate is seen: nothing was opened.
    let own = egress.curl(&["--cacert", ca.to_str().unwrap(), "-X", "DELETE", &url]);
    assert_eq!(own.status, 200, "{own:?}");
    assert_eq!(origin.seen()[0].method, "DELETE");
    // Another name inside the tunnel is answered by us, and not dialled.
    let connect = format!("origin.test:{}", origin.port());
    let fronted = egress.curl(&[
        "--connect-to",
        &format!("other.test:443:{connect}"),
        "https://other.test/",
    ]);
    assert_eq!(
        (fronted.status, fronted.code()),
        (403, Some("sni-mismatch")),
        "{fronted:?}"
    );
    assert_eq!(origin.accepted(), 1);
    let events = egress.finish();
    assert_eq!(serde_json::to_value(events[0].tls).unwrap(), "tunnel");
    assert!(
        events[0].sent > 300 && events[0].received > 500,
        "{events:?}"
    );
}

#[test]
fn report_mode_passes_and_says_so() {
    let origin = Origin::clear();
    let mut network = network(Vec::new());
    network.mode = NetworkMode::Report;
    let egress = Egress::start(network, &origin, &["origin.test"]);
    // Ports still hold, and so do addresses: what is not listed leads to public addresses only.
    let answer = egress.curl(&[&format!("http://origin.test:{}/ok/x", origin.port())]);
    assert_eq!(
        (answer.status, answer.code()),
        (403, Some("host-not-allowed"))
    );
    let loopback = egress.curl(&["http://localhost/ok/x"]);
    assert_eq!(
        (loopback.status, loopback.code()),
        (403, Some("address-not-allowed")),
        "{loopback:?}"
    );
    let events = egress.finish();
    assert!(events.iter().all(|event| event.verdict == Decision::Deny));
    assert_eq!(origin.accepted(), 0);
}

/// A server that takes the upgrade and then says everything back.
fn echo_server() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0_u8; 1];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            let asked = String::from_utf8_lossy(&head).to_ascii_lowercase();
            assert!(asked.contains("upgrade: websocket") && asked.contains("sec-websocket-key: k"));
            stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                .unwrap();
            let mut copy = stream.try_clone().unwrap();
            std::thread::spawn(move || std::io::copy(&mut copy, &mut stream));
        }
    });
    port
}

#[test]
fn web_socket_passes_only_where_the_rule_allows_it() {
    let port = echo_server();
    let origin = Origin::clear();
    for allowed in [true, false] {
        let rule = Rule {
            websocket: allowed,
            ..rule("ws.test", port, 4)
        };
        let setup = tagout::broker::egress::setup::EgressSetup::new("p.yml", network(vec![rule]))
            .with_resolve(&[format!("ws.test:{port}:127.0.0.1")])
            .unwrap();
        let egress = Egress::start_with(
            setup,
            &origin,
            &[],
            tagout::broker::egress::setup::ProxyAuth::Anyone,
        );
        let mut stream = TcpStream::connect(egress.address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(3)))
            .unwrap();
        let head = format!(
            "GET http://ws.test:{port}/ok/x HTTP/1.1\r\nHost: ws.test:{port}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if !allowed {
            assert!(line.starts_with("HTTP/1.1 403"), "{line}");
            continue;
        }
        assert!(line.starts_with("HTTP/1.1 101"), "{line}");
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        stream.write_all(b"\x81\x05not http at all\n").unwrap();
        let mut back = Vec::new();
        reader.read_until(b'\n', &mut back).unwrap();
        assert_eq!(back, b"\x81\x05not http at all\n");
    }
}
