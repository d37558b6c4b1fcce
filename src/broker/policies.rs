//! `tagout policy`: reads policy files and prints what they mean.
//! It must never act on a policy; other rooms ask `load` for one.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::egress::replay;
use super::git::{GitError, Source};
use super::registries;
use crate::cli::PolicyCommand;
use crate::console;
use crate::names::ObjectId;
use crate::outcome::Outcome;
use crate::policy::lint;
use crate::policy::model::{Place, Policy};
use crate::policy::parse::{self, Fault, Others, Places, extend, yaml};
use crate::policy::request::{Asked, REQUEST_BYTES_MAX};
use crate::policy::verdict::{self, Denial, Judge, Verdict};
use crate::policy::{schema, show};

/// What `policy init` prints: every key with its default and the reason.
const DEFAULT: &str = include_str!("../../policies/default.yml");
/// Most bytes of requests that `policy test` reads from stdin.
const STDIN_BYTES_MAX: u64 = 64 << 20;
/// What ends a `policy test` in which a request was denied.
const DENIED: u8 = 1;

/// Runs the command and says how it ended.
#[must_use]
pub fn run(command: &PolicyCommand) -> ExitCode {
    let code = match command {
        PolicyCommand::Check { file } => check(file),
        PolicyCommand::Show { file } => show(file),
        PolicyCommand::Test {
            file,
            requests,
            json,
        } => test(file, requests, *json),
        PolicyCommand::Replay { log, policy, json } => replay::run(log, policy, *json),
        PolicyCommand::Schema => schema(),
        PolicyCommand::Init => {
            console::answer(DEFAULT);
            0
        }
    };
    ExitCode::from(code)
}

/// Reads a policy from a file; its places name the file as it was given.
///
/// # Errors
/// All faults of the file, or the one that it cannot be read.
pub fn load(file: &Path) -> Result<Policy, Vec<Fault>> {
    load_placed(file).map(|(policy, _places)| policy)
}

fn load_placed(file: &Path) -> Result<(Policy, Places), Vec<Fault>> {
    let name = file.display().to_string();
    let text = read(file, &name).map_err(|fault| vec![fault])?;
    let others = others_on_disk(file, &text);
    parse::parse_whole_placed(&name, &text, &others)
}

/// The files that a policy on disk builds on: below the folder around the `.github` in which it lies, else below the folder
/// that we were started in. One that cannot be read is missing.
#[must_use]
pub fn others_on_disk(policy: &Path, text: &str) -> Others {
    let real = policy.canonicalize().unwrap_or_else(|_| policy.to_owned());
    let root = real
        .ancestors()
        .find(|path| path.file_name().is_some_and(|name| name == ".github"))
        .and_then(Path::parent)
        .unwrap_or_else(|| Path::new("."));
    let mut others = Others::new();
    let mut waiting = extend::files(text);
    while let Some(path) = waiting.pop() {
        if others.len() < extend::FILES_MAX
            && !others.contains_key(&path)
            && let Ok(text) = read(&root.join(&path), &path)
        {
            waiting.extend(extend::files(&text));
            others.insert(path, text);
        }
    }
    others
}

/// The files of a commit that a policy of the same commit builds on.
///
/// # Errors
/// One of them cannot be read, or is larger than a policy may be.
pub fn others_in(source: &Source, commit: &ObjectId, text: &str) -> Result<Others, GitError> {
    let mut others = Others::new();
    let mut waiting = extend::files(text);
    while let Some(path) = waiting.pop() {
        if others.len() < extend::FILES_MAX
            && !others.contains_key(&path)
            && let Some(bytes) = source.read_file(commit, &path, yaml::TEXT_BYTES_MAX as u64)?
        {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            waiting.extend(extend::files(&text));
            others.insert(path, text);
        }
    }
    Ok(others)
}

/// One line a fault, as `policy check` prints them.
#[must_use]
pub fn listed(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("{fault}\n")).collect()
}

fn read(file: &Path, name: &str) -> Result<String, Fault> {
    let fault = |line: usize, column: usize, what: String, mend: &str| Fault {
        at: Place {
            file: Arc::from(name),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        },
        what,
        mend: mend.to_owned(),
    };
    let mut bytes = Vec::new();
    // One byte over the limit is enough for `parse` to refuse the file for its size.
    let limit = u64::try_from(yaml::TEXT_BYTES_MAX + 1).unwrap_or(u64::MAX);
    File::open(file)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| {
            fault(
                1,
                1,
                format!("the file cannot be read: {error}"),
                "name a file that can be read",
            )
        })?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before =
            String::from_utf8_lossy(error.as_bytes().get(..good).unwrap_or_default()).into_owned();
        let last = before.rsplit('\n').next().unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        fault(
            line,
            last.chars().count() + 1,
            "the file is not UTF-8".to_owned(),
            "save it as UTF-8",
        )
    })
}

fn check(file: &Path) -> u8 {
    match load_placed(file) {
        Ok((mut policy, places)) => {
            let rules = policy.network.allow.len();
            add_registries(&mut policy, file);
            for warning in lint::lint(&policy, &places) {
                console::notice(&warning.to_string());
            }
            let word = if rules == 1 { "rule" } else { "rules" };
            console::answer(&format!(
                "{}: valid, {rules} network {word}",
                file.display()
            ));
            0
        }
        Err(faults) => {
            console::answer(&listed(&faults));
            Outcome::PolicyInvalid.code()
        }
    }
}

