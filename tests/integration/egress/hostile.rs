//! Those who want to break it: crowds of connections, heads that never end, servers that die. It lives, within bounded memory,
//! and serves the next honest request.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Answer, Egress, Origin, network, raw, rule};
use tagout::broker::egress::log::Decision;
use tagout::policy::model::Rule;

/// Most that the process may ever hold, in KiB.
const MEMORY_KIB_MAX: u64 = 64 * 1024;

fn clear(origin: &Origin) -> Egress {
    let rule = Rule {
        methods: vec!["GET".to_owned(), "POST".to_owned()],
        ..rule("origin.test", origin.port(), 4)
    };
    Egress::start(network(vec![rule]), origin, &["origin.test"])
}

fn get(port: u16) -> String {
    format!(
        "GET http://origin.test:{port}/ok/x HTTP/1.1\r\nHost: origin.test:{port}\r\nConnection: close\r\n\r\n"
    )
}

fn peak_kib(egress: &Egress) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", egress.handle.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Begins so many connections without waiting for any of them; what they say is said where they were accepted.
fn crowd(address: SocketAddr, count: usize, said: &[u8]) -> Vec<TcpStream> {
    let mut crowd = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        match connect(&socket, &address) {
            Ok(()) => {}
            Err(error) => assert_eq!(error, rustix::io::Errno::INPROGRESS),
        }
        crowd.push(TcpStream::from(socket));
    }
    let begun = Instant::now();
    let mut talked = 0;
    while talked < count && begun.elapsed() < Duration::from_secs(2) {
        // Those that wait in the kernel's queue take their bytes too.
        talked = crowd
            .iter_mut()
            .filter(|stream| stream.peer_addr().is_ok())
            .map(|stream| stream.write(said).is_ok())
            .filter(|written| *written)
            .count();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(talked >= 1000, "only {talked} of {count} were heard at all");
    crowd
}

#[test]
fn ten_thousand_connections_at_once_are_survived() {
    let count = 10_000_usize;
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(count as u64 + 500);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        },
    )
    .unwrap();
    let count = count.min(usize::try_from(wanted).unwrap() - 300);
    let origin = Origin::clear();
    let egress = clear(&origin);
    let address = egress.address();
    let good = get(origin.port());
    assert_eq!(raw(address, good.as_bytes()).status, 200);
    // Idle ones, and ones in the middle of a head.
    for said in ["", "GET http://origin.test/ HTTP/1.1\r\nX: "] {
        let held = crowd(address, count, said.as_bytes());
        let peak = peak_kib(&egress);
        assert!(
            peak < MEMORY_KIB_MAX,
            "{peak} KiB for {} of them",
            held.len()
        );
        drop(held);
        let begun = Instant::now();
        while raw(address, good.as_bytes()).status != 200 {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "an honest request is not served after the crowd has gone"
            );
        }
    }
    assert!(
        egress
            .finish()
            .iter()
            .any(|event| event.status == Some(200))
    );
}

