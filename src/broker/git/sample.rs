//! Makes a small repository of one commit, for `tagout demo`.
//! It must never write into a repository that is there already.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use git2::{IndexEntry, IndexTime, Repository, RepositoryInitOptions, Signature};

use crate::names::ObjectId;

/// One file of the sample.
#[derive(Clone, Copy, Debug)]
pub struct SampleFile<'a> {
    /// Its path, with slashes.
    pub path: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// The sample could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// Something stands there.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// libgit2 says no.
    #[error("cannot make the sample repository")]
    Git(#[from] git2::Error),
}

/// Makes the folder, the files in it, and one commit of them on `main`, which is checked out.
///
/// # Errors
/// `SampleError` says what stands in the way.
pub fn make(folder: &Path, files: &[SampleFile<'_>]) -> Result<ObjectId, SampleError> {
    if folder.exists() {
        return Err(SampleError::Exists(folder.to_owned()));
    }
    for file in files {
        let path = folder.join(file.path);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(&path, file.text)
        };
        write().map_err(|source| SampleError::Write {
            path: path.clone(),
            source,
        })?;
    }
    let mut options = RepositoryInitOptions::new();
    // Templates of the machine could bring hooks.
    options.external_template(false).initial_head("main");
    let repo = Repository::init_opts(folder, &options)?;
    let mut index = repo.index()?;
    for file in files {
        index.add_frombuffer(&entry(file.path), file.text.as_bytes())?;
    }
    index.write()?;
    let tree = repo.find_tree(index.write_tree()?)?;
    let author = Signature::now("Tagout", "demo@tagout.invalid")?;
    let commit = repo.commit(Some("HEAD"), &author, &author, "A calculator", &tree, &[])?;
    Ok(super::object_id(commit))
}

fn entry(path: &str) -> IndexEntry {
    IndexEntry {
        ctime: IndexTime::new(0, 0),
        mtime: IndexTime::new(0, 0),
        dev: 0,
        ino: 0,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        file_size: 0,
        id: git2::Oid::ZERO_SHA1,
        flags: 0,
        flags_extended: 0,
        path: path.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    #[test]
    fn sample_is_a_repository_with_one_commit_on_main() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("sample");
        let files = [SampleFile {
            path: "a/b.txt",
            text: "hello\n",
        }];
        let commit = make(&at, &files).unwrap();
        let source = Source::open(&at).unwrap();
        let head = source.head().unwrap();
        assert_eq!(head.commit, commit);
        assert_eq!(head.branch.as_deref(), Some("main"));
        let read = source.read_file(&commit, "a/b.txt", 100).unwrap();
        assert_eq!(read.as_deref(), Some(&b"hello\n"[..]));
        assert!(make(&at, &files).is_err());
    }
}
