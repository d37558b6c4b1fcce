//! Globs of the policy's file lists as the paths that they name in a workspace now: the walls know paths only.
//! It must never follow a link, nor leave a glob unresolved.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::wire::{Plan, Workspace};

/// Most entries of a workspace that are looked at; a larger one is refused, and the way out is a list without globs.
pub const ENTRIES_MAX: usize = 1_000_000;
/// Most folders above an entry.
pub const DEPTH_MAX: usize = 128;

/// A list could not be resolved, so that nothing may be started.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// A glob is none.
    #[error("{0} is not a glob that can be read")]
    Unreadable(String),
    /// A folder could not be read.
    #[error("cannot read {} to find what a glob of the policy names", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is too much to look at.
    #[error(
        "the workspace has more than {ENTRIES_MAX} entries or {DEPTH_MAX} levels, too many for a glob in filesystem.deny or read-only"
    )]
    TooLarge,
}

/// Replaces the globs of `deny` and `read_only` by the paths that they name. What the run makes later under such a name
/// is its own work and holds nothing that was there before.
///
/// # Errors
/// A workspace that cannot be walked to its end.
pub fn resolve(plan: &mut Plan) -> Result<(), PatternError> {
    let folder = match &plan.workspace {
        Workspace::InPlace { path } | Workspace::Copy { path } => path.clone(),
        Workspace::View { lower, .. } => lower.clone(),
    };
    plan.deny = resolved(&folder, std::mem::take(&mut plan.deny))?;
    plan.read_only = resolved(&folder, std::mem::take(&mut plan.read_only))?;
    Ok(())
}

fn resolved(folder: &Path, list: Vec<String>) -> Result<Vec<String>, PatternError> {
    let (globs, mut paths): (Vec<String>, Vec<String>) = list
        .into_iter()
        .partition(|text| text.contains(['*', '?', '[', '{']));
    if globs.is_empty() {
        return Ok(paths);
    }
    let mut set = GlobSetBuilder::new();
    for text in globs {
        let glob = GlobBuilder::new(text.trim_matches('/'))
            .literal_separator(true)
            .build()
            .ok()
            .ok_or(PatternError::Unreadable(text))?;
        set.add(glob);
    }
    let set = set
        .build()
        .ok()
        .ok_or_else(|| PatternError::Unreadable("the list".to_owned()))?;
    walk(folder, &set, &mut paths)?;
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn walk(folder: &Path, set: &GlobSet, paths: &mut Vec<String>) -> Result<(), PatternError> {
    let mut open = vec![(PathBuf::new(), 0_usize)];
    let mut seen = 0_usize;
    while let Some((below, depth)) = open.pop() {
        if depth > DEPTH_MAX {
            return Err(PatternError::TooLarge);
        }
        let here = folder.join(&below);
        let read = |source| PatternError::Read {
            path: here.clone(),
            source,
        };
        for entry in fs::read_dir(&here).map_err(read)? {
            let entry = entry.map_err(read)?;
            seen += 1;
            if seen > ENTRIES_MAX {
                return Err(PatternError::TooLarge);
            }
            let path = below.join(entry.file_name());
            if set.is_match(&path) {
                // The walls speak UTF-8; a name that is not is held by the nearest folder that is.
                match path.to_str() {
                    Some(text) => paths.push(text.to_owned()),
                    None => paths.push(below.to_string_lossy().into_owned()),
                }
            } else if entry.file_type().map_err(read)?.is_dir() {
                open.push((path, depth + 1));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(list: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a/.env", "a/b/.env", ".env", "a/keep.txt", "k/x.pem"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink("/etc", folder.path().join("out")).unwrap();
        resolved(
            folder.path(),
            list.iter().map(|text| (*text).to_owned()).collect(),
        )
        .unwrap()
    }

    #[test]
    fn two_stars_walk_the_tree() {
        assert_eq!(found(&["**/.env"]), [".env", "a/.env", "a/b/.env"]);
    }

    #[test]
    fn one_star_stays_in_its_folder() {
        assert_eq!(found(&["k/*.pem", "*/.env"]), ["a/.env", "k/x.pem"]);
    }

    #[test]
    fn plain_path_is_kept_though_it_is_not_there() {
        assert_eq!(found(&["later.txt"]), ["later.txt"]);
    }

    #[test]
    fn link_is_not_followed() {
        assert!(found(&["**/passwd"]).is_empty());
    }

    #[test]
    fn malformed_glob_is_refused() {
        assert!(resolved(Path::new("/"), vec!["[".to_owned()]).is_err());
    }
}
