//! Which addresses a name may lead to. Real addresses of every kind are put on the loopback device of a network namespace
//! that has no route out; elsewhere these tests refuse to run.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Answer, namespace, network, raw, rule, start};
use tagout::broker::egress::log::Decision;
use tagout::broker::egress::process::Handle;
use tagout::broker::egress::setup::{EgressSetup, Proxy, ProxyAuth};
use tagout::policy::model::{Credential, Network, NetworkMode, PathPattern, Rule};

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

fn furnished() -> String {
    ADDRESSES
        .iter()
        .map(|(address, _)| {
            let bits = if address.contains(':') { 128 } else { 32 };
            format!("ip addr add {address}/{bits} dev lo 2>/dev/null;")
        })
        .collect()
}

#[test]
fn private_and_metadata_addresses_are_never_dialled() {
    namespace::run("addresses::every_class_inside", &furnished());
}

#[test]
#[ignore = "runs only in the namespace that the test above makes"]
fn every_class_inside() {
    namespace::assert_inside();
    let accepted = listeners(PORT);
    let folder = tempfile::tempdir().unwrap();
    let egress = start(&setup(), folder.path());
    for (line, (address, lifted)) in ADDRESSES.iter().enumerate() {
        let before = accepted.load(Ordering::SeqCst);
        let public = ask(&egress, &format!("http://public{line}.test:{PORT}/ok/x"));
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
        let private = ask(&egress, &format!("http://private{line}.test:{PORT}/ok/x"));
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

/// Ways to write addresses that some resolver takes, and names that are no names.
const SPELLINGS: [&str; 58] = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "0",
    "0.0.0.0",
    "2130706433",
    "2130706433.",
    "017700000001",
    "0177.0.0.1",
    "0x7f000001",
    "0X7F.1",
    "0x7f.0.0.1",
    "127.0.0.0x1",
    "127.0.0.01",
    "127.0.0.1%00",
    "127.0.0.1%2e",
    "127%2e0%2e0%2e1",
    "00127.0.0.1",
    "256.256.256.256",
    "4294967297",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
    "[::1%lo]",
    "[v1.x]",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "[fd00:ec2::254]",
    "[::ffff:169.254.169.254]",
    "168.63.129.16",
    "100.100.100.200",
    "\u{ff11}27.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "\u{2460}\u{2461}\u{2466}.0.0.1",
    "localhost",
    "LOCALHOST.",
    "localhost.localdomain",
    "ip6-localhost",
    "metadata.google.internal",
    "127.0.0.1.nip.io",
    "origin.test..",
    ".origin.test",
    "origin..test",
    "origin.test\u{0}",
    "origin.test%00.evil.test",
    "user@127.0.0.1",
    "origin.test@127.0.0.1",
    "xn--a.test",
];

#[test]
fn no_spelling_of_an_address_gets_through() {
    namespace::run("addresses::every_spelling_inside", &furnished());
}

#[test]
#[ignore = "runs only in the namespace that the test above makes"]
fn every_spelling_inside() {
    namespace::assert_inside();
    let accepted = listeners(80);
    let folder = tempfile::tempdir().unwrap();
    // Even where the policy only reports, and lifts private addresses for a name.
    for mode in [NetworkMode::Enforce, NetworkMode::Report] {
        let rules = vec![rule("origin.test", 80, 4)];
        let network = Network {
            mode,
            ..network(rules)
        };
        let folder = folder.path().join(format!("{mode:?}"));
        std::fs::create_dir(&folder).unwrap();
        let egress = start(&served("p.yml", network, &[]), &folder);
        let address = egress.listening().unwrap();
        for host in SPELLINGS {
            for port in ["", ":80", ":22"] {
                let get = format!(
                    "GET http://{host}{port}/ok/x HTTP/1.1\r\nHost: {host}{port}\r\nConnection: close\r\n\r\n"
                );
                let answer = raw(address, get.as_bytes());
                // Where the policy only reports, a name may be asked for, and has no address here.
                let unknown = mode == NetworkMode::Report
                    && answer.head.contains("x-tagout-failed: name-not-found");
                let refused = matches!(answer.status, 400 | 403) && answer.code().is_some();
                assert!(refused || unknown, "{get:?} {answer:?}");
            }
            let connect = format!(
                "CONNECT {host}:80 HTTP/1.1\r\nHost: {host}:80\r\n\r\nGET /ok/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            );
            let answer = raw(address, connect.as_bytes());
            assert_ne!(answer.status, 200, "{connect:?} {answer:?}");
            socks(address, host);
        }
        drop(egress);
        assert_eq!(
            accepted.load(Ordering::SeqCst),
            0,
            "an address was dialled under {mode:?}"
        );
    }
    // The listeners are there, and would have been reached.
    let lifted = served(
        "p.yml",
        network(vec![rule("origin.test", 80, 4)]),
        &["origin.test:80:127.0.0.1".to_owned()],
    );
    let folder = folder.path().join("lifted");
    std::fs::create_dir(&folder).unwrap();
    let egress = start(&lifted, &folder);
    assert_eq!(ask(&egress, "http://origin.test/ok/x").status, 200);
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

/// The same host as the name of a SOCKS5 connection, with a plain request inside. What counts is who was dialled.
fn socks(address: SocketAddr, host: &str) {
    let mut bytes = vec![5, 1, 0, 5, 1, 0, 3, u8::try_from(host.len()).unwrap()];
    bytes.extend_from_slice(host.as_bytes());
    bytes.extend_from_slice(&[0, 80]);
    let get = format!("GET /ok/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    bytes.extend_from_slice(get.as_bytes());
    raw(address, &bytes);
}

#[test]
fn a_name_that_moves_into_the_host_is_not_followed() {
    // The system's resolver reads this file, and reads it anew at every lookup.
    let setup = format!(
        "{} ip route add local 93.184.216.0/24 dev lo; mount -t tmpfs none /mnt; \
         echo '93.184.216.34 moving.test mixed.test' > /mnt/hosts; mount --bind /mnt/hosts /etc/hosts; \
         printf 'hosts: files\\n' > /mnt/nsswitch; mount --bind /mnt/nsswitch /etc/nsswitch.conf;",
        furnished()
    );
    namespace::run("addresses::rebinding_inside", &setup);
}

#[test]
#[ignore = "runs only in the namespace that the test above makes"]
fn rebinding_inside() {
    namespace::assert_inside();
    let inside = listeners(80);
    let public = Arc::<AtomicUsize>::default();
    namespace::listen([93, 184, 216, 34], 80, &public);
    let named = |name: &str, line| Rule {
        private: false,
        ..rule(name, 80, line)
    };
    let folder = tempfile::tempdir().unwrap();
    let rules = vec![named("moving.test", 4), named("mixed.test", 5)];
    let egress = start(&served("p.yml", network(rules), &[]), folder.path());
    let url = "http://moving.test/ok/x";
    assert_eq!(ask(&egress, url).status, 200);
    assert_eq!(public.load(Ordering::SeqCst), 1);
    for address in ["127.0.0.1", "169.254.169.254", "10.1.2.3", "::1"] {
        std::fs::write("/mnt/hosts", format!("{address} moving.test\n")).unwrap();
        let answer = ask(&egress, url);
        assert_eq!(
            (answer.status, answer.code()),
            (403, Some("address-not-allowed")),
            "{address} {answer:?}"
        );
    }
    // One bad address among good ones condemns the name.
    std::fs::write(
        "/mnt/hosts",
        "93.184.216.34 mixed.test\n10.1.2.3 mixed.test\n",
    )
    .unwrap();
    assert_eq!(
        ask(&egress, "http://mixed.test/ok/x").code(),
        Some("address-not-allowed")
    );
    assert_eq!(inside.load(Ordering::SeqCst), 0);
    assert_eq!(public.load(Ordering::SeqCst), 1);
}

#[test]
fn report_mode_passes_to_public_addresses_only_and_says_so() {
    let setup = format!("{} ip route add local 93.184.216.0/24 dev lo;", furnished());
    namespace::run("addresses::report_inside", &setup);
}

#[test]
#[ignore = "runs only in the namespace that the test above makes"]
fn report_inside() {
    namespace::assert_inside();
    let inside = listeners(80);
    let public = Arc::<AtomicUsize>::default();
    namespace::listen([93, 184, 216, 34], 80, &public);
    namespace::listen([93, 184, 216, 34], PORT, &public);
    let keyed = Rule {
        private: false,
        paths: vec![PathPattern("/ok/**".to_owned())],
        credential: Some(Credential {
            header: "authorization".to_owned(),
            value: "Bearer ${EXAMPLE_KEY}".to_owned(),
            variable: "EXAMPLE_KEY".to_owned(),
        }),
        ..rule("keyed.test", 443, 4)
    };
    let listed = Rule {
        private: false,
        ..rule("listed.test", PORT, 5)
    };
    let private = rule("private.test", 80, 6);
    let network = Network {
        mode: NetworkMode::Report,
        requests: 6,
        upload_bytes: 2000,
        ..network(vec![keyed, listed, private])
    };
    let names = ["listed.test", "unlisted.test", "spent.test"];
    let mut resolve: Vec<String> = names
        .iter()
        .flat_map(|name| [80, PORT].map(|port| format!("{name}:{port}:93.184.216.34")))
        .collect();
    resolve.push("private.test:80:10.1.2.3".to_owned());
    resolve.push("metadata.test:80:169.254.169.254".to_owned());
    resolve.push("loopback.test:80:127.0.0.1".to_owned());
    let setup = super::with_secrets(
        served("p.yml", network, &resolve),
        &[("EXAMPLE_KEY", "sk-test-0123456789")],
    );
    let placeholder = setup.placeholders()[0].1.clone();
    let folder = tempfile::tempdir().unwrap();
    let egress = start(&setup, folder.path());
    let status = |args: &[&str]| {
        let answer = curl(&egress, args);
        (answer.status, answer.code().map(ToOwned::to_owned))
    };
    let denied = |code: &str| (403, Some(code.to_owned()));
    // What no rule allows passes: another host, another method, another path.
    assert_eq!(status(&["http://unlisted.test/any"]), (200, None));
    assert_eq!(
        status(&["-d", "a=b", "http://unlisted.test/any"]),
        (200, None)
    );
    let listed = format!("http://listed.test:{PORT}");
    assert_eq!(status(&[&format!("{listed}/no/x")]), (200, None));
    assert_eq!(status(&["-d", "x", &format!("{listed}/ok/x")]), (200, None));
    assert_eq!(public.load(Ordering::SeqCst), 4);
    // Ports, addresses, budgets and the rules of credentials hold all the same.
    assert_eq!(
        status(&[&format!("http://unlisted.test:{PORT}/any")]),
        denied("host-not-allowed")
    );
    assert_eq!(
        status(&["http://listed.test/ok/x"]),
        denied("port-not-allowed")
    );
    for name in ["metadata.test", "loopback.test", "private.test"] {
        assert_eq!(
            status(&["-d", "x", &format!("http://{name}/other")]),
            denied("address-not-allowed"),
            "{name}"
        );
    }
    assert_eq!(status(&["http://10.1.2.3/"]), denied("address-literal"));
    let header = format!("Authorization: Bearer {placeholder}");
    assert_eq!(
        status(&["-H", &header, "http://unlisted.test/any"]),
        denied("placeholder-misplaced")
    );
    assert_eq!(
        status(&["http://keyed.test:443/ok/x"]),
        denied("clear-not-allowed")
    );
    assert_eq!(
        status(&["-X", "GET", "-d", "x", "http://unlisted.test/any"]),
        denied("body-not-allowed")
    );
    let long = "q".repeat(1500);
    let url = format!("http://spent.test/?{long}");
    assert_eq!(status(&[&url]), (200, None));
    assert_eq!(status(&[&url]), denied("budget-upload"));
    assert_eq!(inside.load(Ordering::SeqCst), 0);
    let events = egress.finish().unwrap();
    let reported = events
        .iter()
        .filter(|event| event.verdict == Decision::Report)
        .count();
    assert_eq!(reported, 5, "{events:?}");
    assert!(
        events.iter().all(|event| event.verdict != Decision::Allow),
        "what no rule allows is never told as allowed: {events:?}"
    );
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
    served("p.yml", network(rules), &resolve)
}

fn served(file: &str, network: Network, resolve: &[String]) -> EgressSetup {
    EgressSetup::new(file, network)
        .with_proxy(Proxy {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            auth: ProxyAuth::Anyone,
        })
        .unwrap()
        .with_resolve(resolve)
        .unwrap()
}

/// Listeners on every address; how many connections they took.
fn listeners(port: u16) -> Arc<AtomicUsize> {
    let accepted = Arc::<AtomicUsize>::default();
    for (address, _) in ADDRESSES {
        namespace::listen(address.parse::<IpAddr>().unwrap(), port, &accepted);
    }
    accepted
}

fn ask(egress: &Handle, url: &str) -> Answer {
    curl(egress, &[url])
}

fn curl(egress: &Handle, args: &[&str]) -> Answer {
    let output = Command::new("curl")
        .env_clear()
        .args(["-s", "-i", "-m", "10", "--proxy", egress.proxy().unwrap()])
        .args(args)
        .output()
        .unwrap();
    Answer::read(&output.stdout)
}
