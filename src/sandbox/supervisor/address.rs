//! The address that a program gave to connect(2) or bind(2), read from our own copy of its bytes. Pure.
//! What is not understood whole is not understood at all.
#![deny(clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest address in bytes that the kernel takes (`sockaddr_storage`).
pub const ADDRESS_BYTES_MAX: usize = 128;

const FAMILY_UNSPECIFIED: u16 = 0;
const FAMILY_UNIX: u16 = 1;
const FAMILY_INET: u16 = 2;
const FAMILY_INET6: u16 = 10;
/// Bytes of `sun_path`.
const UNIX_NAME_BYTES_MAX: usize = 108;

/// The name of a unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UnixName {
    /// A path, relative to the caller's folder unless it starts with a slash.
    Path(Vec<u8>),
    /// A name in the abstract name space, without the leading zero byte.
    Abstract(Vec<u8>),
    /// None: on bind the kernel chooses one.
    Unnamed,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `AF_UNSPEC`: on connect it undoes a connection.
    Unspecified,
    /// `AF_INET`.
    V4(Ipv4Addr, u16),
    /// `AF_INET6`, as it was given; it may be an IPv4 address in disguise.
    V6(Ipv6Addr, u16),
    /// `AF_UNIX`.
    Unix(UnixName),
    /// Any other family, which no socket inside has.
    Other(u16),
}

/// Reads an address. None if it is shorter than its family demands; the kernel answers EINVAL then.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Address> {
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    match u16::from_ne_bytes(*family) {
        FAMILY_UNSPECIFIED => Some(Address::Unspecified),
        FAMILY_INET => {
            let (port, rest) = rest.split_first_chunk::<2>()?;
            let address = rest.first_chunk::<4>()?;
            // sockaddr_in is 16 bytes, the last eight of them padding; shorter ones are refused as the kernel does.
            let whole = bytes.len() >= 16;
            whole.then(|| Address::V4(Ipv4Addr::from(*address), u16::from_be_bytes(*port)))
        }
        FAMILY_INET6 => {
            let (port, rest) = rest.split_first_chunk::<2>()?;
            let (_flow, rest) = rest.split_first_chunk::<4>()?;
            // The scope behind the address is optional (ipv6(7)) and only of use to link-local addresses, which none of ours is.
            let address = rest.first_chunk::<16>()?;
            Some(Address::V6(
                Ipv6Addr::from(*address),
                u16::from_be_bytes(*port),
            ))
        }
        FAMILY_UNIX => unix(rest).map(Address::Unix),
        other => Some(Address::Other(other)),
    }
}

fn unix(name: &[u8]) -> Option<UnixName> {
    if name.len() > UNIX_NAME_BYTES_MAX {
        return None;
    }
    match name.split_first() {
        None => Some(UnixName::Unnamed),
        Some((0, rest)) => Some(UnixName::Abstract(rest.to_vec())),
        Some(_) => {
            let end = name.iter().position(|byte| *byte == 0);
            let path = name.get(..end.unwrap_or(name.len()))?;
            Some(UnixName::Path(path.to_vec()))
        }
    }
}

/// The address as the network would see it: IPv4 out of its disguise, and "any" as the own machine, which is what the kernel
/// makes of it on connect.
#[must_use]
pub fn plain(address: IpAddr) -> IpAddr {
    let plain = address.to_canonical();
    match plain {
        IpAddr::V4(any) if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(any) if any.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => plain,
    }
}

/// Both sides of a comparison in one spelling.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(family: u16, rest: &[u8]) -> Vec<u8> {
        [&family.to_ne_bytes(), rest].concat()
    }

    #[test]
    fn families_are_read_and_short_ones_refused() {
        let mut inet = bytes(2, &[0, 80, 127, 0, 0, 1]);
        assert_eq!(read(&inet), None);
        inet.resize(16, 0);
        assert_eq!(read(&inet), Some(Address::V4(Ipv4Addr::LOCALHOST, 80)));
        let mut inet6 = bytes(10, &[1, 0, 0, 0, 0, 0]);
        inet6.extend(Ipv6Addr::LOCALHOST.octets());
        assert_eq!(read(&inet6), Some(Address::V6(Ipv6Addr::LOCALHOST, 256)));
        assert_eq!(read(&inet6[..23]), None);
        assert_eq!(read(&[2]), None);
        assert_eq!(read(&bytes(0, &[])), Some(Address::Unspecified));
        assert_eq!(read(&bytes(40, &[])), Some(Address::Other(40)));
    }

    #[test]
    fn unix_names_are_paths_abstract_or_none() {
        let read = |rest: &[u8]| read(&bytes(1, rest));
        assert_eq!(
            read(b"/a\0b"),
            Some(Address::Unix(UnixName::Path(b"/a".to_vec())))
        );
        assert_eq!(
            read(b"a"),
            Some(Address::Unix(UnixName::Path(b"a".to_vec())))
        );
        assert_eq!(
            read(b"\0a\0"),
            Some(Address::Unix(UnixName::Abstract(b"a\0".to_vec())))
        );
        assert_eq!(read(b""), Some(Address::Unix(UnixName::Unnamed)));
        assert_eq!(read(&[b'a'; 109]), None);
    }

    #[test]
    fn disguises_are_taken_off() {
        let plain = |text: &str| plain(text.parse().unwrap()).to_string();
        assert_eq!(plain("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(plain("0.0.0.0"), "127.0.0.1");
        assert_eq!(plain("::ffff:0.0.0.0"), "127.0.0.1");
        assert_eq!(plain("::"), "::1");
        assert_eq!(plain("2001:db8::1"), "2001:db8::1");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..ADDRESS_BYTES_MAX)) {
            drop(read(&bytes));
        }
    }
}
