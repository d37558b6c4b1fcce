//! Phase 2: the bundle is verified, checked and proposed. No agent runs, nothing of the project is executed.
//! It must never publish what the checks have not passed, nor take a statement of the bundle about the run for its own.

use std::path::Path;

use super::asked::Asked;
use super::end::End;
use super::record::Record;
use super::seal::WithBase;
use crate::broker::bundle;
use crate::broker::forge::github::GitHub;
use crate::broker::forge::github::error::ForgeError;
use crate::broker::forge::github::owner::Owner;
use crate::broker::forge::{Proposal, Published, TITLE_CHARS_MAX, local};
use crate::broker::journal::Source;
use crate::broker::surroundings::Surroundings;
use crate::changeset::bundle::Manifest;
use crate::changeset::change::{Blob, Change, Changeset};
use crate::changeset::checks::{self, Checked, Known};
use crate::changeset::finding::Finding;
use crate::changeset::{annotations, diff, sarif};
use crate::cli::{Forge, JobArgs, PublishWith};
use crate::console;
use crate::names::{Digest, Secret};
use crate::outcome::Outcome;
use crate::policy::model::Enforced;
use crate::report::{ChangeFact, FindingFact, markdown};
use crate::sanitize;

/// Opens the bundle and holds it against what was admitted.
///
/// # Errors
/// A malformed bundle, another digest, base, policy, run or attempt.
pub fn verified(
    folder: &Path,
    digest: &Digest,
    asked: &Asked,
    surroundings: &Surroundings,
) -> Result<(Manifest, Changeset), End> {
    let (manifest, changeset) = bundle::open(folder, digest)
        .map_err(|error| End::of(Outcome::ChangesRefused, "bundle-refused", &error))?;
    let refused = |code, sentence: &str| Err(End::new(Outcome::Refused, code, sentence));
    if &manifest.base != asked.admitted.base_commit() {
        return refused(
            "base-moved",
            "the bundle was made on another base commit than this event's",
        );
    }
    if manifest.claims.policy != asked.trusted.digest {
        return refused(
            "policy-moved",
            "the bundle was made under another policy than the base commit's",
        );
    }
    if manifest.claims.event.as_ref() != asked.admitted.event_digest() {
        return refused("event-differs", "the bundle was made for another event");
    }
    let run = run_word(surroundings);
    if manifest.claims.run != run {
        return refused(
            "run-differs",
            "the bundle was made by another run or an older attempt",
        );
    }
    Ok((manifest, changeset))
}

/// GITHUB_RUN_ID and attempt as one word; `local/1` where there is none.
#[must_use]
pub fn run_word(surroundings: &Surroundings) -> String {
    format!(
        "{}/{}",
        surroundings.run_id.as_deref().unwrap_or("local"),
        surroundings.run_attempt.as_deref().unwrap_or("1")
    )
}

/// Judges the changes by the policy and puts findings and changes into the report.
///
/// # Errors
/// `ChangesRefused` with every finding in the report.
pub fn check(
    change: WithBase,
    asked: &Asked,
    secrets: &[Secret],
    record: &mut Record,
) -> Result<Checked, End> {
    let WithBase { changeset, facts } = change;
    record.facts.changes = changeset.changes().iter().map(change_fact).collect();
    let title = title(asked, record);
    let summary = record
        .facts
        .agent
        .claimed_summary
        .clone()
        .unwrap_or_default();
    let known = Known {
        secrets,
        texts: &[("title", title.as_str()), ("summary", summary.as_str())],
        base_paths: &facts.base_paths,
        attributes: &facts.attributes,
        run_by_workflows: &facts.run_by_workflows,
    };
    let (outcome, findings) = match checks::check(changeset, &asked.trusted.policy, known) {
        Ok(checked) => {
            let findings = checked.findings().to_vec();
            (Ok(checked), findings)
        }
        Err(refused) => {
            let sentence = sentence(&refused);
            (
                Err(End::new(
                    Outcome::ChangesRefused,
                    "changes-refused",
                    sentence,
                )),
                refused.findings().to_vec(),
            )
        }
    };
    record.facts.findings = findings.iter().map(finding_fact).collect();
    record.say("checks", Source::Broker, &findings)?;
    tell(&findings, record)?;
    outcome
}

/// Leaves the findings for code scanning, and shows them beside the lines where GitHub Actions runs us.
fn tell(findings: &[Finding], record: &Record) -> Result<(), End> {
    let document = sarif::document(findings).to_string();
    record.leave("findings.sarif", document.as_bytes())?;
    if Surroundings::read().in_actions {
        for line in annotations::lines(findings) {
            console::notice(&line);
        }
    }
    Ok(())
}

fn sentence(refused: &checks::Refused) -> String {
    let first = refused.blocking().next();
    let shown = first.map_or_else(String::new, |finding| {
        let place = finding.path.as_deref().unwrap_or_default();
        format!(": {place} {} ({})", finding.message, finding.code.as_str())
    });
    format!(
        "{} findings block the change{shown}",
        refused.blocking().count()
    )
}

fn change_fact(change: &Change) -> ChangeFact {
    let old = change.old_content().map_or(&[][..], Blob::bytes);
    let new = change.content().map_or(&[][..], Blob::bytes);
    let text = !diff::is_binary(old) && !diff::is_binary(new);
    let count = |lines: usize| if text { lines as u64 } else { 0 };
    ChangeFact {
        path: change.path().to_string(),
        operation: change.operation().word().to_owned(),
        added: count(diff::added(Some(old), new).len()),
        removed: count(diff::removed(old, new).len()),
    }
}

