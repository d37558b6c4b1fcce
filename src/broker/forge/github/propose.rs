//! From checked changes to one draft pull request on one branch of ours.
//! It must never force, never touch a branch or pull request of somebody else, and leave nothing half-done behind.

use serde_json::{Value, json};

use super::call::Verb;
use super::commit::{self, Born, is_plain};
use super::error::ForgeError;
use super::identity::{Certainty, Identity};
use super::review::Asked;
use super::shapes::{RawCommit, RawComparison, RawPull};
use super::status::Light;
use super::talk::once;
use super::{GitHub, encoded, status};
use crate::broker::forge::{
    BODY_CHARS_MAX, Made, Proposal, Published, Signature, TITLE_CHARS_MAX, Trailers, branch,
    commit_message,
};
use crate::changeset::checks::Checked;
use crate::gate::Admitted;
use crate::names::ObjectId;
use crate::outcome::Outcome;
use crate::policy::model::{Enforced, Policy};

/// The account that signs what is made through GitHub itself.
const WEB_FLOW: &str = "web-flow";
/// The context of the mark on a commit of ours that GitHub did not sign.
const PUBLISHED: &str = "tagout/published";
/// The permission that pull requests need.
const PULLS: &str = "pull-requests: write";

/// How our branch was found.
#[derive(Clone, Debug)]
enum Standing {
    /// It does not exist.
    Absent,
    /// It exists and holds nothing of its own, as a killed run may leave it.
    Empty(ObjectId),
    /// Its head is the commit that we last published.
    Ours(ObjectId),
}

/// What was put on a branch.
struct Put {
    head: ObjectId,
    made: Made,
    born: Born,
}

impl GitHub {
    /// Opens or updates the one draft pull request of an admitted task. Repeating it after a failure at any point ends
    /// in the same one branch, pull request and comment.
    ///
    /// # Errors
    /// GitHub's refusals; a branch or pull request that is not ours; a base that moved away. A branch that this call
    /// made is gone again then.
    pub async fn publish(
        &self,
        admitted: &Admitted,
        policy: &Policy,
        checked: &Checked,
        proposal: &Proposal<'_>,
    ) -> Result<Published, ForgeError> {
        fits(admitted, checked, proposal)?;
        let branch = branch::derive(admitted, policy)?;
        self.still_stands(admitted).await?;
        let me = self.identity().await;
        self.locked(admitted, policy).await?;
        let mut notes = Vec::new();
        let standing = self.standing(&branch, admitted, &me).await?;
        let pull = self.pull(&branch, &me).await?;
        let put = self.put(&branch, &standing, admitted, checked, proposal);
        let Put { head, made, born } = put.await?;
        let opened = self
            .open(
                &branch, &head, made, pull, admitted, policy, proposal, &mut notes,
            )
            .await;
        let (pull, outcome) = match (opened, born) {
            (Ok(opened), _) => opened,
            (Err(error), Born::Here) => {
                return Err(self.undone(&branch, &head, error).await);
            }
            (Err(error), Born::Before) => return Err(error),
        };
        self.dress(&pull, policy, &mut notes).await;
        if checked.needs_changes() {
            let asked = self.ask_for_changes(pull.number, &head, checked, &me).await;
            if let Ok(Asked::AsComment) = asked {
                notes.push("protected files are named in a review that is a comment only: GitHub lets nobody ask for changes on a pull request of their own".to_owned());
            }
            note(
                asked.map(drop),
                "the review of the protected files",
                &mut notes,
            );
        }
        if me.certainty == Certainty::Assumed {
            notes.push(
                "the token's own account could not be established; github-actions[bot] was assumed"
                    .to_owned(),
            );
        }
        if let Some(issue) = admitted.issue() {
            let text = format!(
                "Proposed as a draft: {}\n\nIt waits for a human to release it.",
                pull.html_url
            );
            let told = self
                .sticky(issue, &admitted.task_id(), &text, None, &me)
                .await;
            note(told, "the comment on the issue", &mut notes);
        }
        Ok(Published {
            outcome,
            branch,
            commit: head,
            pull: Some((pull.number, pull.html_url)),
            made,
            notes,
        })
    }

