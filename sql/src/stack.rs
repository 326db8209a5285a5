//! Room for recursion. Invariant: parsing and planning run on a stack that is large enough for what the limits allow, whatever
//! thread asks; a panic in them ends the statement, not its caller.

use thalweg_engine::error::{Error, Result};
use thalweg_engine::limits::SQL_STACK_BYTES;

/// Runs `work` on a thread of its own and waits for it. Errors: those of `work`; `Unavailable` if there is no thread to have.
pub(crate) fn with_room<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("sql".to_owned()).stack_size(SQL_STACK_BYTES).spawn_scoped(scope, work);
        let thread = thread.map_err(|e| Error::unavailable(format!("no thread to plan the statement: {e}")))?;
        thread.join().unwrap_or_else(|_| Err(Error::internal("planning the statement failed, which is a bug").hint("report the statement")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let result: Result<()> = with_room(|| panic!("a bug"));
        std::panic::set_hook(quiet);
        assert_eq!(result.unwrap_err().kind(), thalweg_engine::error::ErrorKind::Internal);
        assert_eq!(with_room(|| Ok(7)).unwrap(), 7);
    }
}
