//! The judgement itself: from an event that is for us and the facts about it to an `Admitted`, or to a refusal.
//! It must never take a missing answer for a yes.

use super::address::{Addressed, Source, Wish, on_pull};
use super::refusal::{Code, Refusal};
use super::{Answer, Base, Facts, Origin, Principal, Refetched, Standing, TASK_BYTES_MAX};
use crate::event::{Account, AccountKind, Commented, Event};
use crate::names::{Digest, ObjectId, Permission, Repository};
use crate::policy::model::{NetworkMode, Policy};

/// Proof that the gate said yes, and to what. Only `admit` and `keyboard` make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    requester: Principal,
    rerunner: Option<Principal>,
    task: String,
    task_name: Option<String>,
    thread: Option<Thread>,
    origin: Option<Origin>,
    repository: Option<Repository>,
    base: Base,
    default_base: bool,
    event_digest: Option<Digest>,
    event_name: Option<String>,
    withheld: Vec<Withheld>,
}

/// The words of an issue that may be shown to the agent, because their author may start runs too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Title, not yet sanitised.
    pub title: String,
    /// Text, not yet sanitised.
    pub body: String,
    /// Their author.
    pub author: Principal,
}

/// Words that were not shown to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// What: for example `title and text of issue 7`.
    pub what: String,
    /// Whose, if the account still exists.
    pub author: Option<Principal>,
    /// Why, in a few words.
    pub why: String,
}

impl Admitted {
    /// Who asked for the run; may never approve its outcome.
    #[must_use]
    pub fn requester(&self) -> &Principal {
        &self.requester
    }

    /// Who started this attempt, if it is a re-run by somebody else; counts as a requester too.
    #[must_use]
    pub fn rerunner(&self) -> Option<&Principal> {
        self.rerunner.as_ref()
    }

    /// What the agent is asked to do; words of the requester or of the policy, not yet sanitised.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.task
    }

    /// The name of the policy's task, if one was picked.
    #[must_use]
    pub fn task_name(&self) -> Option<&str> {
        self.task_name.as_deref()
    }

    /// Names the task among all of this repository: `issue-7`, `task-update-deps`, or `keyboard-` and a digest of the words.
    #[must_use]
    pub fn task_id(&self) -> String {
        match (&self.origin, &self.task_name) {
            (Some(origin), _) => format!("issue-{}", origin.issue),
            (None, Some(name)) => format!("task-{name}"),
            (None, None) => {
                let digest = Digest::of(self.task.as_bytes());
                format!("keyboard-{}", digest.as_str().get(..8).unwrap_or_default())
            }
        }
    }

    /// Title and text of the issue, if their author's words count.
    #[must_use]
    pub fn thread(&self) -> Option<&Thread> {
        self.thread.as_ref()
    }

    /// The issue's number, if there is one.
    #[must_use]
    pub fn issue(&self) -> Option<u64> {
        self.origin.map(|origin| origin.issue)
    }

    /// The comment that asked, and where answers go.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// The repository; none for a person at the keyboard.
    #[must_use]
    pub fn repository(&self) -> Option<&Repository> {
        self.repository.as_ref()
    }

    /// The branch that the proposal is for, without `refs/heads/`.
    #[must_use]
    pub fn base_branch(&self) -> &str {
        &self.base.branch
    }

    /// The commit that the agent works on, fixed at the event.
    #[must_use]
    pub fn base_commit(&self) -> &ObjectId {
        &self.base.commit
    }

    /// Whether the base is the default branch; another one is named in the report.
    #[must_use]
    pub fn on_default_branch(&self) -> bool {
        self.default_base
    }

    /// The event's digest; none for a person at the keyboard.
    #[must_use]
    pub fn event_digest(&self) -> Option<&Digest> {
        self.event_digest.as_ref()
    }

    /// GitHub's name of the event; none for a person at the keyboard.
    #[must_use]
    pub fn event_name(&self) -> Option<&str> {
        self.event_name.as_deref()
    }

    /// What was not shown to the agent, and why.
    #[must_use]
    pub fn withheld(&self) -> &[Withheld] {
        &self.withheld
    }
}

