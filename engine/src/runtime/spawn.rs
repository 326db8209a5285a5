//! Threads with names. Invariant: a panic becomes an error of whoever waits for the work, the one who joins the thread or the caller of
//! `caught`; a thread that nobody joins has to catch its own, or its end is silent.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

use crate::error::{Error, Result};

/// Starts a thread called `name` (cut to the 15 bytes that Linux shows).
pub fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    Builder::new().name(name.chars().take(15).collect()).spawn(work).map_err(|e| Error::unavailable(format!("cannot start a thread: {e}")))
}

/// Waits for a thread. Errors: `Internal` with the panic's message.
pub fn join<T>(handle: JoinHandle<T>) -> Result<T> {
    handle.join().map_err(|panic| panicked(&*panic))
}

/// Does here what a thread might do. Errors: the same as if it had been joined; what it worked on must not be used again.
pub fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    Error::internal(format!("a thread panicked: {}", text.unwrap_or_else(|| "no message".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message_here_as_in_a_thread() {
        let number = 7;
        let here = caught(|| -> Result<()> { panic!("broken {number}") }).unwrap_err();
        let there = join(spawn("t", move || -> () { panic!("broken {number}") }).unwrap()).unwrap_err();
        assert_eq!((here.message(), here.kind()), (there.message(), there.kind()));
        assert_eq!(here.message(), "a thread panicked: broken 7");
        assert_eq!(caught(|| Ok(number)).unwrap(), 7);
    }
}
