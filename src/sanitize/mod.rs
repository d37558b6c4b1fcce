//! One sanitiser for every text that goes to the model or out to GitHub.
//! It must never let through what a reader cannot see, and what it has cleaned it leaves alone.
//!
//! `characters` judges code points; `markdown` walks what GitHub would show, with `html`, `links`, `fenced` and `words`
//! for its parts, `decoded` for the way back to the source and `edit` for what changes there; `plain` serves texts that are no Markdown;
//! `removals` counts what went.

mod characters;
mod decoded;
mod edit;
mod fenced;
mod html;
mod links;
mod markdown;
mod plain;
pub mod removals;
mod words;

use markdown::Direction;

use removals::{Kind, Removals};

/// Most characters of a text that is taken in or posted: what GitHub stores of a comment.
/// Counted in UTF-16 units, which are never fewer than characters.
pub const TEXT_UNITS_MAX: usize = 65_536;

/// Most passes over one text. Nobody nests so deep by chance; a text that still changes then is left out.
const PASSES_MAX: usize = 64;

/// What stands for a text that is left out.
const LEFT_OUT: &str = "(text left out: its markup is nested too deep)\n";

/// What stands where a text was cut.
const CUT: &str = "\n\n(cut here: the text is longer than 65,536 characters)\n";

/// A text that went through the sanitiser, and what it lost there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clean {
    text: String,
    removed: Removals,
}

impl Clean {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text without its count.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    /// What was removed or made inert.
    #[must_use]
    pub fn removed(&self) -> &Removals {
        &self.removed
    }
}

/// What may stand in a text that we post.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingRules {
    hosts: Vec<String>,
}

impl OutgoingRules {
    /// Links may lead to these hosts and to no other: exact names, or `*.name` for subdomains.
    #[must_use]
    pub fn new<Host: AsRef<str>>(hosts: impl IntoIterator<Item = Host>) -> Self {
        let hosts = hosts
            .into_iter()
            .map(|host| host.as_ref().trim_end_matches('.').to_ascii_lowercase())
            .filter(|host| !host.is_empty())
            .collect();
        Self { hosts }
    }

    /// Whether a link may lead to this host, given in ASCII lower case.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        self.hosts.iter().any(|rule| match rule.strip_prefix("*.") {
            Some(parent) => host
                .strip_suffix(parent)
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            None => host == rule,
        })
    }
}

/// A text of an issue, a comment or a review, as the model may read it: what a person sees on GitHub and nothing else.
#[must_use]
pub fn incoming(text: &str) -> Clean {
    to_fixpoint(text, Direction::Incoming)
}

/// A text of the agent's, as we may post it: it shows no image, reaches nobody, links only where the rules allow, and starts nothing.
/// What follows it in a document is not swallowed by it.
#[must_use]
pub fn outgoing(text: &str, rules: &OutgoingRules) -> Clean {
    to_fixpoint(text, Direction::Outgoing(rules))
}

/// Passes until nothing changes, so that what was cleaned once stays as it is.
fn to_fixpoint(text: &str, direction: Direction<'_>) -> Clean {
    let mut removed = Removals::default();
    let mut text = text.to_owned();
    for _ in 0..PASSES_MAX {
        let next = pass(&text, direction, &mut removed);
        if next == text {
            return Clean { text, removed };
        }
        text = next;
    }
    removed.add(Kind::Cut, 1);
    Clean {
        text: LEFT_OUT.to_owned(),
        removed,
    }
}

fn pass(text: &str, direction: Direction<'_>, removed: &mut Removals) -> String {
    let text = cut(&characters::clean(text, removed), removed);
    let text = markdown::pass(&text, direction, removed);
    match direction {
        Direction::Incoming => text,
        Direction::Outgoing(_) => {
            let text = words::raw(&text, removed);
            if markdown::ends_open(&text) {
                close(&text)
            } else {
                text
            }
        }
    }
}

/// The text with what closes it; with a guess, which the next pass judges, if nothing does.
fn close(text: &str) -> String {
    let line = if text.ends_with('\n') { "" } else { "\n" };
    let mut closed = fenced::closings(text)
        .into_iter()
        .map(|fence| format!("{text}{line}{fence}\n"));
    let guess = closed.next().unwrap_or_default();
    if !markdown::ends_open(&guess) {
        return guess;
    }
    closed
        .find(|closed| !markdown::ends_open(closed))
        .unwrap_or(guess)
}

/// Cuts at the limit, on a character boundary.
fn cut(text: &str, removed: &mut Removals) -> String {
    if text.encode_utf16().count() <= TEXT_UNITS_MAX {
        return text.to_owned();
    }
    removed.add(Kind::Cut, 1);
    let room = TEXT_UNITS_MAX - CUT.len();
    let mut units = 0;
    let kept: String = text
        .chars()
        .take_while(|c| {
            units += c.len_utf16();
            units <= room
        })
        .collect();
    kept + CUT
}

/// The first line of a commit or the title of a pull request: one line of plain text that mentions, closes and skips nothing.
#[must_use]
pub fn title(text: &str) -> Clean {
    plain::title(text)
}

/// The text of a commit's message: several lines that nobody renders, and that mention, close and skip nothing.
#[must_use]
pub fn message(text: &str) -> Clean {
    plain::message(text)
}

/// One line of what the agent printed, as it may stand in a runner's log: no workflow command in it can act.
#[must_use]
pub fn log_line(text: &str) -> String {
    plain::log_line(text)
}

/// The text as a fenced block whose fence is longer than any run of back-ticks inside; `info` names its language.
#[must_use]
pub fn fence(text: &str, info: &str) -> String {
    plain::fence(text, info)
}

/// Characters that a reader does not see: where (byte offset), which, and what kind they are.
/// Emoji sequences and the joiners that natural scripts need are not reported.
pub fn hidden_characters(text: &str) -> impl Iterator<Item = (usize, char, &'static str)> + '_ {
    characters::hidden(text).map(|(at, c, kind)| (at, c, kind.word()))
}