#[test]
fn endless_heads_and_bodies_of_nothing_end() {
    let origin = Origin::clear();
    let egress = clear(&origin);
    let port = origin.port();
    let line =
        format!("GET http://origin.test:{port}/ok/x HTTP/1.1\r\nHost: origin.test:{port}\r\n");
    let connect = format!("CONNECT origin.test:{port} HTTP/1.1\r\nHost: origin.test:{port}\r\n");
    for (first, again) in [
        (
            line.as_str(),
            "X-Endless: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        ),
        (
            line.as_str(),
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
        (
            "GET http://origin.test/",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
        (
            connect.as_str(),
            "X-Endless: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        ),
        (
            "CONNECT ",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
    ] {
        let mut stream = TcpStream::connect(egress.address()).unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream.write_all(first.as_bytes()).unwrap();
        let mut sent = 0_usize;
        // A megabyte is sixteen times what a head may have.
        while sent < 1 << 20 && stream.write_all(again.as_bytes()).is_ok() {
            sent += again.len();
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        let answer = Answer::read(&answer);
        assert!(matches!(answer.status, 0 | 400), "{first:?} {answer:?}");
        assert!(
            sent < 1 << 20 || answer.status == 400,
            "{first:?} was read for ever"
        );
    }
    assert!(peak_kib(&egress) < MEMORY_KIB_MAX);
    assert_eq!(origin.accepted(), 0);
    assert_eq!(raw(egress.address(), get(port).as_bytes()).status, 200);
}

#[test]
fn slow_heads_do_not_hold_up_others() {
    let origin = Origin::clear();
    let egress = clear(&origin);
    let request = get(origin.port());
    let slow = request.replace("Connection: close", "Connection: close\r\nX-Slow: 1");
    let mut slow_ones: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(egress.address()).unwrap())
        .collect();
    for byte in slow.as_bytes() {
        for stream in &mut slow_ones {
            stream.write_all(&[*byte]).unwrap();
        }
    }
    assert_eq!(raw(egress.address(), request.as_bytes()).status, 200);
    // However slowly it came, it was a whole request.
    for mut stream in slow_ones {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(Answer::read(&answer).status, 200);
    }
    assert_eq!(origin.seen().len(), 201);
}

/// A server that says these bytes to every request and then closes, or drops the connection without a word.
fn dying(said: &'static [u8], reset: bool) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if !reset {
                // A reset instead of a proper end comes from bytes that nobody read.
                let mut head = [0_u8; 4096];
                assert!(stream.read(&mut head).unwrap() > 0);
            }
            stream.write_all(said).ok();
            stream.shutdown(Shutdown::Write).ok();
        }
    });
    port
}

#[test]
#[expect(clippy::too_many_lines, reason = "a long list of plain cases")]
fn servers_that_die_are_told_as_failures_and_the_next_request_passes() {
    let origin = Origin::clear();
    let cases: [(&[u8], bool, Option<&str>); 8] = [
        (b"", false, Some("upstream-broke")),
        (b"", true, Some("upstream-broke")),
        (b"HTTP/1.1 200", false, Some("upstream-broke")),
        (b"SSH-2.0-x\r\n", false, Some("upstream-broke")),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            false,
            Some("upstream-broke"),
        ),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            false,
            Some("upstream-http"),
        ),
        // Cut in its body: the head has gone on already, and the client must see that it is not whole.
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            false,
            None,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            false,
            None,
        ),
    ];
    let ports: Vec<u16> = cases
        .iter()
        .map(|(said, reset, _)| dying(said, *reset))
        .collect();
    let rules: Vec<Rule> = (1_u32..)
        .zip(&ports)
        .map(|(line, port)| rule("origin.test", *port, line))
        .chain([rule("origin.test", origin.port(), 99)])
        .collect();
    let resolve: Vec<String> = ports
        .iter()
        .map(|port| format!("origin.test:{port}:127.0.0.1"))
        .collect();
    let setup = tagout::broker::egress::setup::EgressSetup::new("p.yml", network(rules))
        .with_resolve(&resolve)
        .unwrap();
    let auth = tagout::broker::egress::setup::ProxyAuth::Anyone;
    let egress = Egress::start_with(setup, &origin, &["origin.test"], auth);
    for ((said, _, code), port) in cases.iter().zip(&ports) {
        let output = std::process::Command::new("curl")
            .env_clear()
            .args([
                "-s",
                "-i",
                "-m",
                "10",
                "--proxy",
                egress.handle.proxy().unwrap(),
            ])
            .arg(format!("http://origin.test:{port}/ok/x"))
            .output()
            .unwrap();
        let answer = Answer::read(&output.stdout);
        let shown = String::from_utf8_lossy(said);
        match code {
            Some(code) => {
                assert_eq!(answer.status, 502, "{shown} {answer:?}");
                assert!(
                    answer.head.contains(&format!("x-tagout-failed: {code}")),
                    "{shown} {answer:?}"
                );
            }
            None => assert_eq!(output.status.code(), Some(18), "{shown} {answer:?}"),
        }
        assert_eq!(
            raw(egress.address(), get(origin.port()).as_bytes()).status,
            200
        );
    }
    let events = egress.finish();
    let failed = events
        .iter()
        .filter(|event| event.verdict == Decision::Fail)
        .count();
    assert_eq!(failed, cases.len(), "{events:?}");
}
