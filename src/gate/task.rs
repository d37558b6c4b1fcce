//! What is to be done, and which words of the thread may be shown.
//! It must never show the words of somebody who could not have started the run.

use super::address::{Addressed, Wish};
use super::principal::account;
use super::refusal::{Code, Refusal};
use super::{Facts, Principal, TASK_BYTES_MAX, Thread, Withheld};
use crate::event::{AccountKind, Issue, IssueKind};
use crate::policy::model::Policy;

/// What is done on a pull request whose head was named, where nothing else was said.
const ADDRESS_THREAD: &str =
    "Address what was asked for in the thread of this pull request and is still open.";
/// What is done on an issue that was labelled or assigned.
const ADDRESS_ISSUE: &str = "Do what this issue asks for.";

/// The task's words, and its name where it is one of the policy's.
pub(super) fn task(
    wish: Wish,
    thread: Option<&Thread>,
) -> Result<(String, Option<String>), Refusal> {
    match wish {
        Wish::HeadShort => Err(Refusal::new(
            Code::HeadShort,
            "please write the whole commit id, not a part of it",
        )),
        Wish::Unknown => Err(Refusal::new(
            Code::TaskUnknown,
            "the policy has no task of this name",
        )),
        Wish::Ambiguous => Err(Refusal::new(
            Code::TaskAmbiguous,
            "two tasks of the policy have this cron line",
        )),
        Wish::Issue if thread.is_none() => Err(Refusal::new(
            Code::WordsNotShown,
            "the issue was written by somebody who may not start runs; please write what is to be done in a comment of your own",
        )),
        Wish::Issue => Ok((ADDRESS_ISSUE.to_owned(), None)),
        Wish::Head { then, .. } => match *then {
            Wish::Text(words) if words.is_empty() => Ok((ADDRESS_THREAD.to_owned(), None)),
            then => task(then, thread),
        },
        Wish::Text(words) => Ok((text(&words)?, None)),
        Wish::Named { name, prompt } => Ok((text(&prompt)?, Some(name))),
    }
}

pub(super) fn text(words: &str) -> Result<String, Refusal> {
    let words = words.trim();
    if words.is_empty() {
        return Err(Refusal::new(
            Code::TaskEmpty,
            "nothing was asked for; please write the task after the command",
        ));
    }
    if words.len() > TASK_BYTES_MAX {
        return Err(Refusal::new(
            Code::TaskTooLong,
            format!("the task is longer than {} KiB", TASK_BYTES_MAX / 1024),
        ));
    }
    Ok(words.to_owned())
}

/// Title and text of the thread are shown only if their author could have started the run too.
pub(super) fn words(
    addressed: &Addressed,
    policy: &Policy,
    facts: &Facts,
) -> (Option<Thread>, Vec<Withheld>) {
    let Some(issue) = addressed.issue() else {
        return (None, Vec::new());
    };
    match author(issue, policy, facts) {
        Ok(author) => {
            let thread = Thread {
                title: issue.title.clone(),
                body: issue.body.clone(),
                author,
            };
            (Some(thread), Vec::new())
        }
        Err(why) => {
            let kind = match issue.kind {
                IssueKind::Issue => "issue",
                IssueKind::Pull => "pull request",
            };
            let withheld = Withheld {
                what: format!("title and text of {kind} {}", issue.number),
                author: issue.author.as_ref().map(Principal::from),
                why,
            };
            (None, vec![withheld])
        }
    }
}

fn author(issue: &Issue, policy: &Policy, facts: &Facts) -> Result<Principal, String> {
    let author = issue
        .author
        .as_ref()
        .ok_or_else(|| "the author's account is gone".to_owned())?;
    if issue.app.is_some() && author.kind != AccountKind::Bot {
        return Err(Code::AppNotListed.word().to_owned());
    }
    account(author, policy, facts).map_err(|refusal| refusal.code().word().to_owned())
}
