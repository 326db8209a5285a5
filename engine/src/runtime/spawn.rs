//! Threads with names. Invariant: a panic in a thread becomes an error of the one who joins it, never a silent end.

use std::thread::{Builder, JoinHandle};

use crate::error::{Error, Result};

/// Starts a thread called `name` (cut to the 15 bytes that Linux shows).
pub fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    Builder::new().name(name.chars().take(15).collect()).spawn(work).map_err(|e| Error::unavailable(format!("cannot start a thread: {e}")))
}

/// Waits for a thread. Errors: `Internal` with the panic's message.
pub fn join<T>(handle: JoinHandle<T>) -> Result<T> {
    handle.join().map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
        Error::internal(format!("a thread panicked: {}", text.unwrap_or_else(|| "no message".to_owned())))
    })
}
