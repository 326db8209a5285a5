//! The counters of the conservation law. Invariant: every record that enters is counted in exactly one way out, so that
//! `balance` is zero at each checkpoint; anything else is a bug or a loss.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// A counter that several threads add to. Who finds in it what a thread has added finds in others what that thread had added before.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Release);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// What the gateway did with records: `received = appended + duplicate + rejected + failed`, once nothing is under way; and what it
/// calls appended is in the log.
#[derive(Debug, Default)]
pub struct GatewayCounters {
    /// Records that arrived complete from an authenticated device.
    pub received: Counter,
    /// Records that are durable in the log.
    pub appended: Counter,
    /// Records with a known (epoch, sequence): acknowledged, not stored again.
    pub duplicate: Counter,
    /// Of `appended`: the sequences before it are missing.
    pub gaps: Counter,
    /// Records refused: too large, wrong topic, malformed.
    pub rejected: Counter,
    /// Records that were not acknowledged because the log refused or failed.
    pub failed: Counter,
    /// Of `failed`: sent with QoS 0 while the disk was nearly full.
    pub shed: Counter,
    /// Of `appended`: sent with QoS 0, for which nothing is promised.
    pub unpromised: Counter,
    /// Connections refused: wrong key, unknown device, revoked.
    pub refused: Counter,
    /// Connections open now are `opened - closed`.
    pub opened: Counter,
    /// See `opened`.
    pub closed: Counter,
    /// Messages to devices that were dropped because their connection did not take them in time.
    pub undelivered: Counter,
}

/// By how many records the counts of the gateway cannot be as they are, at any time: 0, or records were lost or counted twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GatewayDifference {
    /// Records whose fate was counted, beyond those that were received.
    pub received: u64,
    /// Records that were acknowledged as stored, beyond those that the log has taken.
    pub log: u64,
}

impl GatewayCounters {
    /// What cannot be. `logged` tells how many records the log has taken since the counts began; it is asked after they were read, for a
    /// record is counted later than what it is compared with.
    pub fn difference(&self, logged: impl FnOnce() -> u64) -> GatewayDifference {
        let appended = self.appended.get();
        let settled = appended + self.duplicate.get() + self.rejected.get() + self.failed.get();
        GatewayDifference { received: settled.saturating_sub(self.received.get()), log: appended.saturating_sub(logged()) }
    }

    /// Counts records that came together; those that are not settled when this is dropped have failed.
    pub fn received(&self, records: u64) -> Unsettled<'_> {
        self.received.add(records);
        Unsettled { failed: &self.failed, records }
    }
}

/// Records that came together, of which it is not known yet what becomes of them.
#[derive(Debug)]
pub struct Unsettled<'a> {
    failed: &'a Counter,
    records: u64,
}

impl Unsettled<'_> {
    /// So many of them became what `counter` counts.
    pub fn settle(&mut self, counter: &Counter, records: u64) {
        counter.add(records);
        self.records = self.records.saturating_sub(records);
    }
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        self.failed.add(self.records);
    }
}

/// Rows of one job since it was created, in records. Part of each checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCounters {
    /// Records read from the log.
    pub consumed: u64,
    /// Records that damage took from the log before they were read, as an operator accepted; not part of `consumed`.
    #[serde(default)]
    pub lost: u64,
    /// Rows beyond the first that UNNEST, overlapping windows or several outputs made from a record, and results that were rejected.
    #[serde(default)]
    pub expanded: u64,
    /// Rows dropped by WHERE or by an inner join without a match.
    pub filtered: u64,
    /// Rows that entered a window.
    pub aggregated: u64,
    /// Rows passed to the output of a job without windows.
    pub passed: u64,
    /// Rows whose windows had all closed.
    pub late: u64,
    /// Records that could not be decoded or evaluated, or lie too far in the future; results that could not be computed.
    pub rejected: u64,
    /// Rows whose windows have all closed, each once however many they were.
    pub emitted: u64,
    /// Rows with a window that is still open.
    pub open: u64,
    /// Rows that steps behind the exchange hold now.
    #[serde(default)]
    pub held: u64,
    /// Windows closed: distinct window ends for which at least one group was emitted.
    pub windows: u64,
    /// Rows written to the job's sink.
    pub written: u64,
}

impl JobCounters {
    /// Adds every count of `other`.
    pub fn add(&mut self, other: &Self) {
        self.consumed += other.consumed;
        self.lost += other.lost;
        self.expanded += other.expanded;
        self.filtered += other.filtered;
        self.aggregated += other.aggregated;
        self.passed += other.passed;
        self.late += other.late;
        self.rejected += other.rejected;
        self.emitted += other.emitted;
        self.open += other.open;
        self.held += other.held;
        self.windows += other.windows;
        self.written += other.written;
    }

    /// `consumed` and `expanded` minus every way out: zero, or records were lost or counted twice.
    pub fn row_balance(&self) -> i128 {
        let out = [self.filtered, self.aggregated, self.passed, self.late, self.rejected];
        i128::from(self.consumed) + i128::from(self.expanded) - out.iter().map(|&n| i128::from(n)).sum::<i128>()
    }

    /// Rows in windows minus rows of closed and open windows: zero, or a window lost rows. A row counts once, however
    /// many windows it is in.
    pub fn window_balance(&self) -> i128 {
        i128::from(self.aggregated) - i128::from(self.emitted) - i128::from(self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_row_shows_in_the_balance() {
        let mut c =
            JobCounters { consumed: 10, filtered: 2, aggregated: 5, late: 1, rejected: 2, emitted: 3, open: 2, ..Default::default() };
        assert_eq!((c.row_balance(), c.window_balance()), (0, 0));
        (c.expanded, c.passed) = (4, 4);
        assert_eq!(c.row_balance(), 0);
        c.late = 0;
        assert_eq!(c.row_balance(), 1);
        c.expanded = 5;
        assert_eq!(c.row_balance(), 2);
        c.open = 3;
        assert_eq!(c.window_balance(), -1);
    }

    #[test]
    fn what_was_acknowledged_is_in_the_log_and_what_was_settled_was_received() {
        let counters = GatewayCounters::default();
        counters.received.add(5);
        counters.appended.add(3);
        counters.duplicate.add(1);
        assert_eq!(counters.difference(|| 3), GatewayDifference::default(), "one is under way");
        assert_eq!(counters.difference(|| 7), GatewayDifference::default(), "others write to the log as well");
        assert_eq!(counters.difference(|| 2), GatewayDifference { received: 0, log: 1 });
        counters.rejected.add(2);
        assert_eq!(counters.difference(|| 3), GatewayDifference { received: 1, log: 0 });
    }

    #[test]
    fn what_is_not_settled_has_failed() {
        let counters = GatewayCounters::default();
        let mut unsettled = counters.received(5);
        unsettled.settle(&counters.appended, 2);
        unsettled.settle(&counters.rejected, 1);
        drop(unsettled);
        let got = [&counters.received, &counters.appended, &counters.rejected, &counters.failed].map(Counter::get);
        assert_eq!(got, [5, 2, 1, 2]);
    }
}
