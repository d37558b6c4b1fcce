//! How a run ends: by its wall time, by a signal, by being killed; and that nothing of it is left.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Place, levels, text};

#[test]
fn wall_time_ends_the_run_and_is_named() {
    for level in levels() {
        let place = Place::new();
        fs::write(
            place.path("ws/p.yml"),
            "version: 1\nlimits: {wall-time: 1s}\n",
        )
        .unwrap();
        let began = Instant::now();
        let output = place
            .tagout(level)
            .args(["--policy", "p.yml", "--", "sh", "-c", "sleep 71 & sleep 71"])
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(124),
            "{level}: {}",
            text(&output.stderr)
        );
        assert!(text(&output.stderr).contains("wall-time"), "{level}");
        assert!(began.elapsed() < Duration::from_secs(30), "{level}");
    }
}

/// Ids of processes whose command line holds this word.
pub(super) fn running(word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if text(&line).contains(word) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

pub(super) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn start_sleeper(place: &Place, level: &str, word: &str) -> Child {
    let script = format!("setsid sleep {word} & echo x > .github/w; echo ready; sleep {word}");
    let mut child = place
        .tagout(level)
        .args(["--", "sh", "-c", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut ready = [0_u8; 6];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    child
}

#[test]
fn nothing_is_left_after_the_command_or_after_a_kill() {
    for (number, level) in levels().into_iter().enumerate() {
        for (signal, kind) in [("TERM", 0), ("KILL", 1)] {
            let place = Place::new();
            let word = format!("{}.{number}{kind}", 10_000 + std::process::id());
            let mut child = start_sleeper(&place, level, &word);
            let own = child.id().to_string();
            let sent = Command::new("kill")
                .args(["-s", signal, &own])
                .status()
                .unwrap();
            assert!(sent.success());
            child.wait().unwrap();
            wait_until(&format!("{level}: {signal} leaves no process"), || {
                running(&word).is_empty()
            });
            assert_eq!(
                fs::read_dir(place.path("ws/.github")).unwrap().count(),
                0,
                "{level}"
            );
        }
        let place = Place::new();
        let word = format!("{}.{number}9", 10_000 + std::process::id());
        let script = format!("setsid sleep {word} & true");
        assert_eq!(place.sh(level, &script).status.code(), Some(0), "{level}");
        assert!(
            running(&word).is_empty(),
            "{level}: a daemon outlives the run"
        );
    }
}

#[test]
fn private_folder_of_a_killed_run_is_removed_by_the_next() {
    let place = Place::new();
    let home = format!(
        "/tmp/tagout-{}",
        if place.root {
            65534
        } else {
            rustix::process::geteuid().as_raw()
        }
    );
    let word = format!("{}.77", 10_000 + std::process::id());
    let mut child = start_sleeper(&place, "c", &word);
    let left = PathBuf::from(&home).join(format!("run-{}-0", child.id()));
    assert!(left.is_dir());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("no process is left", || running(&word).is_empty());
    assert_eq!(place.sh("c", "true").status.code(), Some(0));
    assert!(!left.exists());
}
