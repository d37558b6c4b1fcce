//! The sanitiser as its users meet it: texts in, texts out, both directions, to a fixpoint.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use tagout::sanitize::{self, OutgoingRules};

/// What people write every day; not one byte may change, whichever way it goes.
const NATURAL: &[&str] = &[
    "Fix the test in `src/lib.rs`.\n",
    "مرحبا، هذا خطأ في السطر ١٢. شكراً!\n",
    "שלום, הבדיקה נכשלת: **בְּרֵאשִׁית**\n",
    "漢字かな交じり文です。\u{3000}「テスト」が失敗します。\n\n中文句子，한국어 문장.\n",
    "می\u{200C}خواهم این را درست کنم\n",
    "👨‍👩‍👧‍👦 👩🏽‍💻 🏳️‍🌈 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇩🇪 1️⃣ ❤️ 🧑🏿‍🤝‍🧑🏻\n",
    "# Title\n\n- one\n- two\n  1. three\n\n| a | b |\n|---|---|\n| 1 | 2 \\| 3 |\n\n> quoted *text*\n",
    "```rust\nlet a: Vec<String> = b; // <!-- shown, for it is code -->\n```\n",
    "~~~\nplain\n~~~\n\n    indented <b>\n",
    "a < b && c > d, 5 % of $3 and $x^2$ \\* not a list\n",
    "| a | b |\n|:--|--:|\n| only |\n| `x \\| y` | [l](https://docs.example.com/) |\n",
    "Term\n====\n\n1) one\n2) two\n\n+ plus\n\n***\n\nline  \nbreak\\\nagain\n",
    "text[^1] and[^2]\n\n[^1]: note one\n[^2]: note two\n    continued\n",
    "- [x] done\n- [ ] open\n\n---\n\n**bold**, _it_, ~~no~~, \\<escaped\\>\n",
    "> [!NOTE]\n> A note.\n",
    "no line end",
    "",
];

#[test]
fn fence_with_another_ones_sign_inside_is_closed() {
    for open in [
        "```x y\nfoo\n~~~",
        "~~~\nfoo\n```\n````",
        "````\n```\n~~~~~",
    ] {
        let closed = outgoing(open);
        assert!(
            closed.contains("foo") || closed.contains("~~~~~"),
            "{closed}"
        );
        assert!(outgoing(&format!("{closed}\n@octocat")).contains("@ octocat"));
    }
}

#[test]
fn definition_that_only_github_reads_as_one_is_not_read_by_the_model() {
    for hidden in [
        "[a]: /x(SECRET\n\nhello\n",
        "[a]: /x( \"SECRET one\nSECRET *two*\"\n\nhello\n",
        "> [a]:\n> (SECRET\n\nhello\n",
    ] {
        let left = incoming(hidden);
        assert!(!left.contains("SECRET") && left.contains("hello"), "{left}");
    }
    for seen in [
        "[a]: see f(x and so on\n",
        "a line [b]: /x(y\n",
        "[note] f(x: int\n",
    ] {
        assert_eq!(incoming(seen), seen);
    }
}

fn incoming(text: &str) -> String {
    sanitize::incoming(text).into_text()
}

fn rules() -> OutgoingRules {
    OutgoingRules::new(["docs.example.com"])
}

fn outgoing(text: &str) -> String {
    sanitize::outgoing(text, &rules()).into_text()
}

#[test]
fn natural_text_passes_both_ways_unchanged() {
    for text in NATURAL {
        assert_eq!(incoming(text), *text);
        assert_eq!(outgoing(text), *text);
        assert_eq!(sanitize::incoming(text).removed().total(), 0);
    }
}

#[test]
fn links_that_are_seen_come_in_unchanged() {
    for text in [
        "see https://example.com/a?b=c#d and <https://example.com/e>\n",
        "[docs](https://example.com/a?b=c) and [file](docs/a.md#b)\n",
        "![](https://example.com/shot.png)\n",
        "thanks @octocat, this is #12\n",
        "text[^1]\n\n[^1]: a note\n",
    ] {
        assert_eq!(incoming(text), text);
    }
}

