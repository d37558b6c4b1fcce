//! As whom a token writes: needed to know our own comments, branches and pull requests again.
//! It must never take a marker or a name for an identity; the account's number counts.

use serde::Deserialize;
use serde_json::json;

use super::error::ForgeError;
use super::owner::ACTIONS_LOGIN;
use super::shapes::RawAccount;
use super::{GitHub, encoded};
use crate::gate::GITHUB_ACTIONS_BOT;

/// The account that our writes are attributed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its login.
    pub login: String,
    /// Its number.
    pub id: u64,
    /// How it is known.
    pub certainty: Certainty,
}

/// How an identity is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// GitHub said so.
    Asked,
    /// Nobody would say; `GITHUB_TOKEN` of github.com writes as `github-actions[bot]`, and that is what we go by.
    Assumed,
}

#[derive(Deserialize)]
struct Viewer {
    viewer: ViewerFields,
}

#[derive(Deserialize)]
struct ViewerFields {
    login: String,
    #[serde(rename = "databaseId")]
    database_id: Option<u64>,
}

impl GitHub {
    /// Asks who we are. GraphQL's `viewer` answers for every kind of token, also for `GITHUB_TOKEN` and App tokens, to
    /// which `GET /user` is forbidden. Where neither answers, `github-actions[bot]` is assumed: then at worst a comment
    /// of ours is not found again, and a branch of ours is left alone.
    pub async fn identity(&self) -> Identity {
        if let Some(known) = self.known.get() {
            return known.clone();
        }
        let found = self.asked_identity().await;
        if found.certainty == Certainty::Asked {
            return self.known.get_or_init(|| found).clone();
        }
        found
    }

    /// The account that every workflow's GITHUB_TOKEN writes as, by its number on this server.
    ///
    /// # Errors
    /// No answer.
    pub async fn workflow_account(&self) -> Result<Identity, ForgeError> {
        let path = format!("/users/{}", encoded(ACTIONS_LOGIN));
        let account: RawAccount = self.caller.get(&path).await?;
        Ok(Identity {
            login: account.login,
            id: account.id,
            certainty: Certainty::Asked,
        })
    }

    /// Asks who we are by reading alone: GraphQL is sent as POST, and before the gate has said yes nothing that looks
    /// like a write may leave. `GET /user` is forbidden to `GITHUB_TOKEN` and App tokens; then it is assumed.
    pub async fn identity_by_reading(&self) -> Identity {
        if let Some(known) = self.known.get() {
            return known.clone();
        }
        match self.caller.get::<RawAccount>("/user").await {
            Ok(user) => Identity {
                login: user.login,
                id: user.id,
                certainty: Certainty::Asked,
            },
            Err(_) => Identity {
                login: "github-actions[bot]".to_owned(),
                id: GITHUB_ACTIONS_BOT,
                certainty: Certainty::Assumed,
            },
        }
    }

    async fn asked_identity(&self) -> Identity {
        let viewer = self
            .caller
            .graphql::<Viewer>(
                "who the token belongs to",
                "query{viewer{login databaseId}}",
                json!({}),
                None,
            )
            .await
            .ok()
            .and_then(|answer| {
                let id = answer.viewer.database_id?;
                Some((answer.viewer.login, id))
            });
        match viewer {
            Some((login, id)) => Identity {
                login,
                id,
                certainty: Certainty::Asked,
            },
            None => self.identity_by_reading().await,
        }
    }
}
