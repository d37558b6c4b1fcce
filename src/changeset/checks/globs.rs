//! Globs of the policy over paths, compared as a careless file system would: without case, hidden characters, dots and
//! spaces at the end.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::changeset::path::fold;

/// A list of globs that knows which one matched.
pub(super) struct Globs {
    set: GlobSet,
    texts: Vec<String>,
}

impl Globs {
    /// Reads the list. A glob that cannot be read is returned: the caller must not go on as if it were not there.
    pub(super) fn new(texts: &[String]) -> Result<Self, String> {
        let mut set = GlobSetBuilder::new();
        let mut names = Vec::new();
        for text in texts {
            let plain = text.trim_start_matches("./").trim_end_matches('/');
            // A glob that names a folder covers what is in it.
            for glob in [plain.to_owned(), format!("{plain}/**")] {
                set.add(read(&glob).ok_or_else(|| text.clone())?);
                names.push(text.clone());
            }
        }
        let set = set.build().map_err(|error| error.to_string())?;
        Ok(Self { set, texts: names })
    }

    /// The first glob that covers the path.
    pub(super) fn covering(&self, path: &str) -> Option<&str> {
        let folded = folded(path);
        self.set
            .matches(&folded)
            .first()
            .and_then(|place| self.texts.get(*place))
            .map(String::as_str)
    }
}

fn read(text: &str) -> Option<Glob> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .case_insensitive(true)
        .build()
        .ok()
}

/// Every part of a path folded.
pub(super) fn folded(path: &str) -> String {
    path.split('/').map(fold).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_glob_covers_every_depth_and_case_and_nothing_else() {
        let globs = Globs::new(&[
            "**/.*".to_owned(),
            "**/.*/**".to_owned(),
            "docs/".to_owned(),
        ])
        .expect("readable");
        for path in [
            ".github/workflows/x.yml",
            "a/.envrc",
            ".GitHub/x",
            "a/b/.vscode/c/d",
            "Docs/x",
            "docs",
        ] {
            assert!(globs.covering(path).is_some(), "{path}");
        }
        for path in ["src/main.rs", "a.b/c", "src/docs.rs", "x/docs/y"] {
            assert!(globs.covering(path).is_none(), "{path}");
        }
    }

    #[test]
    fn glob_that_cannot_be_read_is_not_passed_over() {
        assert!(Globs::new(&["a[".to_owned()]).is_err());
    }
}
