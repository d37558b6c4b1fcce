//! A person at a terminal: what is typed arrives, keys make signals, and the terminal comes back afterwards.

use std::path::Path;

use super::{PYTHON, Place, text};

const TERMINAL: &str = include_str!("terminal.py");

#[test]
fn command_gets_the_terminal_and_gives_it_back() {
    for place in Place::of_each_user() {
        // At level a there is no controlling terminal (docs/levels.md).
        for level in ["b", "c"] {
            let output = place
                .plain(Path::new(PYTHON))
                .args(["-c", TERMINAL])
                .arg(place.path("tagout"))
                .args(["sandbox", "--level", level, "--"])
                .output()
                .unwrap();
            let said = text(&output.stdout);
            let who = format!("{level}, {}: {said}{}", place.who(), text(&output.stderr));
            assert!(
                said.contains("got-hello") && said.contains("back 1 code 3"),
                "{who}"
            );
            assert!(
                said.contains("back 1 code 130") && !said.contains("went-on"),
                "{who}"
            );
            assert!(said.contains("got-two"), "{who}");
            assert!(
                said.contains("inner-terminal") && said.contains("spawned 0"),
                "{who}"
            );
            assert!(!said.contains("HUNG"), "{who}");
        }
    }
}

#[test]
fn command_starts_with_no_signal_blocked() {
    for place in Place::of_each_user() {
        for level in ["b", "c"] {
            let output = place.sh(
                level,
                "grep SigBlk /proc/self/status; sleep 0.1 & wait; kill -TERM $$; echo went-on",
            );
            let said = text(&output.stdout);
            assert_eq!(
                said,
                "SigBlk:\t0000000000000000\n",
                "{level}, {}",
                place.who()
            );
            assert_eq!(output.status.code(), Some(143), "{level}, {}", place.who());
        }
    }
}
