//! Where a TCP connect goes. Pure: it decides, the callers act. Deny by default.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::sandbox::resolver::Resolver;

/// Port of name servers.
const PORT_NAMES: u16 = 53;

/// What is done with a connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// To a listener of this run.
    Own(SocketAddr),
    /// To the egress's explicit proxy.
    Proxy(SocketAddr),
    /// To our own resolver.
    Names,
    /// Through the door.
    HandOver {
        /// The name, or the literal address.
        host: String,
        /// The port.
        port: u16,
    },
    /// Refused; what was tried.
    Refuse(String),
}

/// What a run may reach.
#[derive(Clone, Debug)]
pub struct Roads {
    /// Whether there is a door.
    pub door: bool,
    /// Ports that are handed over.
    pub ports: Vec<u16>,
    /// The explicit proxy.
    pub proxy: Option<SocketAddr>,
}

impl Roads {
    /// Decides. `address` is plain (see `address::plain`), `own` the address at which a listener of the run answers for it.
    #[must_use]
    pub fn judge(
        &self,
        address: IpAddr,
        port: u16,
        own: Option<SocketAddr>,
        resolver: &Resolver,
    ) -> Deed {
        if let Some(own) = own {
            return Deed::Own(own);
        }
        if let Some(proxy) = self
            .proxy
            .filter(|proxy| *proxy == SocketAddr::new(address, port))
        {
            return Deed::Proxy(proxy);
        }
        if port == PORT_NAMES {
            return Deed::Names;
        }
        let host = match address {
            IpAddr::V4(given) if Resolver::owns(given) => named(given, resolver),
            IpAddr::V4(_) | IpAddr::V6(_) => Some(address.to_string()),
        };
        let Some(host) = host else {
            return Deed::Refuse(format!("connect {}", SocketAddr::new(address, port)));
        };
        if self.door && self.ports.contains(&port) {
            Deed::HandOver { host, port }
        } else {
            Deed::Refuse(match address {
                IpAddr::V6(_) => format!("connect [{host}]:{port}"),
                IpAddr::V4(_) => format!("connect {host}:{port}"),
            })
        }
    }
}

fn named(address: Ipv4Addr, resolver: &Resolver) -> Option<String> {
    resolver.name(address).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::resolver::Road;

    fn roads() -> Roads {
        Roads {
            door: true,
            ports: vec![80, 443],
            proxy: Some("127.0.0.1:3128".parse().unwrap()),
        }
    }

    fn resolver() -> (Resolver, IpAddr) {
        let mut resolver = Resolver::new(Road::Egress);
        let query = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
        let address = resolver.answer(query).unwrap().new.unwrap();
        (resolver, address.into())
    }

    fn judge(roads: &Roads, address: &str) -> Deed {
        let address: SocketAddr = address.parse().unwrap();
        roads.judge(address.ip(), address.port(), None, &resolver().0)
    }

    #[test]
    fn names_and_literals_are_handed_over_on_listed_ports_only() {
        let (resolver, given) = resolver();
        let named = roads().judge(given, 443, None, &resolver);
        assert_eq!(
            named,
            Deed::HandOver {
                host: "a.test".to_owned(),
                port: 443
            }
        );
        let unlisted = roads().judge(given, 22, None, &resolver);
        assert_eq!(unlisted, Deed::Refuse("connect a.test:22".to_owned()));
        let literal = Deed::HandOver {
            host: "10.0.0.1".to_owned(),
            port: 80,
        };
        assert_eq!(judge(&roads(), "10.0.0.1:80"), literal);
        assert!(matches!(
            judge(&roads(), "[2001:db8::1]:443"),
            Deed::HandOver { .. }
        ));
        assert_eq!(
            judge(&roads(), "[2001:db8::1]:22"),
            Deed::Refuse("connect [2001:db8::1]:22".to_owned())
        );
    }

    #[test]
    fn address_that_no_name_has_is_refused() {
        assert!(matches!(judge(&roads(), "198.18.7.7:443"), Deed::Refuse(_)));
        assert!(matches!(judge(&roads(), "198.19.0.1:80"), Deed::Refuse(_)));
    }

    #[test]
    fn without_a_door_nothing_is_handed_over() {
        let mut roads = roads();
        roads.door = false;
        assert!(matches!(judge(&roads, "10.0.0.1:443"), Deed::Refuse(_)));
        assert_eq!(judge(&roads, "10.0.0.1:53"), Deed::Names);
    }

    #[test]
    fn loopback_reaches_own_listeners_and_the_proxy_only() {
        let own: SocketAddr = "127.0.0.1:5000".parse().unwrap();
        let (resolver, _) = resolver();
        assert_eq!(
            roads().judge(own.ip(), 5000, Some(own), &resolver),
            Deed::Own(own)
        );
        assert!(matches!(judge(&roads(), "127.0.0.1:5432"), Deed::Refuse(_)));
        assert!(matches!(judge(&roads(), "127.0.0.1:3128"), Deed::Proxy(_)));
        assert!(matches!(judge(&roads(), "127.0.0.2:3128"), Deed::Refuse(_)));
        // The egress refuses it unless the policy names the address.
        assert!(matches!(
            judge(&roads(), "127.0.0.1:443"),
            Deed::HandOver { .. }
        ));
    }
}
