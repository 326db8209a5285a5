//! The model checker's locks. Invariant: time never passes here, so whoever waits has to be woken.

use std::time::Duration;

pub(crate) use std::sync::PoisonError;

pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

/// Waits while `condition` holds.
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    _: Duration,
    mut condition: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    while condition(&mut guard) {
        guard = condvar.wait(guard).unwrap_or_else(PoisonError::into_inner);
    }
    guard
}
