//! What the decision on a release must know, asked from GitHub and read to the end of every list.
//! It must never leave out what it could not learn: that goes along as not established.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::GitHub;
use super::encoded;
use super::error::ForgeError;
use super::identity::Identity;
use super::shapes::{RawAccount, RawComment, RawCommit};
use crate::broker::forge::Trailers;
use crate::event::{Account, AccountKind};
use crate::gate::approval::{
    APPROVE_WORD, Facts, Hand, Plain, PublishedCommit, Release, Review, Says, State,
};
use crate::names::ObjectId;
use crate::policy::model::Policy;

/// Commits of a pull request that are judged; GitHub itself lists no more than 250.
const COMMITS_MAX: usize = 100;
/// People whose permission is asked for one pull request.
const PEOPLE_MAX: usize = 50;

/// A pull request and everything that the decision needs.
#[derive(Clone, Debug)]
pub struct Found {
    /// The facts.
    pub facts: Facts,
    /// Whether anything about it is Tagout's: its author, or the words of a commit.
    pub ours: Ours,
}

/// Whether a pull request is Tagout's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ours {
    /// Opened by our account, or with a commit that says so.
    Yes,
    /// Nothing of it is.
    No,
}

#[derive(Deserialize)]
struct RawPull {
    number: u64,
    state: String,
    user: Option<RawAccount>,
    head: RawEnd,
    base: RawEnd,
    #[serde(default)]
    commits: usize,
}

#[derive(Deserialize)]
struct RawEnd {
    #[serde(rename = "ref")]
    name: String,
    sha: String,
}

#[derive(Deserialize)]
struct RawReview {
    user: Option<RawAccount>,
    state: String,
    commit_id: Option<String>,
    submitted_at: Option<String>,
}

#[derive(Deserialize)]
struct RawActivity {
    actor: Option<RawAccount>,
}

#[derive(Deserialize)]
struct RawEvent {
    event: Option<String>,
    created_at: Option<String>,
}

#[derive(Deserialize)]
struct RawListedCommit {
    sha: String,
    #[serde(flatten)]
    commit: RawCommit,
}

/// A list, or the sentence that it could not be had.
fn or_say<T>(
    found: Result<Vec<T>, ForgeError>,
    what: &str,
    not_established: &mut Vec<String>,
) -> Vec<T> {
    found.unwrap_or_else(|_error| {
        not_established.push(format!("{what} could not be read"));
        Vec::new()
    })
}

impl GitHub {
    /// The open pull requests of this repository with exactly this head.
    ///
    /// # Errors
    /// No answer, or one that cannot be read.
    pub async fn pulls_at(&self, head: &str) -> Result<Vec<u64>, ForgeError> {
        let path = self.path(&format!("commits/{}/pulls", encoded(head)));
        let pulls: Vec<RawPull> = self.caller.list(&path).await?;
        Ok(pulls
            .into_iter()
            .filter(|pull| pull.state == "open" && pull.head.sha == head)
            .map(|pull| pull.number)
            .collect())
    }

    /// The open pull requests that this account has opened.
    ///
    /// # Errors
    /// No answer, or one that cannot be read.
    pub async fn own_pulls(&self, me: &Identity) -> Result<Vec<u64>, ForgeError> {
        let pulls: Vec<RawPull> = self.caller.list(&self.path("pulls?state=open&")).await?;
        Ok(pulls
            .into_iter()
            .filter(|pull| by(pull.user.as_ref(), me) == Ours::Yes)
            .map(|pull| pull.number)
            .collect())
    }

