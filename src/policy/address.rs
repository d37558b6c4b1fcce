//! Which kind of address a name resolved to, so that an allowed name never leads into the host or its network.
//! It must never say public on doubt: what is not in a range known to be routed is named for what it is.
//!
//! Sources: IANA's IPv4 and IPv6 special-purpose address registries (RFC 6890), RFC 6052 (NAT64), RFC 8215, RFC 3056
//! (6to4), RFC 4380 (Teredo), and the clouds' own documents for their metadata services.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of an address. The message of a refusal names the kind, never the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Routed on the internet.
    Public,
    /// A metadata or host service of a cloud or a runner; never lifted.
    Metadata,
    /// 127.0.0.0/8 and `::1`.
    Loopback,
    /// 10/8, 172.16/12, 192.168/16.
    Private,
    /// `fc00::/7`.
    UniqueLocal,
    /// 100.64.0.0/10, shared by carriers and by overlay networks.
    CarrierNat,
    /// 169.254/16 and `fe80::/10`.
    LinkLocal,
    /// `fec0::/10`, deprecated but still routed by some.
    SiteLocal,
    /// 0.0.0.0/8 and `::`: "this host" to many kernels.
    ThisHost,
    /// 192.0.0.0/24, protocol assignments.
    Protocol,
    /// 198.18.0.0/15 and `2001:2::/48`.
    Benchmark,
    /// Documentation and test networks.
    Documentation,
    /// 224/4 and `ff00::/8`.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// 240/4, 192.88.99/24, and IPv6 outside of what is given out.
    Reserved,
    /// `::ffff:0:0/96`: an IPv4 address in another coat.
    Mapped,
    /// `::/96`: likewise, deprecated.
    Compatible,
    /// `64:ff9b::/96` and `64:ff9b:1::/48`: likewise, behind a translator.
    Nat64,
    /// `2002::/16`: likewise, tunnelled.
    SixToFour,
    /// `2001::/32`: likewise, tunnelled.
    Teredo,
}

impl Class {
    /// The words for a message, as in "the name resolves to a loopback address".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Metadata => "metadata service",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::UniqueLocal => "unique-local",
            Self::CarrierNat => "carrier-grade NAT",
            Self::LinkLocal => "link-local",
            Self::SiteLocal => "site-local",
            Self::ThisHost => "unspecified",
            Self::Protocol => "protocol assignment",
            Self::Benchmark => "benchmark",
            Self::Documentation => "documentation",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Reserved => "reserved",
            Self::Mapped => "IPv4-mapped",
            Self::Compatible => "IPv4-compatible",
            Self::Nat64 => "NAT64",
            Self::SixToFour => "6to4",
            Self::Teredo => "Teredo",
        }
    }

    /// Whether an address of this kind may be dialled; `private` is the rule's key of that name.
    ///
    /// Only loopback, private, unique-local and carrier-grade NAT addresses are lifted by it. Link-local ones are not:
    /// metadata services live there, and no name that a policy could list does.
    #[must_use]
    pub fn may_be_dialled(self, private: bool) -> bool {
        match self {
            Self::Public => true,
            Self::Loopback | Self::Private | Self::UniqueLocal | Self::CarrierNat => private,
            Self::Metadata
            | Self::LinkLocal
            | Self::SiteLocal
            | Self::ThisHost
            | Self::Protocol
            | Self::Benchmark
            | Self::Documentation
            | Self::Multicast
            | Self::Broadcast
            | Self::Reserved
            | Self::Mapped
            | Self::Compatible
            | Self::Nat64
            | Self::SixToFour
            | Self::Teredo => false,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// Metadata and host services of clouds and runners: AWS, GCP, Azure, DigitalOcean and others on the first; AWS ECS and
/// EKS; AWS's resolver and clock; Azure's wire server; Alibaba; Oracle; Tencent; Scaleway.
const METADATA_V4: [Ipv4Addr; 11] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(169, 254, 169, 253),
    Ipv4Addr::new(169, 254, 169, 123),
    Ipv4Addr::new(169, 254, 0, 23),
    Ipv4Addr::new(169, 254, 42, 42),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(169, 254, 169, 250),
];

/// The same over IPv6: AWS metadata, EKS, AWS's clock and resolver, GCP, Scaleway.
const METADATA_V6: [Ipv6Addr; 6] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x123),
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x253),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// The kind of an address.
#[must_use]
pub fn class_of(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => class_of_v4(address),
        IpAddr::V6(address) => class_of_v6(address),
    }
}