/// Judges an addressed event. The permission comes first, before any word of the request is weighed.
///
/// # Errors
/// The first rule that does not hold, as a `Refusal`.
pub fn admit(addressed: Addressed, policy: &Policy, facts: &Facts) -> Result<Admitted, Refusal> {
    let Addressed {
        event,
        principal,
        wish,
    } = addressed;
    let home = event
        .repository()
        .filter(|home| home.name == facts.runner.repository)
        .ok_or_else(|| {
            Refusal::new(
                Code::RepositoryMismatch,
                "the event is not of the repository that this run is in",
            )
        })?;
    let requester = match &principal {
        Source::Comment(commented) => author(commented, event.sender(), policy, facts)?,
        Source::Sender(sender) => account(sender, policy, facts)?,
        Source::Owner(owner) => schedule_owner(owner.as_deref(), policy, facts)?,
        Source::Nobody => {
            return Err(Refusal::new(
                Code::SenderUnknown,
                "the event does not say who caused it",
            ));
        }
    };
    let rerunner = rerunner(&requester, policy, facts)?;
    if let Source::Comment(commented) = &principal {
        unchanged(commented, &facts.comment)?;
    }
    let origin = match &principal {
        Source::Comment(commented) => Some(origin(commented)),
        Source::Sender(_) | Source::Owner(_) | Source::Nobody => None,
    };
    let default_base = base(&event, policy, facts)?;
    if let Source::Comment(_) = &principal {
        enforced(policy)?;
    }
    let (task, task_name) = task(wish, origin, policy)?;
    let (thread, withheld) = match &principal {
        Source::Comment(commented) => words(commented, policy, facts),
        Source::Sender(_) | Source::Owner(_) | Source::Nobody => (None, Vec::new()),
    };
    Ok(Admitted {
        requester,
        rerunner,
        task,
        task_name,
        thread,
        origin,
        repository: Some(home.name.clone()),
        base: facts.base.clone(),
        default_base,
        event_digest: Some(event.digest().clone()),
        event_name: Some(event.name().to_owned()),
        withheld,
    })
}

/// Admits the person at the keyboard, who needs no permission but the one to run programs here.
/// The caller must have made sure that there is no event and that GITHUB_ACTIONS is not `true`.
///
/// # Errors
/// An empty or overlong task.
pub fn keyboard(task: &str, login: Option<&str>, base: Base) -> Result<Admitted, Refusal> {
    Ok(Admitted {
        requester: Principal {
            login: login.unwrap_or("keyboard").to_owned(),
            id: None,
        },
        rerunner: None,
        task: text(task)?,
        task_name: None,
        thread: None,
        origin: None,
        repository: None,
        base,
        default_base: true,
        event_digest: None,
        event_name: None,
        withheld: Vec::new(),
    })
}

/// Whoever comments chooses the agent's words; under `network.mode: report` those words could choose where data goes.
fn enforced(policy: &Policy) -> Result<(), Refusal> {
    match policy.network.mode {
        NetworkMode::Enforce => Ok(()),
        NetworkMode::Report => Err(Refusal::new(
            Code::ReportMode,
            "the policy's network.mode is report, under which no comment starts a run",
        )),
    }
}

fn origin(commented: &Commented) -> Origin {
    Origin {
        issue: commented.issue.number,
        kind: commented.issue.kind,
        comment: commented.comment.id,
    }
}

/// The author of a comment: the words' author and the event's sender must be one, and no unlisted app may stand between.
fn author(
    commented: &Commented,
    sender: Option<&Account>,
    policy: &Policy,
    facts: &Facts,
) -> Result<Principal, Refusal> {
    let author = &commented.comment.author;
    let sender = sender
        .ok_or_else(|| Refusal::new(Code::SenderUnknown, "the event does not say who caused it"))?;
    if sender.id != author.id {
        return Err(Refusal::new(
            Code::SenderNotAuthor,
            "the comment's author is not the one who caused the event",
        ));
    }
    if commented.comment.app.is_some() && author.kind != AccountKind::Bot {
        return Err(Refusal::new(
            Code::AppNotListed,
            "the comment was posted by an app on behalf of its author",
        ));
    }
    account(author, policy, facts)
}

