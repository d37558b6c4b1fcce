//! Connections that the walls hand over: no proxy, the name that was dialled, the same rules.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tagout::wire::Handover;

use super::{Answer, Egress, Origin, network, raw, rule};

fn hand_over(door: &OwnedFd, text: &[u8], sockets: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(sockets)));
    }
    sendmsg(
        door,
        &[IoSlice::new(text)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .unwrap();
}

fn listener_for(door: &OwnedFd, host: &str, port: u16) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let own = listener.local_addr().unwrap().port();
    let message = Handover::Listener {
        host: host.to_owned(),
        port,
    };
    let text = serde_json::to_vec(&message).unwrap();
    hand_over(door, &text, &[listener.as_fd()]);
    own
}

/// curl that knows no proxy: the name leads to the listener, as the walls' own resolver would make it.
fn curl(egress: &Egress, host: &str, port: u16, listener: u16, args: &[&str]) -> Answer {
    let output = Command::new("curl")
        .env_clear()
        .args(["-s", "-m", "5", "-i", "--cacert"])
        .arg(egress.ca())
        .args([
            "--connect-to",
            &format!("{host}:{port}:127.0.0.1:{listener}"),
        ])
        .args(args)
        .output()
        .unwrap();
    Answer::read(&output.stdout)
}

#[test]
fn a_program_that_knows_no_proxy_is_served() {
    let origin = Origin::tls(&["origin.test"]);
    let port = origin.port();
    let mut egress = Egress::start(
        network(vec![rule("origin.test", port, 4)]),
        &origin,
        &["origin.test"],
    );
    let door = egress.handle.take_door().unwrap();
    let listed = listener_for(&door, "origin.test", port);
    let unlisted = listener_for(&door, "unlisted.test", 443);
    let good = curl(
        &egress,
        "origin.test",
        port,
        listed,
        &[&origin.url("origin.test", "/ok/x")],
    );
    assert_eq!(
        (good.status, good.body.as_str()),
        (200, "origin"),
        "{good:?}"
    );
    let post = curl(
        &egress,
        "origin.test",
        port,
        listed,
        &["-d", "x", &origin.url("origin.test", "/ok/x")],
    );
    assert_eq!(
        (post.status, post.code()),
        (403, Some("method-not-allowed"))
    );
    let denied = curl(
        &egress,
        "unlisted.test",
        443,
        unlisted,
        &["https://unlisted.test/"],
    );
    assert_eq!(
        (denied.status, denied.code()),
        (403, Some("host-not-allowed"))
    );
    // A name that is spoken on a connection which was dialled to another one.
    let fronted = curl(&egress, "other.test", 443, listed, &["https://other.test/"]);
    assert_eq!(
        (fronted.status, fronted.code()),
        (403, Some("sni-mismatch"))
    );
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn clear_http_is_judged_under_the_name_that_was_dialled() {
    let origin = Origin::clear();
    let port = origin.port();
    let mut egress = Egress::start(
        network(vec![rule("origin.test", port, 4)]),
        &origin,
        &["origin.test"],
    );
    let door = egress.handle.take_door().unwrap();
    let own = listener_for(&door, "origin.test", port);
    let ask = |host: &str, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        raw(([127, 0, 0, 1], own).into(), request.as_bytes())
    };
    let good = format!("origin.test:{port}");
    assert_eq!(ask(&good, "/ok/x").status, 200);
    assert_eq!(ask(&good, "/no/x").code(), Some("path-not-allowed"));
    assert_eq!(ask("other.test", "/ok/x").code(), Some("host-mismatch"));
    assert_eq!(ask("origin.test", "/ok/x").code(), Some("host-mismatch"));
    assert_eq!(
        ask(&good, &format!("http://other.test:{port}/ok/x")).code(),
        Some("host-mismatch")
    );
    assert_eq!(
        raw(([127, 0, 0, 1], own).into(), b"\x00\x01\x02 ssh?").status,
        0
    );
    assert_eq!(
        raw(([127, 0, 0, 1], own).into(), b"SSH-2.0-x\r\n\r\n").status,
        400
    );
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_message_that_was_not_agreed_is_dropped_and_the_next_is_served() {
    let origin = Origin::clear();
    let port = origin.port();
    let mut egress = Egress::start(
        network(vec![rule("origin.test", port, 4)]),
        &origin,
        &["origin.test"],
    );
    let door = egress.handle.take_door().unwrap();
    let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let good = serde_json::to_vec(&Handover::Listener {
        host: "origin.test".to_owned(),
        port,
    })
    .unwrap();
    hand_over(&door, &good, &[]);
    hand_over(&door, &good, &[socket.as_fd(), file.as_fd()]);
    hand_over(&door, &good, &[file.as_fd()]);
    hand_over(
        &door,
        b"{\"listener\":{\"host\":\"a\",\"port\":1,\"more\":2}}",
        &[socket.as_fd()],
    );
    hand_over(&door, &[b'x'; 4000], &[socket.as_fd()]);
    let own = listener_for(&door, "origin.test", port);
    let request =
        format!("GET /ok/x HTTP/1.1\r\nHost: origin.test:{port}\r\nConnection: close\r\n\r\n");
    assert_eq!(
        raw(([127, 0, 0, 1], own).into(), request.as_bytes()).status,
        200
    );
}
