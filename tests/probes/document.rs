//! The matrix as the documents show it.

use std::fmt::Write;
use std::path::Path;

use crate::case::Control;
use crate::cases;
use crate::matrix::{Column, Sights};

/// Set to write the document anew.
const WRITE: &str = "TAGOUT_WRITE_DOCUMENTS";

/// The levels of the table.
const LEVELS: [char; 2] = ['b', 'c'];

fn table() -> String {
    let mut text = String::from(
        "| case | what is tried | wall | b | c | without walls |\n|---|---|---|---|---|---|\n",
    );
    for case in cases::all() {
        let cells = LEVELS.map(|level| {
            if case.reported.contains(level) {
                "reported"
            } else {
                "held"
            }
        });
        let control = match (case.control, case.lacking) {
            (Control::Plain, None) => "works as a plain user".to_owned(),
            (Control::Plain, Some(reason)) => format!("works as a plain user, but for {reason}"),
            (Control::Namespace, _) => "works as root of a throw-away namespace".to_owned(),
            (Control::None(reason), _) => format!("not tried: {reason}"),
        };
        writeln!(
            text,
            "| `{}` | {} | {} | {} | {control} |",
            case.name,
            case.what,
            case.wall,
            cells.join(" | ")
        )
        .expect("a string takes everything");
    }
    text
}

/// Whether the document holds the table as the cases say it.
pub(crate) fn is_current() -> Result<(), String> {
    compare("docs/probes.md", "matrix", &table())
}

/// Whether what stands between two marks of a document is this; it is written anew if that is asked for.
pub(crate) fn compare(document: &str, mark: &str, generated: &str) -> Result<(), String> {
    let begin = format!("<!-- {mark}: generated, see tests/probes -->\n");
    let end = format!("<!-- {mark}: end -->\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let parts = text
        .split_once(&begin)
        .and_then(|(head, rest)| Some((head, rest.split_once(&end)?)));
    let (head, (shown, tail)) = parts.ok_or_else(|| format!("{document} has lost its marks"))?;
    if shown == generated {
        return Ok(());
    }
    if std::env::var_os(WRITE).is_some() {
        let new = format!("{head}{begin}{generated}{end}{tail}");
        return std::fs::write(&path, new).map_err(|error| error.to_string());
    }
    Err(format!(
        "what {document} shows is old; run this test with {WRITE}=1"
    ))
}

/// A table of what peers let through.
pub(crate) fn peers(seen: &[(Column, Sights)]) -> String {
    let mut text = String::from("| case | what is tried |");
    for (column, _) in seen {
        write!(text, " {} |", column.head()).expect("a string takes everything");
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(seen.len()));
    text.push('\n');
    for case in cases::all() {
        write!(text, "| `{}` | {} |", case.name, case.what).expect("a string takes everything");
        for (_, sights) in seen {
            let word = match sights.get(case.name) {
                Some(Ok(seen)) if seen.through => "**through**",
                Some(Ok(_)) => "held",
                Some(Err(_)) | None => "not judged",
            };
            write!(text, " {word} |").expect("a string takes everything");
        }
        text.push('\n');
    }
    text
}
