//! What a repository's settings do to the lock that Tagout hangs on it: one finding each, with the setting's place.
//! It must never change a setting, nor call a setting good that it could not read.

use serde::Deserialize;

use super::error::ForgeError;
use super::shapes::RawRepository;
use super::{GitHub, encoded};
use crate::names::ObjectId;
use crate::policy::model::Policy;

/// Workflow files that are looked at.
const WORKFLOWS_MAX: usize = 50;
/// Bytes of the largest workflow or CODEOWNERS file that is looked at.
const FILE_BYTES_MAX: usize = 256 * 1024;
/// Where GitHub looks for code owners, in its order.
const CODE_OWNERS: [&str; 3] = [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"];

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
    StatusesGuarded, "statuses-guarded", "No other workflow may write statuses or checks.", ".github/workflows";
    AutoMergeOff, "auto-merge-off", "No pull request merges itself the moment its checks are green.", "Settings, General: Allow auto-merge";
}

#[derive(Deserialize)]
struct RawRule {
    #[serde(rename = "type")]
    kind: String,
    parameters: Option<RawParameters>,
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

#[derive(Deserialize)]
struct RawEntry {
    path: String,
    #[serde(rename = "type")]
    kind: String,
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
        settings.push(self.workflows(head.as_ref()).await);
        settings.push(match repository.allow_auto_merge {
            Some(allowed) => stands(Code::AutoMergeOff, !allowed, "of the repository"),
            None => unknown(Code::AutoMergeOff, "the token may not read it"),
        });
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
        vec![
            stands(Code::CheckRequired, !checks.is_empty(), &seen),
            stands(
                Code::CheckBound,
                checks.iter().any(|check| check.integration_id.is_some()),
                &seen,
            ),
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

    async fn owners(&self, head: Option<&ObjectId>) -> Setting {
        let Some(head) = head else {
            return unknown(
                Code::CodeOwnersGithub,
                "the default branch could not be read",
            );
        };
        for path in CODE_OWNERS {
            match self.file(path, head, FILE_BYTES_MAX).await {
                Ok(Some(bytes)) => {
                    let text = String::from_utf8_lossy(&bytes);
                    return stands(Code::CodeOwnersGithub, owns_github(&text), path);
                }
                Ok(None) => {}
                Err(error) => return unknown(Code::CodeOwnersGithub, &error.to_string()),
            }
        }
        stands(Code::CodeOwnersGithub, false, "there is no CODEOWNERS file")
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

    /// Workflows that could set the light green too. Tagout's own, which sets it, is known by the word `phase: approval` or `tagout`.
    async fn workflows(&self, head: Option<&ObjectId>) -> Setting {
        let code = Code::StatusesGuarded;
        let Some(head) = head else {
            return unknown(code, "the default branch could not be read");
        };
        let path = self.path(&format!("contents/.github/workflows?ref={head}"));
        let entries: Vec<RawEntry> = match self.caller.find(&path).await {
            Ok(entries) => entries.unwrap_or_default(),
            Err(error) => return unknown(code, &error.to_string()),
        };
        if entries.len() > WORKFLOWS_MAX {
            return unknown(code, "there are more than 50 workflows");
        }
        let mut writers = Vec::new();
        for entry in entries.iter().filter(|entry| entry.kind == "file") {
            match self.file(&entry.path, head, FILE_BYTES_MAX).await {
                Ok(Some(bytes)) => {
                    let text = String::from_utf8_lossy(&bytes);
                    if writes_statuses(&text) && !text.contains("tagout") {
                        writers.push(entry.path.clone());
                    }
                }
                Ok(None) => {}
                Err(error) => return unknown(code, &error.to_string()),
            }
        }
        if writers.is_empty() {
            stands(code, true, "by their own words")
        } else {
            stands(code, false, &writers.join(", "))
        }
    }
}

fn stands(code: Code, well: bool, seen: &str) -> Setting {
    Setting {
        code,
        stands: if well { Stands::Well } else { Stands::Badly },
        seen: seen.to_owned(),
    }
}

fn unknown(code: Code, why: &str) -> Setting {
    Setting {
        code,
        stands: Stands::Unknown,
        seen: why.to_owned(),
    }
}

/// Whether a CODEOWNERS text gives `.github` (or everything) to somebody, its last matching line counting as on GitHub.
fn owns_github(text: &str) -> bool {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let pattern = words.next()?.trim_matches('/').trim_end_matches("/**");
            matches!(pattern, "*" | "**" | ".github").then(|| words.next().is_some())
        })
        .next_back()
        .unwrap_or(false)
}

/// Whether a workflow's text asks for the right to write statuses or checks. YAML is read in the policy only, so that this
/// looks at lines: a flow mapping on one line is seen as well.
fn writes_statuses(text: &str) -> bool {
    let plain: String = text
        .lines()
        .map(|line| line.split(" #").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
        .replace([' ', '"', '\''], "");
    plain.contains("statuses:write")
        || plain.contains("checks:write")
        || plain.contains("write-all")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_of_github_are_found_by_the_last_line_that_matches() {
        assert!(owns_github("* @o/team\n"));
        assert!(owns_github("/.github/ @rita\n"));
        assert!(owns_github("*.rs @rita\n.github/** @rita # people\n"));
        assert!(!owns_github("* @o/team\n/.github/\n"));
        assert!(!owns_github("docs/ @rita\n"));
        assert!(!owns_github(""));
    }

    #[test]
    fn right_to_write_statuses_is_seen_however_it_is_written() {
        assert!(writes_statuses("permissions:\n  statuses: write\n"));
        assert!(writes_statuses(
            "permissions: {contents: read, \"checks\": 'write'}\n"
        ));
        assert!(writes_statuses("permissions: write-all\n"));
        assert!(!writes_statuses("permissions:\n  statuses: read\n"));
        assert!(!writes_statuses(
            "permissions:\n  contents: write # statuses: write\n"
        ));
    }
}
