//! The matrix as the documents show it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::case::Control;
use crate::cases;
use crate::launch::Walls;
use crate::matrix::{Column, Sights};

/// Set to write the document anew.
const WRITE: &str = "TAGOUT_WRITE_DOCUMENTS";

/// The columns of the levels, in the order of the table.
const HEADS: [&str; 7] = [
    "a root", "b plain", "b root", "c plain", "c root", "d plain", "d root",
];

/// Before the version of the kernel that the table was made on.
const SEEN_ON: &str = "Seen on Linux ";

/// What each cell says, by case and head of the column.
type Cells<'a> = BTreeMap<(&'a str, &'a str), &'a str>;

fn table(kernel: &str, cells: &Cells<'_>) -> String {
    let mut text = format!(
        "{SEEN_ON}{kernel}.\n\n| case | what is tried | wall | {} | without walls |\n|---|---|---|{}---|\n",
        HEADS.join(" | "),
        "---|".repeat(HEADS.len()),
    );
    for case in cases::all() {
        let words = HEADS.map(|head| *cells.get(&(case.name, head)).unwrap_or(&"not seen"));
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
            words.join(" | ")
        )
        .expect("a string takes everything");
    }
    text
}

/// The kernel and the cells of the table that a document shows.
fn shown(text: &str) -> Option<(&str, Cells<'_>)> {
    let kernel = text.strip_prefix(SEEN_ON)?.split_once(".\n")?.0;
    let mut cells = Cells::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let words: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = words.get(1)?.trim_matches('`');
        for (head, word) in HEADS.iter().zip(words.get(4..)?) {
            cells.insert((name, head), word);
        }
    }
    Some((kernel, cells))
}

fn read() -> Result<String, String> {
    let text = std::fs::read_to_string(path(MATRIX)).map_err(|error| error.to_string())?;
    let (_, (table, _)) = parts(MATRIX, "matrix", &text)?;
    Ok(table.to_owned())
}

/// The document of the matrix.
const MATRIX: &str = "docs/probes.md";

/// Whether the document's table has exactly the cases that there are.
pub(crate) fn is_current() -> Result<(), String> {
    let text = read()?;
    let (kernel, cells) = shown(&text).ok_or("the matrix cannot be read")?;
    compare(MATRIX, "matrix", &table(kernel, &cells))
}

/// Holds a run against the document; where the document is to be written anew, the run is what it says.
pub(crate) fn holds(seen: &[(Column, Sights)]) -> Result<(), String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let here: Vec<&str> = release.split(['.', '-']).take(2).collect();
    let here = here.join(".");
    let heads: Vec<(String, &Sights)> = seen
        .iter()
        .filter(|(column, _)| matches!(column.walls, Walls::Tagout(_)))
        .map(|(column, sights)| (column.head(), sights))
        .collect();
    let mut run = Cells::new();
    for (head, sights) in &heads {
        for (name, sight) in *sights {
            let word = match sight {
                Ok(seen) if seen.through => "reported",
                Ok(_) => "held",
                Err(_) => continue,
            };
            run.insert((name, head), word);
        }
    }
    if std::env::var_os(WRITE).is_some() {
        if heads.len() < HEADS.len() {
            return Err("the matrix is written from a run that has every column".to_owned());
        }
        return compare(MATRIX, "matrix", &table(&here, &run));
    }
    let text = read()?;
    let (kernel, cells) = shown(&text).ok_or("the matrix cannot be read")?;
    let other: Vec<String> = run
        .iter()
        .filter(|(key, word)| cells.get(*key) != Some(word))
        .map(|((name, head), word)| format!("{name} ({head}): {word}"))
        .collect();
    let races = |line: &String| {
        cases::all()
            .iter()
            .any(|case| case.lacking.is_some() && line.starts_with(&format!("{} (", case.name)))
    };
    if other.iter().all(races) {
        return Ok(());
    }
    let told = format!(
        "not as {MATRIX} says, which was made on Linux {kernel}; run this test as root with {WRITE}=1:\n{}",
        other.join("\n")
    );
    if kernel == here {
        return Err(told);
    }
    // What must hold on every kernel is judged apart.
    println!("note: {told}");
    Ok(())
}

/// Whether what stands between two marks of a document is this; it is written anew if that is asked for.
pub(crate) fn compare(document: &str, mark: &str, generated: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(path(document)).map_err(|error| error.to_string())?;
    let (head, (shown, tail)) = parts(document, mark, &text)?;
    if shown == generated {
        return Ok(());
    }
    if std::env::var_os(WRITE).is_some() {
        let new = format!("{head}{generated}{tail}");
        return std::fs::write(path(document), new).map_err(|error| error.to_string());
    }
    Err(format!(
        "what {document} shows is old; run this test with {WRITE}=1"
    ))
}

fn path(document: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(document)
}

/// What is before, between and after two marks; the marks belong to what is around.
fn parts<'a>(
    document: &str,
    mark: &str,
    text: &'a str,
) -> Result<(&'a str, (&'a str, &'a str)), String> {
    let begin = format!("<!-- {mark}: generated, see tests/probes -->\n");
    let end = format!("<!-- {mark}: end -->\n");
    let places = text
        .find(&begin)
        .zip(text.find(&end))
        .map(|(begins, ends)| (begins + begin.len(), ends))
        .filter(|(begins, ends)| begins <= ends);
    let (begins, ends) = places.ok_or_else(|| format!("{document} has lost its marks"))?;
    Ok((&text[..begins], (&text[begins..ends], &text[ends..])))
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
