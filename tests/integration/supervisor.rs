//! The supervisor of level C with a real kernel: Python programs under the real filter, the supervisor in this process,
//! listeners of the host beside them. Each test runs as it was started and, where that is root, once more as a plain user.
#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test, and the place tells what it was"
)]

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};
use tagout::sandbox::supervisor::given::Reach;
use tagout::sandbox::supervisor::{Config, Supervisor, Woken, listener, start};
use tagout::sandbox::walls::syscalls::notify::{Architecture, program, program_with_sockets};
use tagout::wire::{Denied, Handover};

/// Debian's own: a user's installation is closed to the plain user.
const PYTHON: &str = "/usr/bin/python3";
const GUARD: &str = include_str!("supervisor/guard.py");
const ROADS: &str = include_str!("supervisor/roads.py");
/// Set in the second run of a test, which is the plain user's.
const PLAIN: &str = "TAGOUT_TEST_AS_PLAIN_USER";

/// Whether the supervisor makes the sockets, as where `pidfd_getfd` is forbidden.
static GIVEN: AtomicBool = AtomicBool::new(false);

/// What a program under the supervisor left.
struct Left {
    said: String,
    denied: Vec<Denied>,
}

fn config(private: &Path) -> Config {
    Config {
        door: None,
        ports: Vec::new(),
        proxy: None,
        private: vec![private.to_path_buf()],
    }
}

/// Runs a Python program under the filter until nothing of it is left.
fn supervised(config: Config, script: &str, arguments: &[&str]) -> Left {
    let folder = tempfile::tempdir().unwrap();
    let given = GIVEN.load(Ordering::Relaxed);
    let make = if given { program_with_sockets } else { program };
    let filter: Vec<u8> = make(Architecture::HERE, &[std::process::id()])
        .iter()
        .flat_map(|step| {
            let mut bytes = step.code.to_ne_bytes().to_vec();
            bytes.extend([step.jt, step.jf]);
            bytes.extend(step.k.to_ne_bytes());
            bytes
        })
        .collect();
    let path = folder.path().join("filter");
    std::fs::write(&path, filter).unwrap();
    let (line, theirs) = UnixStream::pair().unwrap();
    let mut child = Command::new(PYTHON)
        .args(["-I", "-c", GUARD])
        .arg(&path)
        .arg(script)
        .args(arguments)
        .env_clear()
        .env("RES_OPTIONS", "use-vc ndots:1")
        .env("PATH", "/usr/bin:/bin")
        .current_dir(&config.private[0])
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // A thread of its own, because its lock-down is for good.
    let supervisor = std::thread::spawn(move || {
        let taken = listener::receive(&line).expect("the filter is installed");
        let reach = if given { Reach::Given } else { Reach::Taken };
        let mut supervisor = Supervisor::new(taken, config).unwrap().reaching(reach);
        start::confine().unwrap();
        assert!(std::fs::File::create("/tmp/tagout-supervisor").is_err());
        assert_eq!(supervisor.serve(&[]).unwrap(), Woken::NobodyLeft);
        supervisor.denied()
    });
    let denied = supervisor.join().unwrap();
    let mut said = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {said}");
    Left { said, denied }
}

/// Runs the test's body here by both ways to the callers' sockets, and if this is root also as a plain user.
fn as_both(name: &str, body: fn()) {
    for given in [false, true] {
        GIVEN.store(given, Ordering::Relaxed);
        body();
    }
    if !rustix::process::geteuid().is_root() || std::env::var_os(PLAIN).is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), mode).unwrap();
    let copy = folder.path().join("test");
    crate::program::copy(std::env::current_exe().unwrap(), &copy);
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(copy)
        .args(["--exact", &format!("supervisor::{name}"), "--nocapture"])
        .env_clear()
        .env(PLAIN, "1")
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "as a plain user: {said}{errors}"
    );
}

fn private() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn door() -> (OwnedFd, OwnedFd) {
    let kind = SocketType::SEQPACKET;
    rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap()
}

/// What waits behind the door; none if nothing does.
fn handed_over(door: &OwnedFd) -> Option<(Handover, TcpStream)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 2048];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let got = rustix::net::recvmsg(
        door,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        flags,
    );
    let length = got.ok()?.bytes;
    let connection = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })?;
    Some((
        serde_json::from_slice(&bytes[..length]).unwrap(),
        connection.into(),
    ))
}

fn heard(connection: &mut TcpStream) -> String {
    connection.set_nonblocking(false).unwrap();
    connection
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    text
}

/// A listener of the host on loopback, for TCP and UDP.
struct Host {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Host {
    fn new() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_nonblocking(true).unwrap();
        Self { tcp, udp }
    }

    fn ports(&self) -> [String; 2] {
        let tcp = self.tcp.local_addr().unwrap().port();
        let udp = self.udp.local_addr().unwrap().port();
        [tcp.to_string(), udp.to_string()]
    }

