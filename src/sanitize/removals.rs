//! What the sanitiser took away or made inert, counted by kind.
//! It must never hold the text itself: a count may be shown anywhere.

use std::collections::BTreeMap;
use std::fmt;

/// One kind of thing that does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A control character of C0 or C1, or a terminal's escape sequence.
    Control,
    /// A character that turns the direction of writing.
    Bidi,
    /// A character of the tag block, which mirrors ASCII unseen.
    Tag,
    /// A variation selector outside an emoji.
    VariationSelector,
    /// A character without width, a joiner where no script needs one.
    ZeroWidth,
    /// A blank that counts as a letter or a symbol.
    Filler,
    /// A code point for private use, or one that means nothing.
    Unassigned,
    /// More marks on one letter than any script stacks.
    StackedMark,
    /// An HTML comment, declaration or processing instruction.
    Comment,
    /// An HTML tag.
    Tagged,
    /// The text of an element that is not shown.
    HiddenElement,
    /// An alternative text or a title of a link or an image.
    HiddenText,
    /// A link reference definition.
    Definition,
    /// A footnote that nothing refers to.
    Footnote,
    /// Mathematics with commands that can hide text.
    Mathematics,
    /// A diagram or map that is drawn from text.
    Diagram,
    /// Words behind the language of a code block.
    InfoString,
    /// An image.
    Image,
    /// A link or an address that is not on the list.
    Link,
    /// A query or a fragment of an address.
    Query,
    /// A mention or an e-mail address.
    Mention,
    /// A reference to an issue, a pull request or a discussion.
    Reference,
    /// A command to a bot.
    Command,
    /// A word that skips checks.
    Skip,
    /// A line that git or GitHub reads as a trailer.
    Trailer,
    /// A line break where only one line may stand.
    LineBreak,
    /// The part behind the longest length.
    Cut,
}

impl Kind {
    /// The kind's code.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Control => "control-character",
            Self::Bidi => "bidi-control",
            Self::Tag => "tag-character",
            Self::VariationSelector => "variation-selector",
            Self::ZeroWidth => "zero-width",
            Self::Filler => "filler",
            Self::Unassigned => "unassigned",
            Self::StackedMark => "stacked-mark",
            Self::Comment => "html-comment",
            Self::Tagged => "html-tag",
            Self::HiddenElement => "hidden-element",
            Self::HiddenText => "hidden-text",
            Self::Definition => "link-definition",
            Self::Footnote => "footnote",
            Self::Mathematics => "mathematics",
            Self::Diagram => "diagram",
            Self::InfoString => "info-string",
            Self::Image => "image",
            Self::Link => "link",
            Self::Query => "query",
            Self::Mention => "mention",
            Self::Reference => "reference",
            Self::Command => "bot-command",
            Self::Skip => "skip-word",
            Self::Trailer => "trailer",
            Self::LineBreak => "line-break",
            Self::Cut => "cut",
        }
    }
}

/// Counts by kind; shown as `2 html-comment, 1 zero-width`, or `nothing`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removals(BTreeMap<Kind, u64>);

impl Removals {
    /// Adds to one kind.
    pub(crate) fn add(&mut self, kind: Kind, count: u64) {
        if count > 0 {
            *self.0.entry(kind).or_default() += count;
        }
    }

    /// Adds another count to this one.
    pub fn merge(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            self.add(*kind, *count);
        }
    }

    /// How many of one kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.0.get(&kind).copied().unwrap_or(0)
    }

    /// How many of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each kind that occurred, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }
}

impl fmt::Display for Removals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (at, (kind, count)) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{count} {}", kind.word())?;
        }
        Ok(())
    }
}
