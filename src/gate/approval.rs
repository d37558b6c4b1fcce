//! Whether a pull request is released: red until humans who neither asked for the change nor pushed to it approved exactly its head.
//! It must never go green on something that could not be established.

use std::collections::BTreeSet;

use super::Answer;
use super::principal::{Role, permission_word, role};
use crate::event::{Account, AccountKind};
use crate::names::{ObjectId, Permission};
use crate::policy::model;

/// The word with which a person releases a head where a review cannot: `/approve FULL-ID`.
pub const APPROVE_WORD: &str = "/approve";

/// Everything that GitHub was asked about one pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its head now.
    pub head: ObjectId,
    /// Open or not.
    pub state: State,
    /// Its base branch now.
    pub base_branch: String,
    /// When its base branch was last changed, as the server says; none if never.
    pub retargeted_at: Option<String>,
    /// The commits that we published on it, oldest first.
    pub published: Vec<PublishedCommit>,
    /// Whoever else put something on the branch: authors, committers, co-authors of other commits, and pushers.
    pub hands: Vec<Hand>,
    /// Reviews in the order in which they were given.
    pub reviews: Vec<Review>,
    /// Comments that begin with `/approve`.
    pub comments: Vec<Release>,
    /// What the permission API says of everybody who reviewed or wrote `/approve`.
    pub answers: Vec<(String, Answer)>,
    /// Other open pull requests with the same head.
    pub sharing_head: Vec<u64>,
    /// When the server first saw the head, if it is known.
    pub head_seen_at: Option<String>,
    /// The human to whom scheduled runs are attributed, by the policy of now.
    pub schedule_owner: Option<String>,
    /// What could not be asked, a short sentence each.
    pub not_established: Vec<String>,
}

/// Open or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can be merged some day.
    Open,
    /// Closed or merged.
    Closed,
}

/// A commit that we published: who asked, and for which branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedCommit {
    /// The commit.
    pub commit: ObjectId,
    /// Login and number of whoever asked, and of whoever started the run again.
    pub askers: Vec<(String, Option<u64>)>,
    /// The branch that it was proposed for.
    pub base_branch: String,
}

/// Somebody who put something on the branch besides us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hand {
    /// A known account.
    Known(Account),
    /// Words in a commit that lead to no account, so that anybody may be meant.
    Unknown {
        /// The commit, or what else it was found in.
        found_in: String,
    },
}

/// One review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Who; none where the account is gone.
    pub author: Option<Account>,
    /// What it says.
    pub says: Says,
    /// The commit that was looked at.
    pub commit: Option<String>,
    /// When the server took it.
    pub at: String,
}

/// What a review says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// APPROVED.
    Approved,
    /// CHANGES_REQUESTED.
    ChangesRequested,
    /// DISMISSED.
    Dismissed,
    /// COMMENTED or PENDING: it changes nothing.
    Nothing,
    /// A word that we do not know: it voids what the person said before.
    Unknown,
}

impl Says {
    /// Reads GitHub's word.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "APPROVED" => Self::Approved,
            "CHANGES_REQUESTED" => Self::ChangesRequested,
            "DISMISSED" => Self::Dismissed,
            "COMMENTED" | "PENDING" => Self::Nothing,
            _ => Self::Unknown,
        }
    }
}

/// A comment that begins with `/approve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Who wrote it.
    pub author: Account,
    /// Its whole text.
    pub body: String,
    /// When the server took it.
    pub at: String,
    /// Whether it was edited or posted by an app.
    pub plain: Plain,
}

/// Whether a comment is what its author typed at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// It is.
    Yes,
    /// It was edited, or posted by an app.
    No,
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Released by these people.
    Approved {
        /// Their logins.
        by: Vec<String>,
    },
    /// Not released (yet).
    Pending {
        /// Who and what is missing, the weightiest first.
        missing: Vec<Missing>,
    },
}

/// One thing that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The stable code.
    pub code: Code,
    /// One sentence.
    pub sentence: String,
}

