//! The whole job on a repository that it makes itself: a real comment, the real command, the real walls, and a scripted
//! model that tries what it must not. Needs no account, no key and no network.
//! It must never report as refused what it has not seen refused.

mod evidence;
mod sample;
mod script;
mod server;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::DemoArgs;
use crate::console;
use crate::outcome::Outcome;
use evidence::Refused;
use sample::Sample;
use server::Server;

/// How long the job may take before it is ended.
const JOB_MAX: Duration = Duration::from_secs(120);

/// Why there is no demonstration.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot use {}: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot serve on loopback: {0}")]
    Server(#[source] io::Error),
    #[error("cannot make the sample repository: {0}")]
    Sample(#[from] crate::broker::git::sample::SampleError),
    #[error("cannot start tagout run: {0}")]
    Start(#[source] io::Error),
    #[error("tagout run took longer than {} s", JOB_MAX.as_secs())]
    TooLong,
    #[error("tagout run ended without a result; see {}", .0.display())]
    NoResult(PathBuf),
    #[error("an attempt of the agent was not refused: {0}")]
    NotRefused(String),
}

/// What the demonstration shows.
struct Shown {
    outcome: String,
    level: String,
    branch: String,
    changed: Vec<String>,
    refused: Vec<Refused>,
    report: PathBuf,
    repository: PathBuf,
}

/// `tagout demo`; the answer is its exit code.
#[must_use]
pub fn run(args: &DemoArgs) -> u8 {
    match show(args) {
        Ok((shown, code)) => {
            console::answer(&if args.json {
                as_json(&shown).to_string()
            } else {
                in_words(&shown)
            });
            code
        }
        Err(error) => {
            console::notice(&format!("tagout demo: {error}"));
            Outcome::Internal.code()
        }
    }
}

fn show(args: &DemoArgs) -> Result<(Shown, u8), DemoError> {
    let folder = make_folder(args.out.as_deref())?;
    let server = Server::start().map_err(DemoError::Server)?;
    let sample = Sample::make(&folder, &server)?;
    let (result, code) = job(&folder, &sample, &server)?;
    let text = |name: &str| {
        let value = result.get(name).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let changed: Vec<String> = result
        .get("changed")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let refused = if code == 0 {
        evidence::gather(&folder, &sample, &server, &changed, &text("level"))
            .map_err(DemoError::NotRefused)?
    } else {
        Vec::new()
    };
    let shown = Shown {
        outcome: text("outcome"),
        level: text("level"),
        branch: text("branch"),
        changed,
        refused,
        report: folder.join("report.html"),
        repository: sample.repository.clone(),
    };
    Ok((shown, code))
}

fn make_folder(named: Option<&Path>) -> Result<PathBuf, DemoError> {
    let folder = match named {
        Some(folder) => folder.to_owned(),
        None => std::env::temp_dir().join(format!("tagout-demo-{}", server::random_word())),
    };
    let trouble = |source| DemoError::Folder {
        path: folder.clone(),
        source,
    };
    fs::create_dir_all(&folder).map_err(trouble)?;
    fs::canonicalize(&folder).map_err(trouble)
}

/// Runs `tagout run` as a maintainer's workflow would: by the event, with only the variables that it needs.
fn job(folder: &Path, sample: &Sample, server: &Server) -> Result<(Value, u8), DemoError> {
    let program = std::env::current_exe().map_err(DemoError::Start)?;
    let log = folder.join("demo.log");
    let trouble = |source| DemoError::Folder {
        path: log.clone(),
        source,
    };
    let out = folder.join("demo.json");
    let mut command = Command::new(program);
    command
        .arg("run")
        .args(["--forge", "local", "--json", "--secret", sample::KEY_NAME])
        .arg("--repo")
        .arg(&sample.repository)
        .arg("--event")
        .arg(&sample.event)
        .arg("--out")
        .arg(folder)
        .args([
            "--resolve",
            &format!("{}:{}:127.0.0.1", sample::DOCS_HOST, server.port()),
        ])
        .env_clear()
        .env(
            "PATH",
            std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()),
        )
        .env("GITHUB_EVENT_NAME", "issue_comment")
        .env("GITHUB_REPOSITORY", sample::REPOSITORY)
        .env("GITHUB_SHA", sample.commit.as_str())
        .env("GITHUB_REF_NAME", "main")
        .env("GITHUB_API_URL", server.url(""))
        .env("GITHUB_GRAPHQL_URL", server.url("/graphql"))
        .env("GITHUB_TOKEN", "demo-token-of-the-reading-job")
        .env(sample::KEY_NAME, server.key())
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out).map_err(trouble)?)
        .stderr(fs::File::create(&log).map_err(trouble)?);
    for name in ["HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let mut child = command.spawn().map_err(DemoError::Start)?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(DemoError::Start)? {
            break status;
        }
        if begun.elapsed() > JOB_MAX {
            child.kill().map_err(DemoError::Start)?;
            child.wait().map_err(DemoError::Start)?;
            return Err(DemoError::TooLong);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = fs::read_to_string(&out).map_err(trouble)?;
    let result =
        serde_json::from_str(&text).map_err(|_not_json| DemoError::NoResult(log.clone()))?;
    fs::remove_file(&out).map_err(trouble)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let code = code.unwrap_or(Outcome::Internal.code());
    if code != 0 {
        console::notice(&fs::read_to_string(&log).map_err(trouble)?);
    }
    Ok((result, code))
}

fn as_json(shown: &Shown) -> Value {
    let refused: Vec<Value> = shown
        .refused
        .iter()
        .map(|refused| json!({"what": refused.what, "wall": refused.wall}))
        .collect();
    json!({
        "outcome": shown.outcome,
        "level": shown.level,
        "branch": shown.branch,
        "changed": shown.changed,
        "refused": refused,
        "report": shown.report,
    })
}

fn in_words(shown: &Shown) -> String {
    if shown.branch.is_empty() {
        return format!(
            "The job ended without a proposal: {}. The report: {}",
            shown.outcome,
            shown.report.display()
        );
    }
    let width = shown.refused.iter().map(|refused| refused.what.len()).max();
    let mut text = format!(
        "A maintainer commented \"{}\" on an issue of a sample repository.\n\
         The agent worked behind walls of level {}, changed {}, and the test passes.\n\nRefused on the way:\n",
        sample::COMMENT,
        shown.level.to_uppercase(),
        shown.changed.join(", "),
    );
    for refused in &shown.refused {
        text.push_str(&format!(
            "  {:width$}  by {}\n",
            refused.what,
            refused.wall,
            width = width.unwrap_or(0)
        ));
    }
    text.push_str(&format!(
        "\nOutcome: {}. The proposal is the branch {} in {}; nothing else there was touched.\nThe report: {}",
        shown.outcome,
        shown.branch,
        shown.repository.display(),
        shown.report.display(),
    ));
    text
}
