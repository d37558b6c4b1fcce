//! What an address may be, judged by a URL parser and never by its looks.
//! It must never pass an address on whose host a browser and we could disagree.

use url::Url;

use super::OutgoingRules;

/// Most bytes of an address.
const ADDRESS_BYTES_MAX: usize = 2_048;

/// Parts of a path that make GitHub write "mentioned this" on the other side.
const REFERRED_TO: [&str; 6] = [
    "issues",
    "pull",
    "pulls",
    "discussions",
    "commit",
    "commits",
];

/// What becomes of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// It stays as it is written.
    Stays,
    /// It is written so.
    Becomes(String),
    /// It goes.
    Goes,
}

/// An address behind a link or an image that comes in. Its reader sees it only when hovering, so it holds nothing but a place.
pub(super) fn incoming(address: &str) -> Address {
    if address.len() > ADDRESS_BYTES_MAX {
        return Address::Goes;
    }
    if is_plain_path(address) {
        return Address::Stays;
    }
    let Some(mut url) = web(address) else {
        return Address::Goes;
    };
    let bare = url.username().is_empty() && url.password().is_none();
    if !bare && (url.set_username("").is_err() || url.set_password(None).is_err()) {
        return Address::Goes;
    }
    let written = url.host_str().is_some_and(|host| {
        let start = format!("{}://{host}", url.scheme());
        address
            .get(..start.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(&start))
    });
    if bare && written && is_quiet(address) {
        return Address::Stays;
    }
    changed(address, &url)
}

/// An address in a text that goes out: HTTPS on its own port to a host of the rules, without user, query or a reference.
pub(super) fn outgoing(address: &str, rules: &OutgoingRules) -> Address {
    if address.len() > ADDRESS_BYTES_MAX {
        return Address::Goes;
    }
    let Some(mut url) = web(address) else {
        return Address::Goes;
    };
    let named = url
        .domain()
        .is_some_and(|host| rules.allows(host.trim_end_matches('.')));
    let plain = url.scheme() == "https"
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !named || !plain || refers(&url) {
        return Address::Goes;
    }
    url.set_query(None);
    let quiet_fragment = |fragment: &str| {
        fragment.len() <= 64
            && fragment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if !url.fragment().is_none_or(quiet_fragment) {
        url.set_fragment(None);
    }
    let written = url.as_str();
    if address == written || (url.path() == "/" && format!("{address}/") == written) {
        return if is_quiet(address) {
            Address::Stays
        } else {
            changed(address, &url)
        };
    }
    changed(address, &url)
}

/// Whether the address has a query, which a link of ours never carries.
pub(super) fn has_query(address: &str) -> bool {
    address.contains('?')
}

fn changed(address: &str, url: &Url) -> Address {
    let text: String = url
        .as_str()
        .chars()
        .map(|c| match c {
            '(' => "%28".to_owned(),
            ')' => "%29".to_owned(),
            '\\' => "%5C".to_owned(),
            '<' => "%3C".to_owned(),
            '>' => "%3E".to_owned(),
            '&' => "%26".to_owned(),
            '*' => "%2A".to_owned(),
            '`' => "%60".to_owned(),
            '[' if url.domain().is_some() => "%5B".to_owned(),
            ']' if url.domain().is_some() => "%5D".to_owned(),
            _ => c.to_string(),
        })
        .collect();
    if text == address {
        Address::Stays
    } else {
        Address::Becomes(text)
    }
}

/// An absolute web address, written with both slashes, without what parsers read in two ways.
fn web(address: &str) -> Option<Url> {
    let (scheme, rest) = address.split_once("://")?;
    let known = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    let ambiguous = rest.starts_with('/') || address.contains(['\\', '\n', '\r', '\t', ' ']);
    if !known || ambiguous {
        return None;
    }
    Url::parse(address).ok().filter(Url::has_host)
}

/// Characters that stand in a Markdown destination for themselves.
fn is_quiet(address: &str) -> bool {
    address
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?#@!$',;=+%&[]*".contains(&byte))
}

/// A path within the repository, or a fragment.
fn is_plain_path(address: &str) -> bool {
    let (path, fragment) = address.split_once('#').unwrap_or((address, ""));
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~/+%".contains(&byte))
    };
    !address.starts_with("//") && plain(path) && plain(fragment)
}

fn refers(url: &Url) -> bool {
    url.path_segments().is_some_and(|mut segments| {
        segments.any(|segment| REFERRED_TO.contains(&segment.to_ascii_lowercase().as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> OutgoingRules {
        OutgoingRules::new(["docs.example.com", "*.example.org"])
    }

    #[test]
    fn a_listed_host_may_be_linked() {
        for address in [
            "https://docs.example.com",
            "https://docs.example.com/a_b#L10",
            "https://a.b.example.org/x",
        ] {
            assert_eq!(outgoing(address, &rules()), Address::Stays, "{address}");
        }
    }

    #[test]
    fn every_other_address_goes() {
        for address in [
            "https://evil.example.com/",
            "https://example.org/",
            "http://docs.example.com/",
            "https://docs.example.com@evil.com/",
            "https://docs.example.com:8443/",
            "https://docs.example.com\\@evil.com/",
            "https:docs.example.com",
            "https:///docs.example.com",
            "//docs.example.com",
            "javascript://docs.example.com/%0aalert(1)",
            "data:text/html,x",
            "https://[::1]/",
            "https://127.0.0.1/",
            "https://docs.example.com/o/r/issues/1",
            "https://docs.еxample.com/",
            "../issues/1",
            "#x",
        ] {
            assert_eq!(outgoing(address, &rules()), Address::Goes, "{address}");
        }
    }

    #[test]
    fn a_query_does_not_go_out() {
        assert_eq!(
            outgoing("https://docs.example.com/a?key=1", &rules()),
            Address::Becomes("https://docs.example.com/a".to_owned())
        );
    }

    #[test]
    fn an_incoming_address_names_its_real_host() {
        assert_eq!(incoming("https://example.com/a?b=c#d"), Address::Stays);
        assert_eq!(incoming("docs/a.md#b"), Address::Stays);
        assert_eq!(
            incoming("https://github.com@evil.com/x"),
            Address::Becomes("https://evil.com/x".to_owned())
        );
        assert_eq!(
            incoming("https://еxample.com/"),
            Address::Becomes("https://xn--xample-2of.com/".to_owned())
        );
        assert_eq!(incoming("javascript:alert(1)"), Address::Goes);
        assert_eq!(incoming("https:example.com"), Address::Goes);
    }
}
