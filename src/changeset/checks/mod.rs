//! The only way from a change to `Checked`, which is what a forge publishes.
//! It must never decide by what the agent says about its change, only by the change.
//!
//! `paths` judges where it reaches, `content` what is in it, `secrets` and `patterns` what must not get out,
//! `dependencies` what it pulls in, `tested` what it no longer checks.

mod content;
mod dependencies;
mod globs;
mod mend;
mod paths;
mod patterns;
mod secrets;
mod tested;

use super::change::{Blob, Change, Changeset};
use super::diff::{self, Line};
use super::finding::{Code, Finding, Severity};
use crate::names::Secret;
use crate::policy::model::Policy;

/// What the checks know besides the change and the policy. All of it comes from the trusted side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Every secret that the run held.
    pub secrets: &'a [Secret],
    /// Texts that will be published beside the files, with the name under which a finding shows them: title, summary, message.
    pub texts: &'a [(&'a str, &'a str)],
    /// Paths of the base commit in the folders that the change touches, to find names that collide.
    pub base_paths: &'a [String],
    /// The text of the base commit's `.gitattributes`.
    pub attributes: &'a str,
    /// Scripts and local actions that a workflow of the base commit runs; they are protected like the workflow.
    pub run_by_workflows: &'a [String],
}

/// A change that passed. Only `check` makes it.
#[derive(Clone, Debug)]
pub struct Checked {
    changeset: Changeset,
    findings: Vec<Finding>,
}

impl Checked {
    /// The change.
    #[must_use]
    pub fn changeset(&self) -> &Changeset {
        &self.changeset
    }

    /// What is told to the reader: notes, and what a human must look at.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether the policy wants a change request on the proposal: a protected path is changed, and it does not block.
    #[must_use]
    pub fn needs_changes(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.code == Code::ProtectedPath)
    }
}

/// A change that did not pass, with every finding, the blocking ones first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checks refuse the change: {} findings block it", self.blocking().count())]
pub struct Refused {
    findings: Vec<Finding>,
}

impl Refused {
    /// Every finding, the blocking ones first.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Those that block.
    pub fn blocking(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.severity == Severity::Block)
    }
}

/// Judges a change.
///
/// # Errors
/// `Refused` if any finding blocks.
pub fn check(changeset: Changeset, policy: &Policy, known: Known<'_>) -> Result<Checked, Refused> {
    let mut findings = changeset.set_aside().to_vec();
    match paths::Lists::new(policy) {
        Ok(lists) => {
            let links = paths::links(&changeset);
            for change in changeset.changes() {
                paths::one(change, &lists, &links, known, &mut findings);
                one(change, policy, known, &mut findings);
            }
        }
        // A list that cannot be read protects nothing: then nothing passes.
        Err(finding) => findings.push(finding),
    }
    content::whole(&changeset, &policy.changes, &mut findings);
    paths::collisions(&changeset, known, &mut findings);
    dependencies::unlocked(
        &changeset,
        policy.changes.dependencies,
        known,
        &mut findings,
    );
    find_secrets(&changeset, known, &mut findings);
    findings.sort_by(|one, other| {
        other
            .severity
            .cmp(&one.severity)
            .then_with(|| one.path.cmp(&other.path))
            .then_with(|| one.line.cmp(&other.line))
            .then_with(|| one.cmp(other))
    });
    findings.dedup();
    if findings
        .iter()
        .any(|finding| finding.severity == Severity::Block)
    {
        Err(Refused { findings })
    } else {
        Ok(Checked {
            changeset,
            findings,
        })
    }
}

fn one(change: &Change, policy: &Policy, known: Known<'_>, findings: &mut Vec<Finding>) {
    let path = change.path().as_str();
    dependencies::one(change, policy.changes.dependencies, findings);
    let old = change.old_content().map(Blob::bytes);
    let new = change.content().map_or(&b""[..], Blob::bytes);
    let readable = content::one(change, &policy.changes, findings);
    let added: Vec<Line<'_>> = if readable {
        diff::added(old, new)
    } else {
        Vec::new()
    };
    let removed = match old {
        Some(old) if readable => diff::removed(old, new),
        Some(_) | None => Vec::new(),
    };
    tested::one(change, &added, &removed, findings);
    content::lines(path, &added, findings);
    content::hidden_diff(change, &added, known.attributes, findings);
    for line in &added {
        if let Some(what) = patterns::find(line.bytes) {
            findings.push(
                Finding::new(Code::SecretPattern, format!("the line looks like {what}"))
                    .at(path)
                    .line(line.number),
            );
        }
    }
}

/// Looks for what the run knew in contents, names and texts, whole and in pieces.
fn find_secrets(changeset: &Changeset, known: Known<'_>, findings: &mut Vec<Finding>) {
    let Some(needles) = secrets::Needles::new(known.secrets) else {
        return;
    };
    for finding in findings.iter_mut() {
        let text = format!(
            "{} {}",
            finding.path.as_deref().unwrap_or_default(),
            finding.message
        );
        if needles.find(text.as_bytes(), None).is_some() {
            // A name that holds a secret must not be shown by another finding either.
            finding.path = None;
            "(the name is withheld)".clone_into(&mut finding.message);
        }
    }
    let mut found_whole = false;
    for change in changeset.changes() {
        let path = change.path().as_str();
        if needles.find(path.as_bytes(), None).is_some() {
            found_whole = true;
            // The path itself would show the secret.
            findings.push(Finding::new(
                Code::KnownSecret,
                "the name of a changed file holds a secret of the run",
            ));
            continue;
        }
        let old = change.old_content().map(Blob::bytes);
        let found = change
            .content()
            .and_then(|content| needles.find(content.bytes(), old));
        if let Some(found) = found {
            found_whole = true;
            let mut finding = Finding::new(
                Code::KnownSecret,
                format!("a secret of the run stands in it ({})", found.form),
            )
            .at(path);
            finding.line = found.line;
            findings.push(finding);
        }
    }
    for (name, text) in known.texts {
        if let Some(found) = needles.find(text.as_bytes(), None) {
            found_whole = true;
            findings.push(Finding::new(
                Code::KnownSecret,
                format!("the {name} holds a secret of the run ({})", found.form),
            ));
        }
    }
    if !found_whole && needles.pieces(new_texts(changeset, known).iter().copied()) {
        findings.push(Finding::new(
            Code::KnownSecret,
            "pieces of a secret of the run are spread over the change",
        ));
    }
}

/// Everything that a reader of the proposal can put together.
fn new_texts<'a>(changeset: &'a Changeset, known: Known<'a>) -> Vec<&'a [u8]> {
    let mut texts: Vec<&[u8]> = known
        .texts
        .iter()
        .map(|(_, text)| text.as_bytes())
        .collect();
    for change in changeset.changes() {
        texts.push(change.path().as_str().as_bytes());
        if let Some(content) = change.content() {
            let old = change.old_content().map(Blob::bytes);
            texts.extend(
                diff::added(old, content.bytes())
                    .iter()
                    .map(|line| line.bytes),
            );
        }
    }
    texts
}
