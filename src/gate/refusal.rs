//! The gate's refusals: a stable code, what it means, and one polite sentence.
//! A code once released keeps its meaning.

use std::fmt;

/// Why the gate said no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {sentence}")]
pub struct Refusal {
    code: Code,
    sentence: String,
}

impl Refusal {
    pub(super) fn new(code: Code, sentence: impl Into<String>) -> Self {
        Self {
            code,
            sentence: sentence.into(),
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// One polite sentence for the person who asked. It holds logins and words of our own, never text of the event.
    #[must_use]
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Whether the person is to be answered on the thread. Bots never are, so that two of them cannot answer each other for ever.
    #[must_use]
    pub fn answered(&self) -> bool {
        match self.code {
            Code::PermissionTooLow
            | Code::PermissionNotEstablished
            | Code::CommentChanged
            | Code::CommentNotEstablished
            | Code::TaskEmpty
            | Code::TaskTooLong
            | Code::TaskAmbiguous
            | Code::TaskUnknown
            | Code::HeadNotPinned
            | Code::HeadShort
            | Code::HeadOnIssue
            | Code::HeadMoved
            | Code::HeadFork
            | Code::PullClosed
            | Code::PullNotEstablished
            | Code::WordsNotShown
            | Code::BudgetActor
            | Code::BudgetRepository
            | Code::BudgetNotEstablished
            | Code::RunOvertaken
            | Code::BaseNotAllowed
            | Code::ReportMode => true,
            Code::CommentGone
            | Code::BotNotListed
            | Code::AppNotListed
            | Code::AccountNotHuman
            | Code::AccountChanged
            | Code::RoleUnknown
            | Code::OwnAccount
            | Code::SenderNotAuthor
            | Code::SenderUnknown
            | Code::RerunActorUnknown
            | Code::ScheduleOwnerMissing
            | Code::RepositoryMismatch
            | Code::NotAssigned
            | Code::AlreadyDone
            | Code::InActions => false,
        }
    }
}

macro_rules! codes {
    ($($variant:ident, $word:literal, $meaning:literal;)*) => {
        /// A refusal's stable code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documents.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word, kebab-case.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// What it means and what to do, for the documents.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

codes! {
    RepositoryMismatch, "repository-mismatch", "The event tells of another repository than the one that the run is in. Nothing to mend but the workflow that passed it on.";
    SenderUnknown, "sender-unknown", "The event does not say who caused it, so nobody can be asked about.";
    SenderNotAuthor, "sender-not-author", "The event was caused by somebody else than the author of the words. Write the comment yourself.";
    OwnAccount, "own-account", "The words were written by the account that Tagout itself writes as.";
    BotNotListed, "bot-not-listed", "A bot asked whose numeric account id is not in `triggers.bots`. A login that ends in `[bot]` proves nothing.";
    AppNotListed, "app-not-listed", "The comment was posted by an app on behalf of somebody, and the app's bot account is not in `triggers.bots`.";
    AccountNotHuman, "account-not-human", "The account is neither a human's nor a bot's (an organisation, or an imported one).";
    AccountChanged, "account-changed", "The account that has this login now is not the one that the event names: the login was freed and registered again.";
    RoleUnknown, "role-unknown", "GitHub answered with a role that is none of read, triage, write, maintain, admin. A custom role counts only by its base role, which this answer does not tell.";
    PermissionTooLow, "permission-too-low", "The permission is below `triggers.comment.permission`. Ask somebody who has it to write the comment.";
    PermissionNotEstablished, "permission-not-established", "GitHub did not say which permission the account has: not found, an error, or no answer in time. Try again later; nothing was started.";
    CommentGone, "comment-gone", "The comment, review or issue was deleted before the run looked at it.";
    CommentChanged, "comment-changed", "The comment, review or issue is not the one of the event any more. Write a new one.";
    CommentNotEstablished, "comment-not-established", "The comment, review or issue could not be fetched again, so nobody knows whether it still stands as sent.";
    RerunActorUnknown, "rerun-actor-unknown", "This is a re-run and the runner does not say who started it.";
    ScheduleOwnerMissing, "schedule-owner-missing", "A scheduled run needs `triggers.schedule.owner`: the human to whom it is attributed.";
    TaskEmpty, "task-empty", "Nothing was asked for. Write the task after the command word.";
    TaskTooLong, "task-too-long", "The task has more than 32 KiB.";
    TaskAmbiguous, "task-ambiguous", "Two tasks of the policy have the cron line that came due. Give each its own.";
    TaskUnknown, "task-unknown", "The policy has no task of this name.";
    HeadNotPinned, "head-not-pinned", "Nothing proves that the pull request's head stood where it stands when the words were written: the repository's activity does not tell when the server saw it pushed. Name the commit that you mean, as the answer shows.";
    HeadMoved, "head-moved", "The head is not the commit that was meant: it was pushed to after the words were written or the run failed, or the words name or are about another commit. Name the commit that you mean, as the answer shows.";
    HeadFork, "head-fork", "The pull request comes from a fork. A fork's commits are never given to a run.";
    PullClosed, "pull-closed", "The pull request is closed or merged.";
    PullNotEstablished, "pull-not-established", "GitHub did not say which commit the pull request stands at. Try again later; nothing was started.";
    WordsNotShown, "words-not-shown", "The issue was labelled or assigned, and its author may not start runs, so that nobody's words tell what to do. Write it in a comment of your own.";
    NotAssigned, "not-assigned", "The issue was assigned to another account than the one that Tagout writes as.";
    AlreadyDone, "already-done", "Another run has taken these words up: an event that is delivered twice starts one run. The run ends in `ignored`.";
    RunOvertaken, "run-overtaken", "Another run of this issue or pull request ended after the words were written. One run at a time: look at what it did and ask again.";
    BudgetActor, "budget-actor", "The account has started 30 runs today (UTC), by the entries in Tagout's own comments.";
    BudgetRepository, "budget-repository", "The repository has had 200 runs today (UTC), by the entries in Tagout's own comments.";
    BudgetNotEstablished, "budget-not-established", "Tagout's own comments of today could not be read, so that nobody knows how many runs there were. Try again later; nothing was started.";
    HeadShort, "head-short", "A shortened commit id can be made to fit another commit. Write all 40 (or 64) digits.";
    HeadOnIssue, "head-on-issue", "`run <commit>` is for pull requests; an issue has no head.";
    BaseNotAllowed, "base-not-allowed", "The run is on a branch that is neither the default branch nor listed under `bases` by the default branch's policy.";
    ReportMode, "report-mode-by-comment", "The policy says `network.mode: report`, which lets requests pass that no rule allows. Such runs are started by a schedule, a dispatch or a person at a keyboard, never by a comment.";
    InActions, "task-in-actions", "`--task` without an event is for a person at a keyboard. In GitHub Actions an event decides.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The table of `docs/refusals.md`, generated so that it cannot drift.
#[must_use]
pub fn table() -> String {
    let mut text = String::from("| code | meaning |\n|---|---|\n");
    for code in Code::ALL {
        text.push_str("| `");
        text.push_str(code.word());
        text.push_str("` | ");
        text.push_str(code.meaning());
        text.push_str(" |\n");
    }
    text
}
