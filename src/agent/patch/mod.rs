//! Applies a patch in the envelope that models are used to (`*** Begin Patch`), all of it or nothing.
//! It must never touch anything outside the workspace, follow a symlink, or leave half a patch behind.

mod matching;
mod parse;
mod text;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;

use parse::Deed;
use text::Text;
use tree::{File, Tree};

/// Largest patch in bytes.
pub const PATCH_BYTES_MAX: usize = 1024 * 1024;
/// Largest file in bytes that is patched.
pub const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Most files that one patch may touch.
pub const FILES_MAX: usize = 500;

/// Why a patch was not applied. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The envelope is not as it must be.
    #[error("the patch cannot be read at its line {line}: {why}")]
    Unreadable {
        /// The line of the patch, from one.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// A limit is passed.
    #[error("the patch is too large: at most {0}")]
    TooLarge(String),
    /// A path is not one of the workspace.
    #[error("{path}: {why}")]
    Path {
        /// The path as the patch names it.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Lines that the patch expects are not there.
    #[error(
        "{path}: these lines were not found{after}; read the file again and send the lines as they are:\n{lines}"
    )]
    NotFound {
        /// The file.
        path: String,
        /// Where the search began.
        after: String,
        /// The lines.
        lines: String,
    },
    /// The file system said no.
    #[error("{path}: {deed} failed: {source}")]
    Io {
        /// The file.
        path: String,
        /// What was tried.
        deed: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

/// Applies a patch to the workspace and says what it did, a line a file (`A path`, `M path`, `D path`).
///
/// # Errors
/// The patch is unreadable, too large, does not fit, or cannot be written. The workspace is then as before.
pub fn apply(workspace: &Path, patch: &str) -> Result<Vec<String>, PatchError> {
    if patch.len() > PATCH_BYTES_MAX {
        return Err(PatchError::TooLarge(format!("{PATCH_BYTES_MAX} bytes")));
    }
    let deeds = parse::parse(patch)?;
    if deeds.len() > FILES_MAX {
        return Err(PatchError::TooLarge(format!("{FILES_MAX} files")));
    }
    let tree = Tree::open(workspace)?;
    let mut staged = Staged::new(&tree);
    for deed in deeds {
        stage(&mut staged, deed)?;
    }
    let Staged { files, .. } = staged;
    tree.commit(&files)
}

/// What one path is before and after.
#[derive(Clone, Debug)]
struct Change {
    before: Option<File>,
    after: Option<File>,
}

/// The tree as it will be; later deeds of a patch see what earlier ones did.
struct Staged<'a> {
    tree: &'a Tree,
    files: BTreeMap<String, Change>,
}

impl<'a> Staged<'a> {
    fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            files: BTreeMap::new(),
        }
    }

    fn change(&mut self, path: &str) -> Result<&mut Change, PatchError> {
        if !self.files.contains_key(path) {
            let before = self.tree.read(path)?;
            let change = Change {
                after: before.clone(),
                before,
            };
            self.files.insert(path.to_owned(), change);
        }
        Ok(self.files.get_mut(path).expect("it was just put in"))
    }

    fn existing(&mut self, path: &str) -> Result<File, PatchError> {
        self.change(path)?
            .after
            .clone()
            .ok_or_else(|| wrong(path, "there is no such file"))
    }

    fn absent(&mut self, path: &str, why: &'static str) -> Result<&mut Change, PatchError> {
        let change = self.change(path)?;
        if change.after.is_some() {
            return Err(wrong(path, why));
        }
        Ok(change)
    }
}

fn wrong(path: &str, why: &'static str) -> PatchError {
    PatchError::Path {
        path: path.to_owned(),
        why,
    }
}

fn stage(staged: &mut Staged<'_>, deed: Deed) -> Result<(), PatchError> {
    match deed {
        Deed::Add { path, lines } => {
            let path = staged.tree.relative(&path)?;
            let change = staged.absent(&path, "the file is there already; update it instead")?;
            let mut bytes = Vec::new();
            for line in &lines {
                bytes.extend_from_slice(line.as_bytes());
                bytes.push(b'\n');
            }
            let mode = change.before.as_ref().map(|file| file.mode);
            change.after = Some(File {
                bytes,
                mode: mode.unwrap_or(tree::MODE_NEW),
            });
        }
        Deed::Delete { path } => {
            let path = staged.tree.relative(&path)?;
            staged.existing(&path)?;
            staged.change(&path)?.after = None;
        }
        Deed::Update { path, to, chunks } => {
            let path = staged.tree.relative(&path)?;
            let mut file = staged.existing(&path)?;
            let text = Text::read(&file.bytes);
            file.bytes = matching::apply(&path, text, &chunks)?.write();
            match to {
                None => staged.change(&path)?.after = Some(file),
                Some(to) => {
                    let to = staged.tree.relative(&to)?;
                    if to == path {
                        staged.change(&path)?.after = Some(file);
                    } else {
                        staged
                            .absent(&to, "the file to move to is there already")?
                            .after = Some(file);
                        staged.change(&path)?.after = None;
                    }
                }
            }
        }
    }
    Ok(())
}
