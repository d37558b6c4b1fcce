//! Which images a text shows, and where GitHub's own HTML says that an attachment lies.
//! It must never find an image that a reader of the text does not see: what stands in code is no image.

use html5gum::{DefaultEmitter, Token, Tokenizer};
use pulldown_cmark::{Event, Parser, Tag};
use url::Url;

/// Images of one text that are looked at.
const PER_TEXT_MAX: usize = 50;

/// The images that a Markdown text shows by a whole address, each once. A relative one is in the repository already.
pub(super) fn images(markdown: &str) -> Vec<Url> {
    let mut found: Vec<Url> = Vec::new();
    let mut html = String::new();
    let mut take = |address: &str| {
        if let Ok(url) = Url::parse(address)
            && matches!(url.scheme(), "http" | "https")
            && !found.contains(&url)
            && found.len() < PER_TEXT_MAX
        {
            found.push(url);
        }
    };
    for event in Parser::new(markdown) {
        match event {
            Event::Start(Tag::Image { dest_url, .. }) => take(&dest_url),
            Event::Html(piece) | Event::InlineHtml(piece) => html.push_str(&piece),
            _ => {}
        }
    }
    for address in sources(&html) {
        take(&address);
    }
    found
}

/// Where GitHub's HTML of the same text says that an attachment lies: an image whose path holds the attachment's name.
pub(super) fn signed(html: &str, attachment: &Url) -> Option<Url> {
    let name = attachment.path_segments()?.next_back()?;
    // A short name could be found in any path.
    if name.len() < 16 {
        return None;
    }
    sources(html)
        .iter()
        .filter_map(|address| Url::parse(address).ok())
        .find(|url| url != attachment && url.path().contains(name))
}

/// `src` of every `img`.
fn sources(html: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut emitter = DefaultEmitter::<()>::default();
    emitter.naively_switch_states(true);
    for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
        if let Token::StartTag(tag) = token
            && tag.name.as_slice() == b"img"
            && let Some((_, address)) = tag
                .attributes
                .iter()
                .find(|(name, _)| name.as_slice() == b"src")
            && found.len() < PER_TEXT_MAX
        {
            found.push(String::from_utf8_lossy(address).into_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        images(text).iter().map(Url::to_string).collect()
    }

    #[test]
    fn images_are_found_in_markdown_and_in_html() {
        let text = "![a](https://a.example/1.png \"t\") <img alt=\"x\" src=\"https://a.example/2.png\">\n\n![r][r]\n\n\
            <p><img src='https://a.example/1.png'></p>\n\n[r]: https://a.example/3.png";
        assert_eq!(
            found(text),
            [
                "https://a.example/1.png",
                "https://a.example/3.png",
                "https://a.example/2.png"
            ]
        );
    }

    #[test]
    fn what_is_no_image_of_the_web_is_not_found() {
        let text = "`![a](https://a.example/1.png)` [l](https://a.example/2.png) ![f](file:///etc/passwd) ![d](data:image/png;base64,AA)\n\n\
            ![rel](docs/a.png)\n\n```\n![b](https://a.example/3.png)\n```\n\n    ![c](https://a.example/4.png)\n\n<!-- <img src=\"https://a.example/5.png\"> -->";
        assert_eq!(found(text), Vec::<String>::new());
    }

    #[test]
    fn signed_address_is_the_one_with_the_attachments_name() {
        let attachment = Url::parse(
            "https://github.com/user-attachments/assets/3f6c2f0e-7f43-4d6e-9d0f-0f4a5d1c2b3a",
        )
        .unwrap();
        let html = "<p><a href=\"#\"><img src=\"https://x.example/1-3f6c2f0e-7f43-4d6e-9d0f-0f4a5d1c2b3a.png?jwt=a&amp;b=c\"></a></p>";
        let url = signed(html, &attachment).unwrap();
        assert_eq!(url.query(), Some("jwt=a&b=c"));
        assert_eq!(
            signed("<img src=\"https://x.example/other.png\">", &attachment),
            None
        );
        let short = Url::parse("https://github.com/user-attachments/assets/a").unwrap();
        assert_eq!(signed(html, &short), None);
    }
}
