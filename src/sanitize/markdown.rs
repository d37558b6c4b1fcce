//! Markdown as GitHub reads it, and what of it may not pass. Each pass parses the text and edits its source,
//! so that what is natural stays byte for byte; passes are repeated until nothing changes.
//! It must never search in unparsed Markdown for what only a parser can tell.

use std::collections::BTreeSet;
use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};

use super::decoded::Decoded;
use super::links::{self, Address};
use super::removals::{Kind, Removals};
use super::{OutgoingRules, fenced, html, words};

/// Which way the text goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction<'a> {
    /// To the model.
    Incoming,
    /// To GitHub.
    Outgoing(&'a OutgoingRules),
}

/// A part of the source and what it becomes.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    pub(super) range: Range<usize>,
    pub(super) with: String,
    pub(super) removed: Removals,
}

impl Edit {
    pub(super) fn new(range: Range<usize>, with: impl Into<String>, kinds: &[Kind]) -> Self {
        let mut removed = Removals::default();
        for kind in kinds {
            removed.add(*kind, 1);
        }
        Self {
            range,
            with: with.into(),
            removed,
        }
    }
}

/// The extensions that GitHub has.
pub(super) fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_MATH
        | Options::ENABLE_GFM
}

/// One pass. The text that comes back may need another.
pub(super) fn pass(text: &str, direction: Direction<'_>, removed: &mut Removals) -> String {
    let parser = Parser::new_ext(text, options());
    let mut walk = Walk::new(text, direction);
    for (_, definition) in parser.reference_definitions().iter() {
        walk.edit(Edit::new(definition.span.clone(), "", &[Kind::Definition]));
    }
    for (event, range) in parser.into_offset_iter() {
        walk.event(event, range);
    }
    apply(text, walk.finish(), removed)
}

/// Applies the edits; of two that overlap, the outer one or else the first.
fn apply(text: &str, mut edits: Vec<Edit>, removed: &mut Removals) -> String {
    edits.sort_by_key(|edit| (edit.range.start, usize::MAX - edit.range.end));
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for edit in edits {
        if edit.range.start < from
            || text
                .get(edit.range.clone())
                .is_none_or(|now| now == edit.with)
        {
            continue;
        }
        out.push_str(&text[from..edit.range.start]);
        out.push_str(&edit.with);
        from = edit.range.end;
        removed.merge(&edit.removed);
    }
    out.push_str(&text[from..]);
    out
}

/// A link or an image whose end is not reached yet.
struct Open<'a> {
    image: bool,
    link_type: LinkType,
    address: String,
    title: bool,
    range: Range<usize>,
    inner: Option<Range<usize>>,
    source: &'a str,
}

impl Open<'_> {
    /// The part behind the text: the address, which is judged by itself.
    fn tail(&self) -> Range<usize> {
        self.inner
            .as_ref()
            .map_or(self.range.start, |inner| inner.end)..self.range.end
    }

    fn inner(&self) -> &str {
        self.inner
            .clone()
            .and_then(|range| self.source.get(range))
            .unwrap_or("")
    }
}

/// A raw piece of HTML.
struct Piece {
    range: Range<usize>,
    block: bool,
    read: html::Read,
    removed: Removals,
}

