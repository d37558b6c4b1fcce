//! How much each host may be asked and sent in one run. All names under one wildcard share one budget: many names must not
//! carry more than one. What is over must never be cut short and sent: it is refused before, or ends the request.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Most hosts of one run: many names under one wildcard are a channel of their own.
pub(super) const HOSTS_MAX: usize = 512;

/// What was used of each host's budget.
#[derive(Debug)]
pub(super) struct Budgets {
    requests: u64,
    upload_bytes: u64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    hosts: HashSet<String>,
    used: HashMap<String, Arc<Used>>,
}

#[derive(Debug, Default)]
struct Used {
    requests: AtomicU64,
    upload_bytes: AtomicU64,
}

/// Which budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spent {
    Requests,
    Upload,
    Hosts,
}

impl Spent {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Requests => "budget-requests",
            Self::Upload => "budget-upload",
            Self::Hosts => "budget-hosts",
        }
    }
}

impl Budgets {
    /// Budgets of one run; the first two are per host.
    pub(super) fn new(requests: u64, upload_bytes: u64) -> Self {
        Self {
            requests,
            upload_bytes,
            known: Mutex::default(),
        }
    }

    /// Counts a request and the bytes that are known before it is sent: URL, headers, and the body where its length tells.
    /// `shared` is whose budget it is: the host of the rule, which for a wildcard is that of all names under it.
    pub(super) fn begin(&self, shared: &str, host: &str, known_bytes: u64) -> Result<Meter, Spent> {
        let used = self.of(shared, host)?;
        if used.requests.fetch_add(1, Ordering::Relaxed) >= self.requests {
            return Err(Spent::Requests);
        }
        let meter = Meter {
            used,
            limit: self.upload_bytes,
            sent: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        };
        if meter.charge(known_bytes) {
            Ok(meter)
        } else {
            Err(Spent::Upload)
        }
    }

    fn of(&self, shared: &str, host: &str) -> Result<Arc<Used>, Spent> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.hosts.contains(host) {
            if known.hosts.len() >= HOSTS_MAX {
                return Err(Spent::Hosts);
            }
            known.hosts.insert(host.to_owned());
        }
        if let Some(used) = known.used.get(shared) {
            return Ok(Arc::clone(used));
        }
        let used = Arc::<Used>::default();
        known.used.insert(shared.to_owned(), Arc::clone(&used));
        Ok(used)
    }
}

/// Counts the bytes of one request as they go.
#[derive(Debug)]
pub(super) struct Meter {
    used: Arc<Used>,
    limit: u64,
    sent: AtomicU64,
    cut: AtomicU64,
}

impl Meter {
    /// A meter without a limit, for what has a budget of its own.
    pub(super) fn unlimited() -> Self {
        Self {
            used: Arc::default(),
            limit: u64::MAX,
            sent: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        }
    }

    /// Takes bytes off the budget; false, and nothing taken, if they are not left.
    pub(super) fn charge(&self, bytes: u64) -> bool {
        let taken = self
            .used
            .upload_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.limit)
            })
            .is_ok();
        if taken {
            self.sent.fetch_add(bytes, Ordering::Relaxed);
        } else {
            self.cut.store(1, Ordering::Relaxed);
        }
        taken
    }

    /// Bytes that this request took.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether it was ended for want of budget.
    pub(super) fn was_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_bytes_are_counted_per_host() {
        let budgets = Budgets::new(2, 100);
        assert_eq!(budgets.begin("a", "a", 60).unwrap().sent(), 60);
        assert_eq!(budgets.begin("a", "a", 41).unwrap_err(), Spent::Upload);
        assert_eq!(budgets.begin("a", "a", 1).unwrap_err(), Spent::Requests);
        assert!(budgets.begin("b", "b", 100).is_ok());
    }

    #[test]
    fn a_body_over_the_budget_is_cut() {
        let budgets = Budgets::new(2, 100);
        let meter = budgets.begin("a", "a", 10).unwrap();
        assert!(meter.charge(90));
        assert!(!meter.was_cut());
        assert!(!meter.charge(1));
        assert!(meter.was_cut());
        assert_eq!(meter.sent(), 100);
    }

    #[test]
    fn names_under_one_wildcard_share_its_budget() {
        let budgets = Budgets::new(3, 100);
        assert!(budgets.begin("*.x", "a.x", 60).is_ok());
        assert_eq!(budgets.begin("*.x", "b.x", 60).unwrap_err(), Spent::Upload);
        assert!(budgets.begin("*.x", "c.x", 40).is_ok());
        assert_eq!(budgets.begin("*.x", "d.x", 0).unwrap_err(), Spent::Requests);
    }

    #[test]
    fn number_of_hosts_is_bounded() {
        let budgets = Budgets::new(2, 100);
        for name in 0..HOSTS_MAX {
            assert!(
                budgets
                    .begin(&name.to_string(), &name.to_string(), 1)
                    .is_ok()
            );
        }
        assert_eq!(budgets.begin("0", "one-more", 1).unwrap_err(), Spent::Hosts);
        assert!(budgets.begin("0", "0", 1).is_ok());
    }
}
