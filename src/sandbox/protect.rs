//! The paths of a workspace that the run may not change or not even read: found before it, looked at again after it.
//! It must never follow a symlink that the workspace holds.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};

use super::copy::open_folder;
use super::walls::{Fault, Step};
use crate::scratch;
use crate::wire::{Denied, Plan, Workspace};

/// Entries that are looked at to find the other names of protected files, before the start of the run is refused.
pub const WALK_ENTRIES_MAX: usize = 500_000;
/// Largest configuration of a repository that is shown at all, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

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
    /// Folders above those: moved away, they would take a protected path with them and leave its name free.
    pub anchors: BTreeSet<PathBuf>,
    /// The repository's configuration and what is shown instead.
    pub git_config: Option<(PathBuf, Vec<u8>)>,
}

/// What stands at a protected path.
enum Standing {
    /// A file or folder, and no symlink on the way to it.
    Plain(fs::Metadata),
    /// A symlink, or one on the way; where it leads, if that is in the workspace.
    Linked(Option<(PathBuf, fs::Metadata)>),
    Nothing,
}

impl Protected {
    /// Looks at the workspace as the plan says.
    ///
    /// # Errors
    /// A workspace in which the other names of a protected file cannot be found.
    pub fn of(workspace: &Path, plan: &Plan) -> Result<Self, Fault> {
        let mut found = Self {
            workspace: workspace.to_path_buf(),
            ..Self::default()
        };
        let (mut read_only, mut denied) = (Names::default(), Names::default());
        let in_place = matches!(plan.workspace, Workspace::InPlace { .. });
        for name in &plan.read_only {
            let path = plain(name);
            // In `run` the workspace's .git is a throw-away one of ours, writable as the contract says.
            let throw_away =
                matches!(plan.workspace, Workspace::View { .. }) && path == Path::new(".git");
            if throw_away {
                continue;
            }
            let folder = found.add(path, &mut |found, path, _| found.read_only.push(path));
            // What is written to a view stays apart, so only the folder itself has other names that matter.
            if let Some((path, meta)) = folder.filter(|_| in_place) {
                read_only.add(workspace, &path, &meta)?;
            }
        }
        for name in &plan.deny {
            let there = found.add(plain(name), &mut |found, path, meta| {
                found.denied.push((path, meta.is_dir()));
            });
            if let Some((path, meta)) = there {
                denied.add(workspace, &path, &meta)?;
            }
        }
        let (others, secrets) = (read_only.others(workspace)?, denied.others(workspace)?);
        found.read_only.extend(others);
        found
            .denied
            .extend(secrets.into_iter().map(|path| (path, false)));
        found.anchor();
        found.git_config(workspace, plan);
        Ok(found)
    }

    /// Puts a path where it belongs; the answer is what stands there, or where a symlink there leads.
    fn add(
        &mut self,
        path: PathBuf,
        keep: &mut dyn FnMut(&mut Self, PathBuf, &fs::Metadata),
    ) -> Option<(PathBuf, fs::Metadata)> {
        match standing(&self.workspace, &path) {
            Standing::Plain(meta) => {
                keep(self, path.clone(), &meta);
                Some((path, meta))
            }
            Standing::Linked(target) => {
                self.absent.push(Absent::of(&self.workspace, path));
                let (path, meta) = target?;
                keep(self, path.clone(), &meta);
                Some((path, meta))
            }
            Standing::Nothing => {
                self.absent.push(Absent::of(&self.workspace, path));
                None
            }
        }
    }

    /// Below a folder that is frozen or hidden nothing moves anyway.
    fn anchor(&mut self) {
        let denied = self.denied.iter().map(|(path, _)| path);
        let all: Vec<&PathBuf> = self.read_only.iter().chain(denied).collect();
        let mut anchors = BTreeSet::new();
        for path in &all {
            for above in path.ancestors().skip(1) {
                let fixed = all.iter().any(|held| above.starts_with(held));
                if !above.as_os_str().is_empty() && !fixed {
                    anchors.insert(above.to_path_buf());
                }
            }
        }
        self.anchors = anchors;
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
                    allow: Some(absent.allowed()),
                    at: None,
                }
            })
            .collect()
    }

    /// A configuration may hold a persisted token, URLs with passwords, and helpers that run programs.
    fn git_config(&mut self, workspace: &Path, plan: &Plan) {
        if matches!(plan.workspace, Workspace::View { .. }) {
            return;
        }
        let folder = match standing(workspace, Path::new(".git")) {
            Standing::Plain(_) => PathBuf::from(".git"),
            Standing::Linked(Some((path, _))) => path,
            Standing::Linked(None) | Standing::Nothing => return,
        };
        let path = folder.join("config");
        if let Some(text) = small_file(&workspace.join(&path)) {
            self.git_config = Some((path, without_secrets(&text).into_bytes()));
        }
    }
}

