//! What the files of a repository do to the lock: who owns them, which workflows could pick it or would run by themselves.
//! It must never call a file good that it could not read.

use serde::Deserialize;

use super::GitHub;
use super::error::ForgeError;
use super::settings::{Code, Setting, stands, unknown};
use crate::changeset::triggers::{self, Started};
use crate::names::ObjectId;
use crate::policy::model::Policy;
use crate::policy::parse::yaml;

/// Workflow files that are looked at.
const WORKFLOWS_MAX: usize = 50;
/// Bytes of the largest workflow or CODEOWNERS file that is looked at.
const FILE_BYTES_MAX: usize = 256 * 1024;
/// Where GitHub looks for code owners, in its order.
const CODE_OWNERS: [&str; 3] = [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"];
/// Where merge bots keep their rules.
const MERGE_BOTS: [&str; 5] = [
    ".mergify.yml",
    ".mergify/config.yml",
    ".github/mergify.yml",
    ".kodiak.toml",
    ".github/.kodiak.toml",
];

/// A workflow of the default branch.
struct Workflow {
    path: String,
    text: String,
    document: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawEntry {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct RawEnvironments {
    #[serde(default)]
    environments: Vec<RawEnvironment>,
}

#[derive(Deserialize)]
struct RawEnvironment {
    name: String,
    deployment_branch_policy: Option<serde_json::Value>,
}

impl GitHub {
    /// What would run by itself if `branch` were pushed and proposed for `base` with a token that GitHub does not hold
    /// back: workflows of this commit, and environments that let every branch deploy. Read, never guessed: an error is one.
    ///
    /// # Errors
    /// No answer, or more workflows than are read.
    pub async fn would_run(
        &self,
        commit: &ObjectId,
        branch: &str,
        base: &str,
    ) -> Result<Vec<String>, ForgeError> {
        let workflows = self.workflow_files(commit).await?;
        let mut found = listed(&workflows, branch, base);
        found.extend(self.open_environments().await?);
        Ok(found)
    }

    pub(super) async fn owners(&self, head: Option<&ObjectId>) -> Setting {
        let code = Code::CodeOwnersGithub;
        let Some(head) = head else {
            return unknown(code, "the default branch could not be read");
        };
        for path in CODE_OWNERS {
            match self.file(path, head, FILE_BYTES_MAX).await {
                Ok(Some(bytes)) => {
                    let text = String::from_utf8_lossy(&bytes);
                    return stands(code, owns_github(&text), path);
                }
                Ok(None) => {}
                Err(error) => return unknown(code, &error.to_string()),
            }
        }
        stands(code, false, "there is no CODEOWNERS file")
    }

    /// What the workflows say: who may write statuses, who merges, what runs on our branches.
    pub(super) async fn workflows(
        &self,
        head: Option<&ObjectId>,
        base: &str,
        policy: &Policy,
    ) -> Vec<Setting> {
        let codes = [Code::StatusesGuarded, Code::NoMergeBot, Code::BranchRuns];
        let all_unknown = |why: &str| codes.map(|code| unknown(code, why)).into();
        let Some(head) = head else {
            return all_unknown("the default branch could not be read");
        };
        let workflows = match self.workflow_files(head).await {
            Ok(workflows) => workflows,
            Err(error) => return all_unknown(&error.to_string()),
        };
        let paths = |wanted: fn(&Workflow) -> bool| -> Vec<String> {
            let found = workflows.iter().filter(|workflow| wanted(workflow));
            found.map(|workflow| workflow.path.clone()).collect()
        };
        let writers = paths(|it| triggers::writes_statuses(it.document.as_ref()));
        let mut mergers = paths(|it| triggers::merges(&it.text));
        for path in MERGE_BOTS {
            match self.file(path, head, FILE_BYTES_MAX).await {
                Ok(Some(_)) => mergers.push(path.to_owned()),
                Ok(None) => {}
                Err(_) => mergers.push(format!("{path} (not readable)")),
            }
        }
        let branch = format!("{}issue-1", policy.pull_request.branch_prefix);
        let mut running = listed(&workflows, &branch, base);
        let environments = self.open_environments().await;
        let told = |code, list: &[String]| {
            let seen = if list.is_empty() {
                "none is seen".to_owned()
            } else {
                list.join("; ")
            };
            stands(code, list.is_empty(), &seen)
        };
        vec![
            told(Code::StatusesGuarded, &writers),
            told(Code::NoMergeBot, &mergers),
            match environments {
                Ok(environments) => {
                    running.extend(environments);
                    told(Code::BranchRuns, &running)
                }
                Err(error) if running.is_empty() => unknown(Code::BranchRuns, &error.to_string()),
                Err(_) => told(Code::BranchRuns, &running),
            },
        ]
    }

    async fn workflow_files(&self, commit: &ObjectId) -> Result<Vec<Workflow>, ForgeError> {
        let folder = format!("contents/.github/workflows?ref={commit}");
        let entries: Option<Vec<RawEntry>> = self.caller.find(&self.path(&folder)).await?;
        let entries = entries.unwrap_or_default();
        if entries.len() > WORKFLOWS_MAX {
            let what = "the workflows".to_owned();
            return Err(ForgeError::TooMany { what, pages_max: 1 });
        }
        let mut found = Vec::new();
        for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
            let bytes = self.file(&entry.path, commit, FILE_BYTES_MAX).await?;
            let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
            found.push(Workflow {
                path: entry.path,
                document: yaml::document(&text),
                text,
            });
        }
        Ok(found)
    }

    /// Environments to which every branch may deploy.
    async fn open_environments(&self) -> Result<Vec<String>, ForgeError> {
        let path = self.path("environments?per_page=100");
        let found: Option<RawEnvironments> = self.caller.find(&path).await?;
        let all = found.map(|found| found.environments).unwrap_or_default();
        Ok(all
            .into_iter()
            .filter(|environment| environment.deployment_branch_policy.is_none())
            .map(|environment| format!("environment {} takes every branch", environment.name))
            .collect())
    }
}

fn listed(workflows: &[Workflow], branch: &str, base: &str) -> Vec<String> {
    let phrase = |workflow: &Workflow| {
        let started: Started = triggers::started(workflow.document.as_ref(), branch, base)?;
        Some(format!("{} ({})", workflow.path, started.phrase()))
    };
    workflows.iter().filter_map(phrase).collect()
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
}
