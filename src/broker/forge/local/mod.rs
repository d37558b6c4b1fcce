//! Proposals in a repository on this machine: one branch, made of data.
//! It must never run git or a hook, touch what is checked out, nor move a branch that somebody else moved.
//!
//! `tree` makes the new tree in memory, `store` writes objects and the branch as git itself lays them out.

mod store;
mod tree;

use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid};

use super::{Made, Proposal, Published, Trailers, branch, commit_message};
use crate::broker::git::{self, GitError, Source};
use crate::changeset::checks::Checked;
use crate::gate::Admitted;
use crate::names::{NotValid, ObjectId};
use crate::outcome::Outcome;
use crate::policy::model::Policy;

/// Who makes the commit.
const IDENTITY: &str = "Tagout <tagout@localhost>";
/// Names that are tried when the branch is not ours: `tagout/issue-7`, `tagout/issue-7-2` and so on.
const NAMES_MAX: usize = 9;

/// Why there is no proposal.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The repository cannot be read.
    #[error("cannot read the repository")]
    Git(#[from] GitError),
    /// The task makes no branch name.
    #[error("cannot name a branch")]
    Name(#[from] NotValid),
    /// The changes are against another commit than the one that was admitted.
    #[error("the changes are against {0}, and {1} was admitted")]
    OtherBase(ObjectId, ObjectId),
    /// Every name that we would use is taken.
    #[error(
        "the branches {0} to {0}-{NAMES_MAX} are checked out or not ours; delete or rename one"
    )]
    Taken(String),
    /// A branch stands where ours needs a folder, or the other way round.
    #[error("the branch {0} cannot be made beside {1}")]
    InTheWay(String, String),
    /// The branch moved while we worked.
    #[error("the branch {0} moved meanwhile, or its lock is held; try again")]
    Moved(String),
    /// The changes do not fit the base commit.
    #[error("{path} does not fit the base commit: {why}")]
    DoesNotFit {
        /// Where.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The disk said no.
    #[error("cannot write {}", path.display())]
    Disk {
        /// What.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Puts the changes on the one branch of the task. An existing branch is moved on only if its head is a commit of ours
/// for the same task and nothing has it checked out; else the next numbered name is taken.
///
/// # Errors
/// See `LocalError`. The branch is written last, so that nothing half-done can be seen.
pub fn publish(
    repo: &Path,
    admitted: &Admitted,
    policy: &Policy,
    checked: &Checked,
    proposal: &Proposal<'_>,
) -> Result<Published, LocalError> {
    let source = Source::open(repo)?;
    let changeset = checked.changeset();
    let base = admitted.base_commit();
    if changeset.base() != base {
        return Err(LocalError::OtherBase(
            changeset.base().clone(),
            base.clone(),
        ));
    }
    let wanted = branch::derive(admitted, policy)?;
    let spot = find_spot(&source, &wanted, &admitted.task_id())?;
    let built = tree::build(&source, source.tree(base)?, changeset)?;
    let tree = git::object_id(built.root);
    let published = |outcome, commit, made| Published {
        outcome,
        branch: spot.branch.clone(),
        commit,
        pull: None,
        made,
        notes: spot.notes(&wanted),
    };
    if let Some(head) = &spot.head
        && source.tree(head)? == built.root
    {
        return Ok(published(Outcome::Updated, head.clone(), Made::Unchanged));
    }
    let parent = spot.head.as_ref().unwrap_or(base);
    let commit = commit(
        &tree,
        parent,
        &commit_message(admitted, proposal, Some(&tree)),
    );
    let id = Oid::hash_object(ObjectType::Commit, &commit)
        .map_err(|source| git::object_error(built.root, source))?;
    let objects = built
        .objects
        .iter()
        .map(|(id, (kind, bytes))| (*id, *kind, bytes.as_slice()))
        .chain([(id, ObjectType::Commit, commit.as_slice())]);
    for (id, kind, bytes) in objects {
        if !source.repo().odb().is_ok_and(|odb| odb.exists(id)) {
            store::object(source.common_dir(), id, kind, bytes)?;
        }
    }
    let id = git::object_id(id);
    store::move_branch(&source, &spot.branch, spot.head.as_ref(), &id)?;
    let outcome = match spot.head {
        Some(_) => Outcome::Updated,
        None => Outcome::Proposed,
    };
    Ok(published(outcome, id, Made::Local))
}

/// Where the proposal goes.
struct Spot {
    branch: String,
    /// The head that we last published there.
    head: Option<ObjectId>,
}

impl Spot {
    fn notes(&self, wanted: &str) -> Vec<String> {
        if self.branch == wanted {
            return Vec::new();
        }
        vec![format!(
            "the branch {wanted} is checked out or not ours, so the proposal is on {}",
            self.branch
        )]
    }
}

fn find_spot(source: &Source, wanted: &str, task: &str) -> Result<Spot, LocalError> {
    let checked_out = store::checked_out(source)?;
    for number in 1..=NAMES_MAX {
        let branch = match number {
            1 => wanted.to_owned(),
            _ => format!("{wanted}-{number}"),
        };
        let name = format!("refs/heads/{branch}");
        if checked_out.contains(&name) {
            continue;
        }
        match source.reference(&name)? {
            None => return Ok(Spot { branch, head: None }),
            Some(head) if is_ours(source, &head, task)? => {
                return Ok(Spot {
                    branch,
                    head: Some(head),
                });
            }
            Some(_) => {}
        }
    }
    Err(LocalError::Taken(wanted.to_owned()))
}

/// Whether a commit was made by us for this task. On a machine of one's own nobody needs to forge that; the check keeps
/// a person's work on the branch from being buried.
fn is_ours(source: &Source, head: &ObjectId, task: &str) -> Result<bool, GitError> {
    let id = git::oid(head)?;
    let commit = source
        .repo()
        .find_commit(id)
        .map_err(|source| git::object_error(id, source))?;
    let by_us = |who: &git2::Signature<'_>| {
        who.name_bytes() == b"Tagout" && who.email_bytes() == b"tagout@localhost"
    };
    let trailers = std::str::from_utf8(commit.message_bytes())
        .ok()
        .and_then(Trailers::read);
    Ok(by_us(&commit.author())
        && by_us(&commit.committer())
        && trailers.is_some_and(|trailers| trailers.task == task))
}

fn commit(tree: &ObjectId, parent: &ObjectId, message: &str) -> Vec<u8> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    format!(
        "tree {tree}\nparent {parent}\nauthor {IDENTITY} {now} +0000\ncommitter {IDENTITY} {now} +0000\n\n{message}"
    )
    .into_bytes()
}
