//! From what the agent changed to a sealed bundle, and back to a change that can be judged.
//! It must never put a secret into the bundle, nor take its statements about the run for our own.

use std::path::Path;

use super::asked::{Asked, Reads};
use super::end::End;
use super::execute::Worked;
use super::publish::run_word;
use super::record::Record;
use crate::broker::bundle;
use crate::broker::git::facts::BaseFacts;
use crate::broker::git::{GitError, Source as Repo};
use crate::broker::outputs;
use crate::broker::surroundings::Surroundings;
use crate::changeset::bundle::{Bill, Claims, Denial, Manifest, Verified};
use crate::changeset::change::Changeset;
use crate::changeset::diff;
use crate::cli::JobArgs;
use crate::names::Digest;
use crate::outcome::Outcome;
use crate::report::{self, Facts};
use crate::wire::{Denied, Wall};

/// Seals the changes with what this phase knows of the run, and leaves `changes.patch` beside it.
///
/// # Errors
/// The bundle cannot be written.
pub fn seal(
    folder: &Path,
    asked: &Asked,
    worked: &Worked,
    surroundings: &Surroundings,
    record: &mut Record,
) -> Result<Digest, End> {
    let patch = diff::patch(&worked.changeset);
    record.leave("changes.patch", &patch)?;
    let claims = claims(asked, surroundings, record, Outcome::Sealed)?;
    let manifest = Manifest::new(claims, &worked.changeset);
    let digest = bundle::seal(folder, &manifest, &worked.changeset, &worked.gone)
        .map_err(|error| End::of(Outcome::Internal, "bundle-unwritable", &error))?;
    record.say(
        "bundle",
        crate::broker::journal::Source::Broker,
        &serde_json::json!({ "digest": digest }),
    )?;
    Ok(digest)
}

/// Seals how the run ended where there is nothing to publish: no content, and no word of the agent's.
///
/// # Errors
/// The bundle cannot be written.
pub fn seal_end(
    folder: &Path,
    asked: &Asked,
    end: &End,
    surroundings: &Surroundings,
    record: &Record,
) -> Result<Digest, End> {
    let internal =
        |error: &dyn std::error::Error| End::of(Outcome::Internal, "bundle-unwritable", error);
    let claims = Claims {
        title: String::new(),
        summary: String::new(),
        ..claims(asked, surroundings, record, end.outcome)?
    };
    let nothing = Changeset::new(asked.admitted.base_commit().clone(), Vec::new(), Vec::new())
        .map_err(|error| internal(&error))?;
    bundle::seal_end(folder, &Manifest::new(claims, &nothing)).map_err(|error| internal(&error))
}

/// How the execute phase says that it ended, where it sealed no changes.
#[must_use]
pub fn claimed_end(claims: &Claims) -> Option<End> {
    let outcome = serde_json::from_value(serde_json::Value::String(claims.outcome.clone()))
        .unwrap_or(Outcome::Internal);
    match outcome {
        Outcome::Sealed => None,
        Outcome::NoChanges => Some(End::good(outcome, "the agent changed nothing")),
        other => Some(End::new(
            other,
            "execute-ended",
            format!(
                "the execute job ended with {}; its log and summary say why",
                other.word()
            ),
        )),
    }
}

fn claims(
    asked: &Asked,
    surroundings: &Surroundings,
    record: &Record,
    outcome: Outcome,
) -> Result<Claims, End> {
    let facts = &record.facts;
    let attempt = surroundings.run_attempt.as_deref().unwrap_or("1");
    Ok(Claims {
        run: run_word(surroundings),
        attempt: attempt
            .parse()
            .map_err(|error| End::of(Outcome::Usage, "attempt-unknown", &error))?,
        event: asked.admitted.event_digest().cloned(),
        policy: asked.trusted.digest.clone(),
        outcome: outcome.word().to_owned(),
        level: facts.walls.level,
        walls: facts
            .walls
            .walls
            .iter()
            .map(|(name, wall)| (name.clone(), wall_word(*wall).to_owned()))
            .collect(),
        title: facts.agent.claimed_title.clone().unwrap_or_default(),
        summary: facts.agent.claimed_summary.clone().unwrap_or_default(),
        denials: denied(facts).map(denial).collect(),
        verify: facts
            .verified
            .iter()
            .map(|result| Verified {
                command: result.command.clone(),
                exit: result.exit,
            })
            .collect(),
        bill: bill(facts),
        journal: record.digest().parse().ok(),
    })
}