fn finding_fact(finding: &Finding) -> FindingFact {
    FindingFact {
        severity: finding.severity.word().to_owned(),
        code: finding.code.as_str().to_owned(),
        path: finding.path.clone(),
        line: finding.line,
        sentence: finding.message.clone(),
        mend: finding.mend.clone(),
    }
}

/// Opens the proposal.
///
/// # Errors
/// `ForgeFailed` where git or GitHub says no; nothing half-done is left behind.
pub async fn propose(
    asked: &Asked,
    checked: &Checked,
    args: &JobArgs,
    forge: Forge,
    surroundings: &Surroundings,
    record: &mut Record,
) -> Result<End, End> {
    if let (Forge::Github, Some(github)) = (forge, &asked.github) {
        prospects(github, asked, args, record).await?;
    }
    record.facts.outcome = Outcome::Proposed;
    "the changes wait for a human".clone_into(&mut record.facts.sentence);
    let journal = record.digest();
    record.facts.journal = Some(journal.clone());
    let journal: Option<Digest> = journal.parse().ok();
    let body = markdown::draw(&record.facts);
    let title = title(asked, record);
    let run = run_word(surroundings);
    let proposal = Proposal {
        title: &title,
        body: &body,
        policy: &asked.trusted.digest,
        journal: journal.as_ref(),
        run: &run,
        run_url: record.facts.request.run_url.as_deref(),
    };
    let policy = &asked.trusted.policy;
    let published = match (forge, &asked.github) {
        (Forge::Github, Some(github)) => github
            .publish(&asked.admitted, policy, checked, &proposal)
            .await
            .map_err(|error| {
                if error.is_moved() {
                    End::of(Outcome::Refused, "head-moved", &error)
                } else {
                    End::of(Outcome::ForgeFailed, "github-said-no", &error)
                }
            })?,
        (Forge::Github, None) => {
            return Err(End::new(
                Outcome::Usage,
                "github-not-asked",
                "--forge github needs an event; without one use --forge local",
            ));
        }
        (Forge::Local, _) if policy.approval.enforced == Enforced::Require => {
            return Err(End::new(
                Outcome::Refused,
                "lock-missing",
                "the policy publishes only where a ruleset demands the approval check, and a local repository has none",
            ));
        }
        (Forge::Local, _) => {
            local::publish(&args.repo, &asked.admitted, policy, checked, &proposal)
                .map_err(|error| End::of(Outcome::ForgeFailed, "git-said-no", &error))?
        }
    };
    published_facts(&published, record)?;
    Ok(End::good(published.outcome, words(&published)))
}

/// Refuses a token that was not opted in to, and tells in the proposal itself what its reader must know.
async fn prospects(
    github: &GitHub,
    asked: &Asked,
    args: &JobArgs,
    record: &mut Record,
) -> Result<(), End> {
    let owner = github.owner().await;
    let let_in = match owner {
        Owner::Workflow => true,
        Owner::App => args.publish_with == Some(PublishWith::App),
        Owner::Person => args.publish_with == Some(PublishWith::Pat),
    };
    if !let_in {
        let word = owner.word();
        return Err(End::new(
            Outcome::Refused,
            "token-not-opted-in",
            format!(
                "what this token pushes starts workflows at once, on code that nobody has reviewed; publish with GITHUB_TOKEN, or opt in with --publish-with {word} (input publish-with of the action)"
            ),
        ));
    }
    let notes = github
        .prospects(&asked.admitted, &asked.trusted.policy)
        .await
        .map_err(|error| match error {
            ForgeError::LockMissing { .. } => End::of(Outcome::Refused, "lock-missing", &error),
            ForgeError::LockUnbound { .. } => End::of(Outcome::Refused, "lock-unbound", &error),
            _ => End::of(Outcome::ForgeFailed, "github-said-no", &error),
        })?;
    record.facts.notes.extend(notes);
    Ok(())
}

fn published_facts(published: &Published, record: &mut Record) -> Result<(), End> {
    record.outputs.push(("branch", published.branch.clone()));
    record
        .outputs
        .push(("commit", published.commit.to_string()));
    let place = published.pull.as_ref().map(|(_, url)| url.clone());
    record
        .outputs
        .push(("pull-request", place.clone().unwrap_or_default()));
    record.facts.proposal = Some(place.unwrap_or_else(|| published.branch.clone()));
    record
        .facts
        .notes
        .push(format!("the commit was {}", published.made.sentence()));
    record.facts.notes.extend(published.notes.iter().cloned());
    record.say(
        "proposal",
        Source::Broker,
        &serde_json::json!({
            "outcome": published.outcome,
            "branch": published.branch,
            "commit": published.commit,
            "pull-request": published.pull,
        }),
    )
}

fn words(published: &Published) -> String {
    match &published.pull {
        Some((number, url)) => format!("draft pull request #{number} waits for a human: {url}"),
        None => format!("branch {} waits for a human", published.branch),
    }
}

/// The proposal's title: the agent's, cleaned, or the task's first line.
fn title(asked: &Asked, record: &Record) -> String {
    let claimed = record.facts.agent.claimed_title.as_deref();
    let text = claimed.unwrap_or_else(|| asked.admitted.task().lines().next().unwrap_or_default());
    let clean = sanitize::title(text).into_text();
    let short: String = clean.chars().take(TITLE_CHARS_MAX - 1).collect();
    if short.trim().is_empty() {
        return format!("Tagout: {}", asked.admitted.task_id());
    }
    short
}
