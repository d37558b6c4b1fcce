//! Who asks: the judgement on one account, and whether the words still stand.
//! It must never take a missing answer for a yes.

use super::address::{Addressed, Said, Source};
use super::refusal::{Code, Refusal};
use super::{Answer, Facts, Principal, Refetched, Standing};
use crate::event::{Account, AccountKind, Comment, Event};
use crate::names::Permission;
use crate::policy::model::Policy;

/// Whoever asked for the run, and whoever else must be counted as a requester.
pub(super) fn requesters(
    addressed: &Addressed,
    policy: &Policy,
    facts: &Facts,
) -> Result<(Principal, Option<Principal>), Refusal> {
    let unknown = || Refusal::new(Code::SenderUnknown, "the event does not say who caused it");
    let mut second = None;
    let requester = match &addressed.source {
        Source::Words(said) => author(said, &addressed.event, policy, facts)?,
        Source::Raised(_, sender) => {
            assigned_to_us(addressed, facts)?;
            account(sender, policy, facts)?
        }
        Source::Sender(sender) => account(sender, policy, facts)?,
        Source::Run(failed) => {
            let actor = account(&failed.actor, policy, facts)?;
            if failed.sender.id != failed.actor.id {
                second = Some(account(&failed.sender, policy, facts)?);
            }
            actor
        }
        Source::Owner(owner) => schedule_owner(owner.as_deref(), policy, facts)?,
        Source::Nobody => return Err(unknown()),
    };
    let rerunner = rerunner(&requester, policy, facts)?;
    Ok((requester, rerunner.or(second)))
}

/// An assignment is for us only if it is to the account that we write as.
fn assigned_to_us(addressed: &Addressed, facts: &Facts) -> Result<(), Refusal> {
    match addressed.assignee() {
        Some(assignee) if facts.own_account != Some(assignee) => Err(Refusal::new(
            Code::NotAssigned,
            "the issue was not assigned to the account that Tagout writes as",
        )),
        Some(_) | None => Ok(()),
    }
}

/// The author of words: the words' author and the event's sender must be one, and no unlisted app may stand between.
fn author(
    said: &Said,
    event: &Event,
    policy: &Policy,
    facts: &Facts,
) -> Result<Principal, Refusal> {
    let author = &said.words.author;
    let sender = event
        .sender()
        .ok_or_else(|| Refusal::new(Code::SenderUnknown, "the event does not say who caused it"))?;
    if sender.id != author.id {
        return Err(Refusal::new(
            Code::SenderNotAuthor,
            "the author of the words is not the one who caused the event",
        ));
    }
    if said.words.app.is_some() && author.kind != AccountKind::Bot {
        return Err(Refusal::new(
            Code::AppNotListed,
            "the comment was posted by an app on behalf of its author",
        ));
    }
    account(author, policy, facts)
}

/// Whether an account that the event names may ask: a human by permission now, a bot by its number in the policy.
pub(super) fn account(
    account: &Account,
    policy: &Policy,
    facts: &Facts,
) -> Result<Principal, Refusal> {
    let listed = policy.triggers.bots.contains(&account.id);
    if facts.own_account == Some(account.id) && !listed {
        return Err(Refusal::new(
            Code::OwnAccount,
            "the words are from the account that Tagout writes as",
        ));
    }
    match account.kind {
        AccountKind::Bot if listed => Ok(Principal::from(account)),
        AccountKind::Bot => Err(Refusal::new(
            Code::BotNotListed,
            format!("the bot account {} is not listed in the policy", account.id),
        )),
        AccountKind::Human => {
            let standing = permitted(&account.login, policy, facts)?;
            if standing.account.id != account.id {
                return Err(Refusal::new(
                    Code::AccountChanged,
                    format!(
                        "{} is not the account that the event names any more",
                        account.login
                    ),
                ));
            }
            Ok(Principal::from(account))
        }
        AccountKind::Other => Err(Refusal::new(
            Code::AccountNotHuman,
            format!("{} is neither a human's account nor a bot's", account.login),
        )),
    }
}

