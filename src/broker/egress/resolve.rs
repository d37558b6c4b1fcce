//! From a name to the addresses that may be dialled.
//! A name is looked up once for a dial, every answer is classified, and what is dialled is the address that was checked.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::setup::Resolve;
use crate::policy::address::{self, Class};

/// Longest wait for the resolver.
const LOOKUP_WAIT: Duration = Duration::from_secs(10);
/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Which addresses a request may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reach {
    /// Those of the internet.
    Public,
    /// Private and loopback ones too: the rule says `private: true`.
    Private,
}

/// Why a name leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoRoad {
    /// It has no address, or the resolver does not answer.
    NoAddress,
    /// One of its addresses is of a class that may not be dialled; the words of the class.
    Refused(&'static str),
}

/// A checked address and the words of its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) address: SocketAddr,
    pub(super) class: &'static str,
}

/// Names and the host's own addresses.
#[derive(Debug)]
pub(super) struct Names {
    fixed: HashMap<(String, u16), Vec<IpAddr>>,
    own: HashSet<IpAddr>,
}

impl Names {
    /// `fixed` are the overrides of `--resolve`. The host's own addresses are read now.
    pub(super) fn new(fixed: &[Resolve]) -> Self {
        let mut by_name: HashMap<(String, u16), Vec<IpAddr>> = HashMap::new();
        for one in fixed {
            let key = (one.host.clone(), one.port);
            by_name.entry(key).or_default().push(one.address);
        }
        Self {
            fixed: by_name,
            own: own_addresses(),
        }
    }

    /// The addresses of a host that may be dialled, in the resolver's order. `host` is in its one spelling.
    ///
    /// One bad address among good ones condemns the name: a name that leads into a private network once in a while is not
    /// what the policy's author had in mind, and which of them is dialled must not be a matter of luck. A NAT64 address is
    /// passed over instead where another one is left: DNS64 (RFC 6147) adds one to every name that has only IPv4, and
    /// it is never dialled either way.
    pub(super) async fn look_up(
        &self,
        host: &str,
        port: u16,
        reach: Reach,
    ) -> Result<Vec<Checked>, NoRoad> {
        let addresses = self.addresses(host, port).await;
        if addresses.is_empty() {
            return Err(NoRoad::NoAddress);
        }
        let translated = |address: &IpAddr| address::class_of(*address) == Class::Nat64;
        let only_translated = addresses.iter().all(translated);
        addresses
            .into_iter()
            .filter(|address| only_translated || !translated(address))
            .map(|address| self.check(address, port, reach))
            .collect()
    }

    async fn addresses(&self, host: &str, port: u16) -> Vec<IpAddr> {
        if let Some(fixed) = self.fixed.get(&(host.to_owned(), port)) {
            return fixed.clone();
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return vec![address];
        }
        let lookup = tokio::net::lookup_host((host, port));
        match tokio::time::timeout(LOOKUP_WAIT, lookup).await {
            Ok(Ok(found)) => found
                .map(|address| address.ip())
                .take(ADDRESSES_MAX)
                .collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    fn check(&self, ip: IpAddr, port: u16, reach: Reach) -> Result<Checked, NoRoad> {
        let class = address::class_of(ip);
        let private = reach == Reach::Private;
        let own = class == Class::Public && self.own.contains(&ip);
        let words = if own { "own interface" } else { class.words() };
        if class.may_be_dialled(private) && (!own || private) {
            Ok(Checked {
                address: SocketAddr::new(ip, port),
                class: words,
            })
        } else {
            Err(NoRoad::Refused(words))
        }
    }
}

/// The addresses of this host's interfaces, from the kernel's tables (proc(5)).
fn own_addresses() -> HashSet<IpAddr> {
    let mut own = HashSet::new();
    let v4 = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut last: Option<Ipv4Addr> = None;
    for line in v4.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            own.extend(last.map(IpAddr::V4));
        }
    }
    let v6 = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    for line in v6.lines() {
        let digits = line.split_whitespace().next().unwrap_or_default();
        if let Ok(bits) = u128::from_str_radix(digits, 16) {
            own.insert(IpAddr::V6(Ipv6Addr::from_bits(bits)));
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(fixed: &[&str], reach: Reach) -> Result<Vec<Checked>, NoRoad> {
        let fixed: Vec<Resolve> = fixed
            .iter()
            .map(|address| Resolve {
                host: "a.example".to_owned(),
                port: 443,
                address: address.parse().unwrap(),
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(Names::new(&fixed).look_up("a.example", 443, reach))
    }

    #[test]
    fn public_address_is_dialled() {
        let found = look_up(&["93.184.216.34"], Reach::Public).unwrap();
        assert_eq!(found[0].address, "93.184.216.34:443".parse().unwrap());
    }

    #[test]
    fn one_private_address_condemns_the_name() {
        assert_eq!(
            look_up(&["93.184.216.34", "10.0.0.1"], Reach::Public),
            Err(NoRoad::Refused("private"))
        );
        assert!(look_up(&["93.184.216.34", "10.0.0.1"], Reach::Private).is_ok());
    }

    #[test]
    fn translated_address_is_passed_over_and_never_dialled() {
        let found = look_up(&["64:ff9b::5db8:d822", "93.184.216.34"], Reach::Public).unwrap();
        let dialled: Vec<IpAddr> = found.iter().map(|one| one.address.ip()).collect();
        assert_eq!(dialled, ["93.184.216.34".parse::<IpAddr>().unwrap()]);
        // Alone, or beside what condemns the name, it is refused.
        for (addresses, class) in [
            (&["64:ff9b::5db8:d822"][..], "NAT64"),
            (&["64:ff9b::a00:1", "10.0.0.1"][..], "private"),
        ] {
            assert_eq!(
                look_up(addresses, Reach::Public),
                Err(NoRoad::Refused(class))
            );
        }
    }

    #[test]
    fn metadata_is_refused_whatever_the_rule_says() {
        for reach in [Reach::Public, Reach::Private] {
            assert_eq!(
                look_up(&["169.254.169.254"], reach),
                Err(NoRoad::Refused("metadata service"))
            );
        }
    }
}
