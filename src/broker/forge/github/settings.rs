//! What a repository's settings do to the lock that Tagout hangs on it: one finding each, with the setting's place.
//! It must never change a setting, nor call a setting good that it could not read.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::error::ForgeError;
use super::prospect::ACTIONS_APP;
use super::shapes::RawRepository;
use super::{GitHub, encoded};
use crate::policy::model::Policy;

/// Rulesets whose lists of who may pass them by are read.
const RULESETS_MAX: usize = 20;

/// One setting and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The stable code.
    pub code: Code,
    /// How it stands.
    pub stands: Stands,
    /// What was seen, in a few words.
    pub seen: String,
}

/// How a setting stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// As it should.
    Well,
    /// It opens a way round.
    Badly,
    /// It could not be read, so that nobody knows.
    Unknown,
}

impl Stands {
    /// The word of the report.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Badly => "badly",
            Self::Unknown => "unknown",
        }
    }
}

macro_rules! codes {
    ($($variant:ident, $word:literal, $meaning:literal, $place:literal;)*) => {
        /// A setting's stable code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the report.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word, kebab-case.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// What the setting is for.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// Where it is set.
            #[must_use]
            pub fn place(self) -> &'static str {
                match self { $(Self::$variant => $place,)* }
            }
        }
    };
}

codes! {
    CheckRequired, "check-required", "The approval's check is required, so that nothing is merged while it is red.", "Settings, Rules, Rulesets: Require status checks to pass";
    CheckBound, "check-bound", "The required check is bound to one App, so that no other workflow can set it green.", "Settings, Rules, Rulesets: Require status checks to pass, source of the check";
    StaleDismissed, "stale-dismissed", "Approvals are dismissed when something new is pushed.", "Settings, Rules, Rulesets: Dismiss stale pull request approvals when new commits are pushed";
    LastPushApproved, "last-push-approved", "Whoever pushed last cannot be the one who approves.", "Settings, Rules, Rulesets: Require approval of the most recent reviewable push";
    CodeOwnersReview, "code-owners-review", "Owners of the files that matter must approve.", "Settings, Rules, Rulesets: Require review from Code Owners";
    CodeOwnersGithub, "code-owners-github", "People own `.github`, where policy and workflows live.", ".github/CODEOWNERS";
    ActionsApprove, "actions-approve", "Workflows cannot approve pull requests.", "Settings, Actions, General: Allow GitHub Actions to create and approve pull requests";
    TokenReads, "token-reads", "A workflow's token reads only, unless the workflow says otherwise.", "Settings, Actions, General: Workflow permissions";
    BypassEmpty, "bypass-empty", "No bot and no deploy key may pass the rules by.", "Settings, Rules, Rulesets: Bypass list";
    StatusesGuarded, "statuses-guarded", "No other workflow may write statuses or checks.", ".github/workflows";
    AutoMergeOff, "auto-merge-off", "No pull request merges itself the moment its checks are green.", "Settings, General: Allow auto-merge";
    NoMergeBot, "no-merge-bot", "No workflow and no merge bot merges by itself, where it could take Tagout's account or labels.", ".github/workflows, .mergify.yml, .kodiak.toml";
    BranchRuns, "branch-runs", "Nothing runs by itself on Tagout's branches, if they are pushed with the token of an App or a person.", ".github/workflows: on; Settings, Environments: Deployment branches";
}

#[derive(Deserialize)]
struct RawRule {
    #[serde(rename = "type")]
    kind: String,
    ruleset_id: Option<u64>,
    parameters: Option<RawParameters>,
}

#[derive(Deserialize)]
struct RawRuleset {
    name: String,
    /// Only shown to whoever may change the ruleset.
    bypass_actors: Option<Vec<RawBypass>>,
    current_user_can_bypass: Option<String>,
}

#[derive(Deserialize)]
struct RawBypass {
    actor_id: Option<u64>,
    actor_type: String,
}

#[derive(Default, Deserialize)]
struct RawParameters {
    #[serde(default)]
    required_status_checks: Vec<RawCheck>,
    #[serde(default)]
    dismiss_stale_reviews_on_push: bool,
    #[serde(default)]
    require_last_push_approval: bool,
    #[serde(default)]
    require_code_owner_review: bool,
}

#[derive(Deserialize)]
struct RawCheck {
    context: String,
    integration_id: Option<u64>,
}

#[derive(Deserialize)]
struct RawWorkflowPermissions {
    default_workflow_permissions: String,
    can_approve_pull_request_reviews: bool,
}

impl GitHub {
    /// Reads the settings of the repository, one finding each, in the order of `Code::ALL`.
    pub async fn settings(&self, policy: &Policy) -> Vec<Setting> {
        let mut settings = Vec::new();
        let repository: Result<RawRepository, ForgeError> = self
            .caller
            .get(&format!("/repos/{}", self.repository))
            .await;
        let Ok(repository) = repository else {
            return Code::ALL
                .iter()
                .map(|code| unknown(*code, "the repository could not be read"))
                .collect();
        };
        let branch = repository.default_branch.clone();
        settings.extend(self.rules(&branch, policy).await);
        let head = self.branch_head(&branch).await.ok();
        settings.push(self.owners(head.as_ref()).await);
        settings.extend(self.workflow_permissions().await);
        settings.extend(self.workflows(head.as_ref(), &branch, policy).await);
        settings.push(match repository.allow_auto_merge {
            Some(allowed) => stands(Code::AutoMergeOff, !allowed, "of the repository"),
            None => unknown(Code::AutoMergeOff, "the token may not read it"),
        });
        settings.sort_by_key(|setting| setting.code);
        settings
    }

