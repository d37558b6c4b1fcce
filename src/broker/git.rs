//! Opens other people's repositories for reading, without believing their configuration.
//! It must never run git, a hook or a filter, and never read what an agent may have written.
//!
//! Only the object database is handed to libgit2 (`Repository::from_odb`): no configuration of the repository, the
//! user or the system is loaded, so neither `core.worktree`, `include.path` nor a filter can act. The check of the
//! owner that git makes ("dubious ownership") protects against just that configuration; it is left out on
//! purpose, so that a checkout that root made can be read. References are plain files and are read by `refs`.

pub mod facts;
pub mod refs;
pub mod sample;

use std::fmt;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid, Repository};

use crate::names::ObjectId;

/// Longest file of git's own that we read (a reference, `gitdir`, `commondir`, alternates), in bytes.
const CONTROL_FILE_BYTES_MAX: u64 = 64 << 10;
/// Longest chain of `objects/info/alternates`; git itself stops at five.
const ALTERNATES_DEPTH_MAX: usize = 5;
/// Most object folders that alternates may add.
const ALTERNATES_MAX: usize = 32;

/// Why a repository cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// No repository lies here or above.
    #[error("no git repository at {} or above it", .0.display())]
    NotARepository(PathBuf),
    /// A file of git's own cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of git's own is not what git writes.
    #[error("{} is not what git writes: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A kind of repository that we cannot read.
    #[error("this repository uses {0}, which is not supported")]
    Unsupported(&'static str),
    /// A name of a commit that means nothing here.
    #[error("{0} names no commit of this repository")]
    NoSuchCommit(String),
    /// The parent of a commit is not at hand.
    #[error(
        "{0} has no parent here: it is a first commit, or the clone is shallow; fetch more of the history (`fetch-depth: 2` of actions/checkout)"
    )]
    NoParent(String),
    /// An object that is missing or broken. A shallow or partial clone lacks objects by design.
    #[error(
        "object {id} cannot be read; if the clone is shallow or partial, fetch it in full (actions/checkout: `fetch-depth: 0`)"
    )]
    Object {
        /// Which object.
        id: String,
        /// Why.
        #[source]
        source: git2::Error,
    },
    /// An object that is larger than its reader allows.
    #[error("object {id} has {bytes} bytes, more than {max}")]
    ObjectTooLarge {
        /// Which object.
        id: String,
        /// Its bytes.
        bytes: u64,
        /// The limit.
        max: u64,
    },
}

