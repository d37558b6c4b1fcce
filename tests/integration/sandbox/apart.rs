//! No process of the walls' tree ever held the value of `--secret`: their memory and environments are searched for it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use super::Place;

const POLICY: &str = "version: 1
network:
  allow:
    - host: api.example.com
      methods: [GET]
      paths: [\"/v1/**\"]
      credential: { header: authorization, value: \"Bearer ${CANARY_KEY}\" }
";

const OPEN: &str = "version: 1
network:
  allow:
    - host: api.example.com
";

/// Not written anywhere in one piece: the test's own binary must not hold it either.
fn canary() -> String {
    format!("canary-{}-{}", "9b1f".repeat(4), "77ae".repeat(4))
}

/// Bytes of one region that are searched.
const REGION_BYTES_MAX: usize = 64 << 20;

fn holds(process: u32, needle: &str) -> bool {
    let folder = format!("/proc/{process}");
    let found = |bytes: &[u8]| {
        bytes
            .windows(needle.len())
            .any(|part| part == needle.as_bytes())
    };
    let environment = fs::read(format!("{folder}/environ")).unwrap();
    let memory = File::open(format!("{folder}/mem")).unwrap();
    let regions = fs::read_to_string(format!("{folder}/maps")).unwrap();
    let in_memory = regions.lines().any(|line| {
        let mut words = line.split(' ');
        let range = words.next().unwrap_or_default();
        if !words.next().is_some_and(|rights| rights.starts_with("rw")) {
            return false;
        }
        let (from, to) = range.split_once('-').unwrap();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let length = usize::try_from(number(to) - number(from)).unwrap();
        let mut bytes = vec![0; length.min(REGION_BYTES_MAX)];
        let read = memory.read_at(&mut bytes, number(from)).unwrap_or(0);
        found(&bytes[..read])
    });
    in_memory || found(&environment)
}

fn children(process: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    text.split_ascii_whitespace()
        .map(|word| word.parse().unwrap())
        .collect()
}

fn is_egress(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/cmdline"))
        .is_ok_and(|words| words.contains("__egress"))
}

fn started(place: &Place, level: &str) -> Child {
    fs::write(place.path("policy.yml"), POLICY).unwrap();
    wait_for_command(
        place
            .tagout(level)
            .arg("--policy")
            .arg(place.path("policy.yml"))
            .args(["--secret", "CANARY_KEY"])
            .args(["--", "sh", "-c", "echo ready; exec sleep 60"])
            .env("CANARY_KEY", canary()),
        level,
    )
}

fn wait_for_command(command: &mut Command, level: &str) -> Child {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let stdout = child.stdout.as_mut().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "{level}");
    child
}

#[test]
fn death_of_the_egress_ends_what_is_inside() {
    for (number, level) in super::levels().into_iter().enumerate() {
        // With a secret the launcher is a process of its own.
        for secret in [true, false] {
            let place = Place::new();
            let word = format!("{}.{number}", 20_000 + std::process::id());
            fs::write(place.path("policy.yml"), if secret { POLICY } else { OPEN }).unwrap();
            let script = format!("setsid sleep {word} & echo ready; sleep {word}; exit 3");
            let mut command = place.tagout(level);
            command.arg("--policy").arg(place.path("policy.yml"));
            command.arg("--json").arg(place.path("report.json"));
            if secret {
                command
                    .args(["--secret", "CANARY_KEY"])
                    .env("CANARY_KEY", canary());
            }
            command
                .args(["--", "sh", "-c", &script])
                .stderr(Stdio::piped());
            let mut child = wait_for_command(&mut command, level);
            let egress = children(child.id());
            let egress = egress.into_iter().find(|process| is_egress(*process));
            let egress = i32::try_from(egress.expect("there is an egress")).unwrap();
            let egress = rustix::process::Pid::from_raw(egress).unwrap();
            rustix::process::kill_process(egress, rustix::process::Signal::KILL).unwrap();
            let mut errors = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut errors)
                .unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(137), "{level}: {errors}");
            assert!(
                errors.contains("tagout: egress-died: "),
                "{level}: {errors}"
            );
            assert_eq!(
                super::ending::running(&word),
                Vec::<String>::new(),
                "{level}"
            );
            let report = fs::read(place.path("report.json")).unwrap();
            let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
            assert_eq!(
                (&report["exit"], &report["denied"]),
                (&137.into(), &serde_json::Value::Null)
            );
        }
    }
}

#[test]
fn secret_was_never_in_the_memory_of_the_walls() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("TAGOUT_TEST_ALL").is_none(), "needs root");
        println!("skipped: only root reads the memory of others");
        return;
    }
    for level in ["b", "c"] {
        let place = Place::new();
        let mut child = started(&place, level);
        // The control: the search finds it where it must be.
        assert!(holds(child.id(), &canary()), "{level}");
        let mut waiting: Vec<u32> = children(child.id());
        waiting.retain(|process| !is_egress(*process));
        let mut seen = 0;
        while let Some(process) = waiting.pop() {
            seen += 1;
            assert!(!holds(process, &canary()), "{level}: {process}");
            waiting.extend(children(process));
        }
        // The launcher, the outer process, init and the command.
        assert!(seen >= 4, "{level}: {seen}");
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&child),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), None, "{level}");
        assert_eq!(status.code(), Some(143), "{level}");
    }
}

#[test]
fn exit_code_and_report_come_through_a_launcher_apart() {
    for level in ["b", "c"] {
        let place = Place::new();
        fs::write(place.path("policy.yml"), POLICY).unwrap();
        let output = place
            .tagout(level)
            .arg("--policy")
            .arg(place.path("policy.yml"))
            .args(["--secret", "CANARY_KEY", "--json"])
            .arg(place.path("out/report.json"))
            .args(["--", "sh", "-c", "env; exit 42"])
            .env("CANARY_KEY", canary())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(42), "{level}");
        let environment = String::from_utf8_lossy(&output.stdout);
        assert!(environment.contains("PATH="), "{level}");
        assert!(!environment.contains(&canary()), "{level}");
        let report = fs::read_to_string(place.path("out/report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["exit"], 42);
        assert_eq!(report["level"], level);
    }
}
