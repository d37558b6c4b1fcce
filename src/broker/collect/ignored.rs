//! What the base commit's `.gitignore` files leave out, as `git add` would. The agent's own are not read.

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use git2::Oid;

use super::base::{Base, Entry, join};

/// Most bytes of one `.gitignore`; a longer one is not obeyed, so that its files count as changes.
const IGNORE_BYTES_MAX: u64 = 1 << 20;

/// The rules from the root down to the folder that is being read.
#[derive(Default)]
pub(super) struct Ignored {
    rules: Vec<Option<Gitignore>>,
}

impl Ignored {
    /// Enters a folder; `tree` is what the base commit holds there.
    pub(super) fn enter(&mut self, base: &Base<'_>, tree: Option<Oid>, path: &[u8]) {
        self.rules
            .push(tree.and_then(|tree| read(base, tree, path)));
    }

    /// Leaves it again.
    pub(super) fn leave(&mut self) {
        self.rules.pop();
    }

    /// Whether a path is left out. The innermost file that says something about it decides (gitignore(5)).
    pub(super) fn matches(&self, path: &[u8], is_folder: bool) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        for rules in self.rules.iter().rev().flatten() {
            let found = rules.matched(path, is_folder);
            if found.is_ignore() {
                return true;
            }
            if found.is_whitelist() {
                return false;
            }
        }
        false
    }
}

fn read(base: &Base<'_>, tree: Oid, path: &[u8]) -> Option<Gitignore> {
    let name = b".gitignore";
    let Some(Entry::File(id, _)) = base.folder(tree).ok()?.get(name, &join(path, name)) else {
        return None;
    };
    let bytes = base.content(id, IGNORE_BYTES_MAX).ok()?;
    let mut builder = GitignoreBuilder::new(OsStr::from_bytes(path));
    for line in String::from_utf8_lossy(&bytes).lines() {
        // A line that cannot be read ignores nothing: the files count as changes.
        drop(builder.add_line(None, line));
    }
    builder.build().ok()
}
