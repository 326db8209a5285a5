//! Free space on the log's disk. Invariant: it is asked for now and then, never at each group; a file system that does not say
//! has enough until a write fails.

use std::time::Duration;

use crate::contract::Clock;
use crate::limits::{DISK_CHECK_BYTES, DISK_CHECK_INTERVAL_MS, DISK_FREE_BYTES_MIN, DISK_SCARCE_BYTES};

use super::appender::Place;

/// How much is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Enough.
    Enough,
    /// So little that records nothing was promised for are left out.
    Scarce,
    /// So little that nothing is taken: checkpoints, retention and notes need the rest.
    Full,
}

/// What `free` bytes are.
pub(super) fn level(free: u64) -> Level {
    match free {
        _ if free < DISK_FREE_BYTES_MIN => Level::Full,
        _ if free < DISK_SCARCE_BYTES => Level::Scarce,
        _ => Level::Enough,
    }
}

/// Watches the disk of one partition.
#[derive(Debug)]
pub(super) struct Space {
    /// The partition's place.
    pub(super) place: Place,
    /// Bytes written since the last look.
    pub(super) written: u64,
    checked: Option<Duration>,
}

impl Space {
    /// Was never looked at.
    pub(super) fn new(place: Place) -> Self {
        Self { place, written: 0, checked: None }
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self, clock: &dyn Clock) -> bool {
        let interval = Duration::from_millis(DISK_CHECK_INTERVAL_MS);
        self.written >= DISK_CHECK_BYTES || self.checked.is_none_or(|at| clock.monotonic().saturating_sub(at) >= interval)
    }

    /// Looks.
    pub(super) fn look(&mut self, clock: &dyn Clock) -> Level {
        self.written = 0;
        self.checked = Some(clock.monotonic());
        self.place.disk.free_bytes(&self.place.dir).map_or(Level::Enough, level)
    }
}
