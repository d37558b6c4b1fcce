//! Markdown as GitHub reads it, and what of it may not pass. Each pass parses the text and edits its source,
//! so that what is natural stays byte for byte; passes are repeated until nothing changes.
//! It must never search in unparsed Markdown for what only a parser can tell.
//!
//! `walk` gathers the edits, `elements` judges links, images and raw HTML, `notes` footnotes, and `shown` finds what nobody sees.

mod elements;
mod notes;
mod shown;
mod walk;

use pulldown_cmark::{Event, Options, Parser, Tag};

use self::walk::Walk;
use super::OutgoingRules;
use super::edit::apply;
use super::removals::Removals;

/// Which way the text goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction<'a> {
    /// To the model.
    Incoming,
    /// To GitHub.
    Outgoing(&'a OutgoingRules),
}

/// The extensions that GitHub has, but for mathematics.
const EXTENSIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_FOOTNOTES)
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS)
    .union(Options::ENABLE_GFM);

/// GitHub does not document what it takes for mathematics: between two dollars it may see a formula, or a link and an image.
/// A text must hold under both readings.
const READINGS: [Options; 2] = [EXTENSIONS.union(Options::ENABLE_MATH), EXTENSIONS];

/// One pass. The text that comes back may need another.
pub(super) fn pass(text: &str, direction: Direction<'_>, removed: &mut Removals) -> String {
    for reading in READINGS {
        let next = read(text, reading, direction, removed);
        if next != text {
            return next;
        }
    }
    text.to_owned()
}

fn read(text: &str, reading: Options, direction: Direction<'_>, removed: &mut Removals) -> String {
    let parser = Parser::new_ext(text, reading);
    let definitions = parser
        .reference_definitions()
        .iter()
        .map(|(_, definition)| definition.span.clone())
        .collect();
    let mut walk = Walk::new(text, direction, definitions);
    for (event, range) in parser.into_offset_iter() {
        walk.event(event, range);
    }
    apply(text, walk.finish(), removed)
}

/// Whether a text that follows starts a paragraph of its own, so that nothing in this text swallows it.
pub(super) fn ends_open(text: &str) -> bool {
    const PROBE: &str = "\n\nprobe\n";
    let whole = format!("{text}{PROBE}");
    READINGS.into_iter().any(|reading| {
        let mut depth = 0_usize;
        let mut last = None;
        for (event, range) in Parser::new_ext(&whole, reading).into_offset_iter() {
            match event {
                Event::Start(tag) => {
                    if depth == 0 {
                        last = Some((matches!(tag, Tag::Paragraph), range.start));
                    }
                    depth += 1;
                }
                Event::End(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        last != Some((true, text.len() + 2))
    })
}
