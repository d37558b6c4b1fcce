//! The rows of the table.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tagout::broker::egress::process;
use tagout::policy::model::{HostPattern, Network, PathPattern, Rule};
use tagout::policy::verdict::{Judge, Request, Scheme};
use tokio::runtime::Runtime;

use super::load::{self, Kind, Road};
use super::peers::{self, Peer};
use super::{Bench, INSPECTED, TUNNELLED, memory_kib, program, setup};

/// How long one measurement lasts.
const ROUND: Duration = Duration::from_millis(1200);
/// How often each is repeated; the median counts.
const ROUNDS: usize = 5;
/// Clients at a time.
const WORKERS: usize = 8;

type Measure<'a> = Box<dyn Fn(&Road) -> f64 + 'a>;

/// One row: what is measured, direct and through everything that can do it.
struct Row<'a> {
    name: &'static str,
    goal: &'static str,
    direct: Road,
    others: Vec<(&'static str, Road)>,
    measure: Measure<'a>,
}

/// Runs the rows whose names hold one of the words, or all.
pub(crate) fn run(bench: &Bench, wanted: &[String]) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let peers = peers::start(bench.folder.path(), &bench.origin.ca);
    let chosen =
        |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    for row in rows(bench, &peers, &runtime) {
        if chosen(row.name) {
            print(&row);
        }
    }
    if chosen("events") {
        events(bench, &peers, &runtime);
    }
    if chosen("verdict") {
        verdict();
    }
    if chosen("ready") {
        ready(bench);
    }
    if chosen("memory") {
        memory(bench, &runtime);
    }
}

#[expect(clippy::too_many_lines, reason = "the rows of a table")]
fn rows<'a>(bench: &Bench, peers: &[Peer], runtime: &'a Runtime) -> Vec<Row<'a>> {
    let clear = format!("{INSPECTED}:{}", bench.origin.clear.port());
    let inspected = format!("{INSPECTED}:{}", bench.origin.tls.port());
    let tunnelled = format!("{TUNNELLED}:{}", bench.origin.tls.port());
    let run_ca = bench.folder.path().join("run-ca.pem");
    let other_ca = bench.other.as_ref().map_or("", |other| other.ca());
    std::fs::write(&run_ca, [bench.egress.ca(), other_ca].concat()).unwrap();
    let mut files: Vec<&Path> = vec![&bench.origin.ca, &run_ca];
    files.extend(peers.iter().filter_map(|peer| peer.ca.as_deref()));
    let tls = load::connector(&files);
    let road = |dial, authority: &str, kind, encrypted: bool| Road {
        dial,
        authority: authority.to_owned(),
        kind,
        tls: encrypted.then(|| tls.clone()),
    };
    let through = |authority: &str, kind, encrypted, able: &dyn Fn(&Peer) -> bool| {
        let mut roads = vec![("tagout", road(bench.proxy(), authority, kind, encrypted))];
        if let Some(other) = &bench.other {
            let address = other.listening().unwrap();
            roads.push(("the other build", road(address, authority, kind, encrypted)));
        }
        for peer in peers.iter().filter(|peer| able(peer)) {
            roads.push((peer.name, road(peer.address, authority, kind, encrypted)));
        }
        roads
    };
    let direct_clear = || road(bench.origin.clear, &clear, Kind::Direct, false);
    let direct_tls = || road(bench.origin.tls, &inspected, Kind::Direct, true);
    let opens = |peer: &Peer| peer.ca.is_some();
    let any = |_: &Peer| true;
    let row = |name, goal, direct, others, measure: Measure<'a>| Row {
        name,
        goal,
        direct,
        others,
        measure,
    };
    vec![
        row(
            "plain GET, kept connection, a second",
            "0.47",
            direct_clear(),
            through(&clear, Kind::Absolute, false, &any),
            Box::new(|road| runtime.block_on(load::keep_alive(road, WORKERS, ROUND))),
        ),
        row(
            "CONNECT a second",
            "12000 absolute",
            direct_clear(),
            through(&tunnelled, Kind::Tunnel, false, &any),
            Box::new(|road| runtime.block_on(load::connects(road, WORKERS, ROUND))),
        ),
        row(
            "tunnel, TLS and a GET, a second",
            "0.88",
            direct_tls(),
            through(&tunnelled, Kind::Tunnel, true, &any),
            Box::new(|road| runtime.block_on(load::one_each(road, WORKERS, ROUND))),
        ),
        row(
            "inspected TLS and a GET, a second",
            "0.75",
            direct_tls(),
            through(&inspected, Kind::Tunnel, true, &opens),
            Box::new(|road| runtime.block_on(load::one_each(road, WORKERS, ROUND))),
        ),
        row(
            "inspected GET, kept connection, a second",
            "0.30",
            direct_tls(),
            through(&inspected, Kind::Tunnel, true, &opens),
            Box::new(|road| runtime.block_on(load::keep_alive(road, WORKERS, ROUND))),
        ),
        row(
            "bulk through a tunnel, MiB/s",
            "0.65",
            direct_tls(),
            through(&tunnelled, Kind::Tunnel, true, &any),
            Box::new(|road| runtime.block_on(load::bulk(road, 512))),
        ),
        row(
            "bulk inspected, MiB/s",
            "0.80",
            direct_tls(),
            through(&inspected, Kind::Tunnel, true, &opens),
            Box::new(|road| runtime.block_on(load::bulk(road, 512))),
        ),
    ]
}

