//! `tagout check`: the publisher's checks on the commits of any repository, also of those that people wrote.
//! It must never run git, nor take the policy from the commits that it judges.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::json;

use crate::broker::collect::{Bounds, CollectError, commits};
use crate::broker::git::{GitError, Source};
use crate::broker::surroundings::Surroundings;
use crate::changeset::annotations;
use crate::changeset::change::Changeset;
use crate::changeset::checks::{Known, check};
use crate::changeset::finding::Finding;
use crate::changeset::sarif;
use crate::cli::CheckArgs;
use crate::console;
use crate::names::ObjectId;
use crate::outcome::Outcome;
use crate::policy::model::Policy;
use crate::policy::parse::{Fault, parse_whole};

/// Where a repository keeps its policy.
const POLICY: &str = ".github/tagout.yml";
/// Most bytes of a policy.
const POLICY_BYTES_MAX: u64 = 1 << 20;

/// Why nothing could be judged.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("cannot read the repository")]
    Git(#[from] GitError),
    #[error("cannot read the commits")]
    Collect(#[from] CollectError),
    #[error("cannot read the policy {file}: {why}")]
    Policy { file: String, why: String },
    #[error("the policy is not valid")]
    Faults(Vec<Fault>),
}

impl CheckError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Git(_) | Self::Collect(_) => Outcome::Usage,
            Self::Policy { .. } | Self::Faults(_) => Outcome::PolicyInvalid,
        }
    }
}

/// What was judged.
struct Judged {
    outcome: Outcome,
    base: ObjectId,
    head: ObjectId,
    findings: Vec<Finding>,
}

/// Runs the command in the repository around the current folder.
#[must_use]
pub fn command(args: &CheckArgs) -> Outcome {
    match judge(Path::new("."), args) {
        Ok(judged) => {
            console::answer(&text(args, &judged));
            if Surroundings::read().in_actions {
                for line in annotations::lines(&judged.findings) {
                    console::notice(&line);
                }
            }
            judged.outcome
        }
        Err(error) => {
            if let CheckError::Faults(faults) = &error {
                for fault in faults {
                    console::notice(&fault.to_string());
                }
            }
            let sentence = crate::broker::job::end::causes(&error);
            console::notice(&format!("tagout: {sentence}"));
            let outcome = error.outcome();
            if args.json {
                let answer = json!({ "outcome": outcome.word(), "error": sentence });
                console::answer(&answer.to_string());
            }
            outcome
        }
    }
}

fn judge(folder: &Path, args: &CheckArgs) -> Result<Judged, CheckError> {
    let source = Source::open(folder)?;
    let (base, head) = range(&source, &args.range)?;
    let mut policy = policy(&source, &base, args.policy.as_deref())?;
    // These lists are about the walls around an agent; whoever wrote these commits had none.
    policy.filesystem.read_only.clear();
    policy.filesystem.deny.clear();
    let changeset = commits::between(&source, &base, &head, Bounds::from(&policy.changes))?;
    let (outcome, findings) = checked(&source, changeset, &policy)?;
    Ok(Judged {
        outcome,
        base,
        head,
        findings,
    })
}

fn checked(
    source: &Source,
    changeset: Changeset,
    policy: &Policy,
) -> Result<(Outcome, Vec<Finding>), CheckError> {
    let facts = source.base_facts(&changeset)?;
    let known = Known {
        base_paths: &facts.base_paths,
        attributes: &facts.attributes,
        run_by_workflows: &facts.run_by_workflows,
        ..Known::default()
    };
    Ok(match check(changeset, policy, known) {
        Ok(checked) => (Outcome::Clean, checked.findings().to_vec()),
        Err(refused) => (Outcome::ChangesRefused, refused.findings().to_vec()),
    })
}

/// `A..B`, `A...B` (from where the two parted), or one commit against its parent. A side left out is HEAD.
fn range(source: &Source, text: &str) -> Result<(ObjectId, ObjectId), GitError> {
    let side = |name: &str| match (name, name.strip_suffix('~')) {
        ("", _) => source.resolve("HEAD"),
        (_, Some(child)) => parent(source, child),
        (_, None) => source.resolve(name),
    };
    if let Some((one, other)) = text.split_once("...") {
        let (one, other) = (side(one)?, side(other)?);
        return Ok((source.merge_base(&one, &other)?, other));
    }
    match text.split_once("..") {
        Some((one, other)) => Ok((side(one)?, side(other)?)),
        None => Ok((parent(source, text)?, source.resolve(text)?)),
    }
}

/// The first parent of a commit; a checkout in CI often has none at hand, and then the reader must be told so.
fn parent(source: &Source, child: &str) -> Result<ObjectId, GitError> {
    match source.resolve(&format!("{child}~")) {
        Err(GitError::NoSuchCommit(_)) if source.resolve(child).is_ok() => {
            Err(GitError::NoParent(child.to_owned()))
        }
        other => other,
    }
}

/// The policy that was named, else the one of the base commit, else the defaults.
fn policy(source: &Source, base: &ObjectId, named: Option<&Path>) -> Result<Policy, CheckError> {
    let (file, bytes) = match named {
        Some(path) => {
            let file = path.display().to_string();
            let mut bytes = Vec::new();
            let read = File::open(path)
                .and_then(|file| file.take(POLICY_BYTES_MAX + 1).read_to_end(&mut bytes));
            match read {
                Ok(count) if count as u64 <= POLICY_BYTES_MAX => (file, bytes),
                Ok(_) => {
                    let why = "it is larger than 1 MiB".to_owned();
                    return Err(CheckError::Policy { file, why });
                }
                Err(error) => {
                    let why = error.to_string();
                    return Err(CheckError::Policy { file, why });
                }
            }
        }
        None => match source.read_file(base, POLICY, POLICY_BYTES_MAX)? {
            Some(bytes) => (POLICY.to_owned(), bytes),
            None => return Ok(Policy::default()),
        },
    };
    let text = String::from_utf8(bytes).map_err(|error| CheckError::Policy {
        file: file.clone(),
        why: error.to_string(),
    })?;
    let others = match named {
        Some(path) => super::policies::others_on_disk(path, &text),
        None => super::policies::others_in(source, base, &text)?,
    };
    parse_whole(&file, &text, &others).map_err(CheckError::Faults)
}

fn text(args: &CheckArgs, judged: &Judged) -> String {
    if args.sarif {
        return sarif::document(&judged.findings).to_string();
    }
    if args.json {
        return json!({
            "outcome": judged.outcome.word(),
            "base": judged.base,
            "head": judged.head,
            "findings": judged.findings,
        })
        .to_string();
    }
    let mut lines: Vec<String> = judged.findings.iter().map(Finding::to_line).collect();
    lines.push(judged.outcome.word().to_owned());
    lines.join("\n")
}
