//! What we write on a thread: one sticky comment a task, one answer a refused comment, reactions.
//! It must never take somebody else's comment for ours: the author's number decides, the marker only tells ours apart.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::call::Verb;
use super::error::ForgeError;
use super::identity::Identity;
use super::shapes::RawComment;
use super::{GitHub, encoded};
use crate::broker::forge::BODY_CHARS_MAX;
use crate::gate::budget::{self, Entry};
use crate::gate::refusal::Refusal;
use crate::gate::{Admitted, AskedBy, MARKER, Origin};
use crate::outcome::Outcome;

/// How often something is looked for and created, where the answer to creating it was unclear.
const TRIES_MAX: u32 = 3;
/// Refusals that are answered on one issue; after these we stay silent, so that nobody can make us talk without end.
const ANSWERS_PER_ISSUE_MAX: usize = 5;
/// Refusals that are answered in a repository within a day and a night.
const ANSWERS_PER_DAY_MAX: usize = 50;
/// Seconds of a day and a night.
const DAY_SECONDS: i64 = 86_400;
/// The permission that comments need.
const ISSUES: &str = "issues: write";

/// What stands before the number of the comment that an answer belongs to.
const ANSWER: &str = "<!-- tagout:answer ";

/// GitHub's reactions, those that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Seen, and at work.
    Eyes,
    /// A proposal was made.
    Rocket,
    /// It did not come to one.
    Confused,
}

impl Reaction {
    fn word(self) -> &'static str {
        match self {
            Self::Eyes => "eyes",
            Self::Rocket => "rocket",
            Self::Confused => "confused",
        }
    }
}

#[derive(Deserialize)]
struct Anything {}

impl GitHub {
    /// Answers whoever was refused, once a comment, at most `ANSWERS_PER_ISSUE_MAX` times an issue
    /// and `ANSWERS_PER_DAY_MAX` times a day. Bots are not answered.
    ///
    /// # Errors
    /// A missing permission, no answer.
    pub async fn refuse(&self, refusal: &Refusal, origin: Origin) -> Result<(), ForgeError> {
        if !refusal.answered() {
            return Ok(());
        }
        let text = format!(
            "Nothing was started: {}. (`{}`)",
            refusal.sentence(),
            refusal.code()
        );
        let me = self.identity_by_reading().await;
        self.answer(origin, &text, &me).await
    }

    /// Says on the issue how the run of a task ended, in the task's one sticky comment, and marks the comment that asked.
    /// Where there is no issue, nothing is said.
    ///
    /// # Errors
    /// As `sticky`.
    pub async fn tell(
        &self,
        admitted: &Admitted,
        outcome: Outcome,
        text: &str,
    ) -> Result<(), ForgeError> {
        let Some(origin) = admitted.origin() else {
            return Ok(());
        };
        let me = self.identity().await;
        if let Some(label) = admitted.label() {
            self.take_label_off(origin.issue, label).await?;
        }
        self.sticky(
            origin.issue,
            &admitted.task_id(),
            text,
            admitted.entry(),
            &me,
        )
        .await?;
        let reaction = if outcome.code() == 0 {
            Reaction::Rocket
        } else {
            Reaction::Confused
        };
        self.react(origin, reaction).await
    }

