//! Paths of requests and of rules. A path that a server could read in two ways never matches a rule.
//! It must never decode more than the letters that are equal by RFC 3986, 6.2.2.2.

use super::model::PathPattern;

/// How far a path can be trusted to mean one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Every server reads it alike.
    Plain,
    /// Well-formed, but read differently by different servers: `%2f`, `%5c`, `%25`, `;`, `//`. It never matches a path
    /// rule; it is harmless where a rule allows every path.
    Ambiguous,
    /// Not a path that an honest client sends: not starting with `/`, a raw character that RFC 3986 does not allow, a
    /// backslash, a broken or control escape, a dot segment. Never allowed.
    Malformed,
}

/// Says how a path, as sent and without its query, can be read.
#[must_use]
pub fn shape(path: &str) -> Shape {
    if !path.starts_with('/') {
        return Shape::Malformed;
    }
    let mut ambiguous = path.contains("//");
    for segment in path.split('/') {
        match shape_of_segment(segment) {
            Shape::Plain => {}
            Shape::Ambiguous => ambiguous = true,
            Shape::Malformed => return Shape::Malformed,
        }
    }
    if ambiguous {
        Shape::Ambiguous
    } else {
        Shape::Plain
    }
}

fn shape_of_segment(segment: &str) -> Shape {
    let mut shape = Shape::Plain;
    let (mut dots, mut others) = (0_usize, 0_usize);
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let meant = if byte == b'%' {
            match (bytes.next().and_then(digit), bytes.next().and_then(digit)) {
                (Some(high), Some(low)) => high << 4 | low,
                (Some(_) | None, Some(_) | None) => return Shape::Malformed,
            }
        } else if is_path_byte(byte) {
            byte
        } else {
            return Shape::Malformed;
        };
        match meant {
            0..=0x1f | 0x7f => return Shape::Malformed,
            b'.' => dots += 1,
            b'/' | b'\\' | b'%' | b';' => {
                shape = Shape::Ambiguous;
                others += 1;
            }
            _ => others += 1,
        }
    }
    // Some servers cut at `;` before they look for dots: `/..;/` is a dot segment to them.
    let before = segment.split(';').next().unwrap_or_default();
    if others == 0 && (1..=2).contains(&dots) || matches!(before, "." | "..") {
        return Shape::Malformed;
    }
    shape
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// `pchar` of RFC 3986, 3.3, without the percent sign.
fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The bytes of a plain path with escapes of unreserved letters undone and the digits of the others in upper case.
#[must_use]
pub fn normal(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let (escape, after) = escape.split_at_checked(3).unwrap_or((escape, ""));
        let mut digits = escape.bytes().skip(1).map(digit);
        match (digits.next().flatten(), digits.next().flatten()) {
            (Some(high), Some(low)) if is_unreserved(high << 4 | low) => {
                out.push(char::from(high << 4 | low))
            }
            (Some(_) | None, Some(_) | None) => out.push_str(&escape.to_ascii_uppercase()),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Whether a rule's path covers a path that is plain and normal.
#[must_use]
pub fn covers(pattern: &PathPattern, path: &str) -> bool {
    let mut wanted = pattern.0.split('/').skip(1);
    let mut given = path.split('/').skip(1);
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some("**"), Some(_)) => return true,
            (Some("*"), Some(segment)) if !segment.is_empty() => {}
            (Some(want), Some(segment)) if want == segment && want != "*" => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}

/// Reads a path of a rule.
///
/// # Errors
/// What is wrong and how to mend it: no leading `/`, a query, a `*` inside a segment, a `**` that is not last, and every
/// path that would itself be ambiguous.
pub fn pattern(text: &str) -> Result<PathPattern, super::host::Wrong> {
    let wrong = |what: &str, mend: &str| Err((format!("`{text}` {what}"), mend.to_owned()));
    if !text.starts_with('/') {
        return wrong(
            "does not start with `/`",
            "write the path from its first `/`",
        );
    }
    if text.contains(['?', '#']) {
        return wrong(
            "has a query or a fragment",
            "write the path alone; the query is not judged",
        );
    }
    let segments: Vec<&str> = text.split('/').skip(1).collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        match *segment {
            "**" if !last => {
                return wrong(
                    "has `**` before its end",
                    "use `*` for one segment, and `**` only as the last",
                );
            }
            "*" | "**" => {}
            other if other.contains('*') => {
                return wrong(
                    "has a `*` inside a segment",
                    "use `*` for a whole segment, or `**` as the last",
                );
            }
            _ => {}
        }
    }
    match shape(text) {
        Shape::Plain => Ok(PathPattern(normal(text))),
        Shape::Ambiguous | Shape::Malformed => wrong(
            "can be read in more than one way, so no request would match it",
            "write it without `..`, `//`, `;`, backslashes and escaped slashes; escape other than ASCII letters as %XX",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_plain() {
        for path in [
            "/",
            "/v1/x",
            "/v1/",
            "/a.b/..c/...",
            "/a%20b",
            "/caf%C3%A9",
            "/~u/@x:y",
            "/*",
        ] {
            assert_eq!(shape(path), Shape::Plain, "{path}");
        }
    }

    #[test]
    fn paths_of_two_readings_are_ambiguous() {
        for path in [
            "/@a%2fb", "/a%2Fb", "/a%5cb", "/a%252fb", "/a;b", "/a%3bb", "//a", "/a//b",
        ] {
            assert_eq!(shape(path), Shape::Ambiguous, "{path}");
        }
    }

    #[test]
    fn paths_that_no_honest_client_sends_are_malformed() {
        for path in [
            "",
            "*",
            "a",
            "/a/../b",
            "/a/./b",
            "/..",
            "/a/%2e%2e/b",
            "/a/.%2E/b",
            "/%2e",
            "/a\\b",
            "/a\0",
            "/a%00",
            "/a%0d",
            "/a%7f",
            "/a b",
            "/\u{e9}",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a/..;/b",
            "/a\r\n",
            "/a\"b",
            "/a<b",
            "/a?b",
            "/a#b",
            "/a[b",
            "/a|b",
        ] {
            assert_eq!(shape(path), Shape::Malformed, "{path:?}");
        }
    }

    #[test]
    fn patterns_cover_whole_segments() {
        let covered = |rule: &str, path: &str| covers(&pattern(rule).unwrap(), &normal(path));
        assert!(covered("/v1/**", "/v1/x"));
        assert!(covered("/v1/**", "/v1/x/y/"));
        assert!(covered("/v1/**", "/v1/"));
        assert!(!covered("/v1/**", "/v1"));
        assert!(!covered("/v1/**", "/v10/x"));
        assert!(!covered("/v1/**", "/V1/x"));
        assert!(covered("/**", "/"));
        assert!(covered("/", "/"));
        assert!(!covered("/", "/x"));
        assert!(covered("/a/*/c", "/a/b/c"));
        assert!(!covered("/a/*/c", "/a/b/b/c"));
        assert!(!covered("/a/*", "/a/"));
        assert!(!covered("/a/*", "/a"));
        assert!(covered("/foo", "/%66oo"));
        assert!(!covered("/a&b", "/a%26b"));
        assert!(covered("/caf%c3%a9", "/caf%C3%A9"));
    }

    #[test]
    fn patterns_that_cannot_work_are_refused() {
        for rule in [
            "v1", "", "/a?b", "/a/**/b", "/a*", "/**a", "/a//b", "/a/../b", "/a;b", "/a%2fb",
            "/a b", "/ü",
        ] {
            assert!(pattern(rule).is_err(), "{rule}");
        }
    }
}
