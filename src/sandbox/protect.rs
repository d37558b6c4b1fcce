//! The paths of a workspace that the run may not change or not even read: found before it, looked at again after it.
//! It must never follow a symlink that the workspace holds.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;

use super::copy::open_folder;
use crate::scratch;
use crate::wire::{Denied, Plan, Workspace};

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
    /// Paths that are not there, or are symlinks; nothing can be mounted on them, so they are put right after the run.
    pub absent: Vec<Absent>,
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
                Ok(meta) if !meta.is_symlink() => found.read_only.push(path),
                Ok(_) | Err(_) => found.absent.push(Absent::of(workspace, path)),
            }
        }
        for name in &plan.deny {
            found.deny(workspace, name);
        }
        found.git_config(workspace, plan);
        found
    }

    /// Whether the run may not change this path, which is relative to the workspace.
    #[must_use]
    pub fn holds(&self, path: &Path) -> bool {
        let denied = self.denied.iter().map(|(path, _)| path);
        let absent = self.absent.iter().map(|absent| &absent.path);
        let all = self.read_only.iter().chain(absent).chain(denied);
        all.into_iter().any(|held| path.starts_with(held))
    }

    /// Removes what appeared where nothing may be, and tells of it. Only when nothing of the tree is left.
    #[must_use]
    pub fn clean_up(&self) -> Vec<Denied> {
        let changed = self
            .absent
            .iter()
            .filter(|absent| absent.stands(&self.workspace));
        changed
            .map(|absent| {
                let deed = match absent.restore(&self.workspace) {
                    Ok(()) => "removed",
                    Err(_refused) => "could not be removed",
                };
                let git = absent.path.starts_with(".git");
                Denied {
                    wall: if git { "git" } else { "files" }.to_owned(),
                    what: format!("make {} ({deed})", absent.path.display()),
                    count: 1,
                    allow: None,
                }
            })
            .collect()
    }

    fn deny(&mut self, workspace: &Path, name: &str) {
        let path = plain(name);
        match fs::symlink_metadata(workspace.join(&path)) {
            Ok(meta) if !meta.is_symlink() => self.denied.push((path, meta.is_dir())),
            Ok(_) | Err(_) => self.absent.push(Absent::of(workspace, path)),
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

/// A protected path that cannot be mounted upon.
#[derive(Clone, Debug)]
pub struct Absent {
    path: PathBuf,
    /// Where the symlink pointed that stood there before the run, if one did.
    link: Option<PathBuf>,
}

impl Absent {
    fn of(workspace: &Path, path: PathBuf) -> Self {
        let link = fs::read_link(workspace.join(&path)).ok();
        Self { path, link }
    }

    /// Whether something stands there that did not before.
    fn stands(&self, workspace: &Path) -> bool {
        let Ok((folder, name)) = self.place(workspace) else {
            return false;
        };
        let now = rustix::fs::readlinkat(&folder, name, Vec::new());
        match (&self.link, now) {
            (Some(before), Ok(now)) => before.as_os_str().as_encoded_bytes() != now.as_bytes(),
            (None, Ok(_)) => true,
            // No symlink: anything else that is there is new.
            (_, Err(_)) => rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok(),
        }
    }

    fn restore(&self, workspace: &Path) -> io::Result<()> {
        let (folder, name) = self.place(workspace)?;
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(rustix::io::Errno::ISDIR) => {
                let made = open_folder(&folder, Path::new(name))?;
                scratch::empty(&made)?;
                rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR)?;
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(link) = &self.link {
            rustix::fs::symlinkat(link, &folder, name)?;
        }
        Ok(())
    }

    /// The folder that holds it, opened without following what the run may have put in the way, and its name.
    fn place(&self, workspace: &Path) -> io::Result<(OwnedFd, &OsStr)> {
        let parent = self.path.parent().unwrap_or(Path::new(""));
        let folder = open_folder(fs::File::open(workspace)?, parent)?;
        let name = self.path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((folder, name))
    }
}

/// A path as the policy writes it, without the slashes around it.
fn plain(name: &str) -> PathBuf {
    PathBuf::from(name.trim_matches('/'))
}

/// Keeps of a git configuration only what tells how the repository is laid out.
pub(super) fn without_secrets(text: &str) -> String {
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