    /// Asks everything about one pull request. `me` is the account that publishes, and `judge` the one that sets the light.
    ///
    /// # Errors
    /// Where not even the pull request can be read. All else that fails is told in the facts.
    pub async fn release_facts(
        &self,
        number: u64,
        policy: &Policy,
        judge: &Identity,
        me: &Identity,
    ) -> Result<Found, ForgeError> {
        let pull: RawPull = self
            .caller
            .get(&self.path(&format!("pulls/{number}")))
            .await?;
        let head: ObjectId = pull.head.sha.parse()?;
        let mut unknown = Vec::new();
        let commits = self.commits_of(&pull, &mut unknown).await;
        let mut ours = by(pull.user.as_ref(), me);
        let (mut published, mut hands) = (Vec::new(), Vec::new());
        for commit in &commits {
            match self.published(commit, me).await {
                Ok(Some(found)) => published.push(found),
                Ok(None) => hands.extend(hands_of(commit)),
                Err(_) => unknown.push(format!("commit {} could not be judged", commit.sha)),
            }
            if Trailers::read(&commit.commit.commit.message).is_some() {
                ours = Ours::Yes;
            }
        }
        if let Some(opener) = pull.user.clone().map(Account::from)
            && opener.id != me.id
        {
            hands.push(Hand::Known(opener));
        }
        if !hands.is_empty() {
            hands.extend(self.pushers(&pull.head.name, me, &mut unknown).await);
        }
        let reviews = self.reviews(number, &mut unknown).await;
        let comments = self.releases(number, &mut unknown).await;
        let answers = self.standings(&reviews, &comments, &mut unknown).await;
        let facts = Facts {
            state: if pull.state == "open" {
                State::Open
            } else {
                State::Closed
            },
            base_branch: pull.base.name.clone(),
            retargeted_at: self.retargeted(number, &mut unknown).await,
            published,
            hands,
            reviews,
            comments,
            answers,
            sharing_head: self.sharing(&head, number, &mut unknown).await,
            head_seen_at: self.seen(&head, policy, [me, judge]).await,
            schedule_owner: policy.triggers.schedule_owner.clone(),
            not_established: unknown,
            head,
        };
        Ok(Found { facts, ours })
    }

    async fn commits_of(&self, pull: &RawPull, unknown: &mut Vec<String>) -> Vec<RawListedCommit> {
        let path = self.path(&format!("pulls/{}/commits", pull.number));
        let commits = or_say(self.caller.list(&path).await, "its commits", unknown);
        if commits.len() > COMMITS_MAX {
            unknown.push(format!("it has more than {COMMITS_MAX} commits"));
        }
        if (pull.commits != 0) && commits.len() != pull.commits {
            unknown.push("not all of its commits are listed by GitHub".to_owned());
        }
        commits
    }

    /// The trailers of a commit of ours; none if it is not ours.
    async fn published(
        &self,
        commit: &RawListedCommit,
        me: &Identity,
    ) -> Result<Option<PublishedCommit>, ForgeError> {
        let Some(trailers) = Trailers::read(&commit.commit.commit.message) else {
            return Ok(None);
        };
        let id: ObjectId = commit.sha.parse()?;
        if !self.is_by_us(&id, &commit.commit, me).await? {
            return Ok(None);
        }
        Ok(Some(PublishedCommit {
            commit: id,
            askers: trailers
                .requester
                .into_iter()
                .chain(trailers.rerunner)
                .collect(),
            base_branch: trailers.base_branch,
        }))
    }

    /// Whoever pushed to the branch, by GitHub's own record: authors of commits are free text.
    async fn pushers(&self, branch: &str, me: &Identity, unknown: &mut Vec<String>) -> Vec<Hand> {
        let path = self.path(&format!("activity?ref=refs/heads/{}&", encoded(branch)));
        let pushes: Vec<RawActivity> = or_say(self.caller.list(&path).await, "who pushed", unknown);
        let mut seen = BTreeSet::new();
        pushes
            .into_iter()
            .filter_map(|push| match push.actor.map(Account::from) {
                Some(actor) if actor.id == me.id => None,
                Some(actor) => seen.insert(actor.id).then_some(Hand::Known(actor)),
                None => Some(Hand::Unknown {
                    found_in: "a push".to_owned(),
                }),
            })
            .collect()
    }

    async fn reviews(&self, number: u64, unknown: &mut Vec<String>) -> Vec<Review> {
        let path = self.path(&format!("pulls/{number}/reviews"));
        let reviews: Vec<RawReview> = or_say(self.caller.list(&path).await, "its reviews", unknown);
        reviews
            .into_iter()
            .map(|raw| Review {
                author: raw.user.map(Account::from),
                says: Says::from_word(&raw.state),
                commit: raw.commit_id,
                at: raw.submitted_at.unwrap_or_default(),
            })
            .collect()
    }

