//! `tagout doctor`: what this host can enforce, found by raising the walls around nothing.
//! It must never call a wall enforced that it did not see raised.

use std::path::Path;

use super::job::end::causes;
use super::job::inside::{self, Ended};
use super::launch::{self, Wanted};
use super::outputs;
use super::policies;
use super::workspace::removal;
use crate::cli::DoctorArgs;
use crate::console;
use crate::names::Level;
use crate::outcome::Outcome;
use crate::policy::model::Policy;
use crate::wire::{Network, Wall, WallsReport, Workspace};

/// Bytes of output that a probe may make.
const PROBE_OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// Says which levels can be raised here and how each wall stands; 5 where the policy requires more.
#[must_use]
pub fn command(args: &DoctorArgs) -> Outcome {
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
    let reports = match runtime {
        Ok(runtime) => runtime.block_on(probes(&policy)),
        Err(error) => Err(error.to_string()),
    };
    match reports {
        Ok(reports) => tell(&reports, policy.require, args.json),
        Err(why) => {
            console::notice(&format!("tagout: the walls could not be tried: {why}"));
            Outcome::Internal
        }
    }
}

/// Each level that this build knows, tried once.
async fn probes(policy: &Policy) -> Result<Vec<(Level, WallsReport)>, String> {
    let word = outputs::random_word().map_err(|error| error.to_string())?;
    let folder = std::env::temp_dir().join(format!("tagout-doctor-{word}"));
    std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut reports = Vec::new();
    let mut fault = None;
    for level in [Level::B, Level::C] {
        match probe(policy, level, &folder).await {
            Ok(ended) => reports.push((level, ended.report)),
            Err(why) => fault = Some(why),
        }
    }
    removal::remove(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    match fault {
        Some(why) => Err(why),
        None => Ok(reports),
    }
}

async fn probe(policy: &Policy, level: Level, folder: &Path) -> Result<Ended, String> {
    let mut plan = launch::plan(Wanted {
        policy,
        level: Some(level),
        workspace: Workspace::InPlace {
            path: folder.to_path_buf(),
        },
        commands: Vec::new(),
        network: Network::None,
        bound_output: false,
    });
    plan.require = Level::D;
    inside::raise(&plan, None, None, PROBE_OUTPUT_BYTES_MAX, |_, _| ())
        .await
        .map_err(|error| causes(&error))
}

fn tell(reports: &[(Level, WallsReport)], require: Level, json: bool) -> Outcome {
    let strongest = reports.iter().filter_map(|(_, report)| report.level).max();
    let enough = strongest.is_some_and(|level| level >= require);
    if json {
        let levels: serde_json::Map<String, serde_json::Value> = reports
            .iter()
            .map(|(level, report)| {
                let can = serde_json::json!({
                    "raised": report.level.is_some(),
                    "abi": report.abi,
                    "walls": report.walls,
                    "missing": report.missing,
                });
                (level.to_string(), can)
            })
            .collect();
        let answer = serde_json::json!({
            "level": strongest,
            "required": require,
            "enough": enough,
            "levels": levels,
        });
        console::answer(&answer.to_string());
    } else {
        for (level, report) in reports {
            console::answer(&words(*level, report));
        }
        let strongest = strongest.map_or("none", Level::letter);
        console::answer(&format!(
            "strongest level here: {strongest}; required: {require}"
        ));
    }
    if enough {
        Outcome::Clean
    } else {
        Outcome::WallsMissing
    }
}

fn words(level: Level, report: &WallsReport) -> String {
    if report.level.is_none() {
        return format!(
            "level {level}: not to be had: {}",
            report.missing.join("; ")
        );
    }
    let mut text = format!("level {level}: can be raised (Landlock ABI {})", report.abi);
    for (state, word) in [
        (Wall::Enforced, "enforced"),
        (Wall::Partial, "partial"),
        (Wall::Absent, "absent"),
    ] {
        let names: Vec<&str> = report
            .walls
            .iter()
            .filter(|(_, wall)| **wall == state)
            .map(|(name, _)| name.as_str())
            .collect();
        if !names.is_empty() {
            text.push_str(&format!("\n  {word}: {}", names.join(", ")));
        }
    }
    text
}
