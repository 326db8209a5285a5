//! A clock for tests. Invariant: it moves only when it is told to, each of its two times by itself.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::contract::Clock;
use crate::time::Micros;

/// A clock that stands until it is moved.
#[derive(Debug, Default)]
pub struct SimClock {
    now: AtomicI64,
    monotonic_ms: AtomicU64,
}

impl SimClock {
    /// Sets the wall clock.
    pub fn set(&self, now: Micros) {
        self.now.store(now, Ordering::Relaxed);
    }

    /// Lets monotonic time pass.
    pub fn pass(&self, time: Duration) {
        self.monotonic_ms.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Micros {
        self.now.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Ordering::Relaxed))
    }
}
