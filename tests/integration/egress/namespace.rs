//! A network namespace without a route out, for tests in which an address must not be dialled: there nothing could be.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const MARK: &str = "TAGOUT_TEST_NO_ROUTE_OUT";

/// Runs an ignored test of this program in a namespace that `setup`, a shell script, has furnished.
pub(crate) fn run(test: &str, setup: &str) {
    let script = format!(
        "ip link set lo up; {setup} exec \"$0\" --exact egress::{test} --ignored --nocapture"
    );
    let output = Command::new("unshare")
        .args(["-rnm", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(MARK, "1")
        .output()
        .expect("unshare is a prerequisite of the tests");
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    if error.contains("Operation not permitted") && !text.contains("running 1 test") {
        let all = std::env::var_os("TAGOUT_TEST_ALL").is_some_and(|value| value == "1");
        assert!(
            !all,
            "no namespace can be made, and TAGOUT_TEST_ALL=1 allows no test to be left out: {error}"
        );
        // Nothing is proven here, and it must be seen: no user namespaces on this host.
        tagout::console::notice(&format!(
            "left out: no user namespace with a network of its own can be made here: {error}"
        ));
        return;
    }
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{error}"
    );
}

/// Refuses to go on where a packet could leave.
pub(crate) fn assert_inside() {
    assert!(
        std::env::var_os(MARK).is_some() && has_no_route_out(),
        "this must not run where a packet could leave"
    );
}

fn has_no_route_out() -> bool {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap();
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap();
    let harmless = |line: &str| {
        ["lo:", "sit0:", "tunl0:", "ip6tnl0:"]
            .iter()
            .any(|name| line.trim_start().starts_with(name))
    };
    routes.lines().skip(1).all(|line| line.starts_with("lo\t"))
        && devices.lines().skip(2).all(harmless)
}

/// A listener that answers every request with `ok` and counts who called.
pub(crate) fn listen(address: impl Into<IpAddr>, port: u16, accepted: &Arc<AtomicUsize>) {
    let listener = TcpListener::bind(SocketAddr::new(address.into(), port)).unwrap();
    let accepted = Arc::clone(accepted);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            accepted.fetch_add(1, Ordering::SeqCst);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            let mut stream = stream.unwrap();
            // Closing with unread bytes would reset the connection before the answer is read.
            if stream.read(&mut [0_u8; 4096]).unwrap_or(0) > 0 {
                stream.write_all(answer).unwrap();
            }
        }
    });
}
