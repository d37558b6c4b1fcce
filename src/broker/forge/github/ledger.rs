//! The runs of a day, read from the comments that our own account wrote.
//! It must never count a comment of anybody else, whatever it holds.

use serde::Deserialize;

use super::GitHub;
use super::error::ForgeError;
use super::identity::Identity;
use super::shapes::RawAccount;
use crate::gate::budget::{self, Ledger, Page};
use crate::gate::pin;

#[derive(Deserialize)]
struct RawNote {
    #[serde(default)]
    body: String,
    user: Option<RawAccount>,
    updated_at: String,
    issue_url: String,
}

impl GitHub {
    /// Every entry of our comments that were changed since the day of this time began (UTC).
    pub(super) async fn ledger(&self, at: &str, me: &Identity) -> Ledger {
        if !pin::is_time(at) {
            return Ledger::NotEstablished("the event does not tell its time".to_owned());
        }
        match self.pages(at, me).await {
            Ok(pages) => Ledger::Known(pages),
            Err(error) => Ledger::NotEstablished(error.to_string()),
        }
    }

    async fn pages(&self, at: &str, me: &Identity) -> Result<Vec<Page>, ForgeError> {
        let day = at.get(..10).unwrap_or_default();
        let path = self.path(&format!("issues/comments?since={day}T00:00:00Z&"));
        let notes: Vec<RawNote> = self.caller.list(&path).await?;
        Ok(notes
            .into_iter()
            .filter(|note| note.user.as_ref().is_some_and(|user| user.id == me.id))
            .filter_map(|note| {
                let issue = note.issue_url.rsplit('/').next()?.parse().ok()?;
                let entries = budget::read(&note.body);
                (!entries.is_empty()).then_some(Page {
                    issue,
                    updated_at: note.updated_at,
                    entries,
                })
            })
            .collect())
    }
}
