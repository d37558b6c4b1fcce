//! What a run leaves: its folder with journal, report, patch and bundle, the step outputs and the summary.
//! It must never follow a link that stood where it writes, and never lose the end of a run that failed.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::end::End;
use crate::broker::journal::{Journal, Source};
use crate::broker::outputs;
use crate::broker::surroundings::Surroundings;
use crate::broker::workspace::removal;
use crate::console;
use crate::outcome::Outcome;
use crate::report::{Facts, html, markdown};

/// Folders of a run that are not left behind.
const SCRATCH: [&str; 8] = [
    "attached",
    "attached-egress",
    "probe",
    "work",
    "egress",
    "registries",
    "verify",
    "verify-egress",
];

/// The record of one run.
#[derive(Debug)]
pub struct Record {
    folder: PathBuf,
    journal: Journal,
    /// What the report will tell.
    pub facts: Facts,
    /// Further step outputs and keys of `--json`, in order.
    pub outputs: Vec<(&'static str, String)>,
}

impl Record {
    /// Makes the run's folder (fresh unless it was named) and starts its journal.
    ///
    /// # Errors
    /// When the folder cannot be made, or holds a run already.
    pub fn create(named: Option<&Path>, temp: &Path, facts: Facts) -> Result<Self, End> {
        let folder = match named {
            Some(folder) => folder.to_path_buf(),
            None => fresh_folder(temp).map_err(|error| unwritable(temp, &error))?,
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(&folder)
            .map_err(|error| unwritable(&folder, &error))?;
        let folder = fs::canonicalize(&folder).map_err(|error| unwritable(&folder, &error))?;
        let journal = Journal::create(&folder).map_err(|error| {
            End::new(
                Outcome::Usage,
                "run-folder-unusable",
                format!("{error}; name an empty folder with --out"),
            )
        })?;
        let mut record = Self {
            folder,
            journal,
            facts,
            outputs: Vec::new(),
        };
        record.say(
            "start",
            Source::Broker,
            &serde_json::json!({ "version": record.facts.version }),
        )?;
        Ok(record)
    }

    /// The run's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes one event into the journal.
    ///
    /// # Errors
    /// When it cannot be written; nothing may go on unrecorded.
    pub fn say(
        &mut self,
        kind: &'static str,
        source: Source,
        data: &impl Serialize,
    ) -> Result<(), End> {
        self.journal
            .append(kind, source, data)
            .map_err(|error| End::internal("journal-unwritable", &error))
    }

    /// The digest of the journal's last line.
    #[must_use]
    pub fn digest(&self) -> String {
        self.journal.digest().as_str().to_owned()
    }

    /// Puts one file into the run's folder; what stood there is replaced, never followed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, End> {
        let path = self.folder.join(name);
        replace(&path, bytes).map_err(|error| unwritable(&path, &error))?;
        Ok(path)
    }

    /// Removes what only the run itself needed: the workspace, the egress' files.
    pub fn clear_scratch(&mut self) {
        for name in SCRATCH {
            if let Err(error) = removal::remove(&self.folder.join(name)) {
                self.facts.notes.push(format!(
                    "the folder {name} of this run could not be removed: {error}"
                ));
            }
        }
    }

    /// Ends the run: report, step outputs, summary, and what the console shows. Returns how it ended.
    pub fn finish(mut self, end: End, surroundings: &Surroundings, json: bool) -> Outcome {
        self.facts.outcome = end.outcome;
        self.facts.sentence.clone_from(&end.sentence);
        self.facts.code = end.code.map(str::to_owned);
        let outcome = match self.write(surroundings) {
            Ok(()) => end.outcome,
            Err(worse) => {
                console::notice(&format!("tagout: {}", worse.sentence));
                if end.outcome.code() == 0 {
                    worse.outcome
                } else {
                    end.outcome
                }
            }
        };
        let code = end
            .code
            .map_or_else(String::new, |code| format!(" ({code})"));
        console::notice(&format!(
            "tagout: {}{code}: {}",
            outcome.word(),
            end.sentence
        ));
        console::notice(&format!(
            "tagout: report {}",
            self.folder.join("report.md").display()
        ));
        if json {
            console::answer(&self.as_json(outcome).to_string());
        }
        outcome
    }

    fn write(&mut self, surroundings: &Surroundings) -> Result<(), End> {
        self.facts.journal = Some(self.digest());
        let page = markdown::draw(&self.facts);
        let facts = self.facts.clone();
        self.say("report", Source::Broker, &facts)?;
        self.leave("report.md", page.as_bytes())?;
        self.leave("report.html", html::draw("Tagout report", &page).as_bytes())?;
        if let Some(file) = &surroundings.step_summary {
            outputs::summarise(file, &page).map_err(|error| unwritable(file, &error))?;
        }
        if let Some(file) = &surroundings.output {
            let folder = self.folder.display().to_string();
            let mut values = vec![
                ("outcome", self.facts.outcome.word()),
                ("run-dir", folder.as_str()),
            ];
            values.extend(
                self.outputs
                    .iter()
                    .map(|(name, value)| (*name, value.as_str())),
            );
            outputs::set(file, &values).map_err(|error| unwritable(file, &error))?;
        }
        Ok(())
    }

    fn as_json(&self, outcome: Outcome) -> serde_json::Value {
        let changed: Vec<&str> = self
            .facts
            .changes
            .iter()
            .map(|change| change.path.as_str())
            .collect();
        let mut object = serde_json::json!({
            "outcome": outcome.word(),
            "code": self.facts.code,
            "message": self.facts.sentence,
            "level": self.facts.walls.level,
            "limit": self.facts.walls.limit,
            "changed": changed,
            "findings": self.facts.findings,
            "run-dir": self.folder,
            "report": self.folder.join("report.md"),
        });
        if let Some(map) = object.as_object_mut() {
            for (name, value) in &self.outputs {
                map.insert((*name).to_owned(), serde_json::Value::String(value.clone()));
            }
        }
        object
    }
}

/// A folder of our own that nobody else can have made: random name, mode 0700, never an existing one.
fn fresh_folder(temp: &Path) -> io::Result<PathBuf> {
    let folder = temp.join(format!("tagout-run-{}", &outputs::random_word()?[..16]));
    DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(folder)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", &outputs::random_word()?[..8]));
    let fresh = PathBuf::from(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(bytes)?;
    fs::rename(&fresh, path)
}

fn unwritable(path: &Path, error: &io::Error) -> End {
    End::new(
        Outcome::Internal,
        "run-folder-unwritable",
        format!("cannot write {}: {error}", path.display()),
    )
}
