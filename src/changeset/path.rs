//! The only way from a name in a work tree to a path that we publish.
//! It must never accept a name that another system could read as a different file.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::finding::Code;

/// Most bytes of a whole path. Windows stops near 260 characters and most file systems at 255 bytes a name.
pub const PATH_BYTES_MAX: usize = 255;
/// Most folders above a file.
pub const PATH_DEPTH_MAX: usize = 64;

/// A relative path in UTF-8 with `/` between its parts, safe to write on Linux, macOS and Windows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoPath(String);

/// Why a name is not a path of ours: the code of the finding and a sentence about the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", code.as_str())]
pub struct PathRefused {
    /// The code of the finding.
    pub code: Code,
    /// What is wrong with it.
    pub why: &'static str,
}

impl RepoPath {
    /// Checks the bytes of a name as it lies on disk or in a tree.
    ///
    /// # Errors
    /// The first rule that the name breaks.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PathRefused> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::new(text),
            Err(_) => Err(refuse(Code::PathNotUtf8, "the name is not UTF-8")),
        }
    }

    /// Checks a name.
    ///
    /// # Errors
    /// The first rule that the name breaks.
    pub fn new(text: &str) -> Result<Self, PathRefused> {
        if text.len() > PATH_BYTES_MAX {
            return Err(refuse(
                Code::PathTooLong,
                "the path is longer than 255 bytes",
            ));
        }
        if text.split('/').count() > PATH_DEPTH_MAX {
            return Err(refuse(Code::PathTooLong, "the path is deeper than 64"));
        }
        if text.is_empty() || text.starts_with('/') || text.ends_with('/') {
            return Err(refuse(
                Code::PathNotRelative,
                "the path is not relative to the repository",
            ));
        }
        text.chars().try_for_each(check_character)?;
        text.split('/').try_for_each(check_part)?;
        Ok(Self(text.to_owned()))
    }

    /// The path as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The parts from the outside in.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

fn refuse(code: Code, why: &'static str) -> PathRefused {
    PathRefused { code, why }
}

fn check_character(character: char) -> Result<(), PathRefused> {
    match character {
        '\\' => Err(refuse(
            Code::PathBackslash,
            "a backslash separates folders on Windows",
        )),
        ':' => Err(refuse(
            Code::PathColon,
            "a colon names a drive or a stream on Windows",
        )),
        _ if character.is_control() => Err(refuse(
            Code::PathControl,
            "the name holds a control character",
        )),
        _ if is_hidden(character) => Err(refuse(
            Code::PathHidden,
            "the name holds a character that cannot be seen",
        )),
        _ => Ok(()),
    }
}

