//! The walk over one parsed text: each event is told to the parts, and the edits are gathered.

use std::collections::BTreeSet;
use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Tag, TagEnd};

use super::Direction;
use super::elements::{Open, Piece};
use super::shown::Shown;
use crate::sanitize::decoded::Decoded;
use crate::sanitize::edit::Edit;
use crate::sanitize::removals::Kind;
use crate::sanitize::{fenced, words};

/// One reading of one text.
pub(super) struct Walk<'a> {
    pub(super) text: &'a str,
    pub(super) direction: Direction<'a>,
    pub(super) edits: Vec<Edit>,
    definitions: Vec<Range<usize>>,
    decoded: Decoded,
    pub(super) open: Vec<Open<'a>>,
    in_code: bool,
    html: Option<(Range<usize>, String)>,
    pub(super) pieces: Vec<Piece>,
    pub(super) footnotes: Vec<(String, Range<usize>)>,
    footnote_depth: usize,
    pub(super) referred: BTreeSet<String>,
    pub(super) references: Vec<(String, Range<usize>)>,
    shown: Shown,
}

impl<'a> Walk<'a> {
    /// `definitions` are the link reference definitions: the parser gives no event for them.
    pub(super) fn new(
        text: &'a str,
        direction: Direction<'a>,
        definitions: Vec<Range<usize>>,
    ) -> Self {
        Self {
            text,
            direction,
            edits: Vec::new(),
            definitions,
            decoded: Decoded::default(),
            open: Vec::new(),
            in_code: false,
            html: None,
            pieces: Vec::new(),
            footnotes: Vec::new(),
            footnote_depth: 0,
            referred: BTreeSet::new(),
            references: Vec::new(),
            shown: Shown::default(),
        }
    }

    /// Takes in what the parser met.
    pub(super) fn event(&mut self, event: Event<'a>, range: Range<usize>) {
        if !matches!(event, Event::End(TagEnd::Link | TagEnd::Image)) {
            for open in &mut self.open {
                let inner = open.inner.get_or_insert(range.clone());
                *inner = inner.start.min(range.start)..inner.end.max(range.end);
            }
        }
        if !matches!(event, Event::Start(_) | Event::End(_)) {
            self.shown.add(range.clone());
        }
        match event {
            Event::Start(tag) => self.start(tag, range),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => {
                if !self.in_code {
                    self.decoded.text(&text, range, self.text);
                }
            }
            Event::SoftBreak | Event::HardBreak => self.decoded.text("\n", range, self.text),
            Event::Code(code) => {
                self.decoded.mark(words::ELEMENT);
                self.edits
                    .extend(fenced::dollar_code(self.text, &code, range));
            }
            Event::InlineMath(tex) | Event::DisplayMath(tex) => {
                self.decoded.mark(words::ELEMENT);
                self.edits.extend(fenced::mathematics(&tex, range));
            }
            Event::Html(html) => match &mut self.html {
                Some((_, whole)) => whole.push_str(&html),
                None => self.piece(&html, range, true),
            },
            Event::InlineHtml(html) => {
                self.decoded.mark(words::ELEMENT);
                self.piece(&html, range, false);
            }
            Event::FootnoteReference(label) => {
                self.decoded.mark(words::ELEMENT);
                if self.footnote_depth == 0 {
                    self.referred.insert(label.to_string());
                }
                self.references.push((label.to_string(), range));
            }
            Event::Rule | Event::TaskListMarker(_) => self.decoded.mark(words::BLOCK),
        }
    }