    async fn standing(
        &self,
        branch: &str,
        admitted: &Admitted,
        me: &Identity,
    ) -> Result<Standing, ForgeError> {
        let Some(head) = self.head(branch).await? else {
            return Ok(Standing::Absent);
        };
        let path = self.path(&format!(
            "compare/{}...{head}?per_page=1",
            admitted.base_commit()
        ));
        let comparison: RawComparison = self.caller.get(&path).await?;
        if matches!(comparison.status.as_str(), "behind" | "identical") {
            return Ok(Standing::Empty(head));
        }
        if self.is_ours(&head, &admitted.task_id(), me).await? {
            return Ok(Standing::Ours(head));
        }
        Err(ForgeError::BranchForeign {
            branch: branch.to_owned(),
            head: head.to_string(),
        })
    }

    /// Whether we made this commit for this task. An author's address alone is free text.
    pub(super) async fn is_ours(
        &self,
        commit: &ObjectId,
        task_id: &str,
        me: &Identity,
    ) -> Result<bool, ForgeError> {
        let path = self.path(&format!("commits/{commit}"));
        let found: RawCommit = self.caller.get(&path).await?;
        let task = Trailers::read(&found.commit.message).is_some_and(|read| read.task == task_id);
        Ok(task && self.is_by_us(commit, &found, me).await?)
    }

    /// Whether our account made this commit: by GitHub's own signature over it as author, or else by our mark on it.
    pub(super) async fn is_by_us(
        &self,
        id: &ObjectId,
        commit: &RawCommit,
        me: &Identity,
    ) -> Result<bool, ForgeError> {
        if commit
            .author
            .as_ref()
            .is_none_or(|author| author.id != me.id)
        {
            return Ok(false);
        }
        let signed = commit.commit.verification.is_some_and(|it| it.verified)
            && commit
                .committer
                .as_ref()
                .is_some_and(|committer| committer.login == WEB_FLOW);
        Ok(signed || self.has_status_by(id, PUBLISHED, me.id).await?)
    }

    /// The open pull request of our branch.
    async fn pull(&self, branch: &str, me: &Identity) -> Result<Option<RawPull>, ForgeError> {
        let path = self.path(&format!(
            "pulls?state=open&head={}:{}&",
            self.repository.owner(),
            encoded(branch)
        ));
        let pulls: Vec<RawPull> = self.caller.list(&path).await?;
        let own = |pull: &RawPull| pull.head.repo.is_some() && pull.head.repo == pull.base.repo;
        let Some(pull) = pulls.into_iter().find(own) else {
            return Ok(None);
        };
        if pull.user.as_ref().is_some_and(|user| user.id == me.id) {
            Ok(Some(pull))
        } else {
            Err(ForgeError::PullForeign {
                number: pull.number,
                branch: branch.to_owned(),
            })
        }
    }

    /// Puts the changes on the branch as one commit.
    async fn put(
        &self,
        branch: &str,
        standing: &Standing,
        admitted: &Admitted,
        checked: &Checked,
        proposal: &Proposal<'_>,
    ) -> Result<Put, ForgeError> {
        let base = admitted.base_commit();
        let changes = checked.changeset().changes();
        let base_tree = self.tree_of(base).await?;
        let tree = self.write_tree(&base_tree, changes).await?;
        let message = commit_message(admitted, proposal, Some(&tree));
        let (put, born) = match standing {
            Standing::Absent => {
                let born = self.make_branch(branch, base).await?;
                let first = self.first(branch, base, &tree, &message, checked).await;
                match (first, born) {
                    (Ok(put), _) => (put, born),
                    (Err(error), Born::Here) => {
                        return Err(self.undone(branch, base, error).await);
                    }
                    (Err(error), Born::Before) => return Err(error),
                }
            }
            Standing::Empty(head) if head == base => {
                let first = self.first(branch, base, &tree, &message, checked);
                (first.await?, Born::Before)
            }
            Standing::Empty(_) => {
                let made = self.commit_by_rest(&message, &tree, &[base]).await?;
                self.advance(branch, &made.commit).await?;
                ((made.commit, Made::Rest(made.signature)), Born::Before)
            }
            Standing::Ours(head) => {
                let next = self.next(branch, head, base, &tree, &message);
                (next.await?, Born::Before)
            }
        };
        let (head, made) = put;
        Ok(Put { head, made, born })
    }

