//! Locks of the hand-off. Invariant: what is named here has a counterpart in `engine/loom`, where a model checker stands in.

pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Waits while `condition` holds, at most for `time`.
pub(super) fn wait_while<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    time: Duration,
    condition: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    condvar.wait_timeout_while(guard, time, condition).unwrap_or_else(PoisonError::into_inner).0
}
