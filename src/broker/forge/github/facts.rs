//! What the gate must know, asked from GitHub in the gate's order.
//! It must never turn an error into an answer: what could not be asked is handed on as not established.

use serde::Deserialize;

use super::call::Verb;
use super::error::ForgeError;
use super::shapes::{RawBranch, RawComment, RawComparison, RawPermission, RawRepository};
use super::{GitHub, encoded};
use crate::gate::{Addressed, Answer, Base, Facts, Purpose, Refetched, Runner, Standing};
use crate::names::{NotValid, ObjectId};

/// Bytes of the largest policy file that is read from GitHub.
const POLICY_BYTES_MAX: usize = 256 * 1024;
/// Characters of the longest login that is asked about.
const LOGIN_CHARS_MAX: usize = 100;

#[derive(Deserialize)]
struct RawContents {
    #[serde(rename = "type")]
    kind: String,
    size: usize,
    encoding: Option<String>,
    content: Option<String>,
}

impl GitHub {
    /// Asks everything that the gate needs. The permission of whoever asks comes first; if one of these answers is
    /// missing, nothing more is asked, since the gate will refuse.
    pub async fn facts(&self, addressed: &Addressed, runner: Runner, base: Base) -> Facts {
        let mut answers = Vec::new();
        let mut stopped = false;
        for question in addressed.questions(&runner) {
            let answer = if stopped {
                Answer::NotEstablished("not asked".to_owned())
            } else {
                self.permission(&question.login).await
            };
            stopped |= question.purpose == Purpose::Admission
                && matches!(answer, Answer::NotEstablished(_));
            answers.push((question.login, answer));
        }
        let comment = match addressed.comment() {
            None => Refetched::NotNeeded,
            Some(_) if stopped => Refetched::NotEstablished("not asked".to_owned()),
            Some(id) => self.comment(id).await,
        };
        let own_account = if stopped {
            None
        } else {
            Some(self.identity_by_reading().await.id)
        };
        Facts {
            runner,
            base,
            answers,
            comment,
            own_account,
        }
    }

    /// The permission of one account now (`GET /repos/{}/collaborators/{login}/permission`, `role_name`).
    pub async fn permission(&self, login: &str) -> Answer {
        let plain = |letter: char| {
            letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '[' | ']')
        };
        if login.is_empty() || login.len() > LOGIN_CHARS_MAX || !login.chars().all(plain) {
            return Answer::NotEstablished("the login is not one".to_owned());
        }
        let path = self.path(&format!("collaborators/{}/permission", encoded(login)));
        match self.caller.get::<RawPermission>(&path).await {
            Ok(RawPermission {
                role_name,
                user: Some(user),
            }) => Answer::Known(Standing {
                account: user.into(),
                role: role_name,
            }),
            Ok(RawPermission { user: None, .. }) => {
                Answer::NotEstablished("the answer names no account".to_owned())
            }
            Err(error) => Answer::NotEstablished(error.to_string()),
        }
    }

    /// The comment of this number as it is now.
    pub async fn comment(&self, id: u64) -> Refetched {
        let path = self.path(&format!("issues/comments/{id}"));
        match self.caller.find::<RawComment>(&path).await {
            Ok(Some(raw)) => raw.comment().map_or_else(
                || Refetched::NotEstablished("its author's account is gone".to_owned()),
                |comment| Refetched::Now(Box::new(comment)),
            ),
            Ok(None) => Refetched::Gone,
            Err(error) => Refetched::NotEstablished(error.to_string()),
        }
    }

    /// The default branch's name.
    ///
    /// # Errors
    /// No answer, or one that cannot be used.
    pub async fn default_branch(&self) -> Result<String, ForgeError> {
        let path = format!("/repos/{}", self.repository);
        Ok(self
            .caller
            .get::<RawRepository>(&path)
            .await?
            .default_branch)
    }

    /// The head of a branch.
    ///
    /// # Errors
    /// No such branch, no answer, or one that cannot be used.
    pub async fn branch_head(&self, branch: &str) -> Result<ObjectId, ForgeError> {
        let path = self.path(&format!("branches/{}", encoded(branch)));
        let found = self.caller.get::<RawBranch>(&path).await?;
        Ok(found.commit.sha.parse::<ObjectId>()?)
    }

    /// Whether a commit is on a branch: its head, or an ancestor of it.
    ///
    /// # Errors
    /// No answer, or one that cannot be used.
    pub async fn is_on(&self, commit: &ObjectId, branch: &str) -> Result<bool, ForgeError> {
        let path = self.path(&format!(
            "compare/{commit}...{}?per_page=1",
            encoded(branch)
        ));
        let comparison = self.caller.find::<RawComparison>(&path).await?;
        Ok(comparison.is_some_and(|found| matches!(found.status.as_str(), "ahead" | "identical")))
    }

    /// A regular file of a commit, at most `limit_bytes` long; none where there is no such file.
    ///
    /// # Errors
    /// A folder, link or submodule in its place, a longer file, no answer.
    pub async fn file(
        &self,
        path: &str,
        commit: &ObjectId,
        limit_bytes: usize,
    ) -> Result<Option<Vec<u8>>, ForgeError> {
        let what = format!("contents/{}?ref={commit}", encoded(path));
        let found = self
            .caller
            .find::<serde_json::Value>(&self.path(&what))
            .await?;
        let Some(found) = found else { return Ok(None) };
        let refused = |why| ForgeError::Word(NotValid::new("file in the repository", why));
        let found: RawContents =
            serde_json::from_value(found).map_err(|_error| refused("a folder is in its place"))?;
        if found.kind != "file" || found.encoding.as_deref() != Some("base64") {
            return Err(refused("it is not a regular file of a readable size"));
        }
        if found.size > limit_bytes {
            return Err(ForgeError::TooLong {
                what: format!("{} {path}", Verb::Get.word()),
                limit_bytes,
            });
        }
        let text: String = found
            .content
            .unwrap_or_default()
            .split_ascii_whitespace()
            .collect();
        let bytes = super::commit::from_base64(&text)
            .ok_or_else(|| refused("its content is not base64"))?;
        if bytes.len() == found.size {
            Ok(Some(bytes))
        } else {
            Err(refused("its content is not of its size"))
        }
    }

    /// The policy file of a commit, `.github/tagout.yml`; none where there is none.
    ///
    /// # Errors
    /// As `file`.
    pub async fn policy_file(&self, commit: &ObjectId) -> Result<Option<Vec<u8>>, ForgeError> {
        self.file(".github/tagout.yml", commit, POLICY_BYTES_MAX)
            .await
    }
}
