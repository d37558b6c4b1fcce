//! What a proposal would meet: the lock on the base branch, and what would run by itself.
//! It must never call an approval a lock that any workflow could open.

use serde::Deserialize;

use super::error::ForgeError;
use super::owner::Owner;
use super::{GitHub, encoded};
use crate::broker::forge::branch;
use crate::gate::Admitted;
use crate::policy::model::{Enforced, Policy};

/// The App that every workflow's GITHUB_TOKEN belongs to on github.com. A check bound to it is bound to nobody.
pub(super) const ACTIONS_APP: u64 = 15_368;

/// What the base branch's effective rules say of the approval's check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// No rule demands it, or nobody could say.
    Missing,
    /// It is demanded, and any App may set it, or any workflow.
    Unbound,
    /// It is demanded, and only this App may set it.
    Bound(u64),
}

#[derive(Deserialize)]
struct RawRule {
    #[serde(rename = "type")]
    kind: String,
    parameters: Option<RawRuleParameters>,
}

#[derive(Deserialize)]
struct RawRuleParameters {
    #[serde(default)]
    required_status_checks: Vec<RawRequiredCheck>,
}

#[derive(Deserialize)]
struct RawRequiredCheck {
    context: String,
    integration_id: Option<u64>,
}

impl GitHub {
    /// What the effective rules of a branch say of the approval's check.
    pub async fn lock(&self, branch: &str, context: &str) -> Lock {
        let path = self.path(&format!("rules/branches/{}", encoded(branch)));
        let rules: Result<Vec<RawRule>, ForgeError> = self.caller.list(&path).await;
        let apps: Vec<Option<u64>> = rules
            .unwrap_or_default()
            .into_iter()
            .filter(|rule| rule.kind == "required_status_checks")
            .filter_map(|rule| rule.parameters)
            .flat_map(|parameters| parameters.required_status_checks)
            .filter(|check| check.context == context)
            .map(|check| check.integration_id)
            .collect();
        // One rule that binds it is enough: all rules must hold.
        match apps.iter().flatten().find(|app| **app != ACTIONS_APP) {
            Some(app) => Lock::Bound(*app),
            None if apps.is_empty() => Lock::Missing,
            None => Lock::Unbound,
        }
    }

    /// Fails where the policy demands a lock and none stands that only an App of the owner's own could open.
    pub(super) async fn locked(
        &self,
        admitted: &Admitted,
        policy: &Policy,
    ) -> Result<(), ForgeError> {
        match policy.approval.enforced {
            Enforced::Report => return Ok(()),
            Enforced::Require => {}
        }
        let branch = admitted.base_branch().to_owned();
        let context = policy.approval.context.clone();
        match self.lock(&branch, &context).await {
            Lock::Bound(_) => Ok(()),
            Lock::Unbound => Err(ForgeError::LockUnbound { branch, context }),
            Lock::Missing => Err(ForgeError::LockMissing { branch, context }),
        }
    }

    /// What whoever reads the proposal must know before it is made: whether its approval is a lock, and what would run.
    ///
    /// # Errors
    /// The policy demands a lock that does not stand.
    pub async fn prospects(
        &self,
        admitted: &Admitted,
        policy: &Policy,
    ) -> Result<Vec<String>, ForgeError> {
        let context = &policy.approval.context;
        let base = admitted.base_branch();
        let owner = self.owner().await;
        self.locked(admitted, policy).await?;
        let mut notes = Vec::new();
        match self.lock(base, context).await {
            Lock::Missing => notes.push(format!(
                "no ruleset of {base} is known to require the check {context}: the approval is advice, not a lock"
            )),
            Lock::Unbound => notes.push(format!(
                "a ruleset of {base} requires the check {context}, but does not bind it to an App of your own: any workflow with statuses: write could set it"
            )),
            Lock::Bound(_) => {}
        }
        match owner {
            Owner::Workflow => {}
            Owner::App | Owner::Person => {
                let name = branch::derive(admitted, policy)?;
                let found = self.would_run(admitted.base_commit(), &name, base).await;
                notes.push(match found {
                    Ok(found) if found.is_empty() => {
                        "published with a token whose pushes start workflows; none of the base commit waits for this branch".to_owned()
                    }
                    Ok(found) => format!(
                        "published with a token whose pushes start workflows at once, on code that nobody has reviewed: {}",
                        found.join("; ")
                    ),
                    Err(error) => format!(
                        "published with a token whose pushes start workflows at once; which ones could not be read: {error}"
                    ),
                });
            }
        }
        Ok(notes)
    }
}