fn denied(facts: &Facts) -> impl Iterator<Item = &Denied> {
    facts
        .network
        .iter()
        .chain(facts.walls.denied.iter().flatten())
}

fn denial(denied: &Denied) -> Denial {
    Denial {
        wall: denied.wall.clone(),
        what: denied.what.clone(),
        count: denied.count,
        allow: denied.allow.clone(),
        at: denied.at.clone(),
    }
}

fn bill(facts: &Facts) -> Bill {
    facts.bill.map_or_else(Bill::default, |bill| Bill {
        turns: bill.requests,
        input_tokens: bill.tokens,
        output_tokens: 0,
    })
}

fn wall_word(wall: Wall) -> &'static str {
    match wall {
        Wall::Enforced => "enforced",
        Wall::Partial => "partial",
        Wall::Absent => "absent",
    }
}

fn wall(word: &str) -> Wall {
    match word {
        "enforced" => Wall::Enforced,
        "partial" => Wall::Partial,
        _ => Wall::Absent,
    }
}

/// Puts what the bundle says of the run into the report, where it is shown as claimed by execute.
pub fn claims_into(claims: &Claims, record: &mut Record) {
    let facts = &mut record.facts;
    facts.walls.level = claims.level;
    facts.walls.walls = claims
        .walls
        .iter()
        .map(|(name, word)| (name.clone(), wall(word)))
        .collect();
    facts.network = claims
        .denials
        .iter()
        .map(|denial| Denied {
            wall: denial.wall.clone(),
            what: denial.what.clone(),
            count: denial.count,
            allow: denial.allow.clone(),
            at: denial.at.clone(),
        })
        .collect();
    facts.verified = claims
        .verify
        .iter()
        .map(|result| report::Verified {
            command: result.command.clone(),
            exit: result.exit,
        })
        .collect();
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    facts.agent.claimed_title = some(&claims.title);
    facts.agent.claimed_summary = some(&claims.summary);
    facts.notes.push(
        "walls, refusals, test results and cost are claimed by the execute job; this job did not see them"
            .to_owned(),
    );
}

/// A random name for the artifact, so that no other job can guess it.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn artifact_name() -> Result<String, End> {
    outputs::random_word()
        .map(|word| format!("tagout-{word}"))
        .map_err(|error| End::internal("no-random", &error))
}

/// What the checks need of the base commit.
#[derive(Debug)]
pub struct WithBase {
    /// The change with its old sides.
    pub changeset: Changeset,
    /// What lies around it in the base commit.
    pub facts: BaseFacts,
}

/// Gives each change what stood in the base before, read from the trusted repository: on disk, or by GitHub's API.
///
/// # Errors
/// The base cannot be read.
pub async fn with_base(
    changeset: Changeset,
    asked: &Asked,
    args: &JobArgs,
    reads: Reads,
) -> Result<WithBase, End> {
    match (reads, &asked.github) {
        (Reads::Api, Some(github)) => {
            let (changeset, facts) = github
                .with_base(&changeset)
                .await
                .map_err(|error| End::of(Outcome::ForgeFailed, "base-unreadable", &error))?;
            Ok(WithBase { changeset, facts })
        }
        (Reads::Disk, _) | (Reads::Api, None) => on_disk(&changeset, args)
            .map_err(|error| End::of(Outcome::Internal, "base-unreadable", &error)),
    }
}

fn on_disk(changeset: &Changeset, args: &JobArgs) -> Result<WithBase, GitError> {
    let repo = Repo::open(&args.repo)?;
    let facts = repo.base_facts(changeset)?;
    let changeset = repo.with_before(changeset)?;
    Ok(WithBase { changeset, facts })
}
