//! Just enough of XML to read manifests: tags one after the other, comments left out.

/// One opening or closing tag and the text behind it.
pub(super) struct Element<'a> {
    /// Its name, with a slash before it where it closes.
    pub(super) name: &'a str,
    pub(super) attributes: &'a str,
    pub(super) text: &'a str,
}

/// All tags in their order.
pub(super) fn elements(text: &str) -> impl Iterator<Item = Element<'_>> {
    let mut in_comment = false;
    text.split('<').skip(1).filter_map(move |part| {
        if in_comment || part.starts_with("!--") {
            in_comment = !part.contains("-->");
            return None;
        }
        let (tag, text) = part.split_once('>')?;
        let tag = tag.trim_end_matches('/').trim();
        let (name, attributes) = tag
            .split_once(|c: char| c.is_whitespace())
            .unwrap_or((tag, ""));
        Some(Element {
            name,
            attributes,
            text: text.trim(),
        })
    })
}

/// The value of an attribute.
pub(super) fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    attributes.match_indices(name).find_map(|(at, _)| {
        let before = attributes.get(..at)?.chars().next_back();
        let rest = attributes.get(at + name.len()..)?.trim_start();
        let rest = rest
            .strip_prefix('=')
            .filter(|_| before.is_none_or(char::is_whitespace))?
            .trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest.get(1..)?.split(quote).next()
    })
}