    /// The first commit on a branch that stands at the base: signed by GraphQL where it can carry the change, else by REST.
    async fn first(
        &self,
        branch: &str,
        base: &ObjectId,
        tree: &ObjectId,
        message: &str,
        checked: &Checked,
    ) -> Result<(ObjectId, Made), ForgeError> {
        let changes = checked.changeset().changes();
        if is_plain(changes) {
            match self.commit_by_graphql(branch, base, message, changes).await {
                Ok(made) => {
                    let signature = made.signature;
                    return self
                        .same_tree(branch, made, tree)
                        .await
                        .map(|commit| (commit, Made::Graphql(signature)));
                }
                Err(error) if error.is_unclear() => {
                    return self.settled(branch, base, tree, error).await;
                }
                // A server without this mutation, or one that does not take this change: REST says what is wrong, or does it.
                Err(ForgeError::Graphql { .. } | ForgeError::Status { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let made = self.commit_by_rest(message, tree, &[base]).await?;
        self.advance(branch, &made.commit).await?;
        Ok((made.commit, Made::Rest(made.signature)))
    }

    /// Where it is not known whether GraphQL made the commit: what the branch holds now decides.
    async fn settled(
        &self,
        branch: &str,
        base: &ObjectId,
        tree: &ObjectId,
        error: ForgeError,
    ) -> Result<(ObjectId, Made), ForgeError> {
        let Some(head) = self.head(branch).await? else {
            return Err(error);
        };
        if head != *base && self.tree_of(&head).await? == *tree {
            return Ok((head, Made::Graphql(Signature::Verified)));
        }
        Err(error)
    }

    /// What GraphQL made must hold exactly the tree that was checked; else it goes again.
    async fn same_tree(
        &self,
        branch: &str,
        made: commit::Made,
        wanted: &ObjectId,
    ) -> Result<ObjectId, ForgeError> {
        if made.tree == *wanted {
            return Ok(made.commit);
        }
        self.take_back(branch, &[&made.commit]).await?;
        Err(ForgeError::OtherTree {
            found: made.tree.to_string(),
            wanted: wanted.to_string(),
        })
    }

    /// A later commit on our branch: the new tree on top of the old head, the base merged in where it moved on.
    async fn next(
        &self,
        branch: &str,
        head: &ObjectId,
        base: &ObjectId,
        tree: &ObjectId,
        message: &str,
    ) -> Result<(ObjectId, Made), ForgeError> {
        let path = self.path(&format!("compare/{base}...{head}?per_page=1"));
        let comparison: RawComparison = self.caller.get(&path).await?;
        let holds_base = comparison.status == "ahead";
        if holds_base && self.tree_of(head).await? == *tree {
            return Ok((head.clone(), Made::Unchanged));
        }
        let parents: &[&ObjectId] = if holds_base { &[head] } else { &[head, base] };
        let made = self.commit_by_rest(message, tree, parents).await?;
        self.advance(branch, &made.commit).await?;
        Ok((made.commit, Made::Rest(made.signature)))
    }

    /// Marks the head red and opens the pull request, or brings the open one up to date.
    #[expect(
        clippy::too_many_arguments,
        reason = "the steps of one publication, each made by the step before"
    )]
    async fn open(
        &self,
        branch: &str,
        head: &ObjectId,
        made: Made,
        pull: Option<RawPull>,
        admitted: &Admitted,
        policy: &Policy,
        proposal: &Proposal<'_>,
        notes: &mut Vec<String>,
    ) -> Result<(RawPull, Outcome), ForgeError> {
        if made == Made::Rest(Signature::Unsigned) {
            let run = proposal.run_url;
            let text = "published by Tagout; GitHub did not sign this commit";
            self.set_light(head, PUBLISHED, Light::Green, text, run)
                .await?;
        }
        let context = &policy.approval.context;
        let red = self
            .set_light(
                head,
                context,
                Light::Red,
                &status::told(
                    "waiting for a human to release this head",
                    &self.identity().await,
                ),
                proposal.run_url,
            )
            .await;
        match (red, policy.approval.enforced) {
            (Err(error), Enforced::Require) => return Err(error),
            (red, _) => note(red, "the red status on the head", notes),
        }
        if let Some(pull) = pull {
            let path = self.path(&format!("pulls/{}", pull.number));
            let body = json!({"title": proposal.title, "body": proposal.body});
            let pull = self
                .caller
                .call(Verb::Patch, &path, Some(&body), Some(PULLS))
                .await?;
            return Ok((pull, Outcome::Updated));
        }
        let body = json!({
            "title": proposal.title, "body": proposal.body, "head": branch,
            "base": admitted.base_branch(), "draft": true, "maintainer_can_modify": false,
        });
        let me = self.identity().await;
        let look = async || self.pull(branch, &me).await;
        let create = async || {
            self.caller
                .call::<_, RawPull>(Verb::Post, &self.path("pulls"), Some(&body), Some(PULLS))
                .await
        };
        let pull = once(look, create).await?;
        Ok((pull, Outcome::Proposed))
    }

    /// Takes away the branch that this call made, after a failure.
    async fn undone(&self, branch: &str, head: &ObjectId, first: ForgeError) -> ForgeError {
        match self.take_back(branch, &[head]).await {
            Ok(()) => first,
            Err(source) => ForgeError::LeftBehind {
                branch: branch.to_owned(),
                first: Box::new(first),
                source: Box::new(source),
            },
        }
    }

    /// Labels and reviewers. A missing one is told, and does not undo the proposal.
    async fn dress(&self, pull: &RawPull, policy: &Policy, notes: &mut Vec<String>) {
        let labels = &policy.pull_request.labels;
        if !labels.is_empty() {
            let path = self.path(&format!("issues/{}/labels", pull.number));
            let set: Result<Value, ForgeError> = self
                .caller
                .call(
                    Verb::Write,
                    &path,
                    Some(&json!({"labels": labels})),
                    Some(PULLS),
                )
                .await;
            note(set.map(drop), "the labels", notes);
        }
        let wanted = &policy.pull_request.reviewers;
        if !wanted.is_empty() {
            let (teams, people): (Vec<&str>, Vec<&str>) = wanted
                .iter()
                .map(String::as_str)
                .partition(|name| name.contains('/'));
            let teams: Vec<&str> = teams
                .iter()
                .filter_map(|name| name.rsplit('/').next())
                .collect();
            let path = self.path(&format!("pulls/{}/requested_reviewers", pull.number));
            let body = json!({"reviewers": people, "team_reviewers": teams});
            let asked: Result<Value, ForgeError> = self
                .caller
                .call(Verb::Write, &path, Some(&body), Some(PULLS))
                .await;
            note(asked.map(drop), "the reviewers", notes);
        }
    }
}

fn note(result: Result<(), ForgeError>, what: &str, notes: &mut Vec<String>) {
    if let Err(error) = result {
        notes.push(format!("{what} could not be set: {error}"));
    }
}

fn fits(admitted: &Admitted, checked: &Checked, proposal: &Proposal<'_>) -> Result<(), ForgeError> {
    if checked.changeset().base() != admitted.base_commit() {
        return Err(ForgeError::OtherBase {
            found: checked.changeset().base().to_string(),
            admitted: admitted.base_commit().to_string(),
        });
    }
    for (what, text, limit) in [
        ("title", proposal.title, TITLE_CHARS_MAX),
        ("body", proposal.body, BODY_CHARS_MAX),
    ] {
        if text.chars().count() > limit {
            return Err(ForgeError::Text { what, limit });
        }
    }
    Ok(())
}
