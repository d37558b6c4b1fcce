//! Whatever a text is, what was cleaned once stays as it is, shows no hidden character, and swallows nothing behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagout::sanitize::{self, OutgoingRules};

fuzz_target!(|text: &str| {
    let rules = OutgoingRules::new(["docs.example.com"]);
    let incoming = sanitize::incoming(text).into_text();
    assert_eq!(sanitize::incoming(&incoming).text(), incoming);
    let outgoing = sanitize::outgoing(text, &rules).into_text();
    assert_eq!(sanitize::outgoing(&outgoing, &rules).text(), outgoing);
    let title = sanitize::title(text).into_text();
    assert_eq!(sanitize::title(&title).text(), title);
    let line = sanitize::log_line(text);
    assert_eq!(sanitize::log_line(&line), line);
    for clean in [&incoming, &outgoing, &title, &line] {
        assert_eq!(sanitize::hidden_characters(clean).count(), 0);
    }
    if outgoing.len() < 60_000 {
        let followed = sanitize::outgoing(&format!("{outgoing}\n\n@octocat"), &rules);
        assert!(followed.text().ends_with("@ octocat"));
    }
});