/// Characters that draw nothing or turn the direction of text. HFS+ ignores some of them when it compares names
/// (git's `utf8.c`, `next_hfs_char`), so that `.g\u{200c}it` is `.git` on a Mac.
#[must_use]
pub fn is_hidden(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn check_part(part: &str) -> Result<(), PathRefused> {
    if matches!(part, "" | "." | "..") {
        return Err(refuse(
            Code::PathNotRelative,
            "the path holds an empty part, `.` or `..`",
        ));
    }
    // Windows drops dots and spaces at the end of a name, and folds case.
    let folded = fold(part);
    if matches!(
        folded.as_str(),
        ".git" | "git~1" | "git~2" | "git~3" | "git~4"
    ) {
        return Err(refuse(
            Code::PathGit,
            "git, Windows or macOS would read the name as `.git`",
        ));
    }
    if folded == ".gitmodules" || is_short_name_of(&folded, "gitmod", "gi7eba") {
        return Err(refuse(
            Code::PathGitmodules,
            "a change to `.gitmodules` makes git fetch and run foreign repositories",
        ));
    }
    if is_short_name(&folded) {
        return Err(refuse(
            Code::PathWindowsName,
            "Windows may read the name as the short form of another one",
        ));
    }
    if part.ends_with(['.', ' ']) {
        return Err(refuse(
            Code::PathWindowsName,
            "Windows drops the dot or space at the end of the name",
        ));
    }
    if is_device(&folded) {
        return Err(refuse(
            Code::PathWindowsName,
            "Windows reserves the name for a device",
        ));
    }
    Ok(())
}

/// The name as a careless file system compares it: lower case, without hidden characters, without dots and spaces at the end.
#[must_use]
pub fn fold(part: &str) -> String {
    let seen: String = part
        .chars()
        .filter(|character| !is_hidden(*character))
        .flat_map(char::to_lowercase)
        .collect();
    match seen.trim_end_matches(['.', ' ']) {
        "" => seen,
        trimmed => trimmed.to_owned(),
    }
}

/// NTFS gives a long name a short one: six characters (or two and four of a hash), `~`, a digit, and at most three of the extension.
fn is_short_name(folded: &str) -> bool {
    let (stem, extension) = folded.split_once('.').unwrap_or((folded, ""));
    let Some((base, digits)) = stem.rsplit_once('~') else {
        return false;
    };
    !base.is_empty()
        && stem.len() <= 8
        && extension.len() <= 3
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_short_name_of(folded: &str, plain: &str, hashed: &str) -> bool {
    folded.split_once('~').is_some_and(|(base, digits)| {
        (base == plain || base == hashed)
            && !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Names that Windows gives to devices, with whatever extension (Microsoft, "Naming Files, Paths, and Namespaces").
fn is_device(folded: &str) -> bool {
    let stem = folded.split('.').next().unwrap_or(folded).trim_end();
    if matches!(
        stem,
        "con" | "prn" | "aux" | "nul" | "conin$" | "conout$" | "clock$"
    ) {
        return true;
    }
    ["com", "lpt"].iter().any(|port| {
        stem.strip_prefix(port).is_some_and(|number| {
            matches!(
                number,
                "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"
            )
        })
    })
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RepoPath {
    type Error = PathRefused;
    fn try_from(text: String) -> Result<Self, PathRefused> {
        Self::new(&text)
    }
}

impl From<RepoPath> for String {
    fn from(path: RepoPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<Code> {
        RepoPath::new(text).err().map(|refused| refused.code)
    }

    #[test]
    fn everyday_paths_are_accepted() {
        for path in [
            "src/main.rs",
            ".github/workflows/ci.yml",
            "a b/c (1).txt",
            "docs/日本語.md",
            "docs/عربي.md",
            "console.log",
            "communication.txt",
            "auxiliary/nullable.rs",
            "com10.txt",
            ".gitignore",
            ".gitattributes",
            "x~",
            "file.txt~",
            "what?.md",
            "a~b.txt",
            "git",
            "digit~1longer",
            "null",
        ] {
            assert_eq!(code(path), None, "{path}");
        }
    }

    #[test]
    fn each_bad_name_has_its_code() {
        for (path, expected) in [
            ("", Code::PathNotRelative),
            ("/etc/passwd", Code::PathNotRelative),
            ("a/", Code::PathNotRelative),
            ("a//b", Code::PathNotRelative),
            ("./a", Code::PathNotRelative),
            ("a/../../b", Code::PathNotRelative),
            (".git/config", Code::PathGit),
            ("sub/.git/hooks/x", Code::PathGit),
            ("sub/.git", Code::PathGit),
            (".GIT/config", Code::PathGit),
            (".Git", Code::PathGit),
            (".git. /x", Code::PathGit),
            (".git...", Code::PathGit),
            ("git~1/config", Code::PathGit),
            ("GIT~1", Code::PathGit),
            (".g\u{200c}it/config", Code::PathHidden),
            (".git\u{feff}", Code::PathHidden),
            ("a\u{202e}txt.exe", Code::PathHidden),
            ("a\u{e0041}", Code::PathHidden),
            (".gitmodules", Code::PathGitmodules),
            ("x/.GITMODULES", Code::PathGitmodules),
            ("gitmod~1", Code::PathGitmodules),
            ("GI7EBA~1", Code::PathGitmodules),
            ("GITHUB~1/x", Code::PathWindowsName),
            ("a\\b", Code::PathBackslash),
            ("c:/x", Code::PathColon),
            (".git::$INDEX_ALLOCATION", Code::PathColon),
            ("con", Code::PathWindowsName),
            ("a/NUL.txt", Code::PathWindowsName),
            ("com1.tar.gz", Code::PathWindowsName),
            ("LPT³", Code::PathWindowsName),
            ("aux .txt", Code::PathWindowsName),
            ("name.", Code::PathWindowsName),
            ("name ", Code::PathWindowsName),
            ("a\0b", Code::PathControl),
            ("a\rb", Code::PathControl),
            ("a\nb", Code::PathControl),
            ("a\u{1b}[2Jb", Code::PathControl),
            ("a\u{85}b", Code::PathControl),
        ] {
            assert_eq!(code(path), Some(expected), "{path:?}");
        }
        assert_eq!(code(&"a".repeat(256)), Some(Code::PathTooLong));
        assert_eq!(code(&"a/".repeat(64)), Some(Code::PathTooLong));
        assert_eq!(code(&"a".repeat(255)), None);
        let refused = RepoPath::from_bytes(b"a\xff").expect_err("not UTF-8");
        assert_eq!(refused.code, Code::PathNotUtf8);
    }

    #[test]
    fn bad_path_in_json_is_refused() {
        assert!(serde_json::from_str::<RepoPath>(r#""../x""#).is_err());
        assert!(serde_json::from_str::<RepoPath>(r#""a/b""#).is_ok());
    }
}
