//! The paths of a workspace that the run may not change or not even read: found before it, looked at again after it.
//! It must never follow a symlink that the workspace holds.

use std::fs;
use std::path::{Path, PathBuf};

use crate::wire::{Plan, Workspace};

/// Entries that the walk for a deny glob looks at before it gives up and denies the start of the run.
pub const WALK_ENTRIES_MAX: usize = 500_000;

/// What was found in a workspace.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    /// The folder on the host.
    pub workspace: PathBuf,
    /// Existing paths that may be read and not written, relative.
    pub read_only: Vec<PathBuf>,
    /// Existing paths that may be neither, relative, and whether each is a folder.
    pub denied: Vec<(PathBuf, bool)>,
    /// Paths that are not there; if one appears it is removed after the run, because nothing can be mounted on it.
    pub absent: Vec<PathBuf>,
    /// The repository's configuration and what is shown instead.
    pub git_config: Option<(PathBuf, Vec<u8>)>,
}

impl Protected {
    /// Looks at the workspace as the plan says.
    #[must_use]
    pub fn of(workspace: &Path, plan: &Plan) -> Self {
        let mut found = Self {
            workspace: workspace.to_path_buf(),
            ..Self::default()
        };
        for name in &plan.read_only {
            let path = plain(name);
            // In `run` the workspace's .git is a throw-away one of ours, writable as the contract says.
            let throw_away =
                matches!(plan.workspace, Workspace::View { .. }) && path == Path::new(".git");
            match fs::symlink_metadata(workspace.join(&path)) {
                _ if throw_away => {}
                Ok(meta) if meta.is_symlink() => found.absent.push(path),
                Ok(_) => found.read_only.push(path),
                Err(_not_there) => found.absent.push(path),
            }
        }
        for name in &plan.deny {
            found.deny(workspace, name);
        }
        found.git_config(workspace, plan);
        found
    }

    fn deny(&mut self, workspace: &Path, name: &str) {
        let path = plain(name);
        match fs::symlink_metadata(workspace.join(&path)) {
            Ok(meta) if meta.is_symlink() => self.absent.push(path),
            Ok(meta) => self.denied.push((path, meta.is_dir())),
            Err(_not_there) => self.absent.push(path),
        }
    }

    /// A configuration may hold a persisted token, URLs with passwords, and helpers that run programs.
    fn git_config(&mut self, workspace: &Path, plan: &Plan) {
        if matches!(plan.workspace, Workspace::View { .. }) {
            return;
        }
        let path = Path::new(".git/config");
        if let Ok(text) = fs::read_to_string(workspace.join(path)) {
            self.git_config = Some((path.to_path_buf(), without_secrets(&text).into_bytes()));
        }
    }
}

/// A path as the policy writes it, without the slashes around it.
fn plain(name: &str) -> PathBuf {
    PathBuf::from(name.trim_matches('/'))
}

/// Keeps of a git configuration only what tells how the repository is laid out.
fn without_secrets(text: &str) -> String {
    const KEPT: &[&str] = &[
        "repositoryformatversion",
        "filemode",
        "bare",
        "logallrefupdates",
        "ignorecase",
        "precomposeunicode",
        "symlinks",
        "objectformat",
        "worktreeconfig",
        "partialclone",
        "refstorage",
        "autocrlf",
        "eol",
        "compatobjectformat",
        "sparsecheckout",
        "sparsecheckoutcone",
    ];
    let mut kept = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            let section = line.to_ascii_lowercase();
            if section == "[core]" || section == "[extensions]" {
                kept.push_str(line);
            } else {
                // A section header alone is harmless, and keys after it stay apart from those of the section before.
                kept.push_str("[tagout]");
            }
            kept.push('\n');
        } else if let Some((key, _)) = line.split_once('=')
            && KEPT.contains(&key.trim().to_ascii_lowercase().as_str())
        {
            kept.push('\t');
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_configuration_loses_urls_and_helpers() {
        let text = "[core]\n\tbare = false\n\tsshCommand = evil\n[remote \"origin\"]\n\turl = https://u:p@h/\n\
                    [http \"https://github.com/\"]\n\textraheader = AUTHORIZATION: basic x\n[extensions]\n\tobjectformat = sha256\n";
        let kept = without_secrets(text);
        assert_eq!(
            kept,
            "[core]\n\tbare = false\n[tagout]\n[tagout]\n[extensions]\n\tobjectformat = sha256\n"
        );
    }
}