    fn arrivals(&self) -> usize {
        let tcp = std::iter::from_fn(|| self.tcp.accept().ok()).count();
        let udp = std::iter::from_fn(|| self.udp.recv(&mut [0; 10]).ok()).count();
        tcp + udp
    }
}

#[test]
fn no_road_leads_to_a_listener_of_the_host() {
    as_both("no_road_leads_to_a_listener_of_the_host", || {
        let host = Host::new();
        let [tcp, udp] = host.ports();
        let mut control = Command::new(PYTHON);
        if rustix::process::geteuid().is_root() {
            control = Command::new("setpriv");
            control.args([
                "--reuid",
                "65534",
                "--regid",
                "65534",
                "--clear-groups",
                PYTHON,
            ]);
        }
        let control = control
            .args(["-I", "-c", ROADS, &tcp, &udp])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&control.stdout);
        assert!(host.arrivals() >= 4, "the control did not arrive: {said}");

        let folder = private();
        let left = supervised(config(folder.path()), ROADS, &[&tcp, &udp]);
        assert_eq!(host.arrivals(), 0, "{}", left.said);
        assert_eq!(left.said.lines().count(), 8, "{}", left.said);
        assert!(!left.said.contains("OK"), "{}", left.said);
        let what = format!("connect 127.0.0.1:{tcp}");
        let noted = left.denied.iter().find(|denied| denied.what == what);
        assert_eq!(
            noted.map(|denied| denied.count),
            Some(3),
            "{:?}",
            left.denied
        );
    });
}

#[test]
fn own_servers_on_loopback_work_in_every_spelling() {
    as_both("own_servers_on_loopback_work_in_every_spelling", || {
        let folder = private();
        let left = supervised(
            config(folder.path()),
            include_str!("supervisor/own.py"),
            &[],
        );
        assert_eq!(
            left.said.trim().lines().last(),
            Some("done"),
            "{}",
            left.said
        );
        assert!(left.denied.is_empty(), "{:?}", left.denied);
    });
}

#[test]
fn bind_and_listen_stay_on_loopback() {
    as_both("bind_and_listen_stay_on_loopback", || {
        let folder = private();
        let left = supervised(
            config(folder.path()),
            include_str!("supervisor/bind.py"),
            &[],
        );
        assert_eq!(
            left.said.trim().lines().last(),
            Some("done"),
            "{}",
            left.said
        );
        assert_eq!(left.denied.len(), 2, "{:?}", left.denied);
    });
}

#[test]
fn connection_to_a_name_arrives_behind_the_door() {
    as_both("connection_to_a_name_arrives_behind_the_door", || {
        let folder = private();
        let (inside, outside) = door();
        let config = Config {
            door: Some(inside),
            ports: vec![80, 443],
            ..config(folder.path())
        };
        let left = supervised(config, include_str!("supervisor/door.py"), &[]);
        assert_eq!(
            left.said.trim().lines().last(),
            Some("done"),
            "{}",
            left.said
        );
        let expected = [
            ("api.example.com", 443, "blocking"),
            ("api.example.com", 80, "epoll"),
            ("10.9.8.7", 443, "literal"),
            ("10.9.8.7", 443, "mapped"),
            ("2001:db8::1", 443, "six"),
            ("127.0.0.1", 80, "loopback"),
        ];
        for (host, port, text) in expected {
            let (handover, mut connection) = handed_over(&outside).expect(text);
            let (host, port) = (host.to_owned(), port);
            assert_eq!(handover, Handover::Connection { host, port });
            assert_eq!(heard(&mut connection), text);
        }
        assert!(handed_over(&outside).is_none());
        let what: Vec<&str> = left
            .denied
            .iter()
            .map(|denied| denied.what.as_str())
            .collect();
        assert_eq!(
            what,
            ["connect 198.18.200.200:443", "connect api.example.com:22"]
        );
    });
}

#[test]
fn without_a_door_names_do_not_exist_and_are_noted() {
    as_both("without_a_door_names_do_not_exist_and_are_noted", || {
        let folder = private();
        let script = "import socket\ntry: socket.getaddrinfo('api.example.com', 443)\nexcept socket.gaierror as e: print('none')";
        let left = supervised(config(folder.path()), script, &[]);
        assert_eq!(left.said.trim(), "none");
        let noted =
            |denied: &Denied| denied.wall == "dns" && denied.what == "resolve api.example.com";
        assert!(left.denied.iter().any(noted), "{:?}", left.denied);
    });
}

#[test]
fn egress_that_is_gone_is_no_road() {
    as_both("egress_that_is_gone_is_no_road", || {
        let folder = private();
        let (inside, outside) = door();
        drop(outside);
        let config = Config {
            door: Some(inside),
            ports: vec![443],
            ..config(folder.path())
        };
        let script = "import socket\nfor _ in range(2):\n try: socket.create_connection(('10.9.8.7', 443), 5); print('open')\n except OSError as e: print(e.errno)";
        let left = supervised(config, script, &[]);
        assert_eq!(left.said, "111\n111\n");
    });
}