macro_rules! codes {
    ($($variant:ident, $word:literal, $meaning:literal;)*) => {
        /// Why a pull request is not released.
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
    PullClosed, "pull-closed", "The pull request is closed.";
    NotEstablished, "not-established", "GitHub did not answer a question, or has more than is read of a list. It is asked again at the next event.";
    NotPublished, "not-published", "No commit of the pull request is one that Tagout published, so nobody knows who asked for it.";
    HandUnknown, "hand-unknown", "A commit names an author, committer or co-author whom GitHub knows no account for: it could be the approver.";
    BaseRetargeted, "base-retargeted", "The pull request is for another base branch than the one that it was made for.";
    HeadShared, "head-shared", "Another open pull request has the same head: a release here would release it there too.";
    ChangesRequested, "changes-requested", "Somebody with permission asks for changes. They approve, or their review is dismissed.";
    ApprovalsMissing, "approvals-missing", "Fewer people than `approval.required` have approved exactly this head.";
    ApproverAsked, "approver-asked", "Who asked for the change, or started the run again, or owns the schedule, cannot release it.";
    ApproverPushed, "approver-pushed", "Who put something on the branch cannot release it.";
    ApproverNotPermitted, "approver-not-permitted", "The permission is below `approval.permission` now, or could not be established.";
    ApproverNotHuman, "approver-not-human", "Only a human's account releases.";
    HeadMoved, "head-moved", "The approval was for another commit than the head. Approve again.";
    BeforeRetarget, "before-retarget", "The approval was given before the base branch was changed. Approve again.";
    ReleaseNotPlain, "release-not-plain", "A `/approve` comment that was edited, or posted by an app, does not count. Write a new one.";
    ReleaseNotExact, "release-not-exact", "`/approve` needs the full id of the head, and nothing else on its line.";
    ReleaseTooEarly, "release-too-early", "The `/approve` comment is not known to be younger than the head.";
}

/// Decides. Pure: everything was asked before.
#[must_use]
pub fn decide(facts: &Facts, policy: &model::Approval) -> Decision {
    let mut missing = standing_in_the_way(facts);
    let mut by: BTreeSet<u64> = BTreeSet::new();
    let mut names = Vec::new();
    let mut voices = Vec::new();
    for review in last_reviews(facts) {
        voices.push(review_counts(review, facts, policy));
    }
    for comment in &facts.comments {
        voices.push(comment_counts(comment, facts, policy));
    }
    for voice in voices {
        match voice {
            Voice::For(account) => {
                if by.insert(account.id) {
                    names.push(account.login.clone());
                }
            }
            Voice::Against(found) | Voice::Void(found) => missing.push(found),
            Voice::Silent => {}
        }
    }
    let blocking = missing.iter().any(|found| blocks(found.code));
    let enough = u32::try_from(by.len()).unwrap_or(u32::MAX) >= policy.required.max(1);
    if enough && !blocking {
        return Decision::Approved { by: names };
    }
    if !enough {
        missing.push(Missing {
            code: Code::ApprovalsMissing,
            sentence: format!(
                "{} of {} approvals of head {} by people with the permission {}",
                by.len(),
                policy.required.max(1),
                facts.head.as_str().get(..7).unwrap_or_default(),
                permission_word(policy.permission)
            ),
        });
    }
    missing.sort_by_key(|found| (!blocks(found.code), found.code));
    missing.dedup();
    Decision::Pending { missing }
}

/// Whether a code keeps the light red by itself, however many approve.
fn blocks(code: Code) -> bool {
    match code {
        Code::PullClosed
        | Code::NotEstablished
        | Code::NotPublished
        | Code::HandUnknown
        | Code::BaseRetargeted
        | Code::HeadShared
        | Code::ChangesRequested => true,
        Code::ApprovalsMissing
        | Code::ApproverAsked
        | Code::ApproverPushed
        | Code::ApproverNotPermitted
        | Code::ApproverNotHuman
        | Code::HeadMoved
        | Code::BeforeRetarget
        | Code::ReleaseNotPlain
        | Code::ReleaseNotExact
        | Code::ReleaseTooEarly => false,
    }
}

enum Voice<'a> {
    For(&'a Account),
    Against(Missing),
    Void(Missing),
    Silent,
}

/// What keeps the light red whoever approves.
fn standing_in_the_way(facts: &Facts) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut add = |code, sentence: String| missing.push(Missing { code, sentence });
    match facts.state {
        State::Open => {}
        State::Closed => add(Code::PullClosed, "the pull request is closed".to_owned()),
    }
    for what in &facts.not_established {
        add(Code::NotEstablished, what.clone());
    }
    if facts.published.is_empty() {
        add(
            Code::NotPublished,
            "none of its commits is known to be published by Tagout".to_owned(),
        );
    }
    for hand in &facts.hands {
        match hand {
            Hand::Known(_) => {}
            Hand::Unknown { found_in } => add(
                Code::HandUnknown,
                format!("{found_in} names somebody without a known account"),
            ),
        }
    }
    if let Some(published) = facts.published.last()
        && published.base_branch != facts.base_branch
    {
        add(
            Code::BaseRetargeted,
            "the base branch is not the one that it was proposed for".to_owned(),
        );
    }
    for number in &facts.sharing_head {
        add(
            Code::HeadShared,
            format!("pull request {number} has the same head"),
        );
    }
    missing
}

/// The last review of each person that is more than a comment.
fn last_reviews(facts: &Facts) -> Vec<&Review> {
    let mut last: Vec<&Review> = Vec::new();
    for review in &facts.reviews {
        let Some(author) = &review.author else {
            continue;
        };
        match review.says {
            Says::Nothing => {}
            Says::Approved | Says::ChangesRequested | Says::Dismissed | Says::Unknown => {
                last.retain(|known| {
                    known
                        .author
                        .as_ref()
                        .is_none_or(|known| known.id != author.id)
                });
                last.push(review);
            }
        }
    }
    last
}

