//! A private view of one commit for an agent to work in.
//! It must never write to the repository that it reads, nor check anything out into a tree that an agent has written to.
//!
//! `listing` reads and bounds the tree, `material` writes it as plain files, `throwaway` puts a repository of our own
//! into it, `cache` keeps the result by tree, `removal` takes what an agent left away again.

mod apply;
mod cache;
mod listing;
mod material;
mod pack;
pub mod removal;
mod throwaway;

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use globset::GlobSet;

use crate::broker::git::{self, GitError, Source};
use crate::changeset::change::Changeset;
use crate::names::ObjectId;
use crate::wire;

/// Most files, folders and links of a tree that is shown to an agent.
pub const TREE_ENTRIES_MAX: usize = 1_000_000;
/// Most folders above a file.
pub const TREE_DEPTH_MAX: usize = 128;
/// Most bytes of all files.
pub const TREE_BYTES_MAX: u64 = 16 << 30;
/// Most bytes of one file.
pub const TREE_FILE_BYTES_MAX: u64 = 1 << 30;

/// Why no workspace could be made.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The repository cannot be read.
    #[error("cannot read the repository")]
    Git(#[from] GitError),
    /// The tree is larger than we show to an agent.
    #[error("the tree of the commit is too large: more than {max} {unit}")]
    TooLarge {
        /// What was counted.
        unit: &'static str,
        /// The limit.
        max: u64,
    },
    /// A name in the tree that git itself would not write.
    #[error("the tree of the commit holds the name {0:?}, which git refuses to check out")]
    Name(String),
    /// A kind of entry that git does not know.
    #[error(
        "the tree of the commit holds {path:?} with the mode {mode:o}, which git does not know"
    )]
    Mode {
        /// Where.
        path: String,
        /// The mode.
        mode: i32,
    },
    /// A glob of the policy's `filesystem.deny` that cannot be read.
    #[error("the pattern {0:?} cannot be read")]
    Pattern(String),
    /// The cache folder belongs to somebody else or is open to others.
    #[error("the cache folder {} must be a folder of ours that nobody else can enter (mode 0700)", .0.display())]
    CacheNotPrivate(PathBuf),
    /// The disk said no.
    #[error("cannot {doing} {}", path.display())]
    Disk {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl WorkspaceError {
    fn disk(doing: &'static str, path: &Path, source: impl Into<std::io::Error>) -> Self {
        Self::Disk {
            doing,
            path: path.to_owned(),
            source: source.into(),
        }
    }
}

/// What to show to an agent.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The repository, or a folder in it.
    pub repo: &'a Path,
    /// The commit.
    pub commit: &'a ObjectId,
    /// An empty folder of this run; everything but the cache is made in it.
    pub run_dir: &'a Path,
    /// The name of the branch inside.
    pub branch: &'a str,
    /// Globs of `filesystem.deny`: what they name is in neither the tree nor the repository inside.
    pub hide: &'a [String],
    /// Where trees are kept between runs; none keeps nothing.
    pub cache: Option<&'a Path>,
}

impl<'a> Wanted<'a> {
    /// The whole commit, on a branch `main`, without a cache.
    #[must_use]
    pub fn new(repo: &'a Path, commit: &'a ObjectId, run_dir: &'a Path) -> Self {
        Self {
            repo,
            commit,
            run_dir,
            branch: "main",
            hide: &[],
            cache: None,
        }
    }
}

/// A prepared workspace.
#[derive(Debug)]
pub struct Workspace {
    lower: PathBuf,
    upper: PathBuf,
    work: PathBuf,
    repo: PathBuf,
    hidden: GlobSet,
    base: ObjectId,
    from_cache: bool,
    /// Held while the tree is in use, so that nobody clears it away.
    _lock: Option<fs::File>,
}

impl Workspace {
    /// Makes the tree, or takes it from the cache, and the empty folders for what will change.
    ///
    /// # Errors
    /// The commit cannot be read, is too large, or the disk says no. What was begun is removed again with the run folder.
    pub fn prepare(wanted: &Wanted<'_>) -> Result<Self, WorkspaceError> {
        let source = Source::open(wanted.repo)?;
        let tree = source.tree(wanted.commit)?;
        let listing = |source: &Source| listing::list(source, tree, wanted.hide);
        let (lower, lock, from_cache) = if let Some(folder) = wanted.cache {
            let key = cache::key(tree, source.commit_time_s(wanted.commit)?, wanted);
            let kept = cache::open(folder, &key, |into| {
                material::build(&source, &listing(&source)?, wanted, into)
            })?;
            (kept.tree, Some(kept.lock), kept.found)
        } else {
            let lower = wanted.run_dir.join("lower");
            material::build(&source, &listing(&source)?, wanted, &lower)?;
            (lower, None, false)
        };
        Ok(Self {
            lower,
            upper: make_folder(&wanted.run_dir.join("workspace"), 0o755)?,
            work: make_folder(&wanted.run_dir.join("work"), 0o700)?,
            repo: wanted.repo.to_owned(),
            hidden: listing::globs(wanted.hide)?,
            base: wanted.commit.clone(),
            from_cache,
            _lock: lock,
        })
    }

    /// Makes the tree anew, with changes put in: what the second sandbox looks at. No cache is asked or filled.
    ///
    /// # Errors
    /// As `prepare`; a change that does not fit the tree.
    pub fn prepare_with(
        wanted: &Wanted<'_>,
        changeset: &Changeset,
    ) -> Result<Self, WorkspaceError> {
        let wanted = Wanted {
            cache: None,
            ..*wanted
        };
        let space = Self::prepare(&wanted)?;
        apply::apply(&space.lower, changeset)?;
        Ok(space)
    }

    /// The materialised tree. Nobody writes to it.
    #[must_use]
    pub fn lower(&self) -> &Path {
        &self.lower
    }

    /// Where changes land: overlay's upper folder, or at level C the whole copy.
    #[must_use]
    pub fn upper(&self) -> &Path {
        &self.upper
    }

    /// The repository that the commit is in.
    #[must_use]
    pub fn repo(&self) -> &Path {
        &self.repo
    }

    /// What is shown neither in the tree nor in the repository inside.
    pub(crate) fn hidden(&self) -> &GlobSet {
        &self.hidden
    }

    /// The commit that is shown.
    #[must_use]
    pub fn base(&self) -> &ObjectId {
        &self.base
    }

    /// Whether the tree was there already.
    #[must_use]
    pub fn is_from_cache(&self) -> bool {
        self.from_cache
    }

    /// The view in the words of the walls. It is shown under the path of `upper`, so that the path is the same at every
    /// level: level C has no mounts and works in that folder itself.
    #[must_use]
    pub fn view(&self) -> wire::Workspace {
        wire::Workspace::View {
            lower: self.lower.clone(),
            upper: self.upper.clone(),
            work: self.work.clone(),
            shown: self.upper.clone(),
        }
    }
}

fn make_folder(path: &Path, mode: u32) -> Result<PathBuf, WorkspaceError> {
    fs::DirBuilder::new()
        .mode(mode)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(|source| WorkspaceError::disk("make the folder", path, source))?;
    Ok(path.to_owned())
}

/// Whether a folder is ours alone: no link, our uid, mode 0700.
fn is_private(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| {
        found.is_dir()
            && found.uid() == rustix::process::geteuid().as_raw()
            && found.mode() & 0o077 == 0
    })
}

/// Whether a branch name can be used inside; git itself would refuse the rest.
fn branch_or_main(name: &str) -> &str {
    if git::refs::is_reference_name(name) && name != "HEAD" {
        name
    } else {
        "main"
    }
}
