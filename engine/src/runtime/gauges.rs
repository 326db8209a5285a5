//! What is measured of a job while it runs, beside its counts. Invariant: measuring costs a few stores a batch, never anything a row, and
//! what nobody has measured is told as unknown.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::contract::Usage;
use crate::limits::JOB_RATE_S;
use crate::locks::lock;
use crate::time::Micros;

/// Shared by workers, driver, supervisor and those who watch.
#[derive(Debug)]
pub(super) struct Gauges {
    places: Vec<PlaceGauges>,
    graph: UsageCell,
    /// Partitions that are ahead in event time have to wait.
    pub(super) crowded: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct PlaceGauges {
    usage: UsageCell,
    /// Receive time of the record that was read last; `Micros::MIN` before.
    received: AtomicI64,
}

#[derive(Debug, Default)]
struct UsageCell {
    bytes: AtomicU64,
    groups: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    /// Monotonic times, and records read by then.
    samples: VecDeque<(Duration, u64)>,
    checkpoint_took: Option<Duration>,
    restarts: u64,
    next_attempt: Option<Micros>,
}

/// What they show now.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    pub(super) rate: f64,
    pub(super) usage: Usage,
    pub(super) checkpoint_took: Option<Duration>,
    pub(super) restarts: u64,
    pub(super) next_attempt: Option<Micros>,
}

impl UsageCell {
    fn set(&self, usage: Usage) {
        self.bytes.store(usage.bytes, Ordering::Relaxed);
        self.groups.store(usage.groups, Ordering::Relaxed);
    }

    fn get(&self) -> Usage {
        Usage { bytes: self.bytes.load(Ordering::Relaxed), groups: self.groups.load(Ordering::Relaxed) }
    }
}

impl Gauges {
    pub(super) fn new(places: usize) -> Self {
        let place = |_| PlaceGauges { usage: UsageCell::default(), received: AtomicI64::new(Micros::MIN) };
        Self {
            places: (0..places).map(place).collect(),
            graph: UsageCell::default(),
            crowded: AtomicBool::new(false),
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// A worker has read records up to one that was received then.
    pub(super) fn read(&self, place: usize, received: Micros) {
        if let Some(place) = self.places.get(place) {
            place.received.store(received, Ordering::Relaxed);
        }
    }

    /// Receive time of the record that a worker read last.
    pub(super) fn received(&self, place: usize) -> Option<Micros> {
        self.places.get(place).map(|p| p.received.load(Ordering::Relaxed)).filter(|&t| t > Micros::MIN)
    }

    /// State of a partition.
    pub(super) fn holds(&self, place: usize, usage: Usage) {
        if let Some(place) = self.places.get(place) {
            place.usage.set(usage);
        }
    }

    /// State where partitions meet.
    pub(super) fn graph_holds(&self, usage: Usage) {
        self.graph.set(usage);
    }

    /// State of all partitions, and state where they meet.
    pub(super) fn usage(&self) -> (Usage, Usage) {
        (self.places.iter().map(|p| p.usage.get()).sum(), self.graph.get())
    }

    /// So many records were read by then.
    pub(super) fn sample(&self, now: Duration, records: u64) {
        let mut inner = self.lock();
        if inner.samples.back().is_some_and(|(last, _)| now.saturating_sub(*last) < Duration::from_secs(1)) {
            return;
        }
        inner.samples.push_back((now, records));
        while inner.samples.len() > JOB_RATE_S + 1 {
            inner.samples.pop_front();
        }
    }

    /// A checkpoint took so long from its barrier to its commit.
    pub(super) fn checkpoint(&self, took: Duration) {
        self.lock().checkpoint_took = Some(took);
    }

    /// A run begins: nothing is measured yet.
    pub(super) fn begin(&self) {
        let mut inner = self.lock();
        inner.samples.clear();
        inner.next_attempt = None;
    }

    /// A run ended: nothing is held any more.
    pub(super) fn end(&self) {
        self.places.iter().for_each(|p| p.usage.set(Usage::default()));
        self.graph.set(Usage::default());
        self.crowded.store(false, Ordering::Relaxed);
        self.lock().samples.clear();
    }

    /// The job will be started again then.
    pub(super) fn restart(&self, at: Micros) {
        let mut inner = self.lock();
        inner.restarts += 1;
        inner.next_attempt = Some(at);
    }

    pub(super) fn show(&self) -> Shown {
        let (places, graph) = self.usage();
        let inner = self.lock();
        let rate = match (inner.samples.front(), inner.samples.back()) {
            (Some((from, first)), Some((to, last))) if to > from => {
                last.saturating_sub(*first) as f64 / to.saturating_sub(*from).as_secs_f64()
            }
            _ => 0.0,
        };
        Shown {
            rate,
            usage: places + graph,
            checkpoint_took: inner.checkpoint_took,
            restarts: inner.restarts,
            next_attempt: inner.next_attempt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let gauges = Gauges::new(1);
        assert_eq!(gauges.show().rate, 0.0);
        for second in 0..100u64 {
            gauges.sample(Duration::from_secs(second), if second < 50 { second * 1_000 } else { 50_000 + (second - 50) * 10 });
            gauges.sample(Duration::from_millis(second * 1_000 + 500), u64::MAX);
        }
        assert_eq!(gauges.show().rate, 10.0);
        gauges.end();
        assert_eq!(gauges.show().rate, 0.0);
    }

    #[test]
    fn a_job_that_does_not_run_holds_nothing() {
        let gauges = Gauges::new(2);
        let some = Usage { bytes: 5, groups: 1 };
        (0..2).for_each(|place| gauges.holds(place, some));
        gauges.graph_holds(some);
        assert_eq!(gauges.show().usage, Usage { bytes: 15, groups: 3 });
        gauges.end();
        assert_eq!(gauges.show().usage, Usage::default());
        assert_eq!((gauges.received(1), gauges.received(7)), (None, None));
    }
}