    fn start(&mut self, tag: Tag<'a>, range: Range<usize>) {
        match tag {
            Tag::Link {
                link_type,
                dest_url,
                title,
                ..
            } => {
                self.decoded.mark(words::ELEMENT);
                self.open(false, link_type, &dest_url, &title, range);
            }
            Tag::Image {
                link_type,
                dest_url,
                title,
                ..
            } => {
                self.decoded.mark(words::ELEMENT);
                self.open(true, link_type, &dest_url, &title, range);
            }
            Tag::Emphasis
            | Tag::Strong
            | Tag::Strikethrough
            | Tag::Superscript
            | Tag::Subscript => {
                self.decoded.mark(words::ELEMENT);
            }
            Tag::CodeBlock(kind) => {
                self.in_code = true;
                self.decoded.mark(words::BLOCK);
                self.shown.add_line(self.text, range.start);
                if let CodeBlockKind::Fenced(_) = kind {
                    self.edits
                        .extend(fenced::block(self.text, range, self.direction));
                }
            }
            Tag::HtmlBlock => {
                self.decoded.mark(words::BLOCK);
                self.html = Some((range, String::new()));
            }
            Tag::FootnoteDefinition(label) => {
                self.decoded.mark(words::BLOCK);
                self.footnote_depth += 1;
                self.shown
                    .add(range.start..range.start + label.len() + "[^]:".len());
                self.footnotes.push((label.to_string(), range));
            }
            Tag::BlockQuote(kind) => {
                self.decoded.mark(words::BLOCK);
                if kind.is_some() {
                    self.shown.add_line(self.text, range.start);
                }
            }
            Tag::Paragraph
            | Tag::Heading { .. }
            | Tag::List(_)
            | Tag::Item
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Table(_)
            | Tag::TableHead
            | Tag::TableRow
            | Tag::TableCell
            | Tag::MetadataBlock(_) => self.decoded.mark(words::BLOCK),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Link | TagEnd::Image => {
                self.decoded.mark(words::LINK_END);
                if let Some(open) = self.open.pop() {
                    self.shown.add(open.tail());
                    let edit = if open.image {
                        self.image(&open)
                    } else {
                        self.link(&open)
                    };
                    self.edits.extend(edit);
                }
            }
            TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough
            | TagEnd::Superscript
            | TagEnd::Subscript => {
                self.decoded.mark(words::ELEMENT);
            }
            TagEnd::CodeBlock => {
                self.in_code = false;
                self.decoded.mark(words::BLOCK);
            }
            TagEnd::HtmlBlock => {
                self.decoded.mark(words::BLOCK);
                if let Some((range, html)) = self.html.take() {
                    self.piece(&html, range, true);
                }
            }
            TagEnd::FootnoteDefinition => {
                self.decoded.mark(words::BLOCK);
                self.footnote_depth = self.footnote_depth.saturating_sub(1);
            }
            TagEnd::Paragraph
            | TagEnd::Heading(_)
            | TagEnd::BlockQuote(_)
            | TagEnd::List(_)
            | TagEnd::Item
            | TagEnd::DefinitionList
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition
            | TagEnd::Table
            | TagEnd::TableHead
            | TagEnd::TableRow
            | TagEnd::TableCell
            | TagEnd::MetadataBlock(_) => self.decoded.mark(words::BLOCK),
        }
    }

    /// What must be changed under this reading.
    pub(super) fn finish(mut self) -> Vec<Edit> {
        self.definitions();
        self.footnotes();
        self.html_pieces();
        for change in words::encoded_comments(self.decoded.as_str()) {
            self.edits.push(self.decoded.edit(&change));
        }
        // What goes out is made a text for every parser instead.
        if matches!(self.direction, Direction::Incoming) {
            for change in words::half_open_definitions(self.decoded.as_str()) {
                self.edits.push(self.decoded.edit(&change));
            }
        }
        self.edits.extend(self.decoded.hidden());
        if self.edits.is_empty() {
            self.edits = self.shown.unseen(self.text);
        }
        if let Direction::Outgoing(rules) = self.direction {
            let verbatim = |range: &Range<usize>| self.decoded.is_verbatim(range);
            for change in words::active(self.decoded.as_str(), rules, verbatim) {
                self.edits.push(self.decoded.edit(&change));
            }
        }
        self.edits
    }

    /// Definitions go. Of two with one label the parser tells the first only; the other is seen by nobody all the same.
    fn definitions(&mut self) {
        if self.definitions.is_empty() {
            return;
        }
        for range in std::mem::take(&mut self.definitions) {
            self.edits.push(Edit::new(range, "", &[Kind::Definition]));
        }
        self.edits.extend(self.shown.definitions(self.text));
    }
}