fn print(row: &Row<'_>) {
    let mut direct = Vec::new();
    let mut others = vec![Vec::new(); row.others.len()];
    for _ in 0..ROUNDS {
        direct.push((row.measure)(&row.direct));
        for (values, (_, road)) in others.iter_mut().zip(&row.others) {
            values.push((row.measure)(road));
        }
    }
    println!("{:<44} direct {:>9.0}", row.name, median(&direct));
    for (values, (name, _)) in others.iter().zip(&row.others) {
        let ratios: Vec<f64> = values
            .iter()
            .zip(&direct)
            .map(|(value, direct)| value / direct)
            .collect();
        let goal = if *name == "tagout" {
            format!("(goal {})", row.goal)
        } else {
            String::new()
        };
        println!(
            "    {name:<40} {:>9.0}  ratio {:.2}  {goal}",
            median(values),
            median(&ratios)
        );
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn events(bench: &Bench, peers: &[Peer], runtime: &Runtime) {
    let run_ca = bench.folder.path().join("run-ca.pem");
    let mut files: Vec<&Path> = vec![&bench.origin.ca, &run_ca];
    files.extend(peers.iter().filter_map(|peer| peer.ca.as_deref()));
    let tls = load::connector(&files);
    let road = |dial, kind| Road {
        dial,
        authority: format!("{INSPECTED}:{}", bench.origin.tls.port()),
        kind,
        tls: Some(tls.clone()),
    };
    let mut roads = vec![
        ("direct", road(bench.origin.tls, Kind::Direct)),
        ("tagout", road(bench.proxy(), Kind::Tunnel)),
    ];
    roads.extend(
        peers
            .iter()
            .filter(|peer| peer.ca.is_some())
            .map(|peer| (peer.name, road(peer.address, Kind::Tunnel))),
    );
    println!("delay of an event, inspected (goal: +0.2 ms median, 10 ms most)");
    for (name, road) in roads {
        let delays = runtime.block_on(load::event_delays(&road, 300));
        println!(
            "    {name:<40} median {:.3} ms  most {:.2} ms",
            median(&delays),
            delays[delays.len() - 1]
        );
    }
}

/// 5,000 rules, half of them wildcards; the slowest hundredth of verdicts.
fn verdict() {
    let like = setup_rule();
    let allow: Vec<Rule> = (0..5000)
        .map(|number| Rule {
            host: if number % 2 == 0 {
                HostPattern::Exact(format!("host{number}.example.com"))
            } else {
                HostPattern::Subdomains(format!("zone{number}.example.org"))
            },
            paths: vec![
                PathPattern("/v1/**".to_owned()),
                PathPattern("/v2/*/x".to_owned()),
            ],
            ..like.clone()
        })
        .collect();
    let judge = Judge::new(Arc::new(Network {
        allow,
        ..Network::default()
    }));
    let hosts = [
        "host4998.example.com",
        "a.b.zone4999.example.org",
        "unlisted.example.net",
        "xn--bcher-kva.example",
    ];
    let mut times: Vec<f64> = (0..200_000)
        .map(|number| {
            let request = Request {
                scheme: Scheme::Https,
                host: hosts[number % hosts.len()],
                port: 443,
                method: "GET",
                path: "/v1/some/path/of/a/usual/length.json",
            };
            let begin = Instant::now();
            std::hint::black_box(judge.judge(std::hint::black_box(&request)));
            begin.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "{:<44} p50 {:.2} us, p99 {:.2} us (goal 20)",
        "verdict, 5,000 rules",
        median(&times),
        times[times.len() * 99 / 100]
    );
}

fn setup_rule() -> Rule {
    Rule {
        host: HostPattern::Exact("a.example".to_owned()),
        ports: vec![443],
        methods: vec!["GET".to_owned()],
        paths: Vec::new(),
        tls: tagout::policy::model::TlsMode::Inspect,
        private: false,
        auth: tagout::policy::model::AuthMode::Strip,
        websocket: false,
        credential: None,
        kind: tagout::policy::model::RuleKind::Listed,
        at: tagout::policy::model::Place {
            file: "bench.yml".into(),
            line: 1,
            column: 1,
        },
    }
}

/// From the start of the process until it serves.
fn ready(bench: &Bench) {
    let setup = setup(&bench.origin);
    let times: Vec<f64> = (0..20)
        .map(|_| {
            let folder = tempfile::tempdir().unwrap();
            let begin = Instant::now();
            let handle = process::start(&program(), &setup, folder.path())
                .unwrap()
                .ready()
                .unwrap();
            let time = begin.elapsed().as_secs_f64() * 1e3;
            drop(handle);
            time
        })
        .collect();
    println!(
        "{:<44} median {:.1} ms (goal 30)",
        "start until ready",
        median(&times)
    );
}

fn memory(bench: &Bench, runtime: &Runtime) {
    let before = memory_kib(bench.egress.pid(), "VmRSS:");
    let run_ca = bench.folder.path().join("run-ca.pem");
    let road = Road {
        dial: bench.proxy(),
        authority: format!("{INSPECTED}:{}", bench.origin.tls.port()),
        kind: Kind::Tunnel,
        tls: Some(load::connector(&[&bench.origin.ca, &run_ca])),
    };
    let held = runtime.block_on(load::hold(&road, 512));
    let during = memory_kib(bench.egress.pid(), "VmRSS:");
    drop(held);
    println!(
        "{:<44} {:>8.1} MiB (goal 64), before {:.1}",
        "memory with 512 inspected connections",
        during / 1024.0,
        before / 1024.0
    );
}
