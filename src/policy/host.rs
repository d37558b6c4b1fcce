//! Host names and addresses, from a policy and from the wire, brought to one spelling or refused.
//! It must never guess: a spelling that two programs could read differently is no name.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::model::HostPattern;

/// Longest host in bytes (RFC 1035, 2.3.4, less the root's dot).
pub const HOST_BYTES_MAX: usize = 253;
/// Longest label in bytes (RFC 1035, 2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;

/// A host in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// A name in ASCII, lower case, without a trailing dot.
    Name(Cow<'a, str>),
    /// An address literal in its canonical spelling.
    Address(IpAddr),
}

/// Why a host is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// Over `HOST_BYTES_MAX`, or a label over `LABEL_BYTES_MAX` or empty.
    #[error("the host has an empty or too long part")]
    Length,
    /// A byte that no host name has: userinfo, NUL, CR, LF, a slash, a percent sign and the like.
    #[error("the host has a character that no host name has")]
    Character,
    /// IDNA (UTS 46) refuses it.
    #[error("the host is not a valid internationalised name")]
    Idna,
    /// An address in a spelling that is not the canonical one: decimal, hexadecimal, octal, short, mapped.
    #[error("the host is an address in an unusual spelling")]
    AddressSpelling,
}

/// Reads a host as it came: from a URL, a `Host` header, a CONNECT line, a TLS server name.
///
/// # Errors
/// Everything that is neither a DNS name nor an address in its canonical spelling.
pub fn read(text: &str) -> Result<Host<'_>, HostFault> {
    if text.is_empty() {
        return Err(HostFault::Empty);
    }
    // Long before IDNA works on it: a megabyte of text is no host.
    if text.len() > HOST_BYTES_MAX * 4 {
        return Err(HostFault::Length);
    }
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(HostFault::Character)?;
        return address_v6(inner);
    }
    if text.contains(':') {
        return address_v6(text);
    }
    let name = ascii(text)?;
    if name.is_empty() || name.len() > HOST_BYTES_MAX {
        return Err(HostFault::Length);
    }
    for label in name.split('.') {
        check_label(label)?;
    }
    if ends_in_a_number(&name) {
        let address: Ipv4Addr = text
            .parse()
            .map_err(|_not_four_numbers| HostFault::AddressSpelling)?;
        return if address.to_string() == text {
            Ok(Host::Address(address.into()))
        } else {
            Err(HostFault::AddressSpelling)
        };
    }
    Ok(Host::Name(name))
}

/// Only the canonical spelling (RFC 5952) of an address that is not another one in disguise.
fn address_v6(text: &str) -> Result<Host<'static>, HostFault> {
    let address: Ipv6Addr = text.parse().map_err(|_not_ipv6| HostFault::Character)?;
    let disguised = match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, _, _] => true,
        [0, 0, 0, 0, 0, 0, high, low] => high != 0 || low > 1,
        [..] => false,
    };
    if disguised || address.to_string() != text {
        return Err(HostFault::AddressSpelling);
    }
    Ok(Host::Address(address.into()))
}

/// Lower case, punycode, one trailing dot removed.
fn ascii(text: &str) -> Result<Cow<'_, str>, HostFault> {
    let bare = |text: &str| text.len() - usize::from(text.ends_with('.'));
    let plain = text.bytes().all(|byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')
    });
    if plain && !text.contains("xn--") {
        return Ok(Cow::Borrowed(text.get(..bare(text)).unwrap_or_default()));
    }
    if text
        .bytes()
        .any(|byte| byte.is_ascii() && !is_name_byte(byte))
    {
        return Err(HostFault::Character);
    }
    let name = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::URL)
        .map_err(|_idna_says_no_more| HostFault::Idna)?;
    let length = bare(&name);
    Ok(match name {
        Cow::Borrowed(name) => Cow::Borrowed(name.get(..length).unwrap_or_default()),
        Cow::Owned(mut name) => {
            name.truncate(length);
            Cow::Owned(name)
        }
    })
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

fn check_label(label: &str) -> Result<(), HostFault> {
    if label.is_empty() || label.len() > LABEL_BYTES_MAX {
        return Err(HostFault::Length);
    }
    if label.starts_with('-') || label.ends_with('-') || !label.bytes().all(is_name_byte) {
        return Err(HostFault::Character);
    }
    Ok(())
}

/// Whether resolvers and URL readers take this for an IPv4 address (WHATWG URL, "ends in a number checker").
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit())
}

/// What is wrong with a host of a policy, and how to mend it.
pub type Wrong = (String, String);

