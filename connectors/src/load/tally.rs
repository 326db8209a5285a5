//! Counting what a run did. Invariant: `contiguous` is the largest n such that every record from 1 to n was acknowledged.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hdrhistogram::Histogram;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::locks::lock;
use thalweg_engine::metrics::Counter;

use super::Journal;

/// Longest latency that is told apart, in microseconds: five minutes.
const LATENCY_MICROS_MAX: u64 = 300_000_000;

/// Live counts of a run; read them at any time.
#[derive(Debug, Default)]
pub struct Progress {
    /// Records sent for the first time.
    pub sent: Counter,
    /// Records sent again after a lost connection.
    pub resent: Counter,
    /// Records the server acknowledged.
    pub acknowledged: Counter,
    /// Records the server refused for good.
    pub errors: Counter,
    /// Connections lost or refused.
    pub disconnects: Counter,
}

/// What all devices of a run count into.
pub(crate) struct Tally {
    pub(crate) progress: Arc<Progress>,
    latency: Mutex<Histogram<u64>>,
    journal: Option<Arc<Journal>>,
}

impl Tally {
    pub(crate) fn new(progress: Arc<Progress>, journal: Option<Arc<Journal>>) -> Result<Self> {
        let latency = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).map_err(|e| Error::internal(format!("histogram: {e}")))?;
        Ok(Self { progress, latency: Mutex::new(latency), journal })
    }

    /// Latencies so far, in microseconds.
    pub(crate) fn latency(&self) -> Histogram<u64> {
        lock(&self.latency).clone()
    }
}

/// The records of one device.
pub(crate) struct DeviceTally {
    device: String,
    contiguous: u64,
    count: u64,
    /// Acknowledged beyond a gap.
    beyond: BTreeSet<u64>,
}

impl DeviceTally {
    pub(crate) fn new(device: &str) -> Self {
        Self { device: device.to_owned(), contiguous: 0, count: 0, beyond: BTreeSet::new() }
    }

    /// A record was acknowledged this long after it was sent first.
    pub(crate) fn acknowledge(&mut self, all: &Tally, sequence: u64, latency: Duration) {
        self.count += 1;
        self.beyond.insert(sequence);
        while self.beyond.remove(&(self.contiguous + 1)) {
            self.contiguous += 1;
        }
        all.progress.acknowledged.add(1);
        lock(&all.latency).saturating_record((latency.as_micros() as u64).max(1));
        if let Some(journal) = &all.journal {
            journal.note(&self.device, sequence);
        }
    }

    /// Largest sequence up to which all records were acknowledged, and how many were in all.
    pub(crate) fn result(&self) -> (u64, u64) {
        (self.contiguous, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_holds_contiguous_back() {
        let all = Tally::new(Default::default(), None).unwrap();
        let mut device = DeviceTally::new("a");
        for sequence in [1, 2, 4, 5] {
            device.acknowledge(&all, sequence, Duration::from_millis(1));
        }
        assert_eq!(device.result(), (2, 4));
        device.acknowledge(&all, 3, Duration::from_millis(1));
        assert_eq!(device.result(), (5, 5));
        assert_eq!((all.progress.acknowledged.get(), all.latency().len()), (5, 5));
    }
}