/// Each hides `SECRET` from a person who reads the page on GitHub.
const HIDING: &[&str] = &[
    "a <!-- SECRET --> b",
    "<!-- SECRET",
    "<!--\nSECRET\n\nSECRET\n",
    "<!-<!-- x -->- SECRET -->",
    "<<!-- x -->!-- SECRET -->",
    "<!--- SECRET --->",
    "<!--x--!> <!-- SECRET -->",
    "&lt;!-- SECRET --&gt;",
    "&#60;!-- SECRET --&#62;",
    "&#x3c;&#33;&#45;&#x2d; SECRET",
    "&amp;lt;!-- SECRET --&amp;gt;",
    "\\<!-- SECRET -->",
    "&lt;!--\n\nSECRET\n\n--&gt; b",
    "<? SECRET ?>",
    "<![CDATA[ SECRET ]]>",
    "<!DOCTYPE SECRET>",
    "![SECRET](https://example.com/a.png)",
    "![a](https://example.com/a.png \"SECRET\")",
    "![SECRET][r]\n\n[r]: https://example.com/a.png",
    "[a](https://example.com \"SECRET\")",
    "[a](https://example.com 'SECRET')",
    "[a][r]\n\n[r]: https://example.com \"SECRET\"",
    "[//]: # (SECRET)",
    "[//]: # \"SECRET\"\n[//]: # \"SECRET\"",
    "> [SECRET]: /x\n\ntext",
    "[^1]: SECRET",
    "[^1]: SECRET [^1]",
    "x[^1]\n\n[^1]: shown\n\n[^1]: SECRET",
    "<img alt=SECRET src=https://example.com/a.png>",
    "<a title='SECRET' href='https://example.com'>a</a>",
    "<span data-x='SECRET'>a</span>",
    "<SECRET>a</SECRET>",
    "<script>SECRET</script>",
    "a <template>SECRET</template> b",
    "<style>\n\nSECRET\n\n</style>",
    "<svg><title>SECRET</title></svg>",
    "$\\phantom{SECRET}$",
    "$$\n\\color{white}{SECRET}\n$$",
    "$`\\tiny SECRET`$",
    "```math\n% SECRET\n```",
    "```mermaid\n%% SECRET\ngraph TD\n```",
    "```geojson\n{\"SECRET\":1}\n```",
    "```rust SECRET\nx\n```",
    "~~~ sh SECRET\nx\n~~~",
    "[a](https://SECRET@example.com/)",
    "[a](javascript:SECRET)",
    "[a](data:text/plain,SECRET)",
    "| a | b |\n|---|---|\n| 1 | 2 | SECRET |",
    "| a | b |\n|---|---|\n| 1 | 2 | 3 | SECRET | SECRET",
    "text[^SECRET]\n\n[^SECRET]: a note",
    "> <!-- SECRET\n> SECRET -->\n> shown",
    "| a <!-- SECRET --> | b |\n|---|---|",
    "[a](<https://example.com/> \"SECRET\")",
    "[a]:\n  https://example.com\n  \"SECRET\"\n\n[a]",
    "<picture><source srcset=\"SECRET\"></picture>",
    "<!--\u{200B}-- SECRET -->",
    "[![SECRET](https://example.com/i.png)](https://example.com/)",
    "- <!-- SECRET -->\n  - <!--\n    SECRET\n",
    "$$ \\text{ok} \\hspace{99cm} SECRET $$",
    "1. x\n\n   [SECRET]: /url 'SECRET'\n",
    "<details SECRET><summary title=SECRET>shown</summary></details>",
    "<table><tr><td>a</td></tr><!-- SECRET",
    "$<img alt=SECRET src=x>$",
    "```SECRET\n```",
    "[a]: b\n[a]: SECRET\n[a]: SECRET",
    "[//]: # (SECRET)\n[//]: # (SECRET)\n> [//]: # (SECRET)",
];

#[test]
fn what_a_person_does_not_see_the_model_does_not_read() {
    for text in HIDING {
        let clean = sanitize::incoming(text);
        assert!(
            !clean.text().contains("SECRET"),
            "{text:?} became {:?}",
            clean.text()
        );
        assert!(
            clean.removed().total() > 0,
            "{text:?} was counted as untouched"
        );
    }
}

