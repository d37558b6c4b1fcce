//! What is wrong with a change, in words that tell the place and the way to allow it.
//! A code once released keeps its meaning.

use serde::{Deserialize, Serialize};

/// What a finding does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is told.
    Note,
    /// A human must look at it; a proposal may be made.
    Review,
    /// No proposal is made.
    Block,
}

impl Severity {
    /// The word, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Review => "review",
            Self::Block => "block",
        }
    }
}

macro_rules! codes {
    ($($name:ident, $text:literal, $severity:ident, $about:literal;)*) => {
        /// The kind of a finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = $about] #[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// Every code, in the order of the table in the documents.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable kebab-case word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it does where the policy does not say otherwise.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// What it means, in a sentence for the documents.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$name => $about,)* }
            }
        }
    };
}

codes! {
    PathNotUtf8, "path-not-utf8", Block, "A name is not UTF-8.";
    PathNotRelative, "path-not-relative", Block, "A path is absolute, or holds an empty part, `.` or `..`.";
    PathTooLong, "path-too-long", Block, "A path is longer than 255 bytes or deeper than 64 folders.";
    PathControl, "path-control-character", Block, "A name holds a control character: NUL, a line end, an escape.";
    PathHidden, "path-hidden-character", Block, "A name holds a character that cannot be seen or that turns the direction of text.";
    PathBackslash, "path-backslash", Block, "A name holds a backslash, which separates folders on Windows.";
    PathColon, "path-colon", Block, "A name holds a colon, which names a drive or a stream on Windows.";
    PathWindowsName, "path-windows-name", Block, "A name is a device, a short name, or ends in a dot or space, which Windows reads as another file.";
    PathWindowsCharacter, "path-windows-character", Review, "A name holds a character that Windows cannot write, so that a checkout fails there.";
    PathGit, "path-git", Block, "A name is `.git`, or one that Windows or macOS reads as `.git`: a repository inside the repository.";
    PathGitmodules, "path-gitmodules", Block, "`.gitmodules` is changed, which makes git fetch other repositories.";
    PathCaseCollision, "path-case-collision", Block, "Two names differ only in case or in hidden characters, so that one hides the other on Windows and macOS.";
    SubmoduleChanged, "submodule-changed", Block, "A submodule is added, changed, removed or filled.";
    NotAFile, "not-a-file", Block, "A FIFO, socket or device lies in the workspace.";
    HardLink, "hard-link", Block, "A file has more than one link, so that it may be a file from elsewhere.";
    Unreadable, "unreadable", Block, "A file or folder of the change cannot be read.";
    OverlayMark, "overlay-mark", Block, "A file carries a mark of the overlay file system that we did not ask for.";
    ModeDropped, "mode-dropped", Note, "A setuid, setgid or sticky bit is left out.";
    ModeChanged, "mode-changed", Review, "A file becomes executable, or no longer is.";
    SymlinkChanged, "symlink-changed", Review, "A symbolic link is new or points elsewhere.";
    SymlinkOutside, "symlink-outside", Block, "A symbolic link points out of the repository or to nothing that can be judged.";
    SymlinkProtected, "symlink-protected", Block, "A symbolic link points to a protected path.";
    ProtectedPath, "protected-path", Block, "A path that runs by itself or that the policy protects is changed.";
    NotAllowedPath, "not-allowed-path", Block, "A path that `changes.allow` does not name is changed.";
    ReadOnlyPath, "read-only-path", Block, "A path of `filesystem.read-only` or `filesystem.deny` is changed.";
    ChangesTooMany, "changes-too-many", Block, "More files are changed than the policy allows.";
    ChangesTooLarge, "changes-too-large", Block, "The changed files together are larger than the policy allows.";
    FileTooLarge, "file-too-large", Block, "One file is larger than the policy allows.";
    LineTooLong, "line-too-long", Block, "A line is too long for a human to review.";
    BinaryFile, "binary-file", Block, "A file is not text, so that a human cannot review it.";
    LfsPointer, "lfs-pointer", Block, "A Git LFS pointer is changed: what it points to is unknown.";
    DiffHidden, "diff-hidden", Review, "GitHub would not show the diff of a file; the report shows it in full.";
    KnownSecret, "known-secret", Block, "A secret of the run is in the change, plain or encoded.";
    SecretPattern, "secret-pattern", Block, "An added line looks like a credential.";
    HiddenUnicode, "hidden-unicode", Block, "An added line holds characters that a reader cannot see or that turn the direction of text.";
    WorkflowChanged, "workflow-changed", Review, "A workflow or action of CI is changed.";
    DependencyChanged, "dependency-changed", Review, "A dependency manifest or lock file is changed.";
    DependencyAdded, "dependency-added", Review, "A manifest or lock file names a dependency that it did not name before.";
    DependencySource, "dependency-source", Review, "A dependency comes from a registry, git address or path that the file did not use before.";
    DependencyChecksum, "dependency-checksum", Review, "A dependency of the same version has another check sum, or none any more.";
    DependencyScript, "dependency-script", Review, "A command that runs by itself at install is new or changed.";
    DependencyLookAlike, "dependency-look-alike", Review, "A new dependency has a name that could be taken for a popular one.";
    DependencyUnlocked, "dependency-unlocked", Review, "A manifest demands something else, and the lock file beside it stays as it was.";
    TestDeleted, "test-deleted", Review, "A test is deleted.";
    TestWeakened, "test-weakened", Review, "A test loses checks or is switched off.";
    IgnoredLeftOut, "ignored-left-out", Note, "Files that the base's ignore rules name are left out.";
}

