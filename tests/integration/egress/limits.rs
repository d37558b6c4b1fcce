//! What one host may get in one run, and what a request may look like.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;

use super::{Egress, Origin, network, raw, rule};
use tagout::broker::egress::setup::{EgressSetup, ProxyAuth};
use tagout::policy::model::{HostPattern, Network, Rule};

#[test]
fn upload_over_the_budget_is_refused_or_broken_off() {
    let origin = Origin::tls(&["origin.test", "other.test"]);
    let post = |host: &str, line| Rule {
        methods: vec!["GET".to_owned(), "POST".to_owned()],
        ..rule(host, origin.port(), line)
    };
    let network = Network {
        upload_bytes: 20_000,
        ..network(vec![post("origin.test", 4), post("other.test", 5)])
    };
    let egress = Egress::start(network, &origin, &["origin.test", "other.test"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a".repeat(15_000)).unwrap();
    let body = format!("@{}", file.path().display());
    let url = origin.url("origin.test", "/ok/x");
    assert_eq!(egress.curl(&["-d", &body, &url]).status, 200);
    let known = egress.curl(&["-d", &body, &url]);
    assert_eq!((known.status, known.code()), (403, Some("budget-upload")));
    assert_eq!(
        origin.seen().len(),
        1,
        "refused before forwarding where the length tells"
    );
    let other = origin.url("other.test", "/ok/x");
    assert_eq!(
        egress.curl(&["-d", &body, &other]).status,
        200,
        "the budget is per host"
    );
    let chunked = egress.curl(&["-H", "Transfer-Encoding: chunked", "-d", &body, &other]);
    assert_eq!(
        (chunked.status, chunked.code()),
        (403, Some("budget-upload")),
        "{chunked:?}"
    );
    assert!(
        origin
            .seen()
            .iter()
            .all(|seen| matches!(seen.body, 0 | 15_000)),
        "never cut short and taken as whole"
    );
    let small = origin.url("other.test", "/ok/small");
    assert_eq!(egress.curl(&[&small]).status, 200, "what is left is left");
}

#[test]
fn queries_count_as_upload() {
    let origin = Origin::tls(&["origin.test"]);
    let network = Network {
        upload_bytes: 9_500,
        ..network(vec![rule("origin.test", origin.port(), 4)])
    };
    let egress = Egress::start(network, &origin, &["origin.test"]);
    let url = origin.url("origin.test", &format!("/ok/x?{}", "q".repeat(1900)));
    let statuses: Vec<u16> = (0..6).map(|_| egress.curl(&[&url]).status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 403, 403]);
    let long = origin.url("origin.test", &format!("/ok/x?{}", "q".repeat(8000)));
    assert_eq!(egress.curl(&[&long]).code(), Some("url-too-long"));
}

#[test]
fn requests_are_counted() {
    let origin = Origin::tls(&["origin.test"]);
    let network = Network {
        requests: 2,
        ..network(vec![rule("origin.test", origin.port(), 4)])
    };
    let egress = Egress::start(network, &origin, &["origin.test"]);
    let url = origin.url("origin.test", "/ok/x");
    let answer = egress.curl(&[&url, &url, &url]);
    assert_eq!(answer.status, 200);
    assert_eq!(egress.curl(&[&url]).code(), Some("budget-requests"));
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn names_under_a_wildcard_are_counted() {
    const HOSTS_MAX: usize = 512;
    let origin = Origin::clear();
    let port = origin.port();
    let many = Rule {
        host: HostPattern::Subdomains("many.test".to_owned()),
        ..rule("many.test", port, 4)
    };
    let names: Vec<String> = (0..=HOSTS_MAX)
        .map(|name| format!("n{name}.many.test"))
        .collect();
    let resolved: Vec<&str> = names.iter().map(String::as_str).collect();
    let egress = Egress::start(network(vec![many]), &origin, &resolved);
    let mut stream = TcpStream::connect(egress.address()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut ask = |host: &str| {
        let head = format!("GET http://{host}:{port}/ok/x HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        answer(&mut reader)
    };
    for name in &names[..HOSTS_MAX] {
        assert!(ask(name).starts_with("HTTP/1.1 200"), "{name}");
    }
    let one_more = ask(&names[HOSTS_MAX]);
    assert!(one_more.starts_with("HTTP/1.1 403"), "{one_more}");
    assert!(
        one_more.contains("x-tagout-denied: budget-hosts"),
        "{one_more}"
    );
    assert!(
        ask(&names[0]).starts_with("HTTP/1.1 200"),
        "a known one is still served"
    );
    assert_eq!(origin.seen().len(), HOSTS_MAX + 1);
}

/// The head of one answer, its body read.
fn answer(reader: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.expect("a length")];
    reader.read_exact(&mut body).unwrap();
    head
}

#[test]
fn a_get_with_a_body_is_refused() {
    let origin = Origin::tls(&["origin.test"]);
    let egress = Egress::start(
        network(vec![rule("origin.test", origin.port(), 4)]),
        &origin,
        &["origin.test"],
    );
    let url = origin.url("origin.test", "/ok/x");
    for version in ["--http1.1", "--http2"] {
        let answer = egress.curl(&[version, "-X", "GET", "-d", "abc", &url]);
        assert_eq!(
            (answer.status, answer.code()),
            (403, Some("body-not-allowed")),
            "{version}"
        );
    }
    assert_eq!(origin.accepted(), 0);
}

#[test]
fn without_the_password_nothing_is_served() {
    let origin = Origin::tls(&["origin.test"]);
    let setup = EgressSetup::new(
        "p.yml",
        network(vec![rule("origin.test", origin.port(), 4)]),
    );
    let egress = Egress::start_with(setup, &origin, &["origin.test"], ProxyAuth::Password);
    let url = origin.url("origin.test", "/ok/x");
    assert_eq!(
        egress.curl(&[&url]).status,
        200,
        "the proxy's URL carries the password"
    );
    let port = origin.port();
    let plain = format!("http://{}", egress.address());
    let without = egress.curl(&["--proxy", &plain, &url]);
    assert_eq!(without.status, 407, "{without:?}");
    for line in [
        "",
        "Proxy-Authorization: Basic dGFnb3V0OnRhZ291dA==\r\n",
        "Proxy-Authorization: Basic\r\n",
    ] {
        let connect = format!(
            "CONNECT origin.test:{port} HTTP/1.1\r\nHost: origin.test:{port}\r\n{line}\r\n"
        );
        assert_eq!(raw(egress.address(), connect.as_bytes()).status, 407);
        let get = format!(
            "GET http://origin.test:{port}/ok/x HTTP/1.1\r\nHost: origin.test:{port}\r\n{line}\r\n"
        );
        assert_eq!(raw(egress.address(), get.as_bytes()).status, 407);
    }
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_killed_egress_is_noticed() {
    let origin = Origin::tls(&["origin.test"]);
    let mut egress = Egress::start(network(Vec::new()), &origin, &[]);
    assert!(egress.handle.ended().unwrap().is_none());
    let pid = i32::try_from(egress.handle.pid()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    while egress.handle.ended().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(egress.handle.finish().is_err());
}

#[test]
fn the_process_has_no_environment_and_no_calls_to_spare() {
    let origin = Origin::tls(&["origin.test"]);
    let egress = Egress::start(network(Vec::new()), &origin, &[]);
    let of = |name: &str| std::fs::read(format!("/proc/{}/{name}", egress.handle.pid()));
    match of("environ") {
        Ok(environment) => assert!(environment.is_empty(), "{environment:?}"),
        // Not dumpable: even its own user cannot look.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
    }
    let status = String::from_utf8(of("status").unwrap()).unwrap();
    assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
    assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
    let line = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name));
        found.expect(name).trim().to_owned()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(u64::from_str_radix(&line(set), 16), Ok(0), "{set}");
    }
    if rustix::process::geteuid().is_root() {
        assert_eq!(u64::from_str_radix(&line("CapBnd:"), 16), Ok(0));
        assert_eq!(line("Uid:"), "60599\t60599\t60599\t60599");
        assert_eq!(line("Gid:"), "60599\t60599\t60599\t60599");
        assert_eq!(line("Groups:"), "");
    }
}

#[test]
fn socks_leads_to_the_same_judging() {
    let origin = Origin::tls(&["origin.test"]);
    let setup = EgressSetup::new(
        "p.yml",
        network(vec![rule("origin.test", origin.port(), 4)]),
    );
    let egress = Egress::start_with(setup, &origin, &["origin.test"], ProxyAuth::Password);
    let socks = egress
        .handle
        .proxy()
        .unwrap()
        .replace("http://", "socks5h://");
    let ask = |proxy: &str, url: &str| egress.curl(&["--proxy", proxy, url]);
    let good = ask(&socks, &origin.url("origin.test", "/ok/x"));
    assert_eq!(
        (good.status, good.body.as_str()),
        (200, "origin"),
        "{good:?}"
    );
    assert_eq!(
        ask(&socks, &origin.url("origin.test", "/no")).code(),
        Some("path-not-allowed")
    );
    assert_eq!(
        ask(&socks, "https://unlisted.test/").code(),
        Some("host-not-allowed")
    );
    let wrong = format!("socks5h://tagout:wrong@{}", egress.address());
    let none = format!("socks5h://{}", egress.address());
    for proxy in [wrong, none] {
        assert_eq!(ask(&proxy, &origin.url("origin.test", "/ok/x")).status, 0);
    }
    assert_eq!(origin.seen().len(), 1);
}

/// `tagout egress` as a plain user, where tests run as root; being root hides every permission fault.
fn as_plain_user(folder: &std::path::Path) -> std::process::Command {
    use std::os::unix::fs::PermissionsExt as _;
    let program = folder.join("tagout");
    crate::program::copy(env!("CARGO_BIN_EXE_tagout"), &program);
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    if !rustix::process::geteuid().is_root() {
        return std::process::Command::new(program);
    }
    let mut command = plain_user("");
    command.arg(program);
    command
}

/// A program as the user nobody, or as whoever runs the tests where that is not root.
fn plain_user(program: &str) -> std::process::Command {
    let root = rustix::process::geteuid().is_root();
    if !root && !program.is_empty() {
        return std::process::Command::new(program);
    }
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    if !program.is_empty() {
        command.arg(program);
    }
    command
}

#[test]
fn its_own_user_can_neither_read_nor_trace_it() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("p.yml");
    std::fs::write(&policy, "version: 1\n").unwrap();
    let mut child = as_plain_user(folder.path())
        .args(["egress", "--policy"])
        .arg(&policy)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TMPDIR", folder.path())
        .env("CANARY", "sk-canary-0123456789")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert!(line.contains("\"proxy\""), "{line}");
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let egress = std::fs::read_to_string(children).unwrap();
    let egress = egress.trim();
    for file in ["environ", "mem", "maps", "fd", "cwd", "exe", "auxv"] {
        let path = format!("/proc/{egress}/{file}");
        let script = format!("ls -l {path}/ > /dev/null 2>&1 || head -c 1 {path}");
        let tried = plain_user("sh").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8_lossy(&tried.stderr).into_owned();
        assert!(
            tried.stdout.is_empty() && said.contains("Permission denied"),
            "{file}: {said}"
        );
    }
    // The control: the parent, which holds nothing, can be read by its user.
    let own = format!("/proc/{}/environ", child.id());
    let read = plain_user("cat").arg(own).output().unwrap();
    assert!(String::from_utf8_lossy(&read.stdout).contains("CANARY"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn it_listens_on_loopback_only() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("p.yml");
    std::fs::write(&policy, "version: 1\n").unwrap();
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8080"] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_tagout"))
            .args(["egress", "--listen", listen, "--policy"])
            .arg(&policy)
            .env_clear()
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{listen} {output:?}");
    }
    let listen = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let auth = ProxyAuth::Password;
    let proxy = tagout::broker::egress::setup::Proxy { listen, auth };
    assert!(
        EgressSetup::new("p.yml", network(Vec::new()))
            .with_proxy(proxy)
            .is_err()
    );
}
