//! Names of commits: `HEAD`, branches, tags, short ids, `~` and `^`.
//! It must never believe a reference that is not a full object id in the end.

use std::fs;
use std::io::BufRead as _;
use std::path::Path;

use git2::Oid;

use super::{GitError, Source, object_error, object_id, oid, read_control};
use crate::names::ObjectId;

/// Longest chain of symbolic references.
const SYMBOLIC_DEPTH_MAX: usize = 5;
/// Most lines of `packed-refs` that are read.
const PACKED_REFS_LINES_MAX: usize = 2_000_000;

/// Where a repository stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The commit.
    pub commit: ObjectId,
    /// The branch's short name; none if HEAD is detached.
    pub branch: Option<String>,
}

impl Source {
    /// What is checked out.
    ///
    /// # Errors
    /// HEAD is unborn or unreadable.
    pub fn head(&self) -> Result<Head, GitError> {
        let text = read_control(&self.git_dir().join("HEAD"))?.unwrap_or_default();
        let branch = text
            .trim_end()
            .strip_prefix("ref: refs/heads/")
            .map(str::to_owned);
        let commit = self
            .reference("HEAD")?
            .ok_or_else(|| GitError::NoSuchCommit("HEAD".to_owned()))?;
        Ok(Head { commit, branch })
    }

    /// The id in a reference with a full name (`HEAD`, `refs/heads/main`); none if it is not there.
    ///
    /// # Errors
    /// An unreadable or malformed reference.
    pub fn reference(&self, name: &str) -> Result<Option<ObjectId>, GitError> {
        let mut name = name.to_owned();
        for _ in 0..SYMBOLIC_DEPTH_MAX {
            if !is_reference_name(&name) {
                return Ok(None);
            }
            let Some(text) = self.loose(&name)? else {
                return packed(&self.common_dir().join("packed-refs"), &name);
            };
            let text = text.trim_end();
            match text.strip_prefix("ref: ") {
                Some(target) => target.trim().clone_into(&mut name),
                None => {
                    return ObjectId::try_from(text.to_owned())
                        .map(Some)
                        .map_err(|_not_an_id| GitError::Malformed {
                            path: self.common_dir().join(&name),
                            why: "it holds no object id",
                        });
                }
            }
        }
        Ok(None)
    }

    /// The folder's own references (HEAD of a linked worktree) come before the shared ones.
    fn loose(&self, name: &str) -> Result<Option<String>, GitError> {
        let own = self.git_dir().join(name);
        if own.is_file()
            && let Some(text) = read_control(&own)?
        {
            return Ok(Some(text));
        }
        let shared = self.common_dir().join(name);
        if shared.is_file() {
            read_control(&shared)
        } else {
            Ok(None)
        }
    }

    /// The commit that a person means: an id, a short id, `HEAD`, a branch, a tag or a remote branch, and `~`, `^` behind it.
    ///
    /// # Errors
    /// Nothing here has that name, or it is no commit.
    pub fn resolve(&self, name: &str) -> Result<ObjectId, GitError> {
        let unknown = || GitError::NoSuchCommit(name.to_owned());
        let at = name.find(['~', '^', '@']).unwrap_or(name.len());
        let (base, steps) = match name.split_at_checked(at) {
            Some(("", "@")) => ("HEAD", ""),
            Some((base, steps)) => (base, steps),
            None => return Err(unknown()),
        };
        let start = self.named(base)?.ok_or_else(unknown)?;
        let object = self
            .repo()
            .revparse_single(&format!("{start}{steps}"))
            .map_err(|_not_found| unknown())?;
        let commit = object.peel_to_commit().map_err(|_not_a_commit| unknown())?;
        Ok(object_id(commit.id()))
    }

    /// In git's own order (gitrevisions(7)).
    fn named(&self, base: &str) -> Result<Option<Oid>, GitError> {
        for pattern in ["", "refs/", "refs/tags/", "refs/heads/", "refs/remotes/"] {
            let name = format!("{pattern}{base}");
            if let Some(id) = self.reference(&name)? {
                return oid(&id).map(Some);
            }
        }
        if !(4..=40).contains(&base.len()) || !base.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let padded = format!("{base:0<40}");
        let short =
            Oid::from_str(&padded).map_err(|_not_hex| GitError::NoSuchCommit(base.to_owned()))?;
        let odb = self
            .repo()
            .odb()
            .map_err(|source| object_error(short, source))?;
        Ok(odb.exists_prefix(short, base.len()).ok())
    }

    /// The best common ancestor of two commits, for `A...B`.
    ///
    /// # Errors
    /// They have none.
    pub fn merge_base(&self, one: &ObjectId, other: &ObjectId) -> Result<ObjectId, GitError> {
        let found = self
            .repo()
            .merge_base(oid(one)?, oid(other)?)
            .map_err(|_none| GitError::NoSuchCommit(format!("{one}...{other}")))?;
        Ok(object_id(found))
    }
}

/// git-check-ref-format(1), so far as a file name made of it cannot leave the folder.
#[must_use]
pub fn is_reference_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.ends_with('/')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && name != "@"
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
        && !name.chars().any(|character| {
            character.is_control()
                || matches!(character, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\')
        })
}

fn packed(path: &Path, name: &str) -> Result<Option<ObjectId>, GitError> {
    let failed = |source| GitError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    for line in std::io::BufReader::new(file)
        .lines()
        .take(PACKED_REFS_LINES_MAX)
    {
        let line = line.map_err(failed)?;
        if let Some((id, found)) = line.split_once(' ')
            && found == name
        {
            return ObjectId::try_from(id.to_owned())
                .map(Some)
                .map_err(|_not_an_id| GitError::Malformed {
                    path: path.to_owned(),
                    why: "a line holds no object id",
                });
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_that_leaves_the_folder_is_no_reference() {
        for name in [
            "../HEAD",
            "refs/heads/../../x",
            "a//b",
            "/etc/passwd",
            "x.lock",
            "a b",
            "a\nb",
            ".x",
            "",
        ] {
            assert!(!is_reference_name(name), "{name:?}");
        }
        for name in ["HEAD", "refs/heads/main", "tagout/issue-7", "v1.0"] {
            assert!(is_reference_name(name), "{name:?}");
        }
    }
}
