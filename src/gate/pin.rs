//! Which commit was meant: base and head as they were when the event happened, by the server's times alone.
//! It must never take a commit's own date for a time, nor a head that may have been pushed after the words.

use super::address::{Addressed, Source, Wish};
use super::refusal::{Code, Refusal};
use super::{Base, Facts};
use crate::event::{Event, IssueKind};
use crate::names::ObjectId;
use crate::policy::model::Policy;

/// The pull request that an event is about, as GitHub has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// As it is now.
    Known(Box<Pull>),
    /// It could not be read. Says why in a few words.
    NotEstablished(String),
    /// The event is about none.
    NotNeeded,
}

/// A pull request now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Whether it is open.
    pub open: bool,
    /// Its head.
    pub head: ObjectId,
    /// Its head's branch, without `refs/heads/`.
    pub head_branch: String,
    /// Whether its head is in this repository and not in a fork.
    pub same_repository: bool,
    /// Its base branch.
    pub base_branch: String,
    /// When the server saw the push that made the head what it is, if that is the newest push to the branch.
    pub pushed_at: Option<String>,
    /// The task of which it is our own proposal, where we opened it and its head is the commit that we last published.
    pub own_task: Option<String>,
}

/// Where a proposal goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A branch of the repository, in whose history the commit must stay.
    Branch,
    /// The head branch of a pull request, as a draft on top of it. The branch must still stand at the commit.
    Stacked,
    /// Our own proposal of this task, which is updated. Its branch must still stand at the commit.
    Own {
        /// The proposal's task.
        task: String,
        /// The proposal's branch.
        branch: String,
    },
}

/// What the agent works on, and where its proposal goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pinned {
    pub(super) base: Base,
    pub(super) default_base: bool,
    pub(super) target: Target,
}

/// Fixes commit and branch.
pub(super) fn pin(
    addressed: &Addressed,
    policy: &Policy,
    facts: &Facts,
) -> Result<Pinned, Refusal> {
    let default_base = base(&addressed.event, policy, facts)?;
    let on_pull = match addressed.origin().map(|origin| origin.kind) {
        Some(IssueKind::Pull) => true,
        Some(IssueKind::Issue) | None => false,
    };
    if on_pull {
        return pulled(addressed, policy, facts);
    }
    if let Wish::Head { .. } = addressed.wish {
        return Err(Refusal::new(
            Code::HeadOnIssue,
            format!(
                "`{} run` with a commit is for pull requests",
                policy.triggers.command
            ),
        ));
    }
    if let Source::Run(failed) = &addressed.source
        && failed.head != facts.base.commit.as_str()
    {
        return Err(Refusal::new(
            Code::HeadMoved,
            "the branch has moved on since the workflow run that failed",
        ));
    }
    Ok(Pinned {
        base: facts.base.clone(),
        default_base,
        target: Target::Branch,
    })
}

fn pulled(addressed: &Addressed, policy: &Policy, facts: &Facts) -> Result<Pinned, Refusal> {
    let pull = match &facts.pull {
        Pulled::Known(pull) => pull,
        Pulled::NotEstablished(_) | Pulled::NotNeeded => {
            return Err(Refusal::new(
                Code::PullNotEstablished,
                "GitHub did not say which commit the pull request stands at",
            ));
        }
    };
    if !pull.same_repository {
        return Err(Refusal::new(
            Code::HeadFork,
            "the pull request comes from a fork, and runs on a fork's commits are not allowed here",
        ));
    }
    if !pull.open {
        return Err(Refusal::new(
            Code::PullClosed,
            "the pull request is not open any more",
        ));
    }
    head(addressed, policy, pull)?;
    let base = |branch: &str| Base {
        branch: branch.to_owned(),
        commit: pull.head.clone(),
    };
    if let Some(task) = &pull.own_task {
        return Ok(Pinned {
            base: base(&pull.base_branch),
            default_base: default_branch(&addressed.event) == Some(&pull.base_branch),
            target: Target::Own {
                task: task.clone(),
                branch: pull.head_branch.clone(),
            },
        });
    }
    let covered = default_branch(&addressed.event) == Some(&pull.base_branch)
        || listed(&pull.base_branch, policy);
    if !covered {
        return Err(Refusal::new(
            Code::BaseNotAllowed,
            "the pull request is for a branch that is neither the default branch nor listed under bases in the policy",
        ));
    }
    Ok(Pinned {
        base: base(&pull.head_branch),
        default_base: false,
        target: Target::Stacked,
    })
}

