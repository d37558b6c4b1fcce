//! Which words of a thread may be shown to the agent: those of people who may start runs, from before the run was asked for.
//! It must never show what was written or changed later, nor words whose author or time is not known.

use std::collections::BTreeMap;

use super::principal::account;
use super::refusal::Code;
use super::{Admitted, AskedBy, Facts, GITHUB_ACTIONS_BOT, MARKER, pin};
use crate::event::{Account, AccountKind};
use crate::policy::model::Policy;

/// Texts of a thread that are shown, the newest ones.
pub const ITEMS_MAX: usize = 60;
/// Characters of one text that are shown; the rest is cut and said to be.
pub const ITEM_CHARS_MAX: usize = 8_000;
/// People whose permission is asked for one thread.
pub const AUTHORS_MAX: usize = 30;

/// One text of a thread, as GitHub has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Which one.
    pub by: AskedBy,
    /// Its author; none where the account is gone.
    pub author: Option<Account>,
    /// Whether an app wrote it on behalf of its author.
    pub by_app: bool,
    /// When the server saw it first.
    pub created_at: Option<String>,
    /// When the server saw it last changed.
    pub updated_at: Option<String>,
    /// File and line, for a comment on a line.
    pub place: Option<(String, Option<u64>)>,
    /// Its text.
    pub body: String,
}

/// One text that is shown, not yet sanitised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Which one.
    pub by: AskedBy,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub at: String,
    /// File and line.
    pub place: Option<(String, Option<u64>)>,
    /// Its text, cut at `ITEM_CHARS_MAX`.
    pub body: String,
}

/// A file that the agent can read beside the workspace. Both texts are our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// Its path inside.
    pub path: String,
    /// What it is.
    pub what: String,
}

/// What is shown of a thread beside its title and text, and how much is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Oldest first.
    pub shown: Vec<Shown>,
    /// How many texts were withheld, by the reason.
    pub withheld: BTreeMap<&'static str, usize>,
    /// What was attached, as files.
    pub files: Vec<Handed>,
}

/// The people whose permission must be known to judge these texts, each once, those of the newest texts first.
#[must_use]
pub fn authors(items: &[Item], at: &str) -> Vec<String> {
    let mut logins: Vec<String> = Vec::new();
    for item in items.iter().rev().filter(|item| early(item, at)) {
        let Some(author) = &item.author else { continue };
        let asked = author.kind == AccountKind::Human && !logins.contains(&author.login);
        if asked && logins.len() < AUTHORS_MAX {
            logins.push(author.login.clone());
        }
    }
    logins
}

/// Picks what is shown of the texts, oldest first. `facts` hold the answers about their authors.
#[must_use]
pub fn select(items: Vec<Item>, admitted: &Admitted, policy: &Policy, facts: &Facts) -> Context {
    let mut context = Context::default();
    let Some(at) = admitted.at() else {
        return context;
    };
    let asked = admitted.origin().map(|origin| origin.by);
    for item in items {
        // What asked is the task itself, and our own words tell the agent nothing.
        if Some(item.by) == asked || is_own(&item, facts) || item.body.trim().is_empty() {
            continue;
        }
        match judge(&item, at, policy, facts) {
            Ok(shown) => context.shown.push(shown),
            Err(why) => *context.withheld.entry(why).or_default() += 1,
        }
    }
    let over = context.shown.len().saturating_sub(ITEMS_MAX);
    if over > 0 {
        context.shown.drain(..over);
        context.withheld.insert("too-many", over);
    }
    context
}

fn judge(item: &Item, at: &str, policy: &Policy, facts: &Facts) -> Result<Shown, &'static str> {
    let author = item.author.as_ref().ok_or("author-gone")?;
    if !early(item, at) {
        return Err("later-than-asked");
    }
    if item.by_app && author.kind != AccountKind::Bot {
        return Err(Code::AppNotListed.word());
    }
    account(author, policy, facts).map_err(|refusal| refusal.code().word())?;
    let mut body: String = item.body.chars().take(ITEM_CHARS_MAX).collect();
    if body.len() < item.body.len() {
        body.push_str("\n(cut)");
    }
    Ok(Shown {
        by: item.by,
        author: author.login.clone(),
        at: item.created_at.clone().unwrap_or_default(),
        place: item.place.clone(),
        body,
    })
}

/// Written and last changed before the run was asked for, by times that can be compared.
fn early(item: &Item, at: &str) -> bool {
    let before = |time: &Option<String>| {
        time.as_deref()
            .is_some_and(|time| pin::is_time(time) && pin::is_time(at) && time < at)
    };
    before(&item.created_at) && before(&item.updated_at)
}

fn is_own(item: &Item, facts: &Facts) -> bool {
    item.author.as_ref().is_some_and(|author| {
        Some(author.id) == facts.own_account
            || (author.id == GITHUB_ACTIONS_BOT && item.body.contains(MARKER))
    })
}
