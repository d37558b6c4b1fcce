//! Raw HTML in Markdown: what of it a reader sees. Tags go, text stays, hidden elements go with their text.
//! It must never write a tag: all that comes out is Markdown text.

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};

use super::removals::{Kind, Removals};

/// Elements whose text is not shown as text.
const HIDDEN: [&str; 21] = [
    "audio",
    "canvas",
    "datalist",
    "head",
    "iframe",
    "math",
    "noembed",
    "noframes",
    "noscript",
    "object",
    "option",
    "plaintext",
    "script",
    "select",
    "style",
    "svg",
    "template",
    "textarea",
    "title",
    "video",
    "xmp",
];

/// Elements that stand apart, so that the words around them must not grow together.
const APART: [&str; 17] = [
    "br", "dd", "details", "div", "dt", "h1", "h2", "h3", "hr", "li", "ol", "p", "summary",
    "table", "td", "tr", "ul",
];

/// One piece of raw HTML, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// What is shown, as Markdown text.
    pub(super) text: String,
    /// Addresses of images, in order; each stands in the text as `IMAGE`.
    pub(super) images: Vec<String>,
    /// Whether a tag stands apart from the words around it.
    pub(super) apart: bool,
    /// The name of a hidden element that is opened here and not closed.
    pub(super) opens: Option<String>,
    /// Names of hidden elements that are closed here and were not opened.
    pub(super) closes: Vec<String>,
}

/// A hidden element that is open, and how much had been read before it.
struct Hidden {
    name: String,
    text: usize,
    images: usize,
    closes: usize,
    apart: bool,
}

impl Hidden {
    fn begin(name: String, read: &Read) -> Self {
        Self {
            name,
            text: read.text.len(),
            images: read.images.len(),
            closes: read.closes.len(),
            apart: read.apart,
        }
    }

    /// Takes away what was read since.
    fn undo(self, read: &mut Read) {
        read.text.truncate(self.text);
        read.images.truncate(self.images);
        read.closes.truncate(self.closes);
        read.apart = self.apart;
    }
}

/// Where an image stands in the text that was read.
pub(super) const IMAGE: char = '\u{0}';

/// Reads one piece of HTML as a browser's tokenizer does.
pub(super) fn read(html: &str, removed: &mut Removals) -> Read {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut read = Read::default();
    let mut hidden: Option<Hidden> = None;
    for token in Tokenizer::new_with_emitter(html, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => start(&tag, &mut read, &mut hidden, removed),
            Token::EndTag(tag) => {
                removed.add(Kind::Tagged, 1);
                let name = lossy(&tag.name);
                if let Some(open) = hidden.take_if(|open| open.name == name) {
                    removed.add(Kind::HiddenElement, 1);
                    open.undo(&mut read);
                } else if HIDDEN.contains(&name.as_str()) {
                    read.closes.push(name);
                } else if APART.contains(&name.as_str()) {
                    apart(&mut read);
                }
            }
            Token::String(text) => escape(&lossy(&text), &mut read.text),
            Token::Comment(_) | Token::Doctype(_) => removed.add(Kind::Comment, 1),
            Token::Error(_) => {}
        }
    }
    read.opens = hidden.map(|open| open.name);
    read
}

fn start(tag: &StartTag<()>, read: &mut Read, hidden: &mut Option<Hidden>, removed: &mut Removals) {
    removed.add(Kind::Tagged, 1);
    let name = lossy(&tag.name);
    if HIDDEN.contains(&name.as_str()) {
        if hidden.is_none() && !tag.self_closing {
            *hidden = Some(Hidden::begin(name, read));
        }
    } else if name == "img" {
        let source = tag
            .attributes
            .iter()
            .find(|(name, _)| name.as_slice() == b"src");
        if let Some((_, source)) = source {
            read.images.push(lossy(source));
            read.text.push(IMAGE);
        }
    } else if APART.contains(&name.as_str()) {
        apart(read);
    }
}

fn apart(read: &mut Read) {
    read.apart = true;
    if !read.text.is_empty() && !read.text.ends_with(char::is_whitespace) {
        read.text.push(' ');
    }
}

/// The tokenizer has resolved entities; what would be read as markup again is written as entities again.
fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '<' => into.push_str("&lt;"),
            '&' => into.push_str("&amp;"),
            IMAGE => {}
            _ => into.push(c),
        }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(html: &str) -> String {
        read(html, &mut Removals::default()).text
    }

    #[test]
    fn only_what_is_shown_stays() {
        assert_eq!(shown("<div title='x'>a <b>b</b></div>"), "a b ");
        assert_eq!(shown("<!-- a -->b<!-- never closed"), "b");
        assert_eq!(shown("<script>a<b></script>c"), "c");
        assert_eq!(shown("a<br>b &lt;i>"), "a b &lt;i>");
        assert_eq!(shown("<?php x ?><![CDATA[y]]><!DOCTYPE z>w"), "w");
    }

    #[test]
    fn an_image_keeps_its_address_only() {
        let read = read(
            "<img alt=hidden src='https://a/b'>",
            &mut Removals::default(),
        );
        assert_eq!(read.images, ["https://a/b"]);
        assert_eq!(read.text, "\u{0}");
    }

    #[test]
    fn an_open_element_is_named() {
        assert_eq!(
            read("<template>x", &mut Removals::default())
                .opens
                .as_deref(),
            Some("template")
        );
        assert_eq!(
            read("x</template>", &mut Removals::default()).closes,
            ["template"]
        );
    }
}
