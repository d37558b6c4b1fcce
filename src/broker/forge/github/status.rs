//! Commit statuses: the approval's light, and the mark on a commit of ours that GitHub did not sign.
//! It must never write a status that says what the newest one already says: GitHub keeps a thousand a commit and context.

use serde_json::json;

use super::GitHub;
use super::call::Verb;
use super::error::ForgeError;
use super::identity::Identity;
use super::owner::ACTIONS_LOGIN;
use super::shapes::RawStatus;
use crate::names::ObjectId;

/// Characters of the longest description that GitHub takes.
const DESCRIPTION_CHARS_MAX: usize = 140;
/// The permission that statuses need.
const STATUSES: &str = "statuses: write";

/// The light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Light {
    /// Not released.
    Red,
    /// Released.
    Green,
}

impl Light {
    fn state(self) -> &'static str {
        match self {
            Self::Red => "failure",
            Self::Green => "success",
        }
    }
}

/// What follows a description where any workflow's token could have set the light.
const ADVISORY: &str = " (advisory)";

/// Any workflow's GITHUB_TOKEN writes as the same account, so that any job with `statuses: write` could set the light.
#[must_use]
pub fn is_advisory(me: &Identity) -> bool {
    me.login == ACTIONS_LOGIN
}

/// The description of a light, cut to what GitHub takes, and saying so where it is advice only.
#[must_use]
pub fn told(words: &str, me: &Identity) -> String {
    let advisory = if is_advisory(me) { ADVISORY } else { "" };
    let room = DESCRIPTION_CHARS_MAX - advisory.len();
    let mut text: String = words.chars().take(room).collect();
    text.push_str(advisory);
    text
}

impl GitHub {
    /// Sets a status on a commit, if the newest one of this context says something else.
    ///
    /// # Errors
    /// A missing permission, no answer.
    pub async fn set_light(
        &self,
        commit: &ObjectId,
        context: &str,
        light: Light,
        description: &str,
        url: Option<&str>,
    ) -> Result<(), ForgeError> {
        let description: String = description.chars().take(DESCRIPTION_CHARS_MAX).collect();
        let newest = self.newest_status(commit, context).await?;
        let same = newest.is_some_and(|status| {
            status.state == light.state()
                && status.description.as_deref() == Some(description.as_str())
        });
        if same {
            return Ok(());
        }
        let mut body =
            json!({"state": light.state(), "context": context, "description": description});
        if let (Some(url), Some(object)) = (url, body.as_object_mut()) {
            object.insert("target_url".to_owned(), json!(url));
        }
        let path = self.path(&format!("statuses/{commit}"));
        self.caller
            .call::<_, RawStatus>(Verb::Write, &path, Some(&body), Some(STATUSES))
            .await
            .map(drop)
    }

    /// Whether this account has put a status of this context on the commit.
    pub(super) async fn has_status_by(
        &self,
        commit: &ObjectId,
        context: &str,
        account: u64,
    ) -> Result<bool, ForgeError> {
        let statuses = self.statuses(commit).await?;
        Ok(statuses.iter().any(|status| {
            status.context == context && status.creator.is_some_and(|found| found.id == account)
        }))
    }

    /// When this account first put a status of this context on the commit, by the server's clock.
    pub(super) async fn first_status_by(
        &self,
        commit: &ObjectId,
        context: &str,
        account: u64,
    ) -> Result<Option<String>, ForgeError> {
        let statuses = self.statuses(commit).await?;
        Ok(statuses
            .into_iter()
            .filter(|status| {
                status.context == context && status.creator.is_some_and(|found| found.id == account)
            })
            .filter_map(|status| status.created_at)
            .min())
    }

    async fn newest_status(
        &self,
        commit: &ObjectId,
        context: &str,
    ) -> Result<Option<RawStatus>, ForgeError> {
        // GitHub lists statuses newest first.
        let statuses = self.statuses(commit).await?;
        Ok(statuses
            .into_iter()
            .find(|status| status.context == context))
    }

    async fn statuses(&self, commit: &ObjectId) -> Result<Vec<RawStatus>, ForgeError> {
        let path = self.path(&format!("commits/{commit}/statuses"));
        self.caller.list(&path).await
    }
}
