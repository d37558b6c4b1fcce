//! The log: a line for everything that was asked, none that somebody inside wrote, and no request without room for its line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Egress, Origin, namespace, network, raw, rule};
use tagout::broker::egress::log::{Decision, Event};
use tagout::broker::egress::setup::{EgressSetup, ProxyAuth};
use tagout::policy::model::Network;

const SECRET: &str = "sk-test-0123456789abcdef";

#[test]
fn no_text_of_a_request_makes_a_line_of_its_own() {
    let origin = Origin::tls(&["origin.test"]);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("egress.jsonl");
    let rule = rule("origin.test", origin.port(), 4);
    let setup = EgressSetup::new("p.yml", network(vec![rule])).with_log(log.clone());
    let egress = Egress::start_with(setup, &origin, &["origin.test"], ProxyAuth::Anyone);
    let forged = "{\"at-ms\":1,\"verdict\":\"allow\",\"method\":\"GET\"}";
    let host = format!("origin.test:{}", origin.port());
    let mut asked = 0;
    for text in [
        format!("/ok/x?q={SECRET}"),
        "/ok/%0a%0d%22%7d".to_owned(),
        "/ok/\u{2028}x".to_owned(),
        "/ok/x\n".to_owned() + forged,
        "/ok/x\r\n".to_owned() + forged,
        "/ok/\"}".to_owned(),
        format!("/{}", "a".repeat(30_000)),
    ] {
        for method in ["GET", "P\"UT", "GET\n"] {
            let request = format!(
                "{method} http://{host}{text} HTTP/1.1\r\nHost: {host}\r\nX: \n{forged}\r\nConnection: close\r\n\r\n"
            );
            raw(egress.address(), request.as_bytes());
            asked += 1;
        }
    }
    let connect = format!("CONNECT \n{forged}\n:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    raw(egress.address(), connect.as_bytes());
    let long = format!(
        "CONNECT {}:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        "a".repeat(9000)
    );
    raw(egress.address(), long.as_bytes());
    let events = egress.finish();
    assert_eq!(events.len(), asked, "{events:?}");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains(SECRET), "a query is kept as a digest only");
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("a line is one object");
        assert!(value["at-ms"].as_u64().unwrap() > 1, "{line}");
        assert!(line.len() < 16 << 10, "{}", line.len());
    }
}

#[test]
fn a_flood_of_refusals_is_counted_and_not_written_one_by_one() {
    let origin = Origin::clear();
    let egress = Egress::start(network(Vec::new()), &origin, &[]);
    let mut stream = TcpStream::connect(egress.address()).unwrap();
    let request = "GET http://flood.test/ HTTP/1.1\r\nHost: flood.test\r\n\r\n";
    let mut reading = stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut reading, &mut std::io::sink()));
    for _ in 0..1999 {
        stream.write_all(request.as_bytes()).unwrap();
    }
    let last = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    stream.write_all(last.as_bytes()).unwrap();
    reader.join().unwrap().unwrap();
    let events = egress.finish();
    assert_eq!(events.iter().map(|event| event.count).sum::<u64>(), 2000);
    assert!(events.len() <= 201, "{}", events.len());
}

#[test]
fn a_log_that_is_not_written_stops_requests_and_not_for_ever() {
    let origin = Origin::clear();
    let port = origin.port();
    let folder = tempfile::tempdir().unwrap();
    // A pipe that nobody empties is a disk that stalls.
    let pipe = folder.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
    let stalled = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    let network = Network {
        upload_bytes: 1 << 30,
        ..network(vec![rule("origin.test", port, 4)])
    };
    let setup = EgressSetup::new("p.yml", network).with_log(pipe);
    let egress = Egress::start_with(setup, &origin, &["origin.test"], ProxyAuth::Anyone);
    let path = format!("/ok/{}", "a".repeat(1900));
    let ask = || {
        let host = format!("origin.test:{port}");
        let request = format!(
            "GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        );
        raw(egress.address(), request.as_bytes())
    };
    // More lines than the pipe and the queue hold together.
    let refused = (0..400).map(|_| ask()).find(|answer| answer.status != 200);
    let refused = refused.expect("one is refused");
    let passed = origin.seen().len();
    assert_eq!(refused.status, 502, "{refused:?}");
    assert!(
        refused.head.contains("x-tagout-failed: log-broken"),
        "{refused:?}"
    );
    assert!(passed > 100, "a short stall stops nothing: {passed}");
    // The disk comes back: what waited is written, and requests pass again.
    let mut lines = BufReader::new(stalled).lines();
    let written = (&mut lines)
        .map(|line| serde_json::from_str::<Event>(&line.unwrap()).unwrap())
        .filter(|event| event.verdict == Decision::Allow)
        .take(passed)
        .count();
    assert_eq!(written, passed);
    let again = ask();
    assert_eq!(again.status, 200, "{again:?}");
}

#[test]
fn a_full_disk_ends_the_egress_before_a_request_passes_unlogged() {
    namespace::run(
        "logged::full_disk_inside",
        "mount -t tmpfs -o size=4m none /mnt;",
    );
}

#[test]
#[ignore = "runs only in the namespace that the test above makes"]
fn full_disk_inside() {
    namespace::assert_inside();
    let origin = Origin::clear();
    let port = origin.port();
    let start = |log: &Path| {
        let network = Network {
            requests: 1_000_000,
            upload_bytes: 1 << 40,
            ..network(vec![rule("origin.test", port, 4)])
        };
        let setup = EgressSetup::new("p.yml", network).with_log(log.to_owned());
        Egress::start_with(setup, &origin, &["origin.test"], ProxyAuth::Anyone)
    };
    let mut egress = start(Path::new("/mnt/egress.jsonl"));
    let request = format!(
        "GET http://origin.test:{port}/ok/x HTTP/1.1\r\nHost: origin.test:{port}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(raw(egress.address(), request.as_bytes()).status, 200);
    // The agent, or anybody else, fills the disk.
    let mut rest = std::fs::File::create("/mnt/rest").unwrap();
    while rest.write_all(&[b'x'; 1 << 12]).is_ok() {}
    let begun = Instant::now();
    let mut passed = 1;
    while egress.handle.ended().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it goes on");
        let Ok(mut stream) = TcpStream::connect(egress.address()) else {
            continue;
        };
        stream.write_all(request.as_bytes()).ok();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).ok();
        passed += usize::from(answer.starts_with("HTTP/1.1 200"));
    }
    assert!(
        egress.handle.finish().is_err(),
        "its end is told as a fault"
    );
    let log = std::fs::File::open("/mnt/egress.jsonl").unwrap();
    let lines = tagout::broker::egress::log::read(log)
        .filter_map(Result::ok)
        .filter(|event| event.verdict == Decision::Allow)
        .count();
    // The egress may end between a line and its request, and never between a request and its line.
    let seen = origin.seen().len();
    assert!(
        (seen..=seen + 1).contains(&lines),
        "{seen} passed, {lines} lines"
    );
    assert!(passed <= lines);
    // And none is started where there is no room from the beginning.
    let setup = EgressSetup::new("p.yml", network(Vec::new()))
        .with_log(Path::new("/mnt/second.jsonl").to_owned());
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_tagout"));
    let refused = tagout::broker::egress::process::start(program, &setup, folder.path())
        .unwrap()
        .ready();
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("no room for the log")
    );
}
