//! How often runs may be started, counted from what our own account wrote on threads.
//! It must never count what somebody else wrote: whoever reads the ledger takes comments of our own account only.

use super::refusal::{Code, Refusal};
use super::{MARKER, Principal};

/// Runs that one account may start on one day, by the server's clock (UTC).
pub const RUNS_PER_ACTOR_DAY_MAX: usize = 30;
/// Runs of one repository on one day.
pub const RUNS_PER_DAY_MAX: usize = 200;
/// Entries that one comment keeps; older ones go. With some 70 bytes each they leave room for a whole report.
pub const ENTRIES_MAX: usize = 2 * RUNS_PER_ACTOR_DAY_MAX;

/// What stands before the entries in a comment of ours.
const RUNS: &str = "runs ";

/// The runs of the day on which the event happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ledger {
    /// Every entry in the comments of our own account that were changed since that day began.
    Known(Vec<Page>),
    /// The comments could not be read. Says why in a few words.
    NotEstablished(String),
    /// Nothing is counted: no words asked for the run, or it leaves nothing on a thread.
    NotNeeded,
}

/// The entries of one comment of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The thread that it stands on.
    pub issue: u64,
    /// When the server saw it last changed.
    pub updated_at: String,
    /// Its entries, oldest first.
    pub entries: Vec<Entry>,
}

/// One run that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What asked, as `AskedBy::key` names it.
    pub key: String,
    /// The account that asked.
    pub actor: u64,
    /// When it asked, by the server's clock.
    pub at: String,
    /// The workflow run.
    pub run: String,
}

/// What is asked now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) key: &'a str,
    pub(super) actor: &'a Principal,
    pub(super) at: &'a str,
    pub(super) run: &'a str,
    pub(super) issue: u64,
}

/// Judges what is asked against the day's runs.
pub(super) fn judge(asking: Asking<'_>, ledger: &Ledger) -> Result<(), Refusal> {
    let pages = match ledger {
        Ledger::NotNeeded => return Ok(()),
        Ledger::Known(pages) => pages,
        Ledger::NotEstablished(_) => {
            return Err(Refusal::new(
                Code::BudgetNotEstablished,
                "the runs of today could not be counted",
            ));
        }
    };
    let all = || pages.iter().flat_map(|page| &page.entries);
    if all().any(|entry| entry.key == asking.key && entry.run != asking.run) {
        return Err(Refusal::new(
            Code::AlreadyDone,
            "another run has already taken these words up",
        ));
    }
    let overtaken = pages
        .iter()
        .filter(|page| page.issue == asking.issue && page.updated_at.as_str() > asking.at)
        .filter_map(|page| page.entries.last())
        .any(|last| last.key != asking.key);
    if overtaken {
        return Err(Refusal::new(
            Code::RunOvertaken,
            "another run of this thread ended after these words were written; please look at it and ask again",
        ));
    }
    let day = asking.at.get(..10).unwrap_or_default();
    let today = || all().filter(|entry| entry.at.starts_with(day) && entry.key != asking.key);
    let own = today().filter(|entry| Some(entry.actor) == asking.actor.id);
    if own.count() >= RUNS_PER_ACTOR_DAY_MAX {
        return Err(Refusal::new(
            Code::BudgetActor,
            format!("one account may start {RUNS_PER_ACTOR_DAY_MAX} runs on a day"),
        ));
    }
    if today().count() >= RUNS_PER_DAY_MAX {
        return Err(Refusal::new(
            Code::BudgetRepository,
            format!("a repository has at most {RUNS_PER_DAY_MAX} runs on a day"),
        ));
    }
    Ok(())
}

/// Reads the entries out of the text of a comment that is known to be ours.
#[must_use]
pub fn read(body: &str) -> Vec<Entry> {
    let start = format!("{MARKER}{RUNS}");
    let Some((_, rest)) = body.rsplit_once(&start) else {
        return Vec::new();
    };
    let Some((entries, _)) = rest.split_once(" -->") else {
        return Vec::new();
    };
    entries
        .split_whitespace()
        .take(ENTRIES_MAX)
        .filter_map(|entry| {
            let mut parts = entry.split(',');
            let entry = Entry {
                key: parts.next()?.to_owned(),
                actor: parts.next()?.parse().ok()?,
                at: parts.next()?.to_owned(),
                run: parts.next()?.to_owned(),
            };
            parts.next().is_none().then_some(entry)
        })
        .collect()
}

/// The line for a comment of ours: the entries that stood there, and this one if it is new.
#[must_use]
pub fn write(before: &[Entry], entry: &Entry) -> String {
    let mut all: Vec<&Entry> = before.iter().filter(|old| old.key != entry.key).collect();
    all.push(entry);
    let skipped = all.len().saturating_sub(ENTRIES_MAX);
    let mut line = format!("{MARKER}{RUNS}");
    for entry in all.into_iter().skip(skipped) {
        let word = [&entry.key, &entry.actor.to_string(), &entry.at, &entry.run]
            .map(|part| plain(part))
            .join(",");
        line.push_str(&word);
        line.push(' ');
    }
    line.push_str("-->");
    line
}

/// Nothing in an entry can end it or the comment that it stands in.
fn plain(part: &str) -> String {
    part.chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | ':' | '/' | '_'))
        .collect()
}
