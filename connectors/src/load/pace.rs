//! When records are due. Invariant: what is due depends on the time since the start alone, so a slow server does not slow the
//! clock down: records that it held up are sent as soon as it takes them.

use std::time::Duration;

use tokio::time::Instant;

/// The rhythm of one device.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    start: Instant,
    /// None: as fast as the server takes them.
    interval: Option<Duration>,
    left: Option<u64>,
    sent: u64,
}

impl Pace {
    /// A record each `interval` from `start` on, `left` records in all.
    pub(crate) fn new(start: Instant, interval: Option<Duration>, left: Option<u64>) -> Self {
        Self { start, interval, left, sent: 0 }
    }

    /// Whether a record is to be sent now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        !self.is_over() && self.next_at().is_none_or(|at| at <= now)
    }

    /// When the next record is due; none if there is no rhythm.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.interval.map(|interval| self.start + interval.mul_f64(self.sent as f64))
    }

    /// A record was sent.
    pub(crate) fn advance(&mut self) {
        self.sent += 1;
    }

    /// Whether all records were sent.
    pub(crate) fn is_over(&self) -> bool {
        self.left.is_some_and(|left| self.sent >= left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_up_is_due_at_once() {
        let start = Instant::now();
        let mut pace = Pace::new(start, Some(Duration::from_millis(100)), Some(4));
        let mut due = |at_ms: u64| {
            let mut n = 0;
            while pace.is_due(start + Duration::from_millis(at_ms)) {
                pace.advance();
                n += 1;
            }
            n
        };
        assert_eq!([due(0), due(99), due(250), due(10_000)], [1, 0, 2, 1]);
        assert!(pace.is_over());
    }
}