    /// Takes off the label that asked: one labelling is one run. A label that is gone is what is wanted.
    async fn take_label_off(&self, issue: u64, label: &str) -> Result<(), ForgeError> {
        let path = self.path(&format!(
            "issues/{issue}/labels/{}",
            encoded(label).replace('/', "%2F")
        ));
        let gone: Result<Vec<Anything>, ForgeError> = self
            .caller
            .call(Verb::Delete, &path, None::<&()>, Some(ISSUES))
            .await;
        match gone {
            Err(error) if !error.is_status(404) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Writes or edits the one sticky comment of a task on an issue or pull request, and keeps the ledger of the runs that
    /// stands in it.
    ///
    /// # Errors
    /// A longer text than GitHub takes, a missing permission, no answer.
    pub async fn sticky(
        &self,
        issue: u64,
        task_id: &str,
        text: &str,
        entry: Option<&Entry>,
        me: &Identity,
    ) -> Result<(), ForgeError> {
        let marker = format!("{MARKER}status {task_id} -->");
        let with = |before: &str| {
            let entries = budget::read(before);
            let marks = match entry.or(entries.last()) {
                Some(entry) => format!("{marker}\n{}", budget::write(&entries, entry)),
                None => marker.clone(),
            };
            marked(text, &marks)
        };
        let fresh = with("")?;
        let look = async || self.own_comment(issue, &marker, me).await;
        let create = async || self.write_comment(issue, &fresh).await;
        let found = once(look, create).await?;
        let body = with(&found.body)?;
        if found.body == body {
            return Ok(());
        }
        let path = self.path(&format!("issues/comments/{}", found.id));
        self.caller
            .call::<_, RawComment>(
                Verb::Patch,
                &path,
                Some(&json!({"body": body})),
                Some(ISSUES),
            )
            .await
            .map(drop)
    }

    /// Answers a comment that was refused: once, however often the run is started again. Here a bot's comment with our
    /// marker counts as ours, since an App's token does not tell its account to a reader: at worst we stay silent.
    async fn answer(&self, origin: Origin, text: &str, me: &Identity) -> Result<(), ForgeError> {
        let number = match origin.by {
            AskedBy::Comment(id) => id.to_string(),
            AskedBy::Review(id) => format!("review-{id}"),
            AskedBy::Line(id) => format!("line-{id}"),
            AskedBy::Issue => "issue".to_owned(),
            AskedBy::Run(id) => format!("run-{id}"),
        };
        let marker = format!("{ANSWER}{number} -->");
        let body = marked(text, &marker)?;
        let look = async || {
            let path = self.path(&format!("issues/{}/comments", origin.issue));
            let comments: Vec<RawComment> = self.caller.list(&path).await?;
            let mut answers: Vec<RawComment> = comments
                .into_iter()
                .filter(|comment| comment.is_by(me.id) || comment.is_by_bot())
                .filter(|comment| comment.body.contains(ANSWER))
                .collect();
            let same = answers
                .iter()
                .position(|comment| comment.body.contains(&marker));
            Ok(match same {
                Some(at) => Some(answers.swap_remove(at)),
                // Enough was said here: the last answer stands for this one too.
                None if answers.len() >= ANSWERS_PER_ISSUE_MAX => answers.pop(),
                None => None,
            })
        };
        if look().await?.is_none() && self.said_enough(me).await? {
            return Ok(());
        }
        let create = async || self.write_comment(origin.issue, &body).await;
        once(look, create).await.map(drop)
    }

    /// Whether refusals were answered so often of late that nobody may make us say more.
    async fn said_enough(&self, me: &Identity) -> Result<bool, ForgeError> {
        let since = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - DAY_SECONDS)
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let path = self.path(&format!("issues/comments?since={since}&"));
        let comments: Vec<RawComment> = self.caller.list(&path).await?;
        let answers = comments
            .iter()
            .filter(|comment| comment.is_by(me.id) || comment.is_by_bot())
            .filter(|comment| comment.body.contains(ANSWER));
        Ok(answers.count() >= ANSWERS_PER_DAY_MAX)
    }

    /// Puts a reaction on what asked. GitHub keeps one of a kind for each account, so that a second one changes nothing.
    /// A review's text and a workflow run take none.
    ///
    /// # Errors
    /// A missing permission, no answer.
    pub async fn react(&self, origin: Origin, reaction: Reaction) -> Result<(), ForgeError> {
        let what = match origin.by {
            AskedBy::Comment(id) => format!("issues/comments/{id}"),
            AskedBy::Line(id) => format!("pulls/comments/{id}"),
            AskedBy::Issue => format!("issues/{}", origin.issue),
            AskedBy::Review(_) | AskedBy::Run(_) => return Ok(()),
        };
        let path = self.path(&format!("{what}/reactions"));
        self.caller
            .call::<_, Anything>(
                Verb::Write,
                &path,
                Some(&json!({"content": reaction.word()})),
                Some(ISSUES),
            )
            .await
            .map(drop)
    }

    async fn own_comment(
        &self,
        issue: u64,
        marker: &str,
        me: &Identity,
    ) -> Result<Option<RawComment>, ForgeError> {
        let path = self.path(&format!("issues/{issue}/comments"));
        let comments: Vec<RawComment> = self.caller.list(&path).await?;
        Ok(comments
            .into_iter()
            .find(|comment| comment.is_by(me.id) && comment.body.contains(marker)))
    }

    async fn write_comment(&self, issue: u64, body: &str) -> Result<RawComment, ForgeError> {
        let path = self.path(&format!("issues/{issue}/comments"));
        self.caller
            .call(
                Verb::Post,
                &path,
                Some(&json!({"body": body})),
                Some(ISSUES),
            )
            .await
    }
}

fn marked(text: &str, marker: &str) -> Result<String, ForgeError> {
    let body = format!("{}\n\n{marker}", text.trim_end());
    if body.chars().count() > BODY_CHARS_MAX {
        return Err(ForgeError::Text {
            what: "comment",
            limit: BODY_CHARS_MAX,
        });
    }
    Ok(body)
}

/// Looks, and creates what is not there. Where it is unclear whether creating had an effect, it looks again first.
pub(super) async fn once<T>(
    look: impl AsyncFn() -> Result<Option<T>, ForgeError>,
    create: impl AsyncFn() -> Result<T, ForgeError>,
) -> Result<T, ForgeError> {
    let mut tries = 0;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if tries > 0 {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        tries += 1;
        match create().await {
            Err(error) if error.is_unclear() && tries < TRIES_MAX => {}
            outcome => return outcome,
        }
    }
}
