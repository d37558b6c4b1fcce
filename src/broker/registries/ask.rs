//! Runs one question inside the walls: an empty folder, no network, a HOME that holds the tool's own configuration alone.
//! It must never run a tool where a repository could be seen, and never wait longer than `PATIENCE`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};

use super::tools::Question;
use crate::broker::launch::{self, Wanted};
use crate::names::Level;
use crate::policy::model::Policy;
use crate::scratch::Scratch;
use crate::wire::{self, LAUNCH_WORD, Network, WallsReport, Workspace};

/// Longest time for one tool.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes that are read of an answer.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Largest file of configuration that is shown to a tool.
const CONFIGURATION_BYTES_MAX: u64 = 1 << 20;
/// Most entries of a folder of configuration whose links are followed.
const CONFIGURATION_FILES_MAX: usize = 256;
/// Largest report of the launcher in bytes.
const REPORT_BYTES_MAX: u64 = 4 << 20;
/// What ends the question where the tool is not there.
const NOT_INSTALLED: i32 = 127;

/// What came back.
#[derive(Debug)]
pub(super) enum Heard {
    /// The tool is not installed.
    NotInstalled,
    /// Its output, both streams.
    Said(String),
    /// The walls cannot be raised; why.
    NoWalls(Vec<String>),
}

/// Where the tools may be asked.
#[derive(Debug)]
pub(super) struct Room<'a> {
    /// The level of the walls, if one was asked for.
    pub(super) level: Option<Level>,
    /// The weakest that may be used.
    pub(super) require: Level,
    /// Folders of repositories: no configuration is taken from there.
    pub(super) never_below: &'a [PathBuf],
}

/// Asks.
pub(super) fn ask(question: &Question, room: &Room<'_>) -> io::Result<Heard> {
    let scratch = Scratch::new()?;
    let folder = scratch.path().join("ask");
    fs::create_dir_all(folder.join("empty"))?;
    fs::create_dir_all(folder.join("home"))?;
    show_configuration(question, &folder.join("home"), room)?;
    let plan = plan(question, &folder, room);
    let said = scratch.path().join("said");
    let report = run(&plan, &said)?;
    if report.level.is_none() {
        return Ok(Heard::NoWalls(report.missing));
    }
    let mut text = Vec::new();
    File::open(&said)?
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut text)?;
    Ok(match report.commands.as_slice() {
        [NOT_INSTALLED] => Heard::NotInstalled,
        _ => Heard::Said(String::from_utf8_lossy(&text).into_owned()),
    })
}

fn plan(question: &Question, folder: &Path, room: &Room<'_>) -> wire::Plan {
    let mut policy = Policy::default();
    policy.environment.pass = question
        .variables
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    policy.limits.wall_time = PATIENCE;
    policy.limits.file_bytes = policy.limits.file_bytes.min(64 << 20);
    policy.require = room.require;
    // The paths are said from the folder itself, which level C shows elsewhere.
    let script = format!(
        "export HOME=\"$PWD/home\" && cd empty || exit 1\n{}",
        question.script
    );
    let mut plan = launch::plan(Wanted {
        policy: &policy,
        level: room.level,
        workspace: Workspace::Copy {
            path: folder.to_path_buf(),
        },
        commands: vec![wire::Command {
            argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), script],
            wall_time_ms: None,
            environment: Vec::new(),
        }],
        network: Network::None,
        bound_output: false,
    });
    for path in question.system.iter().map(Path::new) {
        show_system(path, &mut plan.read);
    }
    plan
}

/// Shows a file or folder of the system's configuration, and what it or its entries link to: distributions keep some of it
/// elsewhere. The walls show no more than that.
fn show_system(path: &Path, read: &mut Vec<PathBuf>) {
    let Ok(real) = fs::canonicalize(path) else {
        return;
    };
    let entries = fs::read_dir(&real).into_iter().flatten();
    let links = entries
        .take(CONFIGURATION_FILES_MAX)
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
        .filter_map(|entry| fs::canonicalize(entry.path()).ok())
        .filter(|target| target.is_file());
    read.extend(links);
    read.push(path.to_path_buf());
    if real != path {
        read.push(real);
    }
}

/// Copies the user's configuration of this tool, and nothing else of the user's, into its HOME.
fn show_configuration(question: &Question, home: &Path, room: &Room<'_>) -> io::Result<()> {
    let real = std::env::var_os("HOME").map(PathBuf::from);
    for (variable, path) in question.files {
        let (variable, below) = variable.split_once('/').unwrap_or((variable, ""));
        let named = std::env::var_os(variable)
            .filter(|_| !variable.is_empty())
            .map(PathBuf::from)
            .map(|path| {
                if below.is_empty() {
                    path
                } else {
                    path.join(below)
                }
            });
        let usual = || Some(real.as_ref()?.join(path));
        let Some(source) = named.or_else(usual).filter(|path| path.is_absolute()) else {
            continue;
        };
        // What a link points to counts: a variable may name a file of the repository by another path.
        let Ok(source) = fs::canonicalize(source) else {
            continue;
        };
        let is_repository = room
            .never_below
            .iter()
            .any(|folder| source.starts_with(folder));
        if is_repository || !source.is_file() {
            continue;
        }
        let mut text = Vec::new();
        File::open(&source)?
            .take(CONFIGURATION_BYTES_MAX)
            .read_to_end(&mut text)?;
        let target = home.join(path);
        fs::create_dir_all(target.parent().unwrap_or(home))?;
        fs::write(&target, text)?;
    }
    Ok(())
}

/// Raises the walls in a process of their own, so that a caller of one thread and one with many may both ask.
fn run(plan: &wire::Plan, said: &Path) -> io::Result<WallsReport> {
    let (plan_read, mut plan_write) = io::pipe()?;
    let (report_read, report_write) = io::pipe()?;
    let output = File::create_new(said)?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(LAUNCH_WORD)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .fd_mappings(vec![
            mapping(plan_read.into(), 3),
            mapping(report_write.into(), 4),
        ])
        .map_err(io::Error::other)?;
    let mut child = command.spawn()?;
    // The command keeps our copies of the child's ends, without which the report would never end.
    drop(command);
    let handed = serde_json::to_vec(plan)
        .map_err(io::Error::from)
        .and_then(|text| plan_write.write_all(&text));
    drop(plan_write);
    let mut report = Vec::new();
    let read = report_read.take(REPORT_BYTES_MAX).read_to_end(&mut report);
    child.wait()?;
    handed?;
    read?;
    Ok(serde_json::from_slice(&report)?)
}

fn mapping(parent_fd: OwnedFd, child_fd: i32) -> FdMapping {
    FdMapping {
        parent_fd,
        child_fd,
    }
}
