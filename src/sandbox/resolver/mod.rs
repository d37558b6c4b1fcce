//! Names inside the walls: every valid name gets an address of ours, so that a later connect to it says which name was meant.
//! It must never ask anybody outside, never tell one name from another by policy (the egress judges), and never panic on bytes.
//!
//! `message` reads questions and writes answers, `stream` cuts TCP bytes into messages; both are pure. Whoever keeps the
//! door (level B) or supervises connects (level C) moves the bytes.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use crate::wire::Denied;

pub mod message;
pub mod stream;

use message::{Code, Kind, Question};

/// The address on which our own resolver answers inside. It is never given to a name.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Most names of a run that get an address: each may cost its holder a listener per port.
pub const NAMES_MAX: usize = 1024;
/// Most refused names that are told apart; the rest is counted in one.
pub const REFUSED_MAX: usize = 200;
/// Longest name in characters (RFC 1035, section 2.3.4, without the root's dot).
pub const NAME_CHARACTERS_MAX: usize = 253;

/// Whether a road out exists at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// Connections are handed to the egress: every valid name gets an address.
    Egress,
    /// None: no name exists, and each one that was asked for is remembered.
    None,
}

/// What is to be sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The whole DNS message.
    pub message: Vec<u8>,
    /// An address that was given to a name just now. At level B its listeners must stand before the message is sent.
    pub new: Option<Ipv4Addr>,
}

/// The names of one run and their addresses.
#[derive(Debug)]
pub struct Resolver {
    road: Road,
    addresses: HashMap<String, Ipv4Addr>,
    names: HashMap<Ipv4Addr, String>,
    refused: BTreeMap<String, u64>,
    refused_further: u64,
}

impl Resolver {
    /// A table without names.
    #[must_use]
    pub fn new(road: Road) -> Self {
        Self {
            road,
            addresses: HashMap::new(),
            names: HashMap::new(),
            refused: BTreeMap::new(),
            refused_further: 0,
        }
    }

    /// The name that this address was given to.
    #[must_use]
    pub fn name(&self, address: Ipv4Addr) -> Option<&str> {
        self.names.get(&address).map(String::as_str)
    }

    /// Whether the address lies in the range from which names get theirs (198.18.0.0/15, RFC 2544), given or not.
    #[must_use]
    pub fn owns(address: Ipv4Addr) -> bool {
        matches!(address.octets(), [198, 18 | 19, ..])
    }

    /// Answers one message. None if nothing may be sent back: it is itself an answer, or has no whole header.
    #[must_use]
    pub fn answer(&mut self, query: &[u8]) -> Option<Answer> {
        let question = match message::read(query) {
            Ok(question) => question,
            Err(refusal) => {
                let message = refusal.reply(query)?;
                return Some(Answer { message, new: None });
            }
        };
        let plain = |message| Answer { message, new: None };
        let Some(name) = valid_name(question.name()) else {
            return Some(plain(question.reply(Code::NoSuchName, None)));
        };
        if name == "localhost" || name.ends_with(".localhost") {
            return Some(plain(local(&question)));
        }
        if self.road == Road::None {
            self.refuse(name);
            return Some(plain(question.reply(Code::NoSuchName, None)));
        }
        if question.kind() != Kind::Address {
            return Some(plain(question.reply(Code::Good, None)));
        }
        let known = self.addresses.len();
        let Some(address) = self.address(&name) else {
            self.refuse(name);
            return Some(plain(question.reply(Code::Refused, None)));
        };
        Some(Answer {
            message: question.reply(Code::Good, Some(address)),
            new: (self.addresses.len() > known).then_some(address),
        })
    }

    /// The address of a valid, lower-case name; none once the table is full.
    fn address(&mut self, name: &str) -> Option<Ipv4Addr> {
        if let Some(address) = self.addresses.get(name) {
            return Some(*address);
        }
        if self.addresses.len() >= NAMES_MAX {
            return None;
        }
        let place = u32::try_from(self.addresses.len()).ok()?;
        let address = Ipv4Addr::from(u32::from(ADDRESS).checked_add(1)?.checked_add(place)?);
        self.addresses.insert(name.to_owned(), address);
        self.names.insert(address, name.to_owned());
        Some(address)
    }

    fn refuse(&mut self, name: String) {
        if let Some(count) = self.refused.get_mut(&name) {
            *count = count.saturating_add(1);
        } else if self.refused.len() < REFUSED_MAX {
            self.refused.insert(name, 1);
        } else {
            self.refused_further = self.refused_further.saturating_add(1);
        }
    }

    /// Names that were asked for and refused, for the report.
    #[must_use]
    pub fn denied(&self) -> Vec<Denied> {
        let row = |what: String, allow: Option<String>, count: u64| Denied {
            wall: "dns".to_owned(),
            what,
            count,
            allow,
            at: None,
        };
        let line = |name: &str| format!("network.allow: [{{ host: {name} }}]");
        let mut rows: Vec<Denied> = self
            .refused
            .iter()
            .map(|(name, count)| row(format!("resolve {name}"), Some(line(name)), *count))
            .collect();
        if self.refused_further > 0 {
            rows.push(row(
                "resolve further names".to_owned(),
                None,
                self.refused_further,
            ));
        }
        rows
    }
}

/// A name under `localhost` is the own machine whoever asks (RFC 6761, section 6.3).
fn local(question: &Question<'_>) -> Vec<u8> {
    let address = (question.kind() == Kind::Address).then_some(Ipv4Addr::LOCALHOST);
    question.reply(Code::Good, address)
}

/// Lower case, letters, digits and hyphens in labels of 1 to 63 characters. A last label of digits alone is an address
/// in disguise and no name.
fn valid_name(labels: &[&[u8]]) -> Option<String> {
    let mut name = String::new();
    for label in labels {
        let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let edges = [label.first(), label.last()];
        if !label.iter().all(inner) || edges.contains(&Some(&b'-')) {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(
            label
                .iter()
                .map(|byte| char::from(byte.to_ascii_lowercase())),
        );
    }
    let numeric = labels.last()?.iter().all(u8::is_ascii_digit);
    (!numeric && name.len() <= NAME_CHARACTERS_MAX).then_some(name)
}

#[cfg(test)]
mod tests;
