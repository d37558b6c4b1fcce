//! A pull request as the gate must know it: where its head stands, since when by the server's clock, and whose it is.
//! It must never take a commit's own date for a time.

use serde::Deserialize;

use super::error::ForgeError;
use super::identity::Identity;
use super::shapes::{RawAccount, RawCommit, RawId};
use super::{GitHub, encoded};
use crate::broker::forge::Trailers;
use crate::gate::Admitted;
use crate::gate::pin::{Pull, Pulled, Target};
use crate::names::ObjectId;
use crate::policy::model::Policy;

#[derive(Deserialize)]
struct RawPull {
    state: String,
    user: Option<RawAccount>,
    head: RawEnd,
    base: RawEnd,
}

#[derive(Deserialize)]
struct RawEnd {
    #[serde(rename = "ref")]
    name: String,
    sha: String,
    repo: Option<RawId>,
}

#[derive(Deserialize)]
struct RawPush {
    after: String,
    timestamp: String,
}

impl GitHub {
    /// Asks about one pull request.
    pub(super) async fn pulled(&self, number: u64, policy: &Policy, me: &Identity) -> Pulled {
        match self.pull_now(number, policy, me).await {
            Ok(pull) => Pulled::Known(Box::new(pull)),
            Err(error) => Pulled::NotEstablished(error.to_string()),
        }
    }

    async fn pull_now(
        &self,
        number: u64,
        policy: &Policy,
        me: &Identity,
    ) -> Result<Pull, ForgeError> {
        let raw: RawPull = self
            .caller
            .get(&self.path(&format!("pulls/{number}")))
            .await?;
        let head: ObjectId = raw.head.sha.parse()?;
        let same_repository = raw.head.repo.is_some() && raw.head.repo == raw.base.repo;
        let mut pull = Pull {
            open: raw.state == "open",
            head_branch: raw.head.name,
            same_repository,
            base_branch: raw.base.name,
            pushed_at: None,
            own_task: None,
            head,
        };
        if same_repository && pull.open {
            pull.pushed_at = self.pushed_at(&pull.head_branch, &pull.head).await;
            if raw.user.is_some_and(|user| user.id == me.id) {
                pull.own_task = self.own_task(&pull, policy, me).await?;
            }
        }
        Ok(pull)
    }

    /// When the server saw the newest push to a branch, if it made the head what it is (`GET /repos/{}/activity`,
    /// newest first). Where that cannot be read nothing is proven.
    async fn pushed_at(&self, branch: &str, head: &ObjectId) -> Option<String> {
        let path = self.path(&format!(
            "activity?ref=refs/heads/{}&per_page=1",
            encoded(branch)
        ));
        let pushes: Vec<RawPush> = self.caller.get(&path).await.ok()?;
        let newest = pushes.into_iter().next()?;
        (newest.after == head.as_str()).then_some(newest.timestamp)
    }

    /// The task of which this is our proposal: our account made the head, its trailers name the task, and the branch is
    /// the one that we derive from it.
    async fn own_task(
        &self,
        pull: &Pull,
        policy: &Policy,
        me: &Identity,
    ) -> Result<Option<String>, ForgeError> {
        let path = self.path(&format!("commits/{}", pull.head));
        let commit: RawCommit = self.caller.get(&path).await?;
        let Some(trailers) = Trailers::read(&commit.commit.message) else {
            return Ok(None);
        };
        let branch = format!("{}{}", policy.pull_request.branch_prefix, trailers.task);
        let ours = branch == pull.head_branch && self.is_by_us(&pull.head, &commit, me).await?;
        Ok(ours.then_some(trailers.task))
    }

    /// Asks again, before anything is published, whether the branch still stands where it stood when it was admitted.
    ///
    /// # Errors
    /// It has moved, is gone, or cannot be read.
    pub(super) async fn still_stands(&self, admitted: &Admitted) -> Result<(), ForgeError> {
        let commit = admitted.base_commit();
        let branch = match admitted.target() {
            Target::Branch => {
                let branch = admitted.base_branch();
                if self.is_on(commit, branch).await? {
                    return Ok(());
                }
                return Err(ForgeError::BaseGone {
                    commit: commit.to_string(),
                    branch: branch.to_owned(),
                });
            }
            Target::Stacked => admitted.base_branch(),
            Target::Own { branch, .. } => branch,
        };
        let head = self.branch_head(branch).await?;
        if head == *commit {
            return Ok(());
        }
        Err(ForgeError::BranchMoved {
            branch: branch.to_owned(),
            head: head.to_string(),
            commit: commit.to_string(),
        })
    }
}