/// Whether an account that the event names may ask: a human by permission now, a bot by its number in the policy.
fn account(account: &Account, policy: &Policy, facts: &Facts) -> Result<Principal, Refusal> {
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

/// The comment of now must be the comment of the event, to the letter.
fn unchanged(commented: &Commented, now: &Refetched) -> Result<(), Refusal> {
    match now {
        Refetched::Now(comment) if **comment == commented.comment => Ok(()),
        Refetched::Now(_) => Err(Refusal::new(
            Code::CommentChanged,
            "the comment was changed after it started this run; please write a new one",
        )),
        Refetched::Gone => Err(Refusal::new(
            Code::CommentGone,
            "the comment that started this run is gone",
        )),
        Refetched::NotEstablished(_) | Refetched::NotNeeded => Err(Refusal::new(
            Code::CommentNotEstablished,
            "the comment could not be fetched again, so it is not known whether it still stands",
        )),
    }
}

/// Whether the base is the default branch (true) or one that the policy lists (false); anything else is refused.
fn base(event: &Event, policy: &Policy, facts: &Facts) -> Result<bool, Refusal> {
    let branch = facts.base.branch.as_str();
    let refused = || {
        Refusal::new(
            Code::BaseNotAllowed,
            "the run is on a branch that is neither the default branch nor listed under bases in the policy",
        )
    };
    if event.base_branch() != Some(branch) {
        return Err(refused());
    }
    let default = event
        .repository()
        .and_then(|home| home.default_branch.as_deref());
    if default == Some(branch) {
        return Ok(true);
    }
    let listed = policy.bases.iter().any(|glob| {
        globset::GlobBuilder::new(glob)
            .literal_separator(true)
            .build()
            .is_ok_and(|glob| glob.compile_matcher().is_match(branch))
    });
    if listed { Ok(false) } else { Err(refused()) }
}

fn task(
    wish: Wish,
    origin: Option<Origin>,
    policy: &Policy,
) -> Result<(String, Option<String>), Refusal> {
    let pull = on_pull(origin);
    let command = &policy.triggers.command;
    match wish {
        Wish::Head(_) if !pull => Err(Refusal::new(
            Code::HeadOnIssue,
            format!("`{command} run` with a commit is for pull requests"),
        )),
        Wish::HeadShort => Err(Refusal::new(
            Code::HeadShort,
            "please write the whole commit id, not a part of it",
        )),
        Wish::Head(_) => Err(Refusal::new(
            Code::HeadNotPinned,
            "runs on a pull request are not built yet; please ask on an issue",
        )),
        Wish::Unknown => Err(Refusal::new(
            Code::TaskUnknown,
            "the policy has no task of this name",
        )),
        Wish::Ambiguous => Err(Refusal::new(
            Code::TaskAmbiguous,
            "two tasks of the policy have this cron line",
        )),
        Wish::Text(_) | Wish::Named { .. } if pull => Err(Refusal::new(
            Code::HeadNotPinned,
            format!(
                "the pull request's head may have moved since the comment; please write `{command} run` and the full commit id"
            ),
        )),
        Wish::Text(words) => Ok((text(&words)?, None)),
        Wish::Named { name, prompt } => Ok((text(&prompt)?, Some(name))),
    }
}

fn text(words: &str) -> Result<String, Refusal> {
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

/// Title and text of the issue are shown only if their author could have started the run too.
fn words(commented: &Commented, policy: &Policy, facts: &Facts) -> (Option<Thread>, Vec<Withheld>) {
    let issue = &commented.issue;
    let withheld = |why: String| Withheld {
        what: format!("title and text of issue {}", issue.number),
        author: issue.author.as_ref().map(Principal::from),
        why,
    };
    let Some(author) = &issue.author else {
        return (
            None,
            vec![withheld("the author's account is gone".to_owned())],
        );
    };
    match account(author, policy, facts) {
        Ok(principal) => {
            let thread = Thread {
                title: issue.title.clone(),
                body: issue.body.clone(),
                author: principal,
            };
            (Some(thread), Vec::new())
        }
        Err(refusal) => (None, vec![withheld(refusal.code().word().to_owned())]),
    }
}
