//! `tagout doctor` from outside: as the plain user, with the root helper behind sudo, and as root.
#![expect(
    clippy::print_stdout,
    reason = "a test that is left out says so where people look"
)]

use std::process::Command;

use serde_json::Value;

use super::{Place, text};
use crate::elevation;

/// What it says of each level, and whether it ended well.
fn asked(mut command: Command) -> Value {
    let output = command.args(["doctor", "--json"]).output().unwrap();
    let errors = text(&output.stderr);
    assert!(!output.stdout.is_empty(), "{errors}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["proven"], true, "{answer}");
    answer
}

fn assert_tried(answer: &Value, level: &str, open: bool) {
    let tried = &answer["levels"][level];
    if tried["raised"] != true {
        println!("left out: level {level} cannot be raised here: {tried}");
        return;
    }
    let held = tried["escapes"]["held"].as_array().unwrap();
    assert!(held.len() > 10, "{level}: {tried}");
    let said = tried["escapes"]["open"].to_string();
    assert_eq!(said.contains("mode"), open, "{level}: {tried}");
}

#[test]
fn doctor_tries_to_escape_and_says_what_came_of_it() {
    let place = Place::new();
    let answer = asked(place.plain(&place.path("tagout")));
    assert_tried(&answer, "b", false);
    assert_tried(&answer, "c", true);
    let words = place
        .plain(&place.path("tagout"))
        .arg("doctor")
        .output()
        .unwrap();
    let said = text(&words.stdout);
    assert!(said.contains("tried from inside were stopped"), "{said}");
    assert!(said.contains("    metadata: mode, owner, times"), "{said}");
}

#[test]
fn doctor_tries_level_a_as_root_and_by_the_helper() {
    if !elevation::is_here() {
        return;
    }
    let place = Place::new();
    let mut helped = elevation::plain_with_sudo();
    helped
        .arg(place.path("tagout"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", place.path("home"))
        .env("TAGOUT_HELPER", elevation::HELPER)
        .current_dir(place.path("ws"));
    let mut root = Command::new(place.path("tagout"));
    root.env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", place.path("home"))
        .current_dir(place.path("ws"));
    for command in [helped, root] {
        let answer = asked(command);
        assert_eq!(answer["levels"]["a"]["raised"], true, "{answer}");
        assert_tried(&answer, "a", false);
    }
}
