//! What the gate must know, asked from GitHub in the gate's order.
//! It must never turn an error into an answer: what could not be asked is handed on as not established.

use serde::Deserialize;

use super::call::Verb;
use super::error::ForgeError;
use super::shapes::{RawBranch, RawComment, RawComparison, RawIssue, RawPermission, RawRepository};
use super::{GitHub, encoded};
use crate::cli::Forge;
use crate::event::IssueKind;
use crate::gate::budget::Ledger;
use crate::gate::pin::Pulled;
use crate::gate::{
    self, Addressed, Answer, AskedBy, Base, Facts, Origin, Purpose, Refetched, Runner, Standing,
};
use crate::names::{NotValid, ObjectId};
use crate::policy::model::Policy;
use crate::policy::parse::{Others, extend};

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
    /// Asks everything that the gate needs. The permission of whoever asks comes first; until the gate would say yes to
    /// it nothing of the repository is asked. Runs are counted where they leave something on a thread, which a local proposal
    /// does not.
    pub async fn facts(
        &self,
        addressed: &Addressed,
        policy: &Policy,
        runner: Runner,
        base: Base,
        forge: Forge,
    ) -> Facts {
        let mut facts = Facts {
            answers: Vec::new(),
            comment: Refetched::NotEstablished("not asked".to_owned()),
            own_account: None,
            pull: Pulled::NotEstablished("not asked".to_owned()),
            ledger: Ledger::NotEstablished("not asked".to_owned()),
            runner,
            base,
        };
        let (first, later): (Vec<_>, Vec<_>) = addressed
            .questions(&facts.runner)
            .into_iter()
            .partition(|question| question.purpose == Purpose::Admission);
        for question in first {
            let answer = self.permission(&question.login).await;
            let known = matches!(answer, Answer::Known(_));
            facts.answers.push((question.login, answer));
            if !known {
                return facts;
            }
        }
        let me = self.identity_by_reading().await;
        facts.own_account = Some(me.id);
        if !gate::may_ask(addressed, policy, &facts) {
            return facts;
        }
        for question in later {
            let answer = self.permission(&question.login).await;
            facts.answers.push((question.login, answer));
        }
        facts.comment = self.words(addressed).await;
        let origin = addressed.origin();
        facts.ledger = match (forge, origin, addressed.at()) {
            (Forge::Github, Some(_), Some(at)) => self.ledger(at, &me).await,
            (Forge::Github | Forge::Local, _, _) => Ledger::NotNeeded,
        };
        facts.pull = match origin {
            Some(Origin {
                issue,
                kind: IssueKind::Pull,
                ..
            }) => self.pulled(issue, policy, &me).await,
            Some(_) | None => Pulled::NotNeeded,
        };
        facts
    }

    /// Counts the runs again by the account that this token really writes as, where reading alone did not tell it. An App's
    /// token tells its account to GraphQL alone, which is sent as POST: for whoever may write, and after the gate's yes.
    /// True where that made a difference.
    pub async fn recount(&self, addressed: &Addressed, facts: &mut Facts) -> bool {
        let (Ledger::Known(_), Some(at)) = (&facts.ledger, addressed.at()) else {
            return false;
        };
        let me = self.identity().await;
        if facts.own_account == Some(me.id) {
            return false;
        }
        facts.own_account = Some(me.id);
        facts.ledger = self.ledger(at, &me).await;
        true
    }

    /// The words that asked, as they stand now.
    async fn words(&self, addressed: &Addressed) -> Refetched {
        let Some(origin) = addressed.origin() else {
            return Refetched::NotNeeded;
        };
        let path = match origin.by {
            AskedBy::Comment(id) => format!("issues/comments/{id}"),
            AskedBy::Line(id) => format!("pulls/comments/{id}"),
            AskedBy::Review(id) => format!("pulls/{}/reviews/{id}", origin.issue),
            AskedBy::Issue => return self.issue_words(origin.issue).await,
            AskedBy::Run(_) => return Refetched::NotNeeded,
        };
        match self.caller.find::<RawComment>(&self.path(&path)).await {
            Ok(Some(raw)) => raw.comment().map_or_else(
                || Refetched::NotEstablished("its author's account is gone".to_owned()),
                |comment| Refetched::Now(Box::new(comment)),
            ),
            Ok(None) => Refetched::Gone,
            Err(error) => Refetched::NotEstablished(error.to_string()),
        }
    }

    async fn issue_words(&self, number: u64) -> Refetched {
        let path = self.path(&format!("issues/{number}"));
        match self.caller.find::<RawIssue>(&path).await {
            Ok(Some(raw)) => Refetched::Now(Box::new(raw.issue().words())),
            Ok(None) => Refetched::Gone,
            Err(error) => Refetched::NotEstablished(error.to_string()),
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

    /// The policy file of a commit, `.github/tagout.yml`, none where there is none, and the files that it builds on.
    ///
    /// # Errors
    /// As `file`.
    pub async fn policy_files(
        &self,
        commit: &ObjectId,
    ) -> Result<(Option<Vec<u8>>, Others), ForgeError> {
        let extended =
            |bytes: &[u8]| -> Vec<String> { extend::files(&String::from_utf8_lossy(bytes)) };
        let policy = self
            .file(".github/tagout.yml", commit, POLICY_BYTES_MAX)
            .await?;
        let mut others = Others::new();
        let mut waiting = extended(policy.as_deref().unwrap_or_default());
        while let Some(path) = waiting.pop() {
            if others.len() < extend::FILES_MAX
                && !others.contains_key(&path)
                && let Some(bytes) = self.file(&path, commit, POLICY_BYTES_MAX).await?
            {
                waiting.extend(extended(&bytes));
                others.insert(path, String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        Ok((policy, others))
    }
}
