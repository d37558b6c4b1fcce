//! What was refused, counted and bounded, for the report.

use std::collections::BTreeMap;

use crate::wire::Denied;

/// Most refusals that are told apart; the rest is counted in one a wall.
pub const REFUSALS_MAX: usize = 200;

/// A wall that refused, by its name in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refuser {
    /// TCP.
    Network,
    /// Unix sockets.
    UnixSockets,
}

impl Refuser {
    fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::UnixSockets => "unix-sockets",
        }
    }
}

/// The refusals of one run.
#[derive(Debug, Default)]
pub struct Book {
    told: BTreeMap<(Refuser, String), u64>,
    further: BTreeMap<Refuser, u64>,
}

impl Book {
    /// Counts a refusal.
    pub fn note(&mut self, wall: Refuser, what: String) {
        let key = (wall, what);
        if let Some(count) = self.told.get_mut(&key) {
            *count = count.saturating_add(1);
        } else if self.told.len() < REFUSALS_MAX {
            self.told.insert(key, 1);
        } else {
            let count = self.further.entry(wall).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// All of them.
    #[must_use]
    pub fn denied(&self) -> Vec<Denied> {
        let row = |wall: Refuser, what: &str, count: u64| Denied {
            wall: wall.name().to_owned(),
            what: what.to_owned(),
            count,
            allow: None,
            at: None,
        };
        let told = self
            .told
            .iter()
            .map(|((wall, what), count)| row(*wall, what, *count));
        let further = self
            .further
            .iter()
            .map(|(wall, count)| row(*wall, "further attempts", *count));
        told.chain(further).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_and_bounded() {
        let mut book = Book::default();
        for number in 0..REFUSALS_MAX + 3 {
            book.note(Refuser::Network, format!("connect 10.0.0.1:{number}"));
            book.note(Refuser::Network, "connect 10.0.0.1:0".to_owned());
        }
        let denied = book.denied();
        assert_eq!(denied.len(), REFUSALS_MAX + 1);
        let most = denied.iter().map(|denied| denied.count).max().unwrap();
        assert_eq!(most, u64::try_from(REFUSALS_MAX).unwrap() + 4);
        assert_eq!(denied.last().unwrap().count, 3);
    }
}
