//! The one branch that a proposal may be put on, derived by us from the policy's prefix and the task.
//! It must never take a name from the event or the agent.

use crate::gate::Admitted;
use crate::names::NotValid;
use crate::policy::model::Policy;

/// Bytes of the longest branch name that we make.
pub const BRANCH_BYTES_MAX: usize = 200;

/// Derives the branch of a task, without `refs/heads/`.
///
/// # Errors
/// A prefix or task that would make a name that git, Windows or a URL reads in another way.
pub fn derive(admitted: &Admitted, policy: &Policy) -> Result<String, NotValid> {
    let name = format!(
        "{}{}",
        policy.pull_request.branch_prefix,
        admitted.task_id()
    );
    let refused = |why| Err(NotValid::new("branch", why));
    if name.len() > BRANCH_BYTES_MAX {
        return refused("it is longer than 200 bytes");
    }
    if !policy.pull_request.branch_prefix.ends_with('/') {
        return refused("the prefix must end in a slash");
    }
    if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/'))
    {
        return refused("it may hold letters, digits, dash, underscore, dot and slash only");
    }
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && !part.ends_with('.')
            && !part.ends_with(".lock")
            && !part.contains("..")
    };
    if !name.split('/').all(part) {
        return refused(
            "a part of it is empty, begins with a dot or dash, or ends in a dot or .lock",
        );
    }
    if name == admitted.base_branch() {
        return refused("it is the base branch");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{self, Base};

    fn derived(prefix: &str, base: &str) -> Option<String> {
        let base = Base {
            branch: base.to_owned(),
            commit: "a".repeat(40).parse().unwrap(),
        };
        let admitted = gate::keyboard("do it", None, base).unwrap();
        let mut policy = Policy::default();
        policy.pull_request.branch_prefix = prefix.to_owned();
        derive(&admitted, &policy).ok()
    }

    #[test]
    fn branch_is_the_prefix_and_the_task() {
        let name = derived("tagout/", "main").unwrap();
        assert!(name.starts_with("tagout/keyboard-"), "{name}");
        assert_eq!(derived("a/b.c_d/", "main").unwrap().matches('/').count(), 2);
    }

    #[test]
    fn branch_that_could_be_read_in_another_way_is_refused() {
        let long = format!("{}/", "x".repeat(BRANCH_BYTES_MAX));
        for prefix in [
            "tagout",
            "",
            "/",
            "a b/",
            "a//",
            "../",
            "a/../",
            ".a/",
            "-a/",
            "a.lock/",
            "a./",
            "ä/",
            "a\\/",
            "a:/",
            long.as_str(),
        ] {
            assert_eq!(derived(prefix, "main"), None, "{prefix}");
        }
        let base = derived("tagout/", "main").unwrap();
        assert_eq!(derived("tagout/", &base), None, "it is the base branch");
    }
}