struct Walk<'a> {
    text: &'a str,
    direction: Direction<'a>,
    edits: Vec<Edit>,
    decoded: Decoded,
    open: Vec<Open<'a>>,
    in_code: bool,
    html: Option<(Range<usize>, String)>,
    pieces: Vec<Piece>,
    footnotes: Vec<(String, Range<usize>)>,
    footnote_depth: usize,
    referred: BTreeSet<String>,
    references: Vec<(String, Range<usize>)>,
    shown: Shown,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str, direction: Direction<'a>) -> Self {
        Self {
            text,
            direction,
            edits: Vec::new(),
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

    fn edit(&mut self, edit: Edit) {
        self.edits.push(edit);
    }

    fn event(&mut self, event: Event<'a>, range: Range<usize>) {
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

    fn open(
        &mut self,
        image: bool,
        link_type: LinkType,
        address: &str,
        title: &str,
        range: Range<usize>,
    ) {
        self.open.push(Open {
            image,
            link_type,
            address: address.to_owned(),
            title: !title.is_empty(),
            range,
            inner: None,
            source: self.text,
        });
    }

    fn piece(&mut self, html: &str, range: Range<usize>, block: bool) {
        let mut removed = Removals::default();
        let read = html::read(html, &mut removed);
        self.pieces.push(Piece {
            range,
            block,
            read,
            removed,
        });
    }

    /// What a link becomes, if it does not stay.
    fn link(&self, open: &Open<'_>) -> Option<Edit> {
        let inner = open.inner();
        let autolink = matches!(open.link_type, LinkType::Autolink | LinkType::Email);
        let address = match self.direction {
            Direction::Incoming if autolink => return None,
            Direction::Incoming => links::incoming(&open.address),
            Direction::Outgoing(rules) => links::outgoing(&open.address, rules),
        };
        let mut kinds = if open.title {
            vec![Kind::HiddenText]
        } else {
            Vec::new()
        };
        let written = match address {
            Address::Stays => open.address.clone(),
            Address::Becomes(address) => {
                kinds.push(if links::has_query(&open.address) {
                    Kind::Query
                } else {
                    Kind::Link
                });
                address
            }
            Address::Goes => {
                kinds.push(Kind::Link);
                return Some(Edit::new(
                    open.range.clone(),
                    without_scheme(inner, autolink),
                    &kinds,
                ));
            }
        };
        if autolink {
            return Some(Edit::new(
                open.range.clone(),
                format!("<{written}>"),
                &kinds,
            ));
        }
        let stays = kinds.is_empty() && self.writes(open, &written);
        (!stays).then(|| Edit::new(open.range.clone(), format!("[{inner}]({written})"), &kinds))
    }

    /// What an image becomes, if it does not stay.
    fn image(&self, open: &Open<'_>) -> Option<Edit> {
        let address = match self.direction {
            Direction::Incoming => links::incoming(&open.address),
            Direction::Outgoing(_) => {
                return Some(Edit::new(
                    open.range.clone(),
                    LEFT_OUT_IMAGE,
                    &[Kind::Image],
                ));
            }
        };
        let told = open.title || !open.inner().is_empty();
        let mut kinds = if told {
            vec![Kind::HiddenText]
        } else {
            Vec::new()
        };
        let written = match address {
            Address::Stays => open.address.clone(),
            Address::Becomes(address) => {
                kinds.push(Kind::Link);
                address
            }
            Address::Goes => {
                kinds.push(Kind::Image);
                return Some(Edit::new(open.range.clone(), "", &kinds));
            }
        };
        let stays = kinds.is_empty() && self.writes(open, &written);
        (!stays).then(|| Edit::new(open.range.clone(), format!("![]({written})"), &kinds))
    }

    /// Whether the source has the address beside the text, letter for letter, and nothing else.
    fn writes(&self, open: &Open<'_>, address: &str) -> bool {
        let sign = if open.image { "!" } else { "" };
        matches!(open.link_type, LinkType::Inline)
            && self.text.get(open.range.clone())
                == Some(&format!("{sign}[{}]({address})", open.inner()))
    }

    fn finish(mut self) -> Vec<Edit> {
        self.footnotes();
        self.html_pieces();
        for change in words::encoded_comments(self.decoded.as_str()) {
            self.edits.push(self.decoded.edit(&change));
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

    /// A footnote is shown once, and only if the text itself refers to it. Its label is not shown at all: GitHub counts.
    fn footnotes(&mut self) {
        let mut shown = BTreeSet::new();
        for (label, range) in std::mem::take(&mut self.footnotes) {
            let wanted = self.referred.contains(&label) && shown.insert(label.clone());
            if !wanted {
                self.edits.push(Edit::new(range, "\n", &[Kind::Footnote]));
            } else if !is_number(&label) {
                let sign = range.start..range.start + label.len() + "[^]".len();
                self.edits
                    .push(Edit::new(sign, number_of(&label), &[Kind::HiddenText]));
            }
        }
        for (label, range) in std::mem::take(&mut self.references) {
            if !is_number(&label) {
                self.edits.push(Edit::new(range, number_of(&label), &[]));
            }
        }
    }

    fn html_pieces(&mut self) {
        let rest = std::mem::take(&mut self.pieces);
        let mut at = 0;
        while let Some(piece) = rest.get(at) {
            let end = piece.read.opens.as_ref().and_then(|name| {
                let later = rest
                    .iter()
                    .skip(at + 1)
                    .position(|later| later.read.closes.contains(name));
                later.map(|offset| at + 1 + offset)
            });
            if let Some((end, last)) = end.and_then(|end| Some((end, rest.get(end)?))) {
                let range = piece.range.start..last.range.end;
                self.edits
                    .push(Edit::new(range, "\n", &[Kind::HiddenElement]));
                at = end + 1;
                continue;
            }
            let with = self.shown(piece);
            self.edits.push(Edit {
                range: piece.range.clone(),
                with,
                removed: piece.removed.clone(),
            });
            at += 1;
        }
    }

    /// The text of a piece of HTML, with its images.
    fn shown(&self, piece: &Piece) -> String {
        let mut text = String::new();
        let mut images = piece.read.images.iter();
        for c in piece.read.text.chars() {
            if c == html::IMAGE {
                text.push_str(&self.html_image(images.next()));
            } else {
                text.push(c);
            }
        }
        if !piece.block {
            return if text.is_empty() && piece.read.apart {
                " ".to_owned()
            } else {
                text
            };
        }
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let end = if self.text[piece.range.clone()].ends_with('\n') {
            "\n"
        } else {
            ""
        };
        lines.join("\n").trim().to_owned() + end
    }

    fn html_image(&self, address: Option<&String>) -> String {
        match (self.direction, address) {
            (Direction::Outgoing(_), _) => LEFT_OUT_IMAGE.to_owned(),
            (Direction::Incoming, Some(address)) => match links::incoming(address) {
                Address::Stays => format!("![]({address})"),
                Address::Becomes(address) => format!("![]({address})"),
                Address::Goes => String::new(),
            },
            (Direction::Incoming, None) => String::new(),
        }
    }
}

fn is_number(label: &str) -> bool {
    label.len() <= 8 && label.bytes().all(|byte| byte.is_ascii_digit())
}

/// The sign of a footnote by a number that its label gives, so that both ends find each other without a list.
fn number_of(label: &str) -> String {
    let number = label.bytes().fold(17_u32, |number, byte| {
        number
            .wrapping_mul(31)
            .wrapping_add(u32::from(byte.to_ascii_lowercase()))
            % 90_000_000
    });
    format!("[^{}]", 10_000_000 + number)
}

/// The parts of the source that are shown or judged by themselves. What no part covers is seen by nobody on GitHub,
/// as the cells of a table's row beyond its columns, and what Markdown may yet come to swallow.
#[derive(Debug, Default)]
struct Shown(Vec<Range<usize>>);

impl Shown {
    fn add(&mut self, range: Range<usize>) {
        self.0.push(range);
    }

    /// Adds the line that stands at this place.
    fn add_line(&mut self, text: &str, start: usize) {
        let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        self.0.push(start..end);
    }

    /// Edits that take away every word outside of the parts.
    fn unseen(&mut self, text: &str) -> Vec<Edit> {
        self.0.sort_by_key(|range| range.start);
        let mut edits = Vec::new();
        let mut from = 0;
        let end = std::iter::once(text.len()..text.len());
        for range in self.0.iter().cloned().chain(end) {
            if range.start > from
                && let Some(gap) = text.get(from..range.start)
            {
                edits.extend(unseen_words(gap, from));
            }
            from = from.max(range.end);
        }
        edits
    }
}

/// Runs of letters in a part that is not shown, each with what follows it up to the end of its line.
fn unseen_words(gap: &str, start: usize) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut at = start;
    for line in gap.split_inclusive('\n') {
        if let Some(first) = line.find(char::is_alphabetic) {
            let last = line.rfind(char::is_alphabetic).map_or(line.len(), |last| {
                last + line[last..].chars().next().map_or(0, char::len_utf8)
            });
            edits.push(Edit::new(at + first..at + last, "", &[Kind::HiddenText]));
        }
        at += line.len();
    }
    edits
}

const LEFT_OUT_IMAGE: &str = "(image left out)";

/// The text of a link that goes; an address in angle brackets loses its scheme at once.
fn without_scheme(inner: &str, autolink: bool) -> String {
    match inner.split_once(':') {
        Some((_, rest)) if autolink => rest.trim_start_matches('/').to_owned(),
        Some(_) | None => inner.to_owned(),
    }
}

/// Whether a text that follows starts a paragraph of its own, so that nothing in this text swallows it.
pub(super) fn ends_open(text: &str) -> bool {
    const PROBE: &str = "\n\nprobe\n";
    let whole = format!("{text}{PROBE}");
    let mut depth = 0_usize;
    let mut last = None;
    for (event, range) in Parser::new_ext(&whole, options()).into_offset_iter() {
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
}
