//! Runs every case at every level and for every user, and holds what happens against what the cases expect.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tagout::names::Level;
use tagout::report::gaps;
use tagout::wire::Wall;

use crate::aim::{SECRET, THROUGH, TRYING};
use crate::case::{Case, Control, Judge, Need};
use crate::cases;
use crate::launch::{Told, Walls, launch};
use crate::stage::{Grounds, Stage, Who};

/// Columns that are run at the same time.
const THREADS: usize = 3;

/// One column: walls and a user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// What stands around the attack.
    pub(crate) walls: Walls,
    /// Who makes it.
    pub(crate) who: Who,
}

impl Column {
    /// Its head in the printed matrix.
    pub(crate) fn head(&self) -> String {
        let walls = match self.walls {
            Walls::None => "none".to_owned(),
            Walls::Tagout(level) => level.to_string(),
            Walls::Peer(peer) => peer.program().to_owned(),
        };
        let root = self.who == Who::Caller && rustix::process::geteuid().is_root();
        format!("{walls} {}", if root { "root" } else { "plain" })
    }
}

/// What was seen of one case in one column.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Whether the attack did what it wanted.
    pub(crate) through: bool,
    /// The state of the case's wall in the report of the run.
    pub(crate) wall: Option<String>,
    /// Whether the report for a reader says in words what that wall leaves open.
    pub(crate) told: bool,
    /// Whether the run had a uid that nobody else has.
    pub(crate) own_uid: bool,
    /// For the reader of a failure.
    pub(crate) evidence: String,
}

/// What was seen of every case in one column; a case that could not be judged holds the fault.
pub(crate) type Sights = BTreeMap<&'static str, Result<Seen, String>>;

/// Tells the stages of this process apart.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Runs one case.
pub(crate) fn see(grounds: &Grounds, case: &Case, walls: Walls) -> Result<Seen, String> {
    let lost = |error: io::Error| format!("{error} at the stage");
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let shared = matches!(walls, Walls::Tagout('c' | 'd'));
    let stage = Stage::new(grounds, case, number, shared).map_err(lost)?;
    let told = launch(grounds, &stage, case, walls);
    let seen = told
        .map_err(lost)
        .and_then(|told| judge(&stage, case, walls, &told));
    stage.strike().map_err(lost)?;
    seen
}

fn judge(stage: &Stage<'_>, case: &Case, walls: Walls, told: &Told) -> Result<Seen, String> {
    let lost = |error: io::Error| format!("{error} while judging");
    let evidence = format!(
        "said: {}\nstderr: {}",
        cut(&told.said),
        cut(&told.complained)
    );
    if !told.said.lines().any(|line| line == TRYING) {
        return Err(format!("the attack never began\n{evidence}"));
    }
    let says = |word: &str| told.said.lines().any(|line| line == word);
    let changes = stage.changes().map_err(lost)?;
    let through = match case.judge {
        Judge::HostChanged => !changes.is_empty(),
        Judge::SecretRead => told.said.contains(SECRET) || stage.holds_secret(),
        Judge::Arrived => stage.arrived() || says("served"),
        Judge::VictimHarmed => stage.victim_harmed(),
        Judge::Told => says(THROUGH),
        Judge::Outlived => outlived(case, &stage.aim.key.to_string()).map_err(lost)?,
    };
    remove_shared_memory(stage.aim.key);
    let mut wall = None;
    let mut words = None;
    let mut own_uid = false;
    if case.need == Need::Signal(Signal::KILL) {
        // Nobody is left to write a report, so this has to hold wherever it is tried.
        wall = Some("enforced".to_owned());
    } else if let Walls::Tagout(level) = walls {
        let report = told
            .report
            .as_ref()
            .ok_or_else(|| format!("there is no report\n{evidence}"))?;
        if report["level"] != level.to_string() {
            return Err(format!(
                "the report names level {}\n{evidence}",
                report["level"]
            ));
        }
        wall = report["walls"][case.wall].as_str().map(str::to_owned);
        own_uid = report["walls"]["uid"] == "enforced";
        if wall.is_none() {
            return Err(format!("the report does not name the wall {}", case.wall));
        }
        let named = serde_json::from_value::<Level>(report["level"].clone());
        let state = serde_json::from_value::<Wall>(report["walls"][case.wall].clone());
        let (named, state) = named
            .ok()
            .zip(state.ok())
            .ok_or("the report has no words of ours")?;
        words = gaps::gap(named, case.wall, state);
    }
    let evidence = format!("{evidence}\nchanges: {}", cut(&changes.join("\n")));
    Ok(Seen {
        through,
        wall,
        told: words.is_some_and(|words| words != gaps::UNKNOWN),
        own_uid,
        evidence,
    })
}

fn cut(text: &str) -> String {
    text.trim().chars().take(1500).collect()
}

/// Whether a process of the case is alive after the run. Where the run itself was killed, others of ours end the rest.
fn outlived(case: &Case, key: &str) -> io::Result<bool> {
    let word = format!("60.{key}");
    let until = Instant::now() + PATIENCE;
    let signalled = matches!(case.need, Need::Signal(_));
    while signalled && !daemons(&word)?.is_empty() && Instant::now() < until {
        std::thread::sleep(PAUSE);
    }
    end_daemon(&word)
}

/// Longest wait for what a killed run leaves to be ended.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Processes that sleep for exactly so long.
fn daemons(word: &str) -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        if words.next() == Some(b"sleep") && words.next() == Some(word.as_bytes()) {
            let number = entry.file_name().to_string_lossy().parse();
            found.extend(Pid::from_raw(number.map_err(io::Error::other)?));
        }
    }
    Ok(found)
}