    async fn rules(&self, branch: &str, policy: &Policy) -> Vec<Setting> {
        let path = self.path(&format!("rules/branches/{}", encoded(branch)));
        let codes = [
            Code::CheckRequired,
            Code::CheckBound,
            Code::StaleDismissed,
            Code::LastPushApproved,
            Code::CodeOwnersReview,
            Code::BypassEmpty,
        ];
        let rules: Vec<RawRule> = match self.caller.list(&path).await {
            Ok(rules) => rules,
            Err(error) => return codes.map(|code| unknown(code, &error.to_string())).into(),
        };
        let of_kind = |kind: &'static str| {
            rules
                .iter()
                .filter(move |rule| rule.kind == kind)
                .filter_map(|rule| rule.parameters.as_ref())
        };
        let checks: Vec<&RawCheck> = of_kind("required_status_checks")
            .flat_map(|parameters| &parameters.required_status_checks)
            .filter(|check| check.context == policy.approval.context)
            .collect();
        let review = |wanted: fn(&RawParameters) -> bool| of_kind("pull_request").any(wanted);
        let seen = format!("rulesets of {branch}; classic protection rules are not read");
        let rulesets: BTreeSet<u64> = rules.iter().filter_map(|rule| rule.ruleset_id).collect();
        vec![
            stands(Code::CheckRequired, !checks.is_empty(), &seen),
            bound(&checks),
            self.bypasses(&rulesets).await,
            stands(
                Code::StaleDismissed,
                review(|rule| rule.dismiss_stale_reviews_on_push),
                &seen,
            ),
            stands(
                Code::LastPushApproved,
                review(|rule| rule.require_last_push_approval),
                &seen,
            ),
            stands(
                Code::CodeOwnersReview,
                review(|rule| rule.require_code_owner_review),
                &seen,
            ),
        ]
    }

    /// Whether a bot may pass the rules by.
    async fn bypasses(&self, rulesets: &BTreeSet<u64>) -> Setting {
        let code = Code::BypassEmpty;
        if rulesets.is_empty() {
            return stands(code, true, "there is no ruleset to pass by");
        }
        if rulesets.len() > RULESETS_MAX {
            return unknown(code, "there are more than 20 rulesets");
        }
        let (mut bots, mut hidden, mut able) = (Vec::new(), false, Vec::new());
        for id in rulesets {
            let path = self.path(&format!("rulesets/{id}?includes_parents=true"));
            let found: RawRuleset = match self.caller.get(&path).await {
                Ok(found) => found,
                Err(error) => return unknown(code, &error.to_string()),
            };
            if !matches!(
                found.current_user_can_bypass.as_deref(),
                Some("never") | None
            ) {
                able.push(found.name.clone());
            }
            hidden |= found.bypass_actors.is_none();
            for actor in found.bypass_actors.into_iter().flatten() {
                if matches!(actor.actor_type.as_str(), "Integration" | "DeployKey") {
                    let number = actor
                        .actor_id
                        .map_or_else(String::new, |id| format!(" {id}"));
                    bots.push(format!("{}{number} in {}", actor.actor_type, found.name));
                }
            }
        }
        match (bots.is_empty(), able.is_empty(), hidden) {
            (false, _, _) => stands(code, false, &bots.join(", ")),
            (true, false, _) => {
                let seen = format!("the owner of this token may pass by {}", able.join(", "));
                stands(code, false, &seen)
            }
            (true, true, true) => unknown(
                code,
                "the lists are shown only to whoever may change the rulesets; the owner of this token may not pass them by",
            ),
            (true, true, false) => stands(code, true, "the lists of the rulesets"),
        }
    }

    async fn workflow_permissions(&self) -> Vec<Setting> {
        let found: Result<RawWorkflowPermissions, ForgeError> = self
            .caller
            .get(&self.path("actions/permissions/workflow"))
            .await;
        match found {
            Ok(found) => vec![
                stands(
                    Code::ActionsApprove,
                    !found.can_approve_pull_request_reviews,
                    "of the repository",
                ),
                stands(
                    Code::TokenReads,
                    found.default_workflow_permissions == "read",
                    "of the repository",
                ),
            ],
            Err(_) => {
                let why = "only a token with administration: read may read it";
                vec![
                    unknown(Code::ActionsApprove, why),
                    unknown(Code::TokenReads, why),
                ]
            }
        }
    }
}

/// Whether the required check can be set by one App alone, which is not the one of every workflow.
fn bound(checks: &[&RawCheck]) -> Setting {
    let code = Code::CheckBound;
    if checks.is_empty() {
        return stands(code, false, "the check is not required at all");
    }
    let apps: Vec<Option<u64>> = checks.iter().map(|check| check.integration_id).collect();
    if apps.contains(&Some(ACTIONS_APP)) {
        return stands(
            code,
            false,
            "bound to GitHub Actions, which is every workflow",
        );
    }
    match apps.iter().flatten().next() {
        Some(app) if !apps.contains(&None) => stands(code, true, &format!("bound to App {app}")),
        Some(_) | None => stands(code, false, "any App may set it"),
    }
}

pub(super) fn stands(code: Code, well: bool, seen: &str) -> Setting {
    Setting {
        code,
        stands: if well { Stands::Well } else { Stands::Badly },
        seen: seen.to_owned(),
    }
}

pub(super) fn unknown(code: Code, why: &str) -> Setting {
    Setting {
        code,
        stands: Stands::Unknown,
        seen: why.to_owned(),
    }
}
