//! `tagout report`: draws the report of a run again from its journal.
//! It must never draw from a journal whose chain is broken.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::broker::journal;
use crate::cli::ReportArgs;
use crate::console;
use crate::outcome::Outcome;
use crate::report::{Facts, html, markdown};

/// Largest journal that is read, in bytes.
pub const JOURNAL_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A report could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The journal was changed or cut.
    #[error("the journal {path} is broken: {source}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: journal::Broken,
    },
    /// The run did not come to its end.
    #[error("the journal {0} holds no report: the run did not come to its end")]
    NoReport(PathBuf),
}

/// Draws what was asked for: a page, Markdown, or Markdown on stdout where no file is named.
#[must_use]
pub fn command(args: &ReportArgs) -> Outcome {
    match draw(args) {
        Ok(()) => Outcome::Clean,
        Err(error) => {
            console::notice(&format!("tagout: {error}"));
            Outcome::Usage
        }
    }
}

fn draw(args: &ReportArgs) -> Result<(), ReportError> {
    let (facts, digest) = facts_of(&args.out_dir)?;
    let page = markdown::draw(&facts);
    if let Some(path) = &args.html {
        write(path, &html::draw("Tagout report", &page))?;
    }
    if let Some(path) = &args.markdown {
        write(path, &page)?;
    }
    if args.html.is_none() && args.markdown.is_none() {
        console::answer(&page);
    }
    console::notice(&format!(
        "tagout: the journal is consistent, last digest {digest}; only that digest, kept elsewhere, authenticates it"
    ));
    Ok(())
}

fn facts_of(folder: &Path) -> Result<(Facts, String), ReportError> {
    let path = folder.join("journal.jsonl");
    let read = |source| ReportError::Read {
        path: path.clone(),
        source,
    };
    let mut text = String::new();
    File::open(&path)
        .map_err(read)?
        .take(JOURNAL_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(read)?;
    let (lines, digest) = journal::read(&text).map_err(|source| ReportError::Broken {
        path: path.clone(),
        source,
    })?;
    let facts = lines
        .into_iter()
        .rev()
        .find(|line| line.kind == "report" && line.source == journal::Source::Broker)
        .and_then(|line| serde_json::from_value(line.data).ok())
        .ok_or(ReportError::NoReport(path))?;
    Ok((facts, digest.as_str().to_owned()))
}

fn write(path: &Path, text: &str) -> Result<(), ReportError> {
    std::fs::write(path, text).map_err(|source| ReportError::Write {
        path: path.to_path_buf(),
        source,
    })
}
