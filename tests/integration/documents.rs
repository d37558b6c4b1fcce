//! The documents: what they say of the program is compared with the program, and what they point to is there.

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Parser, Tag};
use tagout::outcome::Outcome;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a document can be read")
}

/// Every document that people read.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![];
    for folder in [project().to_owned(), project().join("docs")] {
        for entry in fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("it can be listed").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    assert!(found.len() >= 5, "the walk found too few documents");
    found
}

#[test]
fn every_outcome_is_documented_with_its_code() {
    let text = read(&project().join("docs/exit-codes.md"));
    let mut seen = 0;
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let word = cells[1].trim_matches('`');
        let outcome: Outcome = serde_json::from_value(word.into()).expect("the word is an outcome");
        assert_eq!(cells[2], outcome.code().to_string(), "{word}");
        seen += 1;
    }
    // A new outcome makes this number wrong until it is documented.
    assert_eq!(seen, 17);
    let last = serde_json::from_value::<Outcome>("none".into()).expect_err("it is no outcome");
    assert_eq!(
        last.to_string().matches('`').count(),
        2 * (seen + 1),
        "{last}"
    );
}

#[test]
fn what_a_document_points_to_is_there() {
    for document in documents() {
        let text = read(&document);
        for event in Parser::new(&text) {
            let Event::Start(Tag::Link { dest_url, .. }) = event else {
                continue;
            };
            let path = dest_url.split('#').next().unwrap_or("");
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let place = document.parent().expect("a folder").join(path);
            assert!(place.exists(), "{} points to {path}", document.display());
        }
    }
}

#[test]
fn the_readme_has_the_two_commands_that_ci_runs() {
    let readme = read(&project().join("README.md"));
    let checks = read(&project().join(".ci/run"));
    for (shown, run) in [
        (
            "cargo run --release -- demo",
            "cargo run --release --locked --quiet -- demo",
        ),
        ("cargo test", "\ncargo test --locked\n"),
    ] {
        assert!(
            readme.contains(&format!("\n{shown}\n")),
            "the README lacks {shown}"
        );
        assert!(checks.contains(run), ".ci/run lacks {run}");
    }
}
