//! The only way from a change to `Checked`, which is what a forge publishes.
//! It must never decide by what the agent says about its change, only by the change.

use super::change::Changeset;
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
pub fn check(
    changeset: Changeset,
    _policy: &Policy,
    _known: Known<'_>,
) -> Result<Checked, Refused> {
    let mut findings = changeset.set_aside().to_vec();
    if !changeset.is_empty() {
        findings.push(Finding::new(
            Code::ContentUnknown,
            "the checks are not built yet",
        ));
    }
    findings.sort_by(|one, other| {
        other
            .severity
            .cmp(&one.severity)
            .then_with(|| one.cmp(other))
    });
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
