//! `tagout doctor`: what this host can enforce, found by raising the walls around nothing; and with a token, what the
//! repository's settings enforce. It must never call a wall enforced that it did not see raised, nor change a setting.

use std::path::Path;

mod table;
mod target;
mod tools;
mod words;

use target::{Escapes, Target};
use words::words;

use super::forge::github::settings::Setting;
use super::forge::github::{Endpoint, GitHub};
use super::job::end::causes;
use super::job::inside::{self, Ended, Stream};
use super::launch::{self, Wanted};
use super::outputs;
use super::policies;
use super::surroundings::Surroundings;
use super::workspace::removal;
use crate::cli::DoctorArgs;
use crate::console;
use crate::names::Level;
use crate::outcome::Outcome;
use crate::policy::model::Policy;
use crate::policy::parse;
use crate::sanitize;
use crate::wire::{Command, ESCAPE_WORD, Network, WallsReport, Workspace};

/// Bytes of output that a probe may make.
const PROBE_OUTPUT_BYTES_MAX: u64 = 64 * 1024;
/// Milliseconds that the attacks at one level may take.
const PROBE_WALL_TIME_MS: u64 = 10_000;

/// Says which levels can be raised here and how each wall stands; 5 where the policy requires more, or where
/// an attack of ours gets through a wall that should stand.
#[must_use]
pub fn command(args: &DoctorArgs) -> Outcome {
    if args.tools {
        return tools::command(args.json);
    }
    let policy = match args.policy.as_deref().map(policies::load) {
        None => Policy::default(),
        Some(Ok(policy)) => policy,
        Some(Err(faults)) => {
            console::notice(&policies::listed(&faults));
            return Outcome::PolicyInvalid;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let found = match runtime {
        Ok(runtime) => runtime.block_on(async {
            let settings = settings(args.policy.is_some().then_some(&policy)).await;
            probes(&policy).await.map(|reports| (reports, settings))
        }),
        Err(error) => Err(error.to_string()),
    };
    match found {
        Ok((reports, settings)) => tell(&reports, &settings, policy.require, args.json),
        Err(why) => {
            console::notice(&format!("tagout: the walls could not be tried: {why}"));
            Outcome::Internal
        }
    }
}

/// The repository's settings, or why they were not asked for.
type Settings = Result<Vec<Setting>, String>;

/// Asks GitHub where there is a token; by the policy that was named, else by the default branch's.
async fn settings(named: Option<&Policy>) -> Settings {
    let surroundings = Surroundings::read();
    let name = surroundings
        .repository
        .as_deref()
        .ok_or("GITHUB_REPOSITORY is not set (owner/name)")?;
    let repository = name
        .parse()
        .map_err(|error| format!("GITHUB_REPOSITORY: {error}"))?;
    let endpoint = Endpoint::of(&surroundings, &repository).ok_or("GITHUB_TOKEN is not set")?;
    let github = GitHub::connect(endpoint)
        .await
        .map_err(|error| causes(&error))?;
    let policy = match named {
        Some(policy) => policy.clone(),
        None => default_policy(&github).await?,
    };
    Ok(github.settings(&policy).await)
}

async fn default_policy(github: &GitHub) -> Result<Policy, String> {
    let branch = github
        .default_branch()
        .await
        .map_err(|error| causes(&error))?;
    let head = github
        .branch_head(&branch)
        .await
        .map_err(|error| causes(&error))?;
    let (bytes, others) = github
        .policy_files(&head)
        .await
        .map_err(|error| causes(&error))?;
    let Some(bytes) = bytes else {
        return Ok(Policy::default());
    };
    let text = String::from_utf8(bytes).map_err(|error| format!("the policy: {error}"))?;
    parse::parse_whole(".github/tagout.yml", &text, &others)
        .map_err(|faults| policies::listed(&faults))
}

/// A level that was tried.
struct Tried {
    level: Level,
    report: WallsReport,
    escapes: Escapes,
}

/// Each level that this build knows, tried once.
async fn probes(policy: &Policy) -> Result<Vec<Tried>, String> {
    let word = outputs::random_word().map_err(|error| error.to_string())?;
    let folder = std::env::temp_dir().join(format!("tagout-doctor-{word}"));
    std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut reports = Vec::new();
    let mut fault = None;
    for level in [Level::A, Level::B, Level::C, Level::D] {
        match probe(policy, level, &folder).await {
            Ok(tried) => reports.push(tried),
            Err(why) => fault = Some(why),
        }
    }
    removal::remove(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    match fault {
        Some(why) => Err(why),
        None => Ok(reports),
    }
}

async fn probe(policy: &Policy, level: Level, folder: &Path) -> Result<Tried, String> {
    let lost = |error: std::io::Error| error.to_string();
    let folder = folder.join(level.letter());
    let (workspace, outside) = (folder.join("inside"), folder.join("outside"));
    std::fs::create_dir_all(&workspace).map_err(lost)?;
    std::fs::create_dir_all(&outside).map_err(lost)?;
    let target = Target::new(&outside).map_err(lost)?;
    let program = std::env::current_exe().map_err(lost)?;
    let aim = serde_json::to_string(&target.aim).map_err(|error| error.to_string())?;
    let mut plan = launch::plan(Wanted {
        policy,
        level: Some(level),
        workspace: Workspace::InPlace { path: workspace },
        commands: vec![Command {
            argv: vec![
                program.to_string_lossy().into_owned(),
                ESCAPE_WORD.to_owned(),
                aim,
            ],
            wall_time_ms: Some(PROBE_WALL_TIME_MS),
            environment: Vec::new(),
        }],
        network: Network::None,
        bound_output: false,
    });
    plan.require = Level::D;
    plan.read.push(program);
    let mut said = Vec::new();
    let heard = |stream, line: &str| {
        if stream == Stream::Out {
            said.push(line.to_owned());
        }
    };
    let ended: Ended = inside::raise(&plan, None, None, PROBE_OUTPUT_BYTES_MAX, heard)
        .await
        .map_err(|error| causes(&error))?;
    let escapes = target.judge(&said, &ended.report).map_err(lost)?;
    Ok(Tried {
        level,
        report: ended.report,
        escapes,
    })
}

fn tell(reports: &[Tried], settings: &Settings, require: Level, json: bool) -> Outcome {
    let raised = reports.iter().filter_map(|tried| tried.report.level);
    let strongest = raised.max();
    let enough = strongest.is_some_and(|level| level >= require);
    let proven = reports.iter().all(|tried| tried.escapes.through.is_empty());
    if json {
        let levels: serde_json::Map<String, serde_json::Value> = reports
            .iter()
            .map(|tried| {
                let (level, report) = (tried.level, &tried.report);
                let can = serde_json::json!({
                    "raised": report.level.is_some(),
                    "abi": report.abi,
                    "walls": report.walls,
                    "missing": report.missing,
                    "escapes": tried.escapes.json(),
                });
                (level.to_string(), can)
            })
            .collect();
        let answer = serde_json::json!({
            "level": strongest,
            "required": require,
            "enough": enough,
            "proven": proven,
            "levels": levels,
            "settings": settings.as_ref().ok().map(|all| all.iter().map(as_json).collect::<Vec<_>>()),
            "settings-not-read": settings.as_ref().err(),
        });
        console::answer(&answer.to_string());
    } else {
        for tried in reports {
            let mut text = words(tried.level, &tried.report);
            if tried.report.level.is_some() {
                text.push_str(&tried.escapes.words());
            }
            console::answer(&text);
        }
        let strongest = strongest.map_or("none", Level::letter);
        console::answer(&format!(
            "strongest level here: {strongest}; required: {require}"
        ));
        match settings {
            Ok(settings) => settings
                .iter()
                .for_each(|setting| console::answer(&spoken(setting))),
            Err(why) => console::answer(&format!("the repository's settings were not read: {why}")),
        }
    }
    if !proven {
        console::notice(
            "tagout: a wall that should stand here does not hold; do not run an agent on this machine",
        );
    }
    if enough && proven {
        Outcome::Clean
    } else {
        Outcome::WallsMissing
    }
}

fn as_json(setting: &Setting) -> serde_json::Value {
    serde_json::json!({
        "code": setting.code.word(),
        "stands": setting.stands.word(),
        "meaning": setting.code.meaning(),
        "place": setting.code.place(),
        "seen": setting.seen,
    })
}

fn spoken(setting: &Setting) -> String {
    format!(
        "{}: {}: {}\n  seen: {}\n  place: {}",
        setting.stands.word(),
        setting.code.word(),
        setting.code.meaning(),
        sanitize::log_line(&setting.seen),
        setting.code.place()
    )
}