/// Reads the `host` of a rule.
///
/// # Errors
/// A bare `*`, a `*` elsewhere than as the whole first label, a wildcard over a public suffix, and what `read` refuses.
pub fn pattern(text: &str) -> Result<HostPattern, Wrong> {
    if matches!(text, "*" | "**" | "*." | ".") {
        return Err((
            format!("`{text}` would allow every host"),
            "name the hosts, or use `*.example.com` for the subdomains of one".to_owned(),
        ));
    }
    let (wildcard, rest) = match text.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest.contains('*') {
        return Err((
            format!("`{text}` has a `*` where none may stand"),
            "write a name, or `*.` in front of one".to_owned(),
        ));
    }
    if rest.contains("://") || rest.contains('/') {
        return Err((
            format!("`{text}` is not a host"),
            "write the name alone; ports and paths have keys of their own".to_owned(),
        ));
    }
    match read(rest) {
        Ok(Host::Name(name)) if wildcard => subdomains(&name),
        Ok(Host::Name(name)) => Ok(HostPattern::Exact(name.into_owned())),
        Ok(Host::Address(_)) if wildcard => Err((
            format!("`{text}` is a wildcard over an address"),
            "name the address alone".to_owned(),
        )),
        Ok(Host::Address(address)) => Ok(HostPattern::Address(address)),
        Err(HostFault::Character) if rest.contains(':') => Err((
            format!("`{text}` is not a host"),
            "write the name alone, and its port under `ports`".to_owned(),
        )),
        Err(fault) => Err((
            format!("`{text}` is not a host: {fault}"),
            "write a DNS name such as api.example.com, or an address as 192.0.2.1 or 2001:db8::1"
                .to_owned(),
        )),
    }
}

/// The part of a name that its owner registered, and under which every name is the owner's; an address or an unknown name as
/// it is.
#[must_use]
pub fn registrable(name: &str) -> &str {
    if name.parse::<IpAddr>().is_ok() {
        return name;
    }
    psl::domain_str(name).unwrap_or(name)
}

/// Names under a public suffix (`*.co.uk`, `*.github.io`) belong to strangers. A suffix that no list knows counts as one
/// only where it is a single label, so that names of a company's own network can be listed.
fn subdomains(name: &str) -> Result<HostPattern, Wrong> {
    let suffix = psl::suffix(name.as_bytes());
    let public = suffix.is_some_and(|suffix| suffix.as_bytes() == name.as_bytes());
    if public || !name.contains('.') {
        return Err((
            format!("`*.{name}` covers a public suffix, under which anyone can own a name"),
            format!("name the hosts, or use `*.example.{name}`"),
        ));
    }
    Ok(HostPattern::Subdomains(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> String {
        match read(text) {
            Ok(Host::Name(name)) => name.into_owned(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn one_name_has_one_spelling() {
        assert_eq!(name("API.Example.com."), "api.example.com");
        assert_eq!(name("bücher.example"), "xn--bcher-kva.example");
        assert_eq!(name("xn--bcher-kva.example"), "xn--bcher-kva.example");
        assert_eq!(name("a_b.example"), "a_b.example");
        assert_eq!(name("api。example。com"), "api.example.com");
    }

    #[test]
    fn names_of_one_owner_have_one_registrable_part() {
        assert_eq!(registrable("a.b.example.co.uk"), "example.co.uk");
        assert_eq!(registrable("me.github.io"), "me.github.io");
        assert_eq!(registrable("93.184.216.34"), "93.184.216.34");
        assert_eq!(registrable("localhost"), "localhost");
    }

    #[test]
    fn odd_spellings_of_addresses_are_refused() {
        for text in [
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "017700000001",
            "127.1",
            "127.0.0.01",
            "0177.0.0.1",
            "127.0.0.1.",
            "[::ffff:127.0.0.1]",
            "::ffff:7f00:1",
            "[::127.0.0.1]",
            "[0:0:0:0:0:0:0:1]",
            "[::0001]",
            "[FE80::1]",
            "１２７.0.0.1",
            "256.1.1.1",
            "1.2.3.4.5",
            "a.0x1",
        ] {
            assert_eq!(read(text), Err(HostFault::AddressSpelling), "{text}");
        }
        assert_eq!(
            read("127.0.0.1"),
            Ok(Host::Address(IpAddr::from([127, 0, 0, 1])))
        );
        assert!(matches!(read("[::1]"), Ok(Host::Address(_))));
        assert!(matches!(read("2001:db8::1"), Ok(Host::Address(_))));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a".repeat(64);
        let longer = "abcdefgh.".repeat(40);
        for text in [
            "",
            ".",
            "a..b",
            "a.com..",
            "user@a.com",
            "a.com\0",
            "a.com\r",
            "a.com\n",
            "a b",
            "a/b",
            "a\\b",
            "a%2eb",
            "-a.com",
            "a-.com",
            "[::1",
            "::1]",
            "[fe80::1%25eth0]",
            "a.com:443",
            "xn--\u{0}",
            "xn--zzzzzz--.example",
            &long,
            &longer,
            "a,b",
            "a;b",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn wildcards_stand_only_in_front_of_an_own_name() {
        assert_eq!(
            pattern("*.Example.com"),
            Ok(HostPattern::Subdomains("example.com".to_owned()))
        );
        assert_eq!(
            pattern("*.corp.internal"),
            Ok(HostPattern::Subdomains("corp.internal".to_owned()))
        );
        for text in [
            "*",
            "*.",
            "**",
            "*.com",
            "*.co.uk",
            "*.github.io",
            "a.*.com",
            "a*.com",
            "*.*.com",
            "*.1.2.3.4",
            "https://a.com",
            "a.com/x",
            "a.com:443",
            "*.127.0.0.1",
        ] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_named_canonically_or_not_at_all() {
        assert!(matches!(pattern("127.0.0.1"), Ok(HostPattern::Address(_))));
        assert!(matches!(pattern("::1"), Ok(HostPattern::Address(_))));
        assert!(pattern("127.1").is_err());
        assert!(pattern("::ffff:10.0.0.1").is_err());
    }
}
