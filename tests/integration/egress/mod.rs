//! The egress from outside: real clients, a real TLS origin on loopback, and no request that should not arrive.

#![expect(
    clippy::unwrap_used,
    reason = "what the tests are built from may panic as they may"
)]

mod addresses;
mod both_ways;
mod bytes;
mod credentials;
mod door;
mod hostile;
mod limits;
mod logged;
mod mismatch;
mod model;
mod namespace;
mod origin;
mod replayed;
mod road;
mod smuggling;
mod streaming;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tagout::broker::egress::log::Event;
use tagout::broker::egress::process::{self, Handle};
use tagout::broker::egress::setup::{EgressSetup, Proxy, ProxyAuth};
use tagout::policy::model::{AuthMode, HostPattern, Network, PathPattern, Place, Rule, TlsMode};

pub(crate) use origin::{Origin, Reply};

/// A rule for the origin's name with what nearly every test wants.
pub(crate) fn rule(host: &str, port: u16, line: u32) -> Rule {
    Rule {
        host: HostPattern::Exact(host.to_owned()),
        ports: vec![port],
        methods: vec!["GET".to_owned(), "HEAD".to_owned()],
        paths: vec![PathPattern("/ok/**".to_owned())],
        tls: TlsMode::Inspect,
        private: true,
        auth: AuthMode::Strip,
        websocket: false,
        credential: None,
        kind: tagout::policy::model::RuleKind::Listed,
        at: Place {
            file: "p.yml".into(),
            line,
            column: 7,
        },
    }
}

/// A network of these rules under the default limits.
pub(crate) fn network(allow: Vec<Rule>) -> Network {
    Network {
        allow,
        ..Network::default()
    }
}

/// A running egress with its folder.
pub(crate) struct Egress {
    pub(crate) handle: Handle,
    folder: tempfile::TempDir,
}

impl Egress {
    /// Serves these rules; names are led to loopback by `resolve`.
    pub(crate) fn start(network: Network, origin: &Origin, names: &[&str]) -> Self {
        let setup = EgressSetup::new("p.yml", network);
        Self::start_with(setup, origin, names, ProxyAuth::Anyone)
    }

    pub(crate) fn start_with(
        setup: EgressSetup,
        origin: &Origin,
        names: &[&str],
        auth: ProxyAuth,
    ) -> Self {
        let resolve: Vec<String> = names
            .iter()
            .map(|name| format!("{name}:{}:127.0.0.1", origin.port()))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let setup = setup
            .with_proxy(Proxy { listen, auth })
            .unwrap()
            .with_resolve(&resolve)
            .unwrap()
            .with_roots(Some(origin.ca_file().to_owned()), None);
        let handle = start(&setup, folder.path());
        Self { handle, folder }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.listening().unwrap()
    }

    pub(crate) fn ca(&self) -> PathBuf {
        let path = self.folder.path().join("ca.pem");
        std::fs::write(&path, self.handle.ca()).unwrap();
        path
    }

    /// Real curl through the explicit proxy: status, headers and body.
    pub(crate) fn curl(&self, args: &[&str]) -> Answer {
        let proxy = self.handle.proxy().unwrap().to_owned();
        let output = Command::new("curl")
            .env_clear()
            .args(["-s", "-m", "10", "-i", "--proxy", &proxy, "--cacert"])
            .arg(self.ca())
            .args(args)
            .output()
            .expect("curl is a prerequisite of the tests");
        Answer::read(&output.stdout)
    }

    /// The log once the process has ended.
    pub(crate) fn finish(self) -> Vec<Event> {
        self.handle.finish().unwrap()
    }
}

pub(crate) fn start(setup: &EgressSetup, folder: &Path) -> Handle {
    let program = Path::new(env!("CARGO_BIN_EXE_tagout"));
    process::start(program, setup, folder)
        .unwrap()
        .ready()
        .unwrap()
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Reads the last head of curl's `-i` output; that of CONNECT comes before it.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut rest = String::from_utf8_lossy(bytes).into_owned();
        let mut answer = Self {
            status: 0,
            head: String::new(),
            body: String::new(),
        };
        while rest.starts_with("HTTP/") {
            let (head, body) = rest.split_once("\r\n\r\n").unwrap_or((&rest, ""));
            answer.status = head.split(' ').nth(1).unwrap().parse().unwrap();
            answer.head = head.to_ascii_lowercase();
            answer.body = body.to_owned();
            let connect = answer.status == 200 && answer.head.contains("connection established");
            if !connect && answer.status >= 200 {
                break;
            }
            rest = body.to_owned();
            if connect && rest.is_empty() {
                answer.status = 0;
            }
        }
        answer
    }

    pub(crate) fn code(&self) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix("x-tagout-denied: "))
    }
}

/// Sends bytes as they are and reads until the other side closes or is silent.
pub(crate) fn raw(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(3)))
        .unwrap();
    stream.write_all(bytes).unwrap();
    let mut got = Vec::new();
    let mut piece = [0_u8; 4096];
    while let Ok(count) = stream.read(&mut piece) {
        got.extend_from_slice(&piece[..count]);
        if count == 0 || is_whole(&String::from_utf8_lossy(&got)) {
            break;
        }
    }
    Answer::read(&got)
}

/// A setup that holds these variables.
pub(crate) fn with_secrets(setup: EgressSetup, pairs: &[(&str, &str)]) -> EgressSetup {
    let names: Vec<String> = pairs.iter().map(|(name, _)| (*name).to_owned()).collect();
    let read = |wanted: &str| {
        let found = pairs.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| (*value).to_owned())
    };
    setup.with_secrets(&names, &read).unwrap()
}

/// Whether a refusal is there to its last byte.
fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    head.contains(" 40") && length.is_some_and(|length: usize| body.len() >= length)
}
