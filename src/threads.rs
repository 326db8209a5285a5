//! Threads beside those that serve: a runtime of their own. Invariant: that it ends blocks nobody, wherever it is dropped.

use thalweg_engine::error::{Error, Result};
use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime.
#[derive(Debug)]
pub struct Threads(Option<Runtime>);

impl Threads {
    /// So many threads of this name, which begin with `at_start`. Errors: they cannot be started.
    pub fn new(name: &'static str, count: usize, at_start: fn()) -> Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name(name).worker_threads(count).on_thread_start(at_start).enable_all().build();
        Ok(Self(Some(runtime.map_err(|e| Error::unavailable(format!("the threads called {name} cannot be started: {e}")))?)))
    }

    /// Where work is given to them. Errors: they have ended.
    pub fn handle(&self) -> Result<&Handle> {
        self.0.as_ref().map(Runtime::handle).ok_or_else(|| Error::internal("threads have ended"))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