fn review_counts<'a>(review: &'a Review, facts: &Facts, policy: &model::Approval) -> Voice<'a> {
    let Some(author) = &review.author else {
        return Voice::Silent;
    };
    match review.says {
        Says::Nothing | Says::Dismissed | Says::Unknown => Voice::Silent,
        Says::ChangesRequested => match permitted(author, facts, policy.permission) {
            Ok(()) => Voice::Against(Missing {
                code: Code::ChangesRequested,
                sentence: format!("{} asks for changes", author.login),
            }),
            Err(_) => Voice::Silent,
        },
        Says::Approved => {
            if review.commit.as_deref() != Some(facts.head.as_str()) {
                return void(
                    Code::HeadMoved,
                    author,
                    "approved another commit than the head",
                );
            }
            if retargeted_after(facts, &review.at) {
                return void(
                    Code::BeforeRetarget,
                    author,
                    "approved before the base branch was changed",
                );
            }
            qualified(author, facts, policy)
        }
    }
}

fn comment_counts<'a>(comment: &'a Release, facts: &Facts, policy: &model::Approval) -> Voice<'a> {
    let author = &comment.author;
    if permitted(author, facts, policy.permission).is_err() {
        // Whoever has no permission is not answered: anybody may write comments.
        return Voice::Silent;
    }
    match comment.plain {
        Plain::Yes => {}
        Plain::No => {
            return void(
                Code::ReleaseNotPlain,
                author,
                "wrote /approve, but the comment was edited or posted by an app",
            );
        }
    }
    let named = comment
        .body
        .lines()
        .next()
        .and_then(|line| line.trim_end().strip_prefix(APPROVE_WORD))
        .map(str::trim);
    match named.map(str::parse::<ObjectId>) {
        Some(Ok(named)) if named == facts.head => {}
        Some(Ok(_)) => {
            return void(
                Code::HeadMoved,
                author,
                "named another commit than the head",
            );
        }
        Some(Err(_)) | None => {
            return void(
                Code::ReleaseNotExact,
                author,
                "wrote /approve without the full id of the head",
            );
        }
    }
    let younger = facts
        .head_seen_at
        .as_deref()
        .is_some_and(|seen| comment.at.as_str() > seen);
    if !younger {
        return void(
            Code::ReleaseTooEarly,
            author,
            "wrote /approve before the head was seen here",
        );
    }
    if retargeted_after(facts, &comment.at) {
        return void(
            Code::BeforeRetarget,
            author,
            "wrote /approve before the base branch was changed",
        );
    }
    qualified(author, facts, policy)
}

/// GitHub's times are ISO 8601 in UTC with a `Z`, all of one length, so that their order is that of their letters.
fn retargeted_after(facts: &Facts, at: &str) -> bool {
    facts
        .retargeted_at
        .as_deref()
        .is_some_and(|changed| changed >= at)
}

fn qualified<'a>(author: &'a Account, facts: &Facts, policy: &model::Approval) -> Voice<'a> {
    match author.kind {
        AccountKind::Human => {}
        AccountKind::Bot | AccountKind::Other => {
            return void(Code::ApproverNotHuman, author, "approved, but is no human");
        }
    }
    let asked = facts
        .published
        .iter()
        .flat_map(|commit| &commit.askers)
        .any(|(login, id)| *id == Some(author.id) || login.eq_ignore_ascii_case(&author.login));
    let owns = facts
        .schedule_owner
        .as_deref()
        .is_some_and(|owner| owner.eq_ignore_ascii_case(&author.login));
    if asked || owns {
        return void(
            Code::ApproverAsked,
            author,
            "approved, but asked for the change",
        );
    }
    let pushed = facts.hands.iter().any(|hand| match hand {
        Hand::Known(known) => known.id == author.id,
        Hand::Unknown { .. } => false,
    });
    if pushed {
        return void(
            Code::ApproverPushed,
            author,
            "approved, but put something on the branch",
        );
    }
    match permitted(author, facts, policy.permission) {
        Ok(()) => Voice::For(author),
        Err(missing) => Voice::Void(missing),
    }
}

fn permitted(author: &Account, facts: &Facts, needed: Permission) -> Result<(), Missing> {
    let no = |why: &str| {
        Err(Missing {
            code: Code::ApproverNotPermitted,
            sentence: format!("{} approved, but {why}", author.login),
        })
    };
    let answer = facts
        .answers
        .iter()
        .find_map(|(login, answer)| (*login == author.login).then_some(answer));
    match answer {
        Some(Answer::Known(standing)) if standing.account.id == author.id => {
            match role(&standing.role) {
                Role::Has(permission) if permission >= needed => Ok(()),
                Role::Has(_) | Role::Nothing | Role::Unknown => no("has not the permission now"),
            }
        }
        Some(Answer::Known(_)) => no("the login belongs to another account now"),
        Some(Answer::NotEstablished(_)) | None => no("the permission could not be established"),
    }
}

fn void<'a>(code: Code, author: &Account, what: &str) -> Voice<'a> {
    Voice::Void(Missing {
        code,
        sentence: format!("{} {what}", author.login),
    })
}

/// The table of `docs/approval.md`, generated so that it cannot drift.
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
