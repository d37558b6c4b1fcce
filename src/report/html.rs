//! The report as one page that opens offline: no script, no image, nothing fetched.
//! It must never draw raw HTML that stood in a text.

use pulldown_cmark::{Event, Options, Parser, html};

/// Styles of the page: system fonts, both colour schemes.
const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8881}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h2{border-bottom:3px solid #d33;padding-bottom:.3rem}h3{margin-top:2rem}\
table{border-collapse:collapse;width:100%;margin:.5rem 0}\
th,td{border:1px solid var(--line);padding:.3rem .6rem;text-align:left;vertical-align:top}\
th:empty{display:none}code{font:.9em ui-monospace,monospace;background:var(--soft);padding:.1em .3em;overflow-wrap:anywhere}\
pre{background:var(--soft);padding:1rem;overflow-x:auto}pre code{background:none;padding:0}";

/// Draws the page from the report's Markdown.
#[must_use]
pub fn draw(title: &str, markdown: &str) -> String {
    let events = Parser::new_ext(markdown, Options::ENABLE_TABLES).map(|event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        other => other,
    });
    let mut body = String::with_capacity(markdown.len() * 2);
    html::push_html(&mut body, events);
    let mut safe_title = String::new();
    html::push_html(&mut safe_title, std::iter::once(Event::Text(title.into())));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{safe_title}</title><style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_html_in_a_text_is_shown_not_drawn() {
        let page = draw("a<b", "hello <script>alert(1)</script>\n\n<img src=x>\n");
        assert!(!page.contains("<script>") && !page.contains("<img"));
        assert!(page.contains("&lt;script&gt;") && page.contains("a&lt;b"));
    }

    #[test]
    fn table_becomes_a_table() {
        assert!(draw("t", "| a | b |\n|---|---|\n| 1 | 2 |\n").contains("<td>2</td>"));
    }
}
