//! Exit codes and the report: what a caller of `tagout sandbox` is told.

use std::fs;

use super::{Place, levels, text};

#[test]
fn exit_codes_come_through() {
    for level in levels() {
        let place = Place::new();
        fs::write(place.path("ws/plain"), "no program").unwrap();
        let code = |arguments: &[&str]| {
            let output = place
                .tagout(level)
                .arg("--")
                .args(arguments)
                .output()
                .unwrap();
            output.status.code()
        };
        assert_eq!(code(&["true"]), Some(0), "{level}");
        assert_eq!(code(&["sh", "-c", "exit 7"]), Some(7), "{level}");
        assert_eq!(code(&["sh", "-c", "kill -9 $$"]), Some(137), "{level}");
        assert_eq!(code(&["no-such-program"]), Some(127), "{level}");
        assert_eq!(code(&["./plain"]), Some(126), "{level}");
    }
}

#[test]
fn usage_and_policy_faults_are_125_with_a_report() {
    let place = Place::new();
    fs::write(place.path("ws/p.yml"), "version: 1\nnetwrk: {}\n").unwrap();
    let report = place.path("home/report.json");
    let output = place
        .tagout("b")
        .args(["--policy", "p.yml", "--json"])
        .arg(&report)
        .args(["--", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(
        text(&output.stderr).contains("policy-invalid"),
        "{}",
        text(&output.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert!(
        report["level"].is_null() && report["exit"] == 125,
        "{report}"
    );
    let output = place
        .plain(&place.path("tagout"))
        .args(["sandbox", "--nonsense"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn report_has_the_keys_of_the_contract() {
    for level in levels() {
        let place = Place::new();
        let path = place.path("home/report.json");
        let output = place
            .tagout(level)
            .arg("--json")
            .arg(&path)
            .args(["--", "true"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(report["level"], level);
        for key in ["abi", "workspace", "walls", "denied", "limit", "exit"] {
            assert!(report.get(key).is_some(), "{key}: {report}");
        }
        for wall in [
            "files",
            "metadata",
            "git",
            "environment",
            "network",
            "dns",
            "unix-sockets",
            "syscalls",
            "processes",
            "uid",
        ] {
            assert!(report["walls"].get(wall).is_some(), "{wall}: {report}");
        }
    }
}

#[test]
fn report_is_not_written_through_a_symlink() {
    let place = Place::new();
    let link = place.path("home/link");
    std::os::unix::fs::symlink(place.path("out/victim"), &link).unwrap();
    let output = place
        .tagout("b")
        .arg("--json")
        .arg(&link)
        .args(["--", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(
        fs::read_to_string(place.path("out/victim")).unwrap(),
        "secret\n"
    );
}
