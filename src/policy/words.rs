//! The words of the policy that stand for one of a few values, in one table a type.
//! It must never hold a word that the contract does not know.

use super::model::{
    AgentKind, AuthMode, Dependencies, Enforced, ModelApi, NetworkMode, OnBinary, OnProtected,
    TlsMode,
};
use super::registry::Tool;
use crate::names::{Level, Permission};

/// A value that is written as one word.
pub trait Word: Copy + Sized + 'static {
    /// Every value with its word, in the order in which a reader wants them.
    const TABLE: &'static [(&'static str, Self)];
    /// The words alone.
    const WORDS: &'static [&'static str];

    /// The word.
    fn word(self) -> &'static str;

    /// The value of a word.
    #[must_use]
    fn from_word(text: &str) -> Option<Self> {
        Self::TABLE
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value)
    }
}

macro_rules! words {
    ($($type:ident { $($word:literal $variant:ident),* })*) => {$(
        impl Word for $type {
            const TABLE: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),*];
            const WORDS: &'static [&'static str] = &[$($word),*];
            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    )*};
}

words! {
    Permission { "read" Read, "triage" Triage, "write" Write, "maintain" Maintain, "admin" Admin }
    Level { "a" A, "b" B, "c" C, "d" D }
    AgentKind { "builtin" Builtin, "codex" Codex, "claude" Claude, "opencode" Opencode, "command" Command }
    ModelApi { "responses" Responses, "chat" Chat, "messages" Messages }
    NetworkMode { "enforce" Enforce, "report" Report }
    TlsMode { "inspect" Inspect, "tunnel" Tunnel }
    Tool { "cargo" Cargo, "npm" Npm, "pip" Pip, "yarn" Yarn, "pnpm" Pnpm, "uv" Uv, "go" Go, "maven" Maven, "rubygems" Rubygems, "nuget" Nuget, "apt" Apt, "git" Git }
    AuthMode { "strip" Strip, "pass" Pass }
    OnProtected { "block" Block, "request-changes" RequestChanges }
    Dependencies { "review" Review, "block" Block, "allow" Allow }
    OnBinary { "block" Block, "allow" Allow }
    Enforced { "report" Report, "require" Require }
}
