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