/// The text of a file that a stranger may have made: no symlink is followed, nothing is waited for.
pub(super) fn small_file(path: &Path) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let meta = rustix::fs::fstat(&file).ok()?;
    if FileType::from_raw_mode(meta.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut bytes = Vec::new();
    fs::File::from(file)
        .take(CONFIG_BYTES_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn standing(workspace: &Path, path: &Path) -> Standing {
    let whole = workspace.join(path);
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(base) = rustix::fs::open(workspace, folder, Mode::empty()) else {
        return Standing::Nothing;
    };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(&base, path, flags, Mode::empty(), resolve) {
        // A symlink at the end is opened as it is.
        Ok(_no_link_on_the_way) => match fs::symlink_metadata(&whole) {
            Ok(meta) if meta.is_symlink() => Standing::Linked(led(workspace, &whole)),
            Ok(meta) => Standing::Plain(meta),
            Err(_gone) => Standing::Nothing,
        },
        Err(rustix::io::Errno::LOOP) => Standing::Linked(led(workspace, &whole)),
        Err(_) => Standing::Nothing,
    }
}

/// Where a symlink leads, as a path of the workspace. What lies outside is judged by the rules for what is outside.
fn led(workspace: &Path, whole: &Path) -> Option<(PathBuf, fs::Metadata)> {
    let real = fs::canonicalize(whole).ok()?;
    let base = fs::canonicalize(workspace).ok()?;
    let path = real.strip_prefix(base).ok()?;
    // The workspace itself cannot be protected from itself.
    if path.as_os_str().is_empty() {
        return None;
    }
    let meta = fs::symlink_metadata(&real).ok()?;
    Some((path.to_path_buf(), meta))
}

/// Files that have more than one name, and the names that are known.
#[derive(Default)]
struct Names {
    files: BTreeSet<(u64, u64)>,
    known: BTreeSet<PathBuf>,
    missing: u64,
}

impl Names {
    /// Takes in a protected path, and what is below it but for git's objects, which many repositories share and which
    /// are named by their content.
    fn add(&mut self, workspace: &Path, path: &Path, meta: &fs::Metadata) -> Result<(), Fault> {
        if !meta.is_dir() {
            self.add_file(path, meta);
            return Ok(());
        }
        each_entry(workspace, path, &mut |path, meta| {
            if meta.is_dir() {
                return !path.ends_with(".git/objects") && !path.ends_with(".git/lfs");
            }
            self.add_file(path, meta);
            true
        })
    }

    fn add_file(&mut self, path: &Path, meta: &fs::Metadata) {
        if meta.nlink() > 1 && meta.is_file() && self.known.insert(path.to_path_buf()) {
            let new = self.files.insert((meta.dev(), meta.ino()));
            self.missing = if new {
                self.missing + meta.nlink() - 1
            } else {
                self.missing.saturating_sub(1)
            };
        }
    }

    /// Their other names in the workspace. Nothing is walked if there are none to find.
    fn others(self, workspace: &Path) -> Result<Vec<PathBuf>, Fault> {
        let mut others = Vec::new();
        if self.missing > 0 {
            each_entry(workspace, Path::new(""), &mut |path, meta| {
                let same = self.files.contains(&(meta.dev(), meta.ino()));
                if same && !self.known.contains(path) {
                    others.push(path.to_path_buf());
                }
                true
            })?;
        }
        Ok(others)
    }
}

/// Shows every entry below a path of the workspace; a folder is entered if the answer is yes.
fn each_entry(
    workspace: &Path,
    path: &Path,
    show: &mut dyn FnMut(&Path, &fs::Metadata) -> bool,
) -> Result<(), Fault> {
    let mut waiting = vec![path.to_path_buf()];
    let mut left = WALK_ENTRIES_MAX;
    while let Some(folder) = waiting.pop() {
        let entries = fs::read_dir(workspace.join(&folder));
        for entry in entries.step("look for other names of protected files")? {
            let entry = entry.step("look for other names of protected files")?;
            left = left.checked_sub(1).ok_or_else(|| {
                let many = io::Error::other("the workspace has too many entries");
                Fault::new("look for other names of protected files", many)
            })?;
            let Ok(meta) = entry.metadata() else { continue };
            let path = folder.join(entry.file_name());
            if show(&path, &meta) && meta.is_dir() {
                waiting.push(path);
            }
        }
    }
    Ok(())
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

    /// What the policy would have to say.
    fn allowed(&self) -> String {
        allowed(&self.path)
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

/// What the policy would have to say for a protected path to be written.
pub(super) fn allowed(path: &Path) -> String {
    let path = path.display();
    format!("no entry for {path} under filesystem.read-only and filesystem.deny")
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
