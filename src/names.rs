//! The words that every room uses: checked value types without behaviour.
//! It must never read a file, a clock, the network or the environment.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How strong the walls are, weakest first, so that `Ord` means "at least as strong as".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// seccomp alone.
    D,
    /// Landlock and seccomp, connect supervised.
    C,
    /// User namespaces: new root, own network.
    B,
    /// A root helper: a fresh uid and a cgroup besides.
    A,
}

impl Level {
    /// The letter that the policy and the reports use.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
            Self::D => "d",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.letter())
    }
}

/// A text that is not what its type demands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not valid: {why}")]
pub struct NotValid {
    what: &'static str,
    why: &'static str,
}

impl NotValid {
    /// Says which kind of word was refused and why.
    #[must_use]
    pub fn new(what: &'static str, why: &'static str) -> Self {
        Self { what, why }
    }
}

/// A full git object id: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectId(String);

impl ObjectId {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ObjectId {
    type Error = NotValid;
    fn try_from(text: String) -> Result<Self, NotValid> {
        let digits = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits && matches!(text.len(), 40 | 64) {
            Ok(Self(text))
        } else {
            Err(NotValid::new(
                "object id",
                "it must be 40 or 64 lower-case hexadecimal digits",
            ))
        }
    }
}

/// A SHA-256 as 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        let mut text = String::with_capacity(64);
        for byte in sha2::Sha256::digest(bytes) {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        Self(text)
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl TryFrom<String> for Digest {
    type Error = NotValid;
    fn try_from(text: String) -> Result<Self, NotValid> {
        let digits = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits && text.len() == 64 {
            Ok(Self(text))
        } else {
            Err(NotValid::new(
                "digest",
                "it must be 64 lower-case hexadecimal digits",
            ))
        }
    }
}

/// A repository as `owner/name`, in GitHub's alphabet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository(String);

impl Repository {
    /// `owner/name`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the slash.
    #[must_use]
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// The part after the slash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

impl TryFrom<String> for Repository {
    type Error = NotValid;
    fn try_from(text: String) -> Result<Self, NotValid> {
        let word = |part: &str| {
            !part.is_empty()
                && part.len() <= 100
                && !matches!(part, "." | "..")
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        match text.split_once('/') {
            Some((owner, name)) if word(owner) && word(name) => Ok(Self(text)),
            Some(_) | None => Err(NotValid::new("repository", "it must be owner/name")),
        }
    }
}

macro_rules! text_type {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl FromStr for $name {
            type Err = NotValid;
            fn from_str(text: &str) -> Result<Self, NotValid> {
                Self::try_from(text.to_owned())
            }
        }
    )*};
}

text_type!(ObjectId, Digest, Repository);

/// What a person or bot may do in a repository, weakest first (GitHub's `role_name`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// May read.
    Read,
    /// May sort issues.
    Triage,
    /// May push.
    Write,
    /// May manage without the dangerous settings.
    Maintain,
    /// May do everything.
    Admin,
}

/// A value that is never shown: no `Display`, its `Debug` prints stars, its memory is wiped on drop.
#[derive(Clone)]
pub struct Secret(zeroize::Zeroizing<String>);

impl Secret {
    /// Takes the value.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(zeroize::Zeroizing::new(value))
    }

    /// The value itself, for the one step that must put it on the wire.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_b_is_stronger_than_level_c() {
        assert!(Level::B > Level::C && Level::A > Level::B && Level::C > Level::D);
    }

    #[test]
    fn digest_of_nothing_is_the_known_one() {
        assert_eq!(
            Digest::of(b"").as_str(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn short_object_id_is_refused() {
        assert!("abc123".parse::<ObjectId>().is_err());
        assert!("A".repeat(40).parse::<ObjectId>().is_err());
        assert!("a".repeat(40).parse::<ObjectId>().is_ok());
    }

    #[test]
    fn repository_with_a_path_is_refused() {
        assert!("o/r".parse::<Repository>().is_ok());
        assert!("o/r/x".parse::<Repository>().is_err());
        assert!("../r".parse::<Repository>().is_err());
    }

    #[test]
    fn secret_is_not_shown() {
        let shown = format!("{:?}", Secret::new("hunter2".to_owned()));
        assert!(!shown.contains("hunter2"));
    }
}