#[test]
fn what_a_person_sees_the_model_reads() {
    for (text, shown) in [
        ("a <!-- x --> b", "a  b"),
        ("<div>\n  shown <b>bold</b>\n</div>\n", "shown bold\n"),
        ("a<br>b", "a b"),
        (
            "[text][r]\n\n[r]: https://example.com/x",
            "[text](https://example.com/x)\n\n",
        ),
        (
            "<img width=\"8\" alt=\"x\" src=\"https://example.com/a.png\" />",
            "![](https://example.com/a.png)",
        ),
        (
            "[a](https://good.example@evil.example/)",
            "[a](https://evil.example/)",
        ),
        ("zero&ZeroWidthSpace;width&#8203;", "zerowidth"),
        ("a&#x202e;b", "ab"),
    ] {
        assert_eq!(incoming(text), shown, "{text:?}");
    }
}

#[test]
fn nothing_that_goes_out_reaches_anybody() {
    for (text, inert) in [
        ("thanks @octocat", "thanks @ octocat"),
        (
            "&#64;octocat \\@octocat &commat;octocat",
            "@ octocat @ octocat @ octocat",
        ),
        ("@<b></b>octocat", "@ octocat"),
        ("mail a@example.com", "mail a@ example.com"),
        ("<a@example.com>", "a@ example.com"),
        ("Fixes #12, closes o/r#3", "Fixes no. 12, closes o/r no. 3"),
        ("GH-12", "GH 12"),
        ("\\#12 &#35;12", "no. 12 no. 12"),
        ("`fixes #12`", "`fixes no. 12`"),
        ("![x](https://evil.example/?d=1)", "(image left out)"),
        ("<img src='https://evil.example/?d=1'>", "(image left out)"),
        ("[x](https://evil.example/?d=1)", "x"),
        ("https://evil.example/?d=1", "evil.example/?d=1"),
        ("www.evil.example", "evil.example"),
        ("<https://evil.example>", "evil.example"),
        (
            "https://docs.example.com/a?d=1",
            "https://docs.example.com/a",
        ),
        (
            "[x](https://docs.example.com/a?d=1)",
            "[x](https://docs.example.com/a)",
        ),
        ("[x](https&#58;//evil.example)", "x"),
        ("[x](../issues/1)", "x"),
        ("hthttps://tps://evil.example", "evil.example"),
        ("/ok to test", "\\/ok_to test"),
        ("```\n/approve\n```", "```\n\\/approve\n```"),
        ("[skip ci]", "(skip ci)"),
        ("[skip travis ci]", "(skip travis ci)"),
        ("[CF-Pages-Skip]", "(CF-Pages-Skip)"),
        ("***NO_CI***", "NO CI"),
        ("skip-checks:true", "skip-checks -true"),
        ("recheck", "\\- recheck"),
        ("closed: #1 resolve #2", "closed: no. 1 resolve no. 2"),
        (
            "Fixes https://github.com/o/r/issues/1",
            "Fixes github.com/o/r/issues/1",
        ),
        ("o/r@0123456789abcdef", "o/r@ 0123456789abcdef"),
        ("@dependabot merge", "@ dependabot merge"),
        ("_www.evil.example", "_evil.example"),
        ("[a]: evil.example/(\n\n[a]", "[a] : evil.example/(\n\n[a]"),
        // Between dollars GitHub may see a formula or none.
        ("$[x](https://evil.example)$", "$x$"),
        ("$<img src=x>$", "$(image left out)$"),
        ("$$@octocat #1$$", "$$@ octocat no. 1$$"),
        ("Co-authored-by: x", "Co-authored-by - x"),
        ("```mermaid\nclick a\n```", "```text\nclick a\n```"),
    ] {
        assert_eq!(outgoing(text), inert, "{text:?}");
    }
}

#[test]
fn a_listed_link_goes_out() {
    for text in [
        "https://docs.example.com/a_b",
        "[x](https://docs.example.com/a#b)",
        "<https://docs.example.com/>",
    ] {
        assert_eq!(outgoing(text), text);
    }
}

