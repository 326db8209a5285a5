//! A clock and an open set of devices for the tests. Invariant: the clock moves only when a test moves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use thalweg_engine::contract::Clock;
use thalweg_engine::system::RealDisk;
use thalweg_engine::time::Micros;

use crate::{Actor, Devices};

/// A clock that stands until `advance`.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Micros {
        1_700_000_000_000_000 + self.0.load(Ordering::SeqCst)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// Devices in a directory of their own.
pub struct Fixture {
    pub dir: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
    pub devices: Arc<Devices>,
}

impl Fixture {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        let devices = Devices::open(dir.path(), Arc::new(RealDisk), clock.clone()).unwrap();
        Self { dir, clock, devices }
    }

    /// The same directory as after a restart.
    pub fn reopen(&mut self) {
        self.devices = Devices::open(self.dir.path(), Arc::new(RealDisk), self.clock.clone()).unwrap();
    }
}

pub fn operator() -> Actor {
    Actor { name: "tester".to_owned(), peer: None }
}