/// A repository, open for reading.
pub struct Source {
    repo: Repository,
    git_dir: PathBuf,
    common_dir: PathBuf,
    objects: Vec<PathBuf>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("git_dir", &self.git_dir)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Opens the repository at `path` or above it. `.git` may be a folder, or a file that points to one (worktrees
    /// and submodules); a bare repository is found too.
    ///
    /// # Errors
    /// `NotARepository`, unreadable files of git, or a kind that libgit2 does not read (SHA-256, reftable).
    pub fn open(path: &Path) -> Result<Self, GitError> {
        let git_dir = discover(path)?;
        let common_dir = match read_control(&git_dir.join("commondir"))? {
            Some(text) => git_dir.join(text.trim_end_matches('\n')),
            None => git_dir.clone(),
        };
        if common_dir.join("reftable").is_dir() {
            return Err(GitError::Unsupported("the reftable format"));
        }
        let objects = object_folders(&common_dir.join("objects"))?;
        let repo = wrap(&objects).map_err(|source| GitError::Object {
            id: common_dir.join("objects").display().to_string(),
            source,
        })?;
        Ok(Self {
            repo,
            git_dir,
            common_dir,
            objects,
        })
    }

    /// A second handle on the same objects, for another thread.
    ///
    /// # Errors
    /// The object folders are gone.
    pub fn again(&self) -> Result<Self, GitError> {
        let repo = wrap(&self.objects).map_err(|source| GitError::Object {
            id: self.common_dir.join("objects").display().to_string(),
            source,
        })?;
        Ok(Self {
            repo,
            git_dir: self.git_dir.clone(),
            common_dir: self.common_dir.clone(),
            objects: self.objects.clone(),
        })
    }

    /// The folder that holds `HEAD`.
    #[must_use]
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// The folder that holds objects and branches; not `git_dir` in a linked worktree.
    #[must_use]
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// The folders that objects lie in: its own, and those of its alternates.
    #[must_use]
    pub fn object_folders(&self) -> &[PathBuf] {
        &self.objects
    }

    /// The objects, for the rooms that build on libgit2.
    pub(crate) fn repo(&self) -> &Repository {
        &self.repo
    }

    /// The tree of a commit.
    ///
    /// # Errors
    /// The commit is not here.
    pub(crate) fn tree(&self, commit: &ObjectId) -> Result<Oid, GitError> {
        let id = oid(commit)?;
        let found = self
            .repo
            .find_commit(id)
            .map_err(|source| object_error(id, source))?;
        Ok(found.tree_id())
    }

    /// Seconds since 1970 of a commit's committer. The committer wrote it: a claim.
    ///
    /// # Errors
    /// The commit is not here.
    pub(crate) fn commit_time_s(&self, commit: &ObjectId) -> Result<i64, GitError> {
        let id = oid(commit)?;
        let found = self
            .repo
            .find_commit(id)
            .map_err(|source| object_error(id, source))?;
        Ok(found.time().seconds())
    }

    /// The bytes of a file as it is in a commit; none if there is no regular file at that path.
    ///
    /// # Errors
    /// The commit is not here, or the file is larger than `bytes_max`.
    pub fn read_file(
        &self,
        commit: &ObjectId,
        path: &str,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, GitError> {
        let tree = self.tree(commit)?;
        match self.entry(tree, path.as_bytes())? {
            Some((id, 0o100_644 | 0o100_664 | 0o100_755)) => self.blob(id, bytes_max).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// Id and mode of what lies at a path of a tree.
    ///
    /// # Errors
    /// A tree on the way cannot be read.
    pub(crate) fn entry(&self, tree: Oid, path: &[u8]) -> Result<Option<(Oid, i32)>, GitError> {
        let mut at = (tree, 0o040_000);
        for part in path.split(|byte| *byte == b'/') {
            if at.1 != 0o040_000 {
                return Ok(None);
            }
            let folder = self
                .repo
                .find_tree(at.0)
                .map_err(|source| object_error(at.0, source))?;
            match folder.get_name_bytes(part) {
                Some(entry) => at = (entry.id(), entry.filemode_raw()),
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// Bytes of a blob, without reading it.
    ///
    /// # Errors
    /// It is missing, or not a blob.
    pub(crate) fn blob_bytes(&self, id: Oid) -> Result<u64, GitError> {
        let odb = self.repo.odb().map_err(|source| object_error(id, source))?;
        let (bytes, kind) = odb
            .read_header(id)
            .map_err(|source| object_error(id, source))?;
        if kind == ObjectType::Blob {
            Ok(bytes as u64)
        } else {
            Err(object_error(id, git2::Error::from_str("not a blob")))
        }
    }

    /// A blob.
    ///
    /// # Errors
    /// It is missing, or larger than `bytes_max`.
    pub(crate) fn blob(&self, id: Oid, bytes_max: u64) -> Result<Vec<u8>, GitError> {
        let bytes = self.blob_bytes(id)?;
        if bytes > bytes_max {
            return Err(GitError::ObjectTooLarge {
                id: id.to_string(),
                bytes,
                max: bytes_max,
            });
        }
        let blob = self
            .repo
            .find_blob(id)
            .map_err(|source| object_error(id, source))?;
        Ok(blob.content().to_vec())
    }
}

/// The id in libgit2's form.
///
/// # Errors
/// SHA-256 ids are not supported by the libgit2 that we build.
pub(crate) fn oid(id: &ObjectId) -> Result<Oid, GitError> {
    if id.as_str().len() != 40 {
        return Err(GitError::Unsupported("SHA-256 object ids"));
    }
    Oid::from_str(id.as_str()).map_err(|source| GitError::Object {
        id: id.to_string(),
        source,
    })
}

/// The id in our form.
pub(crate) fn object_id(id: Oid) -> ObjectId {
    ObjectId::try_from(id.to_string()).expect("libgit2 prints ids as lower-case digits")
}

pub(crate) fn object_error(id: Oid, source: git2::Error) -> GitError {
    GitError::Object {
        id: id.to_string(),
        source,
    }
}

fn wrap(objects: &[PathBuf]) -> Result<Repository, git2::Error> {
    let odb = git2::Odb::new()?;
    for folder in objects {
        let text = folder
            .to_str()
            .ok_or_else(|| git2::Error::from_str("the path of the objects is not UTF-8"))?;
        odb.add_disk_alternate(text)?;
    }
    Repository::from_odb(odb)
}

/// Finds the git folder for a path, as git does: upwards, through a `.git` file.
fn discover(path: &Path) -> Result<PathBuf, GitError> {
    let start = fs::canonicalize(path).map_err(|source| GitError::Read {
        path: path.to_owned(),
        source,
    })?;
    for folder in start.ancestors() {
        let dot_git = folder.join(".git");
        if is_git_dir(&dot_git) {
            return Ok(dot_git);
        }
        if dot_git.is_file() {
            return pointed_to(&dot_git, folder);
        }
        if is_git_dir(folder) {
            return Ok(folder.to_owned());
        }
    }
    Err(GitError::NotARepository(path.to_owned()))
}

fn is_git_dir(folder: &Path) -> bool {
    folder.join("HEAD").symlink_metadata().is_ok()
        && (folder.join("objects").is_dir() || folder.join("commondir").is_file())
}

fn pointed_to(dot_git: &Path, folder: &Path) -> Result<PathBuf, GitError> {
    let malformed = |why| GitError::Malformed {
        path: dot_git.to_owned(),
        why,
    };
    let text = read_control(dot_git)?.unwrap_or_default();
    let target = text
        .trim_end_matches('\n')
        .strip_prefix("gitdir: ")
        .ok_or_else(|| malformed("it does not begin with `gitdir: `"))?;
    let git_dir = folder.join(target);
    if is_git_dir(&git_dir) {
        Ok(git_dir)
    } else {
        Err(malformed("it points to a folder that holds no repository"))
    }
}

/// The object folder and its alternates (`git clone --shared`, `--reference`), nearest first.
fn object_folders(first: &Path) -> Result<Vec<PathBuf>, GitError> {
    let mut found = vec![first.to_owned()];
    let mut level = vec![first.to_owned()];
    for _ in 0..ALTERNATES_DEPTH_MAX {
        let mut next = Vec::new();
        for folder in level {
            let list = read_control(&folder.join("info/alternates"))?.unwrap_or_default();
            for line in list.lines() {
                let other = folder.join(line);
                if line.is_empty() || line.starts_with('#') || found.contains(&other) {
                    continue;
                }
                if found.len() > ALTERNATES_MAX {
                    return Err(GitError::Unsupported("more than 32 alternates"));
                }
                found.push(other.clone());
                next.push(other);
            }
        }
        level = next;
    }
    Ok(found)
}

/// A small text file of git's own; none if it is not there.
fn read_control(path: &Path) -> Result<Option<String>, GitError> {
    let failed = |source| GitError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(CONTROL_FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > CONTROL_FILE_BYTES_MAX {
        return Err(GitError::Malformed {
            path: path.to_owned(),
            why: "it is longer than 64 KiB",
        });
    }
    Ok(Some(text))
}