#[test]
fn what_follows_is_not_swallowed() {
    for text in [
        "```\nopen",
        "~~~~ rust\nopen",
        "<!-- open",
        "<details>",
        "<pre>",
        "- ```\n  open",
        "<script>",
    ] {
        let text = outgoing(text);
        let after = outgoing(&format!("{text}\n\n@octocat"));
        assert!(
            after.ends_with("@ octocat"),
            "{text:?} swallowed what follows: {after:?}"
        );
    }
}

#[test]
fn a_text_is_cut_at_what_github_stores() {
    let clean = sanitize::outgoing(&"@a ".repeat(40_000), &rules());
    assert!(clean.text().encode_utf16().count() <= sanitize::TEXT_UNITS_MAX);
    assert_eq!(outgoing(clean.text()), clean.text());
}

#[test]
fn a_hostile_text_ends_soon() {
    for text in [
        "[a]: x\n".repeat(2_000),
        "<".repeat(60_000),
        "[".repeat(60_000),
        "&lt;!--".repeat(9_000),
        "<!-".repeat(20_000),
        "hthttps://tps://".repeat(1_000),
        "$\\a$".repeat(15_000),
        "\u{200C}\u{301}".repeat(15_000),
        "[^1]: x\n\n".repeat(7_000),
        "www.".repeat(16_000),
        "\u{1b}]".repeat(30_000),
        "<svg>\n\n".repeat(9_000),
        "<svg></svg>".repeat(6_000),
        "> ".repeat(30_000),
        "[".repeat(10_000) + &"](b)".repeat(10_000),
        "*a_".repeat(20_000),
    ] {
        let start = std::time::Instant::now();
        let once = outgoing(&text);
        assert_eq!(outgoing(&once), once);
        assert_eq!(incoming(&incoming(&text)), incoming(&text));
        let seconds = start.elapsed().as_secs();
        assert!(seconds < 30, "{:?} took {seconds} s", &text[..8]);
    }
}

#[test]
fn hidden_characters_are_named_with_their_place() {
    let found: Vec<_> = sanitize::hidden_characters("a\u{200B}👩‍💻\u{202E}").collect();
    assert_eq!(
        found,
        [
            (1, '\u{200B}', "zero-width"),
            (15, '\u{202E}', "bidi-control")
        ]
    );
}

/// Pieces out of which markup grows together.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "<!--", "-->", "<", ">", "!", "-", "&lt;", "&#60;", "&amp;", "&", ";", "[", "]", "(", ")", "![", "](", ": ", "https://", "http:",
    "www.", "evil.example", "docs.example.com", "?q=1", "@", "octocat", "#1", "#", "GH-1",
    "fixes ", "\n", "\n\n", "```", "~~~", "mermaid", "`", "$", "$$", "\\phantom", "\\", "%", "\u{200B}", "\u{200D}",
    "👩", "💻", "\u{FE0F}", "\u{202E}", "\u{E0041}", "<b>", "</b>", "<script>", "</script>", "<img src=x>", "<svg>", "</svg>", "<br>",
    "[^1]", "[^1]: ", "[a]: /x", "[a]", "> ", "- ", "1. ", "    ", "| a | b |\n|---|---|\n", "**", "_", "~~", "/ok to test",
    "/approve", "[skip ci]", "Co-authored-by: ", "\t", "\r\n", "\u{1B}[31m", "&ZeroWidthSpace;", "&#1;", "\"SECRET\"", "a", "é",
];

fn hostile() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..24).prop_map(|pieces| pieces.concat())
}