fn show(file: &Path) -> u8 {
    let policy = match load(file) {
        Ok(policy) => policy,
        Err(faults) => return invalid(&faults),
    };
    match yaml::write(&show::tree(&policy)) {
        Ok(text) => {
            console::answer(&text);
            0
        }
        Err(error) => internal(&error),
    }
}

fn schema() -> u8 {
    match serde_json::to_string_pretty(&schema::schema()) {
        Ok(text) => {
            console::answer(&text);
            0
        }
        Err(error) => internal(&error),
    }
}

/// None of our own values is refused by a serialiser; if one is, that is our bug.
fn internal(error: &dyn std::error::Error) -> u8 {
    console::notice(&format!(
        "tagout: internal error, please report it: {error}"
    ));
    Outcome::Internal.code()
}

fn invalid(faults: &[Fault]) -> u8 {
    console::notice(&listed(faults));
    Outcome::PolicyInvalid.code()
}

fn test(file: &Path, requests: &[String], json: bool) -> u8 {
    let mut policy = match load(file) {
        Ok(policy) => policy,
        Err(faults) => return invalid(&faults),
    };
    add_registries(&mut policy, file);
    let model = policy.agent.model.as_ref().and_then(|model| model.rule());
    policy.network.allow.extend(model);
    let judge = Judge::new(Arc::new(policy.network));
    let mut all_allowed = true;
    let mut ask = |request: &str| {
        let answer = Answer::of(&judge, request);
        all_allowed &= answer.allowed;
        console::answer(&if json { answer.json() } else { answer.text() });
    };
    for request in requests {
        if request == "-" {
            each_line(&mut io::stdin().lock().take(STDIN_BYTES_MAX), &mut ask);
        } else {
            ask(request);
        }
    }
    if all_allowed { 0 } else { DENIED }
}

/// Adds the rules that a run on this host would have from `network.registries`. Where the tools cannot be asked here, that is
/// said, and the rules are missing.
fn add_registries(policy: &mut Policy, file: &Path) {
    if policy.network.registries.is_empty() {
        return;
    }
    let here: Vec<PathBuf> = std::env::current_dir().into_iter().collect();
    let resolved = registries::resolve(&registries::Wanted {
        policy,
        policy_file: &file.display().to_string(),
        level: None,
        repositories: &here,
        resolve: &[],
        // No index is read for a look at a policy.
        folder: None,
    });
    match resolved {
        Ok(resolved) => policy.network.allow.extend(resolved.rules),
        Err(error) => console::notice(&format!(
            "tagout: `network.registries` is left out of this answer: {error}"
        )),
    }
}

/// Calls a function with each line. A line that is too long or not UTF-8 is handed on cut or mended, and denied as such.
fn each_line(input: &mut impl BufRead, ask: &mut impl FnMut(&str)) {
    let limit = u64::try_from(REQUEST_BYTES_MAX + 2).unwrap_or(u64::MAX);
    loop {
        let mut line = Vec::new();
        match input.by_ref().take(limit).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                console::notice(&format!("tagout: stdin cannot be read: {error}"));
                ask("");
                return;
            }
        }
        let whole = line.last() == Some(&b'\n');
        if whole {
            line.pop();
        } else if let Err(error) = input.skip_until(b'\n') {
            console::notice(&format!("tagout: stdin cannot be read: {error}"));
        }
        ask(&String::from_utf8_lossy(&line));
    }
}

/// What is said of one request.
struct Answer<'a> {
    request: &'a str,
    allowed: bool,
    rule: Option<String>,
    at: String,
    why: String,
}

#[derive(Serialize)]
struct Line<'a> {
    request: &'a str,
    verdict: &'a str,
    rule: Option<&'a str>,
    at: &'a str,
}

impl<'a> Answer<'a> {
    fn of(judge: &Judge, request: &'a str) -> Self {
        let network = judge.network();
        let denied = |denial: Denial| {
            let at = denial.at.unwrap_or_else(|| network.at.clone());
            Self {
                request,
                allowed: false,
                rule: network
                    .allow
                    .iter()
                    .find(|rule| rule.at == at)
                    .map(|rule| rule.host.to_string()),
                at: at.to_string(),
                why: format!("{}: {}", denial.code, denial.sentence),
            }
        };
        let asked = match Asked::read(request) {
            Ok(asked) => asked,
            Err(denial) => return denied(denial),
        };
        if let Err(denial) = verdict::url_fits(network, asked.url_bytes()) {
            return denied(denial);
        }
        match judge.judge_with_query(asked.request(), asked.query()) {
            Verdict::Deny(denial) => denied(denial),
            Verdict::Allow(rule) => Self {
                request,
                allowed: true,
                rule: Some(rule.host.to_string()),
                at: rule.at.to_string(),
                why: String::new(),
            },
        }
    }

    fn word(&self) -> &'static str {
        if self.allowed { "allow" } else { "deny" }
    }

    fn text(&self) -> String {
        let rule = match &self.rule {
            Some(rule) => format!("rule for {rule}"),
            None => "no rule".to_owned(),
        };
        let why = if self.why.is_empty() {
            String::new()
        } else {
            format!("\n  {}", self.why)
        };
        format!("{}\n  {rule} at {}{why}\n", self.word(), self.at)
    }

    fn json(&self) -> String {
        let line = Line {
            request: self.request,
            verdict: self.word(),
            rule: self.rule.as_deref(),
            at: &self.at,
        };
        serde_json::to_string(&line).unwrap_or_default()
    }
}
