//! The throw-away repository that level C shows instead of the real one: same head, index and references, its objects
//! read from the real one, no configuration with credentials. Nothing of it is ever read back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::protect;

/// Largest file of the repository's own that is copied, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// References that are copied.
const REFERENCES_MAX: usize = 100_000;

/// Makes it in `copy`, for the repository in `original`; the answer is the folder of real objects that must be readable.
/// A repository that is not a folder (a worktree, a submodule) is not shown.
///
/// # Errors
/// It cannot be read or written.
pub fn show(original: &Path, copy: &Path) -> io::Result<Option<PathBuf>> {
    let real = original.join(".git");
    if !fs::symlink_metadata(&real).is_ok_and(|meta| meta.is_dir()) {
        return Ok(None);
    }
    let shown = copy.join(".git");
    for folder in ["refs", "objects/info", "info"] {
        fs::create_dir_all(shown.join(folder))?;
    }
    for name in ["HEAD", "index", "packed-refs", "shallow", "info/exclude"] {
        copy_file(&real.join(name), &shown.join(name))?;
    }
    let mut left = REFERENCES_MAX;
    let references = real.join("refs");
    if fs::symlink_metadata(&references).is_ok_and(|meta| meta.is_dir()) {
        copy_folder(&references, &shown.join("refs"), &mut left)?;
    }
    let text = protect::small_file(&real.join("config")).unwrap_or_default();
    fs::write(shown.join("config"), protect::without_secrets(&text))?;
    let objects = real.join("objects");
    let mut line = objects.as_os_str().as_encoded_bytes().to_vec();
    line.push(b'\n');
    fs::write(shown.join("objects/info/alternates"), line)?;
    Ok(Some(objects))
}

/// A file that is not there is no fault; a symlink is not followed.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(from) {
        Ok(meta) if meta.is_file() && meta.len() <= FILE_BYTES_MAX => {
            fs::copy(from, to)?;
            Ok(())
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn copy_folder(from: &Path, to: &Path, left: &mut usize) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        *left = left
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("the repository has too many references"))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir(&to)?;
            copy_folder(&from, &to, left)?;
        } else {
            copy_file(&from, &to)?;
        }
    }
    Ok(())
}
