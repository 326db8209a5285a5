//! Memory for records that wait for the disk, of all partitions together. Invariant: what is reserved is never more than the limit, so
//! that a disk that stands still cannot take more of the memory than that, however many partitions there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::{LOG_PENDING_BYTES_MAX, LOG_PENDING_STEP_BYTES};

/// What is reserved, in bytes; shared by all partitions of all streams.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending(Arc<AtomicUsize>);

impl Pending {
    /// Makes `reserved` at least `wanted`. Says whether that was possible; if not, nothing has changed.
    pub(super) fn reserve(&self, reserved: &mut usize, wanted: usize) -> bool {
        if wanted <= *reserved {
            return true;
        }
        // In steps: this is asked for every record.
        let more = (wanted - *reserved).next_multiple_of(LOG_PENDING_STEP_BYTES);
        let grown = |all: usize| Some(all + more).filter(|all| *all <= LOG_PENDING_BYTES_MAX);
        let is_possible = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok();
        if is_possible {
            *reserved += more;
        }
        is_possible
    }

    /// Gives back what was reserved.
    pub(super) fn release(&self, reserved: &mut usize) {
        self.0.fetch_sub(std::mem::take(reserved), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_stay_below_the_limit_and_give_back() {
        let pending = Pending::default();
        let (mut one, mut other) = (0, 0);
        assert!(pending.reserve(&mut one, 1) && one == LOG_PENDING_STEP_BYTES);
        assert!(pending.reserve(&mut other, LOG_PENDING_BYTES_MAX - LOG_PENDING_STEP_BYTES));
        assert!(pending.reserve(&mut one, LOG_PENDING_STEP_BYTES), "it is reserved already");
        assert!(!pending.reserve(&mut one, LOG_PENDING_STEP_BYTES + 1) && one == LOG_PENDING_STEP_BYTES);
        pending.release(&mut other);
        assert_eq!(other, 0);
        assert!(pending.reserve(&mut one, LOG_PENDING_BYTES_MAX));
        pending.release(&mut one);
        assert!(pending.reserve(&mut other, LOG_PENDING_BYTES_MAX), "all of it was given back");
    }
}
