//! No payload of an event breaks its reader, whatever event it is said to be, and what was read stays within its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagout::event::{Event, PAYLOAD_BYTES_MAX};

const NAMES: [&str; 8] = [
    "issue_comment",
    "issues",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "schedule",
    "workflow_dispatch",
    "push",
];

fuzz_target!(|input: (u8, &[u8])| {
    let (name, payload) = input;
    let name = NAMES[usize::from(name) % NAMES.len()];
    if let Ok(event) = Event::read(name, payload) {
        assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        assert_eq!(event.name(), name);
        assert!(event.base_branch().is_none_or(|branch| !branch.contains('\n')));
    }
    drop(Event::read_unnamed(payload));
});