/// What a reader of the rendered page could click, load or be called by, as a second parse of the text tells it.
fn acts(text: &str, mathematics: bool) -> Option<String> {
    use pulldown_cmark::{Event, Options, Parser, Tag};
    let mut options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM;
    options.set(Options::ENABLE_MATH, mathematics);
    let mut in_code = false;
    let mut shown = String::new();
    for event in Parser::new_ext(text, options) {
        match event {
            Event::Start(Tag::Image { .. }) => return Some("an image".to_owned()),
            Event::Start(Tag::Link { dest_url, .. }) => {
                if !dest_url.starts_with("https://docs.example.com") || dest_url.contains('?') {
                    return Some(format!("a link to {dest_url}"));
                }
                shown.push(' ');
            }
            Event::Html(html) | Event::InlineHtml(html) => return Some(format!("HTML {html}")),
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(pulldown_cmark::TagEnd::CodeBlock) => in_code = false,
            Event::Text(part) if !in_code => shown.push_str(&part),
            Event::Start(_) | Event::End(_) | Event::Code(_) | Event::SoftBreak => shown.push(' '),
            _ => {}
        }
    }
    let letters: Vec<char> = shown.chars().chain([' ']).collect();
    letters
        .windows(2)
        .find(|pair| pair[0] == '@' && pair[1].is_ascii_alphanumeric())
        .map(|_| format!("a mention in {shown}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_clean_stays_as_it_is(text in hostile()) {
        let once = incoming(&text);
        prop_assert_eq!(incoming(&once), once.clone());
        let once = outgoing(&text);
        prop_assert_eq!(outgoing(&once), once.clone());
        let once = sanitize::title(&text).into_text();
        prop_assert_eq!(sanitize::title(&once).into_text(), once.clone());
        let once = sanitize::message(&text).into_text();
        prop_assert_eq!(sanitize::message(&once).into_text(), once.clone());
        let once = sanitize::log_line(&text);
        prop_assert_eq!(sanitize::log_line(&once), once.clone());
    }

    #[test]
    fn any_text_ends_and_shows_no_hidden_character(text in any::<String>()) {
        for clean in [incoming(&text), outgoing(&text), sanitize::title(&text).into_text(), sanitize::log_line(&text)] {
            prop_assert_eq!(sanitize::hidden_characters(&clean).count(), 0);
        }
    }

    #[test]
    fn what_goes_out_swallows_nothing_behind_it(text in hostile()) {
        let after = outgoing(&format!("{}\n\n@octocat", outgoing(&text)));
        prop_assert!(after.ends_with("@ octocat"), "{:?}", after);
    }

    #[test]
    fn nothing_that_acts_is_left(text in hostile()) {
        let clean = outgoing(&text);
        prop_assert_eq!(acts(&clean, true), None);
        prop_assert_eq!(acts(&clean, false), None);
    }

    #[test]
    fn natural_text_beside_a_hostile_one_is_whole(text in hostile()) {
        let natural = "שלום עולם، مرحبا 漢字 👨\u{200D}👩\u{200D}👧\n\n";
        let mixed = format!("{natural}{text}");
        let whole = incoming(&mixed).starts_with(natural) && outgoing(&mixed).starts_with(natural);
        prop_assert!(whole);
    }

    #[test]
    fn a_fence_cannot_be_left(text in hostile()) {
        let fenced = sanitize::fence(&text, "text");
        let bar = fenced.chars().take_while(|c| *c == '`').count();
        let lines: Vec<&str> = fenced.lines().collect();
        let closing = lines.iter().skip(1).position(|line| {
            let line = line.trim_start();
            line.chars().take_while(|c| *c == '`').count() >= bar
        });
        prop_assert_eq!(closing, Some(lines.len() - 2));
    }
}

fn tagout(arguments: &[&str], input: &str) -> (String, String, Option<i32>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tagout"))
        .arg("sanitize")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tagout starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().expect("tagout ends");
    writer.join().expect("the writer ends");
    (
        String::from_utf8(output.stdout).expect("UTF-8"),
        String::from_utf8(output.stderr).expect("UTF-8"),
        output.status.code(),
    )
}

#[test]
fn the_command_cleans_and_counts() {
    let (out, err, code) = tagout(&[], "a <!-- x -->\u{200B}b");
    assert_eq!((out.as_str(), code), ("a b", Some(0)));
    assert_eq!(err, "removed: 1 zero-width, 1 html-comment\n");
    let (out, _, code) = tagout(&["--outgoing"], "@octocat");
    assert_eq!((out.as_str(), code), ("@ octocat", Some(0)));
}

#[test]
fn the_command_refuses_an_endless_text() {
    let (out, err, code) = tagout(&[], &"x".repeat(1024 * 1024 + 1));
    assert_eq!((out.as_str(), code), ("", Some(2)));
    assert!(err.contains("longer than 1048576 bytes"), "{err}");
}