fn class_of_v4(address: Ipv4Addr) -> Class {
    if METADATA_V4.contains(&address) {
        return Class::Metadata;
    }
    match address.octets() {
        [255, 255, 255, 255] => Class::Broadcast,
        [0, ..] => Class::ThisHost,
        [127, ..] => Class::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Class::Private,
        [100, 64..=127, ..] => Class::CarrierNat,
        [169, 254, ..] => Class::LinkLocal,
        [192, 0, 0, _] => Class::Protocol,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Class::Documentation,
        [198, 18..=19, ..] => Class::Benchmark,
        [224..=239, ..] => Class::Multicast,
        [192, 88, 99, _] | [240..=255, ..] => Class::Reserved,
        [..] => Class::Public,
    }
}

fn class_of_v6(address: Ipv6Addr) -> Class {
    if METADATA_V6.contains(&address) {
        return Class::Metadata;
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::ThisHost,
        [0, 0, 0, 0, 0, 0xffff, ..] => Class::Mapped,
        [0, 0, 0, 0, 0, 0, ..] => Class::Compatible,
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => Class::Nat64,
        [0x2001, 0, ..] => Class::Teredo,
        [0x2001, 2, 0, ..] => Class::Benchmark,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => Class::Documentation,
        [0x2001, 1..=0x1ff, ..] => Class::Reserved,
        [0x2002, ..] => Class::SixToFour,
        [0x2000..=0x3ffe, ..] => Class::Public,
        [0xfc00..=0xfdff, ..] => Class::UniqueLocal,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        [0xfec0..=0xfeff, ..] => Class::SiteLocal,
        [0xff00..=0xffff, ..] => Class::Multicast,
        [..] => Class::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> Class {
        class_of(text.parse().unwrap())
    }

    #[test]
    fn every_range_has_its_class() {
        for (text, expected) in [
            ("93.184.216.34", Class::Public),
            ("2606:4700::1111", Class::Public),
            ("127.8.9.1", Class::Loopback),
            ("::1", Class::Loopback),
            ("10.1.2.3", Class::Private),
            ("172.16.0.1", Class::Private),
            ("172.31.255.255", Class::Private),
            ("172.32.0.1", Class::Public),
            ("192.168.3.4", Class::Private),
            ("fd12::1", Class::UniqueLocal),
            ("100.64.0.1", Class::CarrierNat),
            ("100.127.255.255", Class::CarrierNat),
            ("100.128.0.1", Class::Public),
            ("169.254.1.1", Class::LinkLocal),
            ("fe80::1", Class::LinkLocal),
            ("fec0::1", Class::SiteLocal),
            ("0.0.0.0", Class::ThisHost),
            ("0.1.2.3", Class::ThisHost),
            ("::", Class::ThisHost),
            ("192.0.0.8", Class::Protocol),
            ("198.18.0.1", Class::Benchmark),
            ("198.19.255.255", Class::Benchmark),
            ("192.0.2.1", Class::Documentation),
            ("198.51.100.1", Class::Documentation),
            ("203.0.113.1", Class::Documentation),
            ("2001:db8::1", Class::Documentation),
            ("224.0.0.1", Class::Multicast),
            ("ff02::1", Class::Multicast),
            ("255.255.255.255", Class::Broadcast),
            ("240.0.0.1", Class::Reserved),
            ("4000::1", Class::Reserved),
            ("::ffff:1.1.1.1", Class::Mapped),
            ("::1.1.1.1", Class::Compatible),
            ("64:ff9b::1.1.1.1", Class::Nat64),
            ("64:ff9b:1::1", Class::Nat64),
            ("2002:101:101::1", Class::SixToFour),
            ("2001::1", Class::Teredo),
            ("169.254.169.254", Class::Metadata),
            ("168.63.129.16", Class::Metadata),
            ("100.100.100.200", Class::Metadata),
            ("fd00:ec2::254", Class::Metadata),
        ] {
            assert_eq!(class(text), expected, "{text}");
        }
    }

    #[test]
    fn private_lifts_loopback_and_private_but_never_metadata() {
        for lifted in ["127.0.0.1", "::1", "10.0.0.1", "fd12::1", "100.64.0.1"] {
            assert!(!class(lifted).may_be_dialled(false), "{lifted}");
            assert!(class(lifted).may_be_dialled(true), "{lifted}");
        }
        for never in [
            "169.254.169.254",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
            "169.254.1.1",
            "::ffff:10.0.0.1",
            "64:ff9b::127.0.0.1",
            "0.0.0.0",
        ] {
            assert!(!class(never).may_be_dialled(true), "{never}");
        }
        assert!(class("1.1.1.1").may_be_dialled(false));
    }
}
