//! Taking a mutex. Invariant: a panic of one holder never stops the others; what the locks here guard is changed by single
//! assignments and pushes, so it is whole even then.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes the lock, also after a holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