/// The table of the documents: code, what it does by itself, what it means.
#[must_use]
pub fn table() -> String {
    let mut text = String::from("| code | does | meaning |\n|---|---|---|\n");
    for code in Code::ALL {
        text.push_str("| `");
        text.push_str(code.as_str());
        text.push_str("` | ");
        text.push_str(code.severity().word());
        text.push_str(" | ");
        text.push_str(code.about());
        text.push_str(" |\n");
    }
    text
}

/// One thing wrong with a change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The kind.
    pub code: Code,
    /// What it does.
    pub severity: Severity,
    /// The path it is about, escaped where it cannot be shown; none if it is about the change as a whole.
    pub path: Option<String>,
    /// The line in the new file, from one.
    pub line: Option<u32>,
    /// What is wrong, a sentence without a secret.
    pub message: String,
    /// The policy line that would allow it, if one can.
    pub mend: Option<String>,
}

impl Finding {
    /// A finding of the code's own severity about the change as a whole.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            path: None,
            line: None,
            message: message.into(),
            mend: None,
        }
    }

    /// The path it is about. What cannot be shown is escaped, so that a finding is one line of plain text.
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        self.path = Some(shown(path));
        self
    }

    /// The line in the new file, from one.
    #[must_use]
    pub fn line(mut self, line: u32) -> Self {
        self.line = Some(line);
        self
    }

    /// The policy line that would allow it.
    #[must_use]
    pub fn mend(mut self, line: impl Into<String>) -> Self {
        self.mend = Some(line.into());
        self
    }

    /// Another severity than the code's own, because the policy says so.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// `path:line: code: sentence`, one line.
    #[must_use]
    pub fn to_line(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        if let Some(path) = &self.path {
            text.push_str(path);
            text.push(':');
            if let Some(line) = self.line {
                write!(text, "{line}:").expect("a String takes every write");
            }
            text.push(' ');
        }
        write!(text, "{}: {}", self.code.as_str(), self.message)
            .expect("a String takes every write");
        if let Some(mend) = &self.mend {
            write!(text, "; allowed by {mend}").expect("a String takes every write");
        }
        text
    }
}

/// A name with everything escaped that draws nothing or moves the cursor.
#[must_use]
pub fn shown(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_control() || super::path::is_hidden(character) {
            text.extend(character.escape_unicode());
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case_and_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            let text = code.as_str();
            assert!(
                text.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
            assert!(seen.insert(text), "{text} twice");
        }
    }

    #[test]
    fn escape_sequence_in_a_name_is_not_printed() {
        let line = Finding::new(Code::PathControl, "the name holds a control character")
            .at("a\u{1b}[2Jb")
            .to_line();
        assert_eq!(
            line,
            "a\\u{1b}[2Jb: path-control-character: the name holds a control character"
        );
    }
}