#[test]
fn proxy_is_reached_directly_and_nothing_beside_it() {
    as_both("proxy_is_reached_directly_and_nothing_beside_it", || {
        let folder = private();
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = proxy.local_addr().unwrap();
        let config = Config {
            proxy: Some(at),
            ..config(folder.path())
        };
        let script = "import socket,sys\ns=socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5); s.send(b'hello'); print(s.getpeername()[1])";
        let left = supervised(config, script, &[&at.port().to_string()]);
        assert_eq!(left.said.trim(), at.port().to_string());
        assert_eq!(heard(&mut proxy.accept().unwrap().0), "hello");
    });
}

#[test]
fn unix_sockets_of_the_run_work_and_those_of_the_host_do_not() {
    as_both(
        "unix_sockets_of_the_run_work_and_those_of_the_host_do_not",
        || {
            let folder = private();
            let elsewhere = private();
            let path: PathBuf = elsewhere.path().join("host.sock");
            let host = UnixListener::bind(&path).unwrap();
            host.set_nonblocking(true).unwrap();
            let name = format!("tagout-host-{}", std::process::id());
            let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
            let named = UnixListener::bind_addr(&address).unwrap();
            named.set_nonblocking(true).unwrap();
            let script = include_str!("supervisor/unix.py");
            let left = supervised(
                config(folder.path()),
                script,
                &[path.to_str().unwrap(), &name],
            );
            assert_eq!(
                left.said.trim().lines().last(),
                Some("done"),
                "{}",
                left.said
            );
            assert!(host.accept().is_err() && named.accept().is_err());
            assert_eq!(left.denied.len(), 3, "{:?}", left.denied);
            assert!(
                left.denied
                    .iter()
                    .all(|denied| denied.wall == "unix-sockets")
            );
        },
    );
}

#[test]
fn bursts_of_threads_are_all_answered() {
    as_both("bursts_of_threads_are_all_answered", || {
        let folder = private();
        let (inside, outside) = door();
        let config = Config {
            door: Some(inside),
            ports: vec![443],
            ..config(folder.path())
        };
        let drain = std::thread::spawn(move || {
            let mut count = 0;
            let until = std::time::Instant::now() + Duration::from_secs(60);
            while count < 400 && std::time::Instant::now() < until {
                match handed_over(&outside) {
                    Some(_) => count += 1,
                    None => std::thread::sleep(Duration::from_millis(1)),
                }
            }
            count
        });
        let left = supervised(config, include_str!("supervisor/burst.py"), &[]);
        assert_eq!(
            left.said.trim(),
            "400 connected, 400 refused",
            "{}",
            left.said
        );
        assert_eq!(drain.join().unwrap(), 400);
    });
}

#[test]
fn neighbour_at_the_inlet_is_dropped() {
    as_both("neighbour_at_the_inlet_is_dropped", || {
        let folder = private();
        let (inside, outside) = door();
        let config = Config {
            door: Some(inside),
            ports: vec![443],
            ..config(folder.path())
        };
        // The program tells the inlet's port (its peer); this thread plays the neighbour.
        let host = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = host.local_addr().unwrap();
        let script = "import socket,sys,time\ns=socket.create_connection(('10.9.8.7', 443), 5)\np=socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5); p.send(b'%d' % s.getpeername()[1]); p.shutdown(1); p.recv(1)";
        let neighbour = std::thread::spawn(move || {
            let (mut from, _) = host.accept().unwrap();
            let mut port = String::new();
            from.read_to_string(&mut port).unwrap();
            let mut inlet = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
            inlet
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            let read = inlet.read(&mut [0; 1]);
            drop(from);
            matches!(read, Ok(0))
                || read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
        });
        let config = Config {
            proxy: Some(at),
            ..config
        };
        supervised(config, script, &[&at.port().to_string()]);
        assert!(neighbour.join().unwrap(), "the neighbour was kept");
        assert!(handed_over(&outside).is_some());
        assert!(handed_over(&outside).is_none());
    });
}

/// Prints microseconds of a connect to an own listener, bare and supervised; run it with `--run-ignored only` and `--no-capture`
/// on a release build and a quiet machine.
#[test]
#[ignore = "a measurement"]
fn added_time_of_a_connect() {
    let folder = private();
    let script = include_str!("supervisor/measure.py");
    let bare = Command::new(PYTHON)
        .args(["-I", "-c", script])
        .output()
        .unwrap();
    let left = supervised(config(folder.path()), script, &[]);
    let bare = String::from_utf8_lossy(&bare.stdout);
    println!("bare {} supervised {}", bare.trim(), left.said.trim());
}
