//! What would run by itself when a branch is pushed or proposed, and who may write statuses: read from workflow files.
//! It must never leave out a workflow that it cannot read, nor take a filter for narrower than it is.

use serde_json::Value;

/// Stars in a pattern that is looked into.
const STARS_MAX: usize = 6;

/// A workflow and the events of a push or a proposal that would start it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// `push`, `pull_request` and the like, or `unreadable`.
    pub events: Vec<String>,
    /// The environments that its jobs deploy to.
    pub environments: Vec<String>,
}

impl Started {
    /// One phrase, for example `push, pull_request; deploys to production`.
    #[must_use]
    pub fn phrase(&self) -> String {
        let mut text = self.events.join(", ");
        if !self.environments.is_empty() {
            text.push_str("; deploys to ");
            text.push_str(&self.environments.join(", "));
        }
        text
    }
}

/// What a workflow would do when `branch` is made and a pull request of it for `base` is opened.
/// None where it would not start. A workflow that is no document (`None`) is told as `unreadable`.
#[must_use]
pub fn started(workflow: Option<&Value>, branch: &str, base: &str) -> Option<Started> {
    let Some(workflow) = workflow else {
        return Some(Started {
            events: vec!["unreadable".to_owned()],
            environments: Vec::new(),
        });
    };
    let events: Vec<String> = events(workflow)
        .into_iter()
        .filter(|(name, filter)| match name.as_str() {
            "push" => pushed(filter, branch),
            "pull_request" | "pull_request_target" => proposed(filter, base),
            // These know no filter of branches that would keep a new one out, or wait for one that runs.
            "create" | "status" | "check_run" | "check_suite" | "workflow_run" | "deployment"
            | "deployment_status" => true,
            _ => false,
        })
        .map(|(name, _)| name)
        .collect();
    if events.is_empty() {
        return None;
    }
    let mut environments: Vec<String> = jobs(workflow)
        .filter_map(|job| match job.get("environment")? {
            Value::String(name) => Some(name.clone()),
            Value::Object(map) => map.get("name")?.as_str().map(str::to_owned),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
        })
        .collect();
    environments.sort();
    environments.dedup();
    Some(Started {
        events,
        environments,
    })
}

/// Whether a job of the workflow may write statuses or checks, those left out that only start Tagout.
/// One that is no document counts as one that may.
#[must_use]
pub fn writes_statuses(workflow: Option<&Value>) -> bool {
    let Some(workflow) = workflow else {
        return true;
    };
    let above = workflow.get("permissions");
    jobs(workflow).any(|job| {
        let permissions = job.get("permissions").or(above);
        permissions.is_some_and(may_write) && !is_ours(job)
    })
}

/// Whether a step of the workflow merges by itself, or tells GitHub to.
#[must_use]
pub fn merges(workflow: &str) -> bool {
    const WORDS: [&str; 6] = [
        "gh pr merge",
        "enablePullRequestAutoMerge",
        "mergePullRequest",
        "pulls.merge",
        "automerge-action",
        "auto-merge",
    ];
    WORDS.iter().any(|word| workflow.contains(word))
}

fn may_write(permissions: &Value) -> bool {
    let write = |key: &str| permissions.get(key).and_then(Value::as_str) == Some("write");
    permissions.as_str() == Some("write-all") || write("statuses") || write("checks")
}

/// A job that calls Tagout's workflow, or whose every step is Tagout's action or one that mints a token for it.
fn is_ours(job: &Value) -> bool {
    let uses = |value: &Value| {
        value
            .get("uses")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .unwrap_or_default()
    };
    if uses(job).starts_with("tagout/tagout/") {
        return true;
    }
    let steps: Vec<&Value> = job
        .get("steps")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    let known = |step: &&Value| {
        let uses = uses(step);
        uses.starts_with("tagout/tagout@") || uses.starts_with("actions/create-github-app-token@")
    };
    !steps.is_empty() && steps.iter().all(known)
}

fn jobs(workflow: &Value) -> impl Iterator<Item = &Value> {
    workflow
        .get("jobs")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(serde_json::Map::values)
}

/// The events, each with its filter. `on` may be a word, a list or a map; some readers take the key for `true`.
fn events(workflow: &Value) -> Vec<(String, Value)> {
    let on = workflow.get("on").or_else(|| workflow.get("true"));
    match on {
        Some(Value::String(name)) => vec![(name.clone(), Value::Null)],
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(|name| Some((name.as_str()?.to_owned(), Value::Null)))
            .collect(),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(name, filter)| (name.clone(), filter.clone()))
            .collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_)) | None => Vec::new(),
    }
}

fn pushed(filter: &Value, branch: &str) -> bool {
    let names = |key: &str| filter.get(key).map(words);
    match (names("branches"), names("branches-ignore")) {
        (Some(wanted), _) => covers(&wanted, branch),
        // An ignored branch is kept out only where the pattern is sure to cover it.
        (None, Some(ignored)) => !ignored.iter().any(|pattern| surely(pattern, branch)),
        // With filters for tags alone no branch starts it.
        (None, None) => filter.get("tags").is_none() && filter.get("tags-ignore").is_none(),
    }
}