/// Whether a process of the case is alive; it is ended. The number is in its arguments and in nobody else's.
fn end_daemon(word: &str) -> io::Result<bool> {
    let found = daemons(word)?;
    for process in &found {
        // It may have ended meanwhile.
        if let Err(_ended) = rustix::process::kill_process(*process, rustix::process::Signal::KILL)
        {
        }
    }
    Ok(!found.is_empty())
}

/// Takes away what the control of `system-v-memory` left.
fn remove_shared_memory(key: i32) {
    let found = crate::raw::call(libc::SYS_shmget, [key.into(), 0.into(), 0.into()]);
    if let Ok(segment) = found {
        drop(crate::raw::call(
            libc::SYS_shmctl,
            [segment.into(), 0.into(), 0.into()],
        ));
    }
}

/// Runs every case in one column.
fn sights(column: Column) -> io::Result<Sights> {
    let grounds = Grounds::new(column.who)?;
    let wanted = |case: &&Case| match column.walls {
        Walls::None => !matches!(case.control, Control::None(_)),
        Walls::Tagout(_) | Walls::Peer(_) => true,
    };
    let all = cases::all();
    Ok(all
        .iter()
        .filter(wanted)
        .map(|case| (case.name, see(&grounds, case, column.walls)))
        .collect())
}

/// Runs several columns, some at a time.
pub(crate) fn columns(wanted: &[Column]) -> io::Result<Vec<(Column, Sights)>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let fault = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(column) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match sights(*column) {
                        Ok(sights) => done
                            .lock()
                            .expect("nobody panicked")
                            .push((*column, sights)),
                        Err(error) => *fault.lock().expect("nobody panicked") = Some(error),
                    }
                }
            });
        }
    });
    match fault.into_inner().expect("nobody panicked") {
        Some(error) => Err(error),
        None => Ok(done.into_inner().expect("nobody panicked")),
    }
}

/// Prints what was seen, a line for each case.
pub(crate) fn print(seen: &[(Column, Sights)]) {
    let heads: Vec<String> = seen.iter().map(|(column, _)| column.head()).collect();
    println!("{:28} {}", "case", heads.join(" | "));
    for case in cases::all() {
        let cells: Vec<String> = seen
            .iter()
            .zip(&heads)
            .map(|((_, sights), head)| {
                let word = match sights.get(case.name) {
                    None => "-",
                    Some(Err(_)) => "FAULT",
                    Some(Ok(seen)) if seen.through => "through",
                    Some(Ok(_)) => "held",
                };
                format!("{word:width$}", width = head.len())
            })
            .collect();
        println!("{:28} {}", case.name, cells.join(" | "));
    }
}

/// Every way in which what was seen is not what the cases expect.
pub(crate) fn faults(column: &Column, sights: &Sights) -> Vec<String> {
    let mut faults = Vec::new();
    for case in cases::all() {
        let Some(seen) = sights.get(case.name) else {
            continue;
        };
        let fault = match (seen, column.walls) {
            (Err(fault), _) => Some(fault.clone()),
            (Ok(seen), Walls::None) => without_walls(&case, seen),
            (Ok(seen), Walls::Tagout(level)) => behind_walls(&case, seen, level),
            (Ok(_), Walls::Peer(_)) => None,
        };
        faults.extend(fault.map(|fault| format!("{} ({}): {fault}", case.name, column.head())));
    }
    faults
}

/// An attack that does not work without walls proves nothing.
fn without_walls(case: &Case, seen: &Seen) -> Option<String> {
    if seen.through {
        return None;
    }
    match case.lacking {
        Some(reason) => {
            println!(
                "note: {} proves nothing on this machine: {reason}",
                case.name
            );
            None
        }
        None => Some(format!(
            "it does not work without walls either\n{}",
            seen.evidence
        )),
    }
}

fn behind_walls(case: &Case, seen: &Seen, level: char) -> Option<String> {
    let expected = case.reported.contains(level);
    let reported = seen.wall.as_deref() != Some("enforced");
    match (seen.through, expected) {
        (false, false) => None,
        // This level is for runs that want no walls around files: what gets through must only be told.
        (false, true) | (true, false) if level == 'd' && (seen.told || !seen.through) => None,
        // What the level leaves open for the caller's own uid is not open for one that owns nothing outside.
        (false, true) if level == 'c' && seen.own_uid => None,
        // A newer kernel may close what others leave open; then the report says so.
        (false, true) if !reported => None,
        (false, true) if case.lacking.is_some() => None,
        (false, true) => Some(format!(
            "it is stopped, and `reported` and the run's report say it is not\n{}",
            seen.evidence
        )),
        (true, true) if reported && seen.told => None,
        (true, true) if reported => Some(format!(
            "it gets through, and no report says what {} leaves open",
            case.wall
        )),
        (true, true) => Some(format!(
            "it gets through, and the report calls {} enforced\n{}",
            case.wall, seen.evidence
        )),
        (true, false) => Some(format!("it GETS THROUGH\n{}", seen.evidence)),
    }
}

/// Whether a level can be had, by asking for it; the reason if not.
pub(crate) fn offered(level: char, who: Who) -> Result<(), String> {
    let grounds = Grounds::new(who).map_err(|error| error.to_string())?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    who.own(folder.path()).map_err(|error| error.to_string())?;
    let output = who
        .command(&grounds.bin().join("tagout"))
        .args(["sandbox", "--level", &level.to_string(), "--workspace"])
        .arg(folder.path())
        .args(["--", "true"])
        .env("HOME", folder.path())
        .current_dir(Path::new("/"))
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
