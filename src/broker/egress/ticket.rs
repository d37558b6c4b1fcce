//! One request's line in the log, filled in as it goes and written when it is over, however it ends.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::OwnedSemaphorePermit;

use super::budget::Meter;
use super::log::{Decision, Event, Tls};
use super::log_writer::Log;
use super::model_gate::Reservation;
use super::model_traffic::usage::Usage;
use crate::names::Digest;
use crate::policy::verdict::Scheme;

/// Hexadecimal digits of a query's digest that are logged.
const QUERY_DIGITS: usize = 16;
/// Longest text of the agent in a line, in bytes.
const TEXT_BYTES_MAX: usize = 2048;

/// A line that is not written yet.
pub(super) struct Ticket {
    event: Event,
    log: Arc<Log>,
    started: Instant,
    meter: Option<Arc<Meter>>,
    reservation: Option<Reservation>,
    turn: Option<OwnedSemaphorePermit>,
    over: bool,
}

impl Ticket {
    /// Begins a line.
    pub(super) fn new(log: &Arc<Log>, tls: Tls, h2: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            event: Event {
                at_ms: now.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0)),
                verdict: Decision::Fail,
                code: None,
                rule: None,
                method: String::new(),
                scheme: String::new(),
                host: String::new(),
                port: 0,
                path: String::new(),
                query: None,
                status: None,
                sent: 0,
                received: 0,
                ms: 0,
                address: None,
                tls,
                h2,
                tokens: None,
                count: 1,
            },
            log: Arc::clone(log),
            started: Instant::now(),
            meter: None,
            reservation: None,
            turn: None,
            over: false,
        }
    }

    /// What was asked.
    pub(super) fn asked(&mut self, method: &str, scheme: Scheme, host: &str, port: u16) {
        self.event.method = bounded(method);
        self.event.scheme = match scheme {
            Scheme::Http => "http".to_owned(),
            Scheme::Https => "https".to_owned(),
        };
        self.event.host = bounded(host);
        self.event.port = port;
    }

    /// For which path. The query is kept as a digest only: it is where data leaves.
    pub(super) fn path(&mut self, path: &str, query: Option<&str>) {
        self.event.path = bounded(path);
        self.event.query = query.map(|query| {
            let mut digest = Digest::of(query.as_bytes()).as_str().to_owned();
            digest.truncate(QUERY_DIGITS);
            digest
        });
    }

    /// What was decided, and by which rule.
    pub(super) fn decided(&mut self, verdict: Decision, code: Option<&str>, rule: Option<String>) {
        self.event.verdict = verdict;
        self.event.code = code.map(ToOwned::to_owned);
        if rule.is_some() {
            self.event.rule = rule;
        }
    }

    /// The decision was to pass it, and something ended it all the same.
    pub(super) fn broke(&mut self, code: &str) {
        self.decided(Decision::Fail, Some(code), None);
        self.over = true;
    }

    pub(super) fn status(&mut self, status: u16) {
        self.event.status = Some(status);
    }

    pub(super) fn address(&mut self, class: &'static str) {
        self.event.address = Some(class.to_owned());
    }

    pub(super) fn meter(&mut self, meter: Arc<Meter>) {
        self.meter = Some(meter);
    }

    /// Tokens and a turn at the model are held until the line is written.
    pub(super) fn reserved(&mut self, reservation: Reservation, turn: OwnedSemaphorePermit) {
        self.reservation = Some(reservation);
        self.turn = Some(turn);
    }

    pub(super) fn received(&mut self, bytes: u64) {
        self.event.received += bytes;
    }

    pub(super) fn used(&mut self, usage: Usage) {
        if let Some(reservation) = &mut self.reservation {
            reservation.seen(usage);
        }
    }

    /// The answer was read to its end.
    pub(super) fn finished(&mut self) {
        self.over = true;
    }

    /// Nothing went out, so nothing was used.
    pub(super) fn unsent(&mut self) {
        if let Some(reservation) = &mut self.reservation {
            reservation.seen(Usage::default());
        }
    }

    /// What is known so far, for the answer to a refused request.
    pub(super) fn event(&self) -> &Event {
        &self.event
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            self.event.sent = meter.sent();
            if meter.was_cut() && self.event.verdict != Decision::Deny {
                self.decided(Decision::Deny, Some("budget-upload"), None);
            }
        }
        if let Some(reservation) = self.reservation.take() {
            self.event.tokens = Some(reservation.settle(self.event.status));
        }
        if !self.over && self.event.verdict == Decision::Allow {
            self.event.code = Some("client-left".to_owned());
        }
        self.event.ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.log.write(&self.event);
    }
}

fn bounded(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let mut end = TEXT_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}
