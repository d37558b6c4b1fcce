//! Which addresses a name may lead to. Real addresses of every kind are put on the loopback device of a network namespace
//! that has no route out; elsewhere these tests refuse to run.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Answer, network, rule, start};
use tagout::broker::egress::setup::{EgressSetup, Proxy, ProxyAuth};
use tagout::policy::model::Rule;

const MARK: &str = "TAGOUT_TEST_NO_ROUTE_OUT";
const PORT: u16 = 8099;

/// Addresses, and whether `private: true` lifts them.
const ADDRESSES: [(&str, bool); 13] = [
    ("127.0.0.1", true),
    ("10.1.2.3", true),
    ("192.168.7.7", true),
    ("100.64.0.9", true),
    ("fd12:3456::1", true),
    ("::1", true),
    ("169.254.169.254", false),
    ("168.63.129.16", false),
    ("100.100.100.200", false),
    ("fd00:ec2::254", false),
    ("169.254.3.4", false),
    ("198.18.0.1", false),
    ("203.0.113.5", false),
];

#[test]
fn private_and_metadata_addresses_are_never_dialled() {
    let setup: String = ADDRESSES
        .iter()
        .map(|(address, _)| {
            let bits = if address.contains(':') { 128 } else { 32 };
            format!("ip addr add {address}/{bits} dev lo 2>/dev/null;")
        })
        .collect();
    let script = format!(
        "ip link set lo up; {setup} exec \"$0\" --exact egress::addresses::inside_a_namespace --ignored --nocapture"
    );
    let output = Command::new("unshare")
        .args(["-rn", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(MARK, "1")
        .output()
        .expect("unshare is a prerequisite of the tests");
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    if error.contains("Operation not permitted") && !text.contains("running 1 test") {
        // Nothing is proven here, and it must be seen: no user namespaces on this host.
        eprintln!(
            "left out: no user namespace with a network of its own can be made here: {error}"
        );
        return;
    }
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{error}"
    );
}

#[test]
#[ignore = "runs only in the namespace that the test above makes"]
fn inside_a_namespace() {
    assert!(
        std::env::var_os(MARK).is_some() && has_no_route_out(),
        "this must not run where a packet could leave"
    );
    let accepted = Arc::<AtomicUsize>::default();
    for (address, _) in ADDRESSES {
        listen(address.parse().unwrap(), Arc::clone(&accepted));
    }
    let folder = tempfile::tempdir().unwrap();
    let setup = setup();
    let egress = start(&setup, folder.path());
    let ask = |name: &str| {
        let output = Command::new("curl")
            .env_clear()
            .args(["-s", "-i", "-m", "10", "--proxy", egress.proxy().unwrap()])
            .arg(format!("http://{name}.test:{PORT}/ok/x"))
            .output()
            .unwrap();
        Answer::read(&output.stdout)
    };
    for (line, (address, lifted)) in ADDRESSES.iter().enumerate() {
        let before = accepted.load(Ordering::SeqCst);
        let public = ask(&format!("public{line}"));
        assert_eq!(
            (public.status, public.code()),
            (403, Some("address-not-allowed")),
            "{address}"
        );
        assert!(
            !public.body.contains(address),
            "the class is told, not the address"
        );
        assert_eq!(
            accepted.load(Ordering::SeqCst),
            before,
            "{address} was dialled"
        );
        let private = ask(&format!("private{line}"));
        let expected = if *lifted {
            (200, None)
        } else {
            (403, Some("address-not-allowed"))
        };
        assert_eq!((private.status, private.code()), expected, "{address}");
        assert_eq!(
            accepted.load(Ordering::SeqCst),
            before + usize::from(*lifted),
            "{address}"
        );
    }
}

/// For every address one name whose rule reaches the internet only, and one whose rule says `private: true`.
fn setup() -> EgressSetup {
    let rules: Vec<Rule> = (0_u32..)
        .zip(ADDRESSES)
        .flat_map(|(line, _)| {
            let public = Rule {
                private: false,
                ..rule(&format!("public{line}.test"), PORT, line)
            };
            [public, rule(&format!("private{line}.test"), PORT, line)]
        })
        .collect();
    let resolve: Vec<String> = ADDRESSES
        .iter()
        .enumerate()
        .flat_map(|(line, (address, _))| {
            ["public", "private"].map(|kind| format!("{kind}{line}.test:{PORT}:{address}"))
        })
        .collect();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    EgressSetup::new("p.yml", network(rules))
        .with_proxy(Proxy {
            listen,
            auth: ProxyAuth::Anyone,
        })
        .unwrap()
        .with_resolve(&resolve)
        .unwrap()
}

fn has_no_route_out() -> bool {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap();
    routes.lines().skip(1).all(|line| line.starts_with("lo\t"))
        && std::fs::read_to_string("/proc/net/dev")
            .unwrap()
            .lines()
            .skip(2)
            .all(|line| {
                let name = line.trim_start();
                name.starts_with("lo:")
                    || name.starts_with("sit0:")
                    || name.starts_with("tunl0:")
                    || name.starts_with("ip6tnl0:")
            })
}

fn listen(address: IpAddr, accepted: Arc<AtomicUsize>) {
    let listener = TcpListener::bind((address, PORT)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            accepted.fetch_add(1, Ordering::SeqCst);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            let mut stream = stream.unwrap();
            // Closing with unread bytes would reset the connection before the answer is read.
            assert!(stream.read(&mut [0_u8; 4096]).unwrap() > 0);
            stream.write_all(answer).unwrap();
        }
    });
}