fn schedule_owner(
    owner: Option<&str>,
    policy: &Policy,
    facts: &Facts,
) -> Result<Principal, Refusal> {
    let owner = owner.ok_or_else(|| {
        Refusal::new(
            Code::ScheduleOwnerMissing,
            "the policy names no triggers.schedule.owner, to whom a scheduled run could be attributed",
        )
    })?;
    human(owner, policy, facts)
}

/// On a re-run, whoever started it; asked about like the first requester.
fn rerunner(
    requester: &Principal,
    policy: &Policy,
    facts: &Facts,
) -> Result<Option<Principal>, Refusal> {
    if facts.runner.attempt <= 1 {
        return Ok(None);
    }
    let actor = facts.runner.triggering_actor.as_deref().ok_or_else(|| {
        Refusal::new(
            Code::RerunActorUnknown,
            "this is a re-run and nobody says who started it",
        )
    })?;
    if *actor == requester.login {
        return Ok(None);
    }
    human(actor, policy, facts).map(Some)
}

/// A human known by login alone: the permission answer must name a human's account.
fn human(login: &str, policy: &Policy, facts: &Facts) -> Result<Principal, Refusal> {
    let standing = permitted(login, policy, facts)?;
    if standing.account.kind != AccountKind::Human {
        return Err(Refusal::new(
            Code::AccountNotHuman,
            format!("{login} is not a human's account"),
        ));
    }
    Ok(Principal::from(&standing.account))
}

fn permitted<'a>(login: &str, policy: &Policy, facts: &'a Facts) -> Result<&'a Standing, Refusal> {
    let answer = facts
        .answers
        .iter()
        .find_map(|(asked, answer)| (asked == login).then_some(answer));
    let standing = match answer {
        Some(Answer::Known(standing)) => standing,
        Some(Answer::NotEstablished(_)) | None => {
            return Err(Refusal::new(
                Code::PermissionNotEstablished,
                format!("GitHub did not say which permission {login} has here"),
            ));
        }
    };
    if !standing.account.login.eq_ignore_ascii_case(login) {
        return Err(Refusal::new(
            Code::AccountChanged,
            format!("GitHub answered about another account than {login}"),
        ));
    }
    let needed = policy.triggers.permission;
    match role(&standing.role) {
        Role::Has(permission) if permission >= needed => Ok(standing),
        Role::Has(_) | Role::Nothing => Err(Refusal::new(
            Code::PermissionTooLow,
            format!(
                "{login} does not have the permission {} here that this repository asks for",
                permission_word(needed)
            ),
        )),
        Role::Unknown => Err(Refusal::new(
            Code::RoleUnknown,
            format!("GitHub gives {login} a role that is not one of its five base roles"),
        )),
    }
}

/// What a `role_name` is worth.
pub(super) enum Role {
    /// One of the five base roles.
    Has(Permission),
    /// `none`.
    Nothing,
    /// A custom role or something newer: a no.
    Unknown,
}

pub(super) fn role(word: &str) -> Role {
    match word {
        "read" => Role::Has(Permission::Read),
        "triage" => Role::Has(Permission::Triage),
        "write" => Role::Has(Permission::Write),
        "maintain" => Role::Has(Permission::Maintain),
        "admin" => Role::Has(Permission::Admin),
        "none" => Role::Nothing,
        _ => Role::Unknown,
    }
}

/// The policy's word for a permission.
pub(super) fn permission_word(permission: Permission) -> &'static str {
    match permission {
        Permission::Read => "read",
        Permission::Triage => "triage",
        Permission::Write => "write",
        Permission::Maintain => "maintain",
        Permission::Admin => "admin",
    }
}

/// The words of now must be the words of the event, to the letter.
pub(super) fn unchanged(words: &Comment, now: &Refetched) -> Result<(), Refusal> {
    match now {
        Refetched::Now(comment) if **comment == *words => Ok(()),
        Refetched::Now(_) => Err(Refusal::new(
            Code::CommentChanged,
            "the words that started this run were changed after it began; please write them anew",
        )),
        Refetched::Gone => Err(Refusal::new(
            Code::CommentGone,
            "the words that started this run are gone",
        )),
        Refetched::NotEstablished(_) | Refetched::NotNeeded => Err(Refusal::new(
            Code::CommentNotEstablished,
            "the words could not be fetched again, so it is not known whether they still stand",
        )),
    }
}
