//! Links, images and raw HTML: what of them stays.
//! It must never keep an address that the rules of the direction do not allow.

use std::collections::BTreeMap;
use std::ops::Range;

use pulldown_cmark::LinkType;

use super::Direction;
use super::walk::Walk;
use crate::sanitize::edit::Edit;
use crate::sanitize::html;
use crate::sanitize::links::{self, Address};
use crate::sanitize::removals::{Kind, Removals};

/// A link or an image whose end is not reached yet.
pub(super) struct Open<'a> {
    pub(super) image: bool,
    link_type: LinkType,
    address: String,
    title: bool,
    range: Range<usize>,
    pub(super) inner: Option<Range<usize>>,
    source: &'a str,
}

impl Open<'_> {
    /// The part behind the text: the address, which is judged by itself.
    pub(super) fn tail(&self) -> Range<usize> {
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
pub(super) struct Piece {
    range: Range<usize>,
    block: bool,
    read: html::Read,
    removed: Removals,
}

impl<'a> Walk<'a> {
    /// A link or an image begins.
    pub(super) fn open(
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

    /// Reads a piece of HTML.
    pub(super) fn piece(&mut self, html: &str, range: Range<usize>, block: bool) {
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
    pub(super) fn link(&self, open: &Open<'_>) -> Option<Edit> {
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
    pub(super) fn image(&self, open: &Open<'_>) -> Option<Edit> {
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

    /// What every piece of HTML becomes; from where a hidden element begins to where it ends nothing stays.
    pub(super) fn html_pieces(&mut self) {
        let rest = std::mem::take(&mut self.pieces);
        let mut closed: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, piece) in rest.iter().enumerate() {
            for name in &piece.read.closes {
                closed.entry(name).or_default().push(at);
            }
        }
        let mut at = 0;
        while let Some(piece) = rest.get(at) {
            let end = piece.read.opens.as_deref().and_then(|name| {
                let places = closed.get(name)?;
                places
                    .get(places.partition_point(|place| *place <= at))
                    .copied()
            });
            if let Some((end, last)) = end.and_then(|end| Some((end, rest.get(end)?))) {
                let range = piece.range.start..last.range.end;
                self.edits
                    .push(Edit::new(range, "\n", &[Kind::HiddenElement]));
                at = end + 1;
                continue;
            }
            let with = self.html_text(piece);
            self.edits.push(Edit {
                range: piece.range.clone(),
                with,
                removed: piece.removed.clone(),
            });
            at += 1;
        }
    }

    /// The text of a piece of HTML, with its images.
    fn html_text(&self, piece: &Piece) -> String {
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

/// Stands where an image stood.
const LEFT_OUT_IMAGE: &str = "(image left out)";

/// The text of a link that goes; an address in angle brackets loses its scheme at once.
fn without_scheme(inner: &str, autolink: bool) -> String {
    match inner.split_once(':') {
        Some((_, rest)) if autolink => rest.trim_start_matches('/').to_owned(),
        Some(_) | None => inner.to_owned(),
    }
}
