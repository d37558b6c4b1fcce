//! The review that asks for changes, where the policy lets protected files through to a human.
//! It must never approve, and never say the same twice of one head.

use serde::Deserialize;
use serde_json::json;

use super::GitHub;
use super::call::Verb;
use super::error::ForgeError;
use super::identity::Identity;
use super::shapes::RawAccount;
use super::talk::once;
use crate::changeset::checks::Checked;
use crate::changeset::finding::Code;
use crate::gate::MARKER;
use crate::names::ObjectId;
use crate::sanitize;

/// The permission that reviews need.
const PULLS: &str = "pull-requests: write";
/// Protected files that the review names; the body has them all.
const FILES_MAX: usize = 50;

#[derive(Deserialize)]
struct RawReview {
    user: Option<RawAccount>,
    commit_id: Option<String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    state: String,
}

/// What became of the review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It asks for changes, and keeps the pull request from being merged where reviews are demanded.
    ForChanges,
    /// GitHub lets nobody ask for changes on a pull request of their own, so it is a comment.
    AsComment,
}

impl GitHub {
    /// Asks for changes on a head whose protected files a human must look at.
    pub(super) async fn ask_for_changes(
        &self,
        pull: u64,
        head: &ObjectId,
        checked: &Checked,
        me: &Identity,
    ) -> Result<Asked, ForgeError> {
        let marker = format!("{MARKER}protected {head} -->");
        let body = format!("{}\n\n{marker}", words(checked));
        match self.review(pull, head, "REQUEST_CHANGES", &body, me).await {
            Ok(review) if review.state == "COMMENTED" => Ok(Asked::AsComment),
            Ok(_) => Ok(Asked::ForChanges),
            Err(error) if error.is_status(422) => {
                self.review(pull, head, "COMMENT", &body, me).await?;
                Ok(Asked::AsComment)
            }
            Err(error) => Err(error),
        }
    }

    async fn review(
        &self,
        pull: u64,
        head: &ObjectId,
        event: &str,
        body: &str,
        me: &Identity,
    ) -> Result<RawReview, ForgeError> {
        let path = self.path(&format!("pulls/{pull}/reviews"));
        let look = async || {
            let reviews: Vec<RawReview> = self.caller.list(&path).await?;
            Ok(reviews.into_iter().find(|review| {
                review.user.as_ref().is_some_and(|user| user.id == me.id)
                    && review.commit_id.as_deref() == Some(head.as_str())
                    && review.body.contains(MARKER)
            }))
        };
        let words = json!({"event": event, "body": body, "commit_id": head.as_str()});
        let create = async || {
            self.caller
                .call(Verb::Post, &path, Some(&words), Some(PULLS))
                .await
        };
        once(look, create).await
    }
}

fn words(checked: &Checked) -> String {
    let paths: Vec<&str> = checked
        .findings()
        .iter()
        .filter(|finding| finding.code == Code::ProtectedPath)
        .filter_map(|finding| finding.path.as_deref())
        .collect();
    let mut text = "This changes files that run by themselves or that the policy protects. \
Look at each before you release it:\n"
        .to_owned();
    let named: Vec<&str> = paths.iter().copied().take(FILES_MAX).collect();
    text.push('\n');
    text.push_str(&sanitize::fence(&named.join("\n"), ""));
    if paths.len() > FILES_MAX {
        text.push_str(&format!(
            "\nand {} more, which the description lists",
            paths.len() - FILES_MAX
        ));
    }
    text
}
