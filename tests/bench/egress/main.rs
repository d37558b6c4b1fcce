//! How much of the direct speed is left through the egress, and through any peer that this machine has.
//! Rounds are interleaved, so that a busy machine slows all of them alike; what counts is the ratio within one run.
//!
//! `cargo bench --bench egress` runs it; with words behind `--` only the rows whose names hold one of them.
//! Peers are taken where they are installed: squid and tinyproxy for plain proxying and tunnels, mitmdump for inspection.
//! `TAGOUT_BENCH_OTHER=PATH` puts another build of this program beside them, to see what a change brought.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and may end where its set-up fails"
)]

mod load;
mod origin;
mod peers;
mod rows;

use std::net::SocketAddr;
use std::path::PathBuf;

use tagout::broker::egress::process::{self, Handle};
use tagout::broker::egress::setup::{EgressSetup, Proxy, ProxyAuth};
use tagout::policy::model::{AuthMode, HostPattern, Network, Place, Rule, TlsMode};

/// The name of the origin where it is inspected, and where it is tunnelled.
const INSPECTED: &str = "inspected.test";
const TUNNELLED: &str = "tunnelled.test";

fn main() {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("origin") {
        origin::serve();
        return;
    }
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let bench = Bench::start();
    rows::run(&bench, &wanted);
    let peak = memory_kib(bench.egress.pid(), "VmHWM:");
    println!(
        "{:<44} {:>8.1} MiB (goal 24)",
        "peak memory of the egress, whole run",
        peak / 1024.0
    );
}

/// An origin in a process of its own, our egress, and the roots that clients trust.
struct Bench {
    origin: origin::Running,
    egress: Handle,
    /// Another build.
    other: Option<Handle>,
    folder: tempfile::TempDir,
}

impl Bench {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = origin::Running::start(folder.path());
        let egress = process::start(&program(), &setup(&origin), folder.path())
            .unwrap()
            .ready()
            .unwrap();
        let other = std::env::var_os("TAGOUT_BENCH_OTHER").map(|program| {
            let place = folder.path().join("other");
            std::fs::create_dir(&place).unwrap();
            let started = process::start(program.as_ref(), &setup(&origin), &place);
            started.unwrap().ready().unwrap()
        });
        Self {
            origin,
            egress,
            other,
            folder,
        }
    }

    fn proxy(&self) -> SocketAddr {
        self.egress.listening().unwrap()
    }
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tagout"))
}

fn setup(origin: &origin::Running) -> EgressSetup {
    let rule = |host: &str, port: u16, tls: TlsMode, line: u32| Rule {
        host: HostPattern::Exact(host.to_owned()),
        ports: vec![port],
        methods: vec!["GET".to_owned()],
        paths: Vec::new(),
        tls,
        private: true,
        auth: AuthMode::Strip,
        websocket: false,
        credential: None,
        kind: tagout::policy::model::RuleKind::Listed,
        at: Place {
            file: "bench.yml".into(),
            line,
            column: 1,
        },
    };
    let network = Network {
        allow: vec![
            rule(INSPECTED, origin.tls.port(), TlsMode::Inspect, 1),
            rule(INSPECTED, origin.clear.port(), TlsMode::Inspect, 2),
            rule(TUNNELLED, origin.tls.port(), TlsMode::Tunnel, 3),
        ],
        requests: u64::MAX,
        upload_bytes: u64::MAX / 2,
        ..Network::default()
    };
    let names = [
        (INSPECTED, origin.tls.port()),
        (INSPECTED, origin.clear.port()),
        (TUNNELLED, origin.tls.port()),
    ];
    let resolve: Vec<String> = names
        .iter()
        .map(|(name, port)| format!("{name}:{port}:127.0.0.1"))
        .collect();
    EgressSetup::new("bench.yml", network)
        .with_resolve(&resolve)
        .unwrap()
        .with_roots(Some(origin.ca.clone()), None)
        .with_proxy(Proxy {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            auth: ProxyAuth::Anyone,
        })
        .unwrap()
}

/// A line of `/proc/PID/status` in KiB.
fn memory_kib(pid: u32, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    found
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}