fn proposed(filter: &Value, base: &str) -> bool {
    let names = |key: &str| filter.get(key).map(words);
    match (names("branches"), names("branches-ignore")) {
        (Some(wanted), _) => covers(&wanted, base),
        (None, Some(ignored)) => !ignored.iter().any(|pattern| surely(pattern, base)),
        (None, None) => true,
    }
}

fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(word) => vec![word.clone()],
        Value::Array(list) => list
            .iter()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

/// Whether a list of patterns may cover a name; the last one that does decides, `!` takes out.
fn covers(patterns: &[String], name: &str) -> bool {
    let mut covered = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(not) => covered &= !surely(not, name),
            None => covered |= maybe(pattern, name),
        }
    }
    covered
}

/// Marks of GitHub's patterns whose meaning is not looked into here (docs.github.com, "Filter pattern cheat sheet").
/// Neither into patterns with more stars than a person writes: trying them all would take for ever.
fn is_odd(pattern: &str) -> bool {
    pattern.contains(['?', '+', '[', '\\']) || pattern.matches('*').count() > STARS_MAX
}

fn maybe(pattern: &str, name: &str) -> bool {
    is_odd(pattern) || matches(pattern.as_bytes(), name.as_bytes())
}

fn surely(pattern: &str, name: &str) -> bool {
    !is_odd(pattern) && matches(pattern.as_bytes(), name.as_bytes())
}

/// `*` is anything but a slash, `**` anything.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', b'*', rest @ ..] => {
            (0..=name.len()).any(|at| matches(rest, name.get(at..).unwrap_or_default()))
        }
        [b'*', rest @ ..] => {
            let end = name
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(name.len());
            (0..=end).any(|at| matches(rest, name.get(at..).unwrap_or_default()))
        }
        [first, rest @ ..] => name
            .split_first()
            .is_some_and(|(found, left)| found == first && matches(rest, left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse::yaml;

    fn phrase(text: &str) -> Option<String> {
        let document = yaml::document(text);
        assert!(document.is_some(), "{text}");
        started(document.as_ref(), "tagout/issue-7", "main").map(|found| found.phrase())
    }

    #[test]
    fn workflow_that_a_push_would_start_is_told_with_its_environments() {
        let text = "on: [push, issues]\njobs: {a: {environment: production}, b: {environment: {name: docs}}}\n";
        assert_eq!(phrase(text).unwrap(), "push; deploys to docs, production");
        assert_eq!(phrase("on: push\n").unwrap(), "push");
        assert_eq!(
            phrase("on: {push: {branches: ['tagout/**']}}\n").unwrap(),
            "push"
        );
        assert_eq!(
            phrase("on: {push: {branches: ['**', '!main']}}\n").unwrap(),
            "push"
        );
        assert_eq!(
            phrase("on: {push: {branches: ['tag?out/**']}}\n").unwrap(),
            "push"
        );
        assert_eq!(
            phrase("on: {push: {branches-ignore: ['tagout/*+']}}\n").unwrap(),
            "push"
        );
        assert_eq!(
            phrase("on: {pull_request: {branches: [main]}}\n").unwrap(),
            "pull_request"
        );
        assert_eq!(phrase("on: create\n").unwrap(), "create");
    }

    #[test]
    fn workflow_that_no_push_of_ours_would_start_is_not_told() {
        for text in [
            "on: {push: {branches: [main, 'release/*']}}\n",
            "on: {push: {branches: ['*']}}\n",
            "on: {push: {branches-ignore: ['tagout/**']}}\n",
            "on: {push: {branches: ['**', '!tagout/**']}}\n",
            "on: {push: {tags: ['v*']}}\n",
            "on: {pull_request: {branches: ['release/*']}}\n",
            "on: {schedule: [{cron: '1 1 * * *'}]}\n",
        ] {
            assert_eq!(phrase(text), None, "{text}");
        }
    }

    #[test]
    fn workflow_that_cannot_be_read_is_told() {
        assert_eq!(started(None, "b", "main").unwrap().phrase(), "unreadable");
        assert!(writes_statuses(None));
    }

    #[test]
    fn job_that_may_write_statuses_is_seen_however_it_is_written() {
        let writes = |text: &str| writes_statuses(yaml::document(text).as_ref());
        assert!(writes("jobs: {a: {permissions: {statuses: write}}}\n"));
        assert!(writes(
            "permissions: {checks: 'write'}\njobs: {a: {steps: [{run: x}]}}\n"
        ));
        assert!(writes("permissions: write-all\njobs: {a: {}}\n"));
        let planted = "name: tagout\njobs: {a: {permissions: {statuses: write}, steps: [{run: tagout/tagout@}]}}\n";
        assert!(writes(planted), "our name in it is no excuse");
    }

    #[test]
    fn job_that_may_not_and_our_own_are_not_seen() {
        let writes = |text: &str| writes_statuses(yaml::document(text).as_ref());
        assert!(!writes("jobs: {a: {permissions: {statuses: read}}}\n"));
        assert!(!writes(
            "permissions: {statuses: write}\njobs: {a: {permissions: {}}}\n"
        ));
        assert!(!writes(
            "jobs: {a: {permissions: {statuses: write}, uses: tagout/tagout/.github/workflows/approval.yml@0}}\n"
        ));
        let minted = "jobs: {a: {permissions: {statuses: write}, steps: [{uses: actions/create-github-app-token@0}, {uses: tagout/tagout@0}]}}\n";
        assert!(!writes(minted));
    }
}