    async fn releases(&self, number: u64, unknown: &mut Vec<String>) -> Vec<Release> {
        let path = self.path(&format!("issues/{number}/comments"));
        let comments: Vec<RawComment> =
            or_say(self.caller.list(&path).await, "its comments", unknown);
        comments
            .into_iter()
            .filter(|raw| raw.body.starts_with(APPROVE_WORD))
            .filter_map(|raw| {
                let untouched = raw.updated_at.as_deref() == Some(raw.created_at.as_str())
                    && raw.performed_via_github_app.is_none();
                Some(Release {
                    author: raw.user?.into(),
                    body: raw.body,
                    at: raw.created_at,
                    plain: if untouched { Plain::Yes } else { Plain::No },
                })
            })
            .collect()
    }

    /// The permission now of everybody whose voice may count.
    async fn standings(
        &self,
        reviews: &[Review],
        comments: &[Release],
        unknown: &mut Vec<String>,
    ) -> Vec<(String, crate::gate::Answer)> {
        let logins: BTreeSet<&str> = reviews
            .iter()
            .filter(|review| review.says != Says::Nothing)
            .filter_map(|review| review.author.as_ref())
            .chain(comments.iter().map(|comment| &comment.author))
            .filter(|author| author.kind == AccountKind::Human)
            .map(|author| author.login.as_str())
            .collect();
        if logins.len() > PEOPLE_MAX {
            unknown.push(format!("more than {PEOPLE_MAX} people have spoken"));
        }
        let mut answers = Vec::new();
        for login in logins.into_iter().take(PEOPLE_MAX) {
            answers.push((login.to_owned(), self.permission(login).await));
        }
        answers
    }

    async fn retargeted(&self, number: u64, unknown: &mut Vec<String>) -> Option<String> {
        let path = self.path(&format!("issues/{number}/events"));
        let events: Vec<RawEvent> = or_say(self.caller.list(&path).await, "its events", unknown);
        events
            .into_iter()
            .filter(|event| {
                event
                    .event
                    .as_deref()
                    .is_some_and(|word| word.starts_with("base_ref_"))
            })
            .filter_map(|event| event.created_at)
            .max()
    }

    async fn sharing(&self, head: &ObjectId, number: u64, unknown: &mut Vec<String>) -> Vec<u64> {
        let path = self.path(&format!("commits/{head}/pulls"));
        let pulls: Vec<RawPull> = or_say(
            self.caller.list(&path).await,
            "the pull requests with this head",
            unknown,
        );
        pulls
            .into_iter()
            .filter(|pull| {
                pull.number != number && pull.state == "open" && pull.head.sha == head.as_str()
            })
            .map(|pull| pull.number)
            .collect()
    }

    /// When we first put a light on the head: the server's time, since commit dates are the author's.
    async fn seen(
        &self,
        head: &ObjectId,
        policy: &Policy,
        accounts: [&Identity; 2],
    ) -> Option<String> {
        let mut seen = Vec::new();
        for account in accounts {
            let first = self.first_status_by(head, &policy.approval.context, account.id);
            seen.extend(first.await.ok().flatten());
        }
        seen.into_iter().min()
    }
}

fn by(user: Option<&RawAccount>, me: &Identity) -> Ours {
    if user.is_some_and(|user| user.id == me.id) {
        Ours::Yes
    } else {
        Ours::No
    }
}

/// Everybody whom a commit names. GitHub itself (web-flow) commits for whoever pressed its button, and that is the author.
fn hands_of(commit: &RawListedCommit) -> Vec<Hand> {
    let unknown = || Hand::Unknown {
        found_in: format!("commit {}", commit.sha),
    };
    let mut hands = vec![
        commit
            .commit
            .author
            .clone()
            .map_or_else(unknown, |author| Hand::Known(author.into())),
    ];
    match &commit.commit.committer {
        Some(committer) if committer.login == "web-flow" => {}
        Some(committer) => hands.push(Hand::Known(committer.clone().into())),
        None => hands.push(unknown()),
    }
    for line in commit.commit.commit.message.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        if key.trim().eq_ignore_ascii_case("co-authored-by") {
            hands.push(coauthor(value).map_or_else(unknown, Hand::Known));
        }
    }
    hands
}

/// The account behind `Name <ID+LOGIN@users.noreply.github.com>`; other addresses lead to no account that can be proven.
fn coauthor(text: &str) -> Option<Account> {
    let (_, address) = text.trim().strip_suffix('>')?.rsplit_once('<')?;
    let (id, rest) = address.split_once('+')?;
    let login = rest.strip_suffix("@users.noreply.github.com")?;
    Some(Account {
        login: login.to_owned(),
        id: id.parse().ok()?,
        kind: AccountKind::Human,
    })
}