/// Whether the head of now is the one that was meant: named by the words, told by the event, or last pushed before it.
fn head(addressed: &Addressed, policy: &Policy, pull: &Pull) -> Result<(), Refusal> {
    let command = &policy.triggers.command;
    let now = pull.head.as_str();
    let write = format!("please write `{command} run {now}` and what is to be done");
    let moved = || {
        Refusal::new(
            Code::HeadMoved,
            format!("the pull request's head is not the commit that was meant; {write}"),
        )
    };
    match &addressed.wish {
        Wish::Head { head, .. } if head == &pull.head => return Ok(()),
        Wish::Head { .. } => return Err(moved()),
        Wish::HeadShort => {
            return Err(Refusal::new(
                Code::HeadShort,
                format!("a part of a commit id does not tell which one is meant; {write}"),
            ));
        }
        Wish::Text(_) | Wish::Named { .. } | Wish::Issue | Wish::Unknown | Wish::Ambiguous => {}
    }
    let told = match &addressed.source {
        Source::Words(said) => said
            .head
            .as_ref()
            .map(|(head, about)| head == now && about.as_ref().is_none_or(|about| about == now)),
        Source::Run(failed) => Some(failed.head == now),
        Source::Raised(..) | Source::Sender(_) | Source::Owner(_) | Source::Nobody => None,
    };
    if let Some(same) = told {
        return if same { Ok(()) } else { Err(moved()) };
    }
    match (pull.pushed_at.as_deref(), addressed.at()) {
        (Some(pushed), Some(asked)) if is_time(pushed) && is_time(asked) => {
            if pushed < asked {
                Ok(())
            } else {
                Err(moved())
            }
        }
        (Some(_) | None, Some(_) | None) => Err(Refusal::new(
            Code::HeadNotPinned,
            format!(
                "nothing proves that the pull request's head stood there when the words were written; {write}"
            ),
        )),
    }
}

/// Whether a time is written as GitHub writes it, `2026-01-31T10:20:30Z`: only such times can be compared as texts.
#[must_use]
pub fn is_time(text: &str) -> bool {
    let shape = b"0000-00-00T00:00:00Z";
    text.len() == shape.len()
        && text.bytes().zip(shape).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        })
}

/// Whether the base is the default branch (true) or one that the policy lists (false); anything else is refused.
pub(super) fn base(event: &Event, policy: &Policy, facts: &Facts) -> Result<bool, Refusal> {
    let branch = facts.base.branch.as_str();
    let refused = || {
        Refusal::new(
            Code::BaseNotAllowed,
            "the run is on a branch that is neither the default branch nor listed under bases in the policy",
        )
    };
    if event.base_branch() != Some(branch) {
        return Err(refused());
    }
    if default_branch(event) == Some(branch) {
        return Ok(true);
    }
    if listed(branch, policy) {
        Ok(false)
    } else {
        Err(refused())
    }
}

fn default_branch(event: &Event) -> Option<&str> {
    event
        .repository()
        .and_then(|home| home.default_branch.as_deref())
}

fn listed(branch: &str, policy: &Policy) -> bool {
    policy.bases.iter().any(|glob| {
        globset::GlobBuilder::new(glob)
            .literal_separator(true)
            .build()
            .is_ok_and(|glob| glob.compile_matcher().is_match(branch))
    })
}
