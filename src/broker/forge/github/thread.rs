//! The texts of a thread, asked from GitHub after somebody was admitted: comments, reviews, comments on lines.
//! It must never decide what is shown; that is the gate's.

use serde::Deserialize;

use super::GitHub;
use super::error::ForgeError;
use super::shapes::{RawAccount, RawApp};
use crate::event::{Account, IssueKind};
use crate::gate::context::{self, Context, Item};
use crate::gate::{Admitted, AskedBy, Facts};
use crate::policy::model::Policy;

#[derive(Deserialize)]
struct RawText {
    id: u64,
    body: Option<String>,
    user: Option<RawAccount>,
    /// A review has the time of its submission only, and none of its changes.
    #[serde(alias = "submitted_at")]
    created_at: Option<String>,
    updated_at: Option<String>,
    performed_via_github_app: Option<RawApp>,
    path: Option<String>,
    line: Option<u64>,
}

impl RawText {
    fn item(self, by: impl Fn(u64) -> AskedBy) -> Item {
        Item {
            by: by(self.id),
            author: self.user.map(Account::from),
            by_app: self.performed_via_github_app.is_some(),
            updated_at: self.updated_at.or_else(|| self.created_at.clone()),
            created_at: self.created_at,
            place: self.path.map(|path| (path, self.line)),
            body: self.body.unwrap_or_default(),
        }
    }
}

impl GitHub {
    /// What the agent may be shown of the thread on which the run was asked for, beside its title and text. The answers
    /// about its authors are added to the facts.
    ///
    /// # Errors
    /// The thread cannot be read; then nothing of it is to be shown.
    pub async fn context(
        &self,
        admitted: &Admitted,
        policy: &Policy,
        facts: &mut Facts,
    ) -> Result<Context, ForgeError> {
        let (Some(origin), Some(at)) = (admitted.origin(), admitted.at()) else {
            return Ok(Context::default());
        };
        let number = origin.issue;
        let mut items = self
            .texts(&format!("issues/{number}/comments"), AskedBy::Comment)
            .await?;
        if origin.kind == IssueKind::Pull {
            items.extend(
                self.texts(&format!("pulls/{number}/reviews"), AskedBy::Review)
                    .await?,
            );
            items.extend(
                self.texts(&format!("pulls/{number}/comments"), AskedBy::Line)
                    .await?,
            );
            items.sort_by(|one, other| one.created_at.cmp(&other.created_at));
        }
        for login in context::authors(&items, at) {
            if !facts.answers.iter().any(|(asked, _)| *asked == login) {
                let answer = self.permission(&login).await;
                facts.answers.push((login, answer));
            }
        }
        Ok(context::select(items, admitted, policy, facts))
    }

    async fn texts(
        &self,
        rest: &str,
        by: impl Fn(u64) -> AskedBy + Copy,
    ) -> Result<Vec<Item>, ForgeError> {
        let all: Vec<RawText> = self.caller.list(&self.path(rest)).await?;
        Ok(all.into_iter().map(|raw| raw.item(by)).collect())
    }
}
