//! What all tables of a lake share: where it lies, how bytes become durable, what time it is, and where asynchronous work runs.
//! Invariant: while an environment that may write lives, its process holds the lock of the lake.

use std::fs::{File, OpenOptions, TryLockError};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::contract::Clock;
use crate::error::{Error, Result};
use crate::lake::durable::Durable;
use crate::time::Micros;

/// Shared by a lake and its tables.
#[derive(Debug)]
pub(super) struct Environment {
    /// Directory of the lake, absolute and without symbolic links.
    pub(super) root: PathBuf,
    /// The only way to bytes that last.
    pub(super) durable: Arc<Durable>,
    clock: Arc<dyn Clock>,
    handle: Handle,
    /// The lock of the lake; `None` if this process only reads.
    lock: Option<File>,
}

impl Environment {
    /// Takes the lake at `root`. Errors: `Conflict` if another process has it.
    pub(super) fn open(root: &Path, clock: Arc<dyn Clock>, handle: Handle) -> Result<Self> {
        std::fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(root.join("_lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::conflict(format!("the lake at {} is in use by another process", root.display()))
                    .hint("stop the other process, or read the tables with tools that do not write"));
            }
            Err(TryLockError::Error(e)) => return Err(Error::from(e).context("lock of the lake")),
        }
        let durable = Arc::new(Durable::open(&root.join("_scratch"))?);
        durable.sync_dir(&root)?;
        Ok(Self { root, durable, clock, handle, lock: Some(lock) })
    }

    /// Reads the lake at `root`, which another process may own meanwhile.
    pub(super) fn open_to_read(root: &Path, clock: Arc<dyn Clock>, handle: Handle) -> Result<Self> {
        let root = root.canonicalize()?;
        let durable = Arc::new(Durable::to_read(&root.join("_scratch")));
        Ok(Self { root, durable, clock, handle, lock: None })
    }

    /// Whether this process may write. Errors: `Conflict` if it only reads.
    pub(super) fn check_owner(&self) -> Result<()> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(Error::conflict(format!("the lake at {} was opened to be read", self.root.display()))),
        }
    }

    /// Wall-clock time.
    pub(super) fn now(&self) -> Micros {
        self.clock.now()
    }

    /// Runs asynchronous work to its end. Callable from any thread; a thread that itself runs asynchronous tasks is blocked
    /// meanwhile, and gets a helper because it may not enter the runtime twice.
    pub(super) fn wait<F>(&self, work: F) -> F::Output
    where
        F: Future + Send,
        F::Output: Send,
    {
        if Handle::try_current().is_err() {
            return self.handle.block_on(work);
        }
        let done = std::thread::scope(|scope| scope.spawn(|| self.handle.block_on(work)).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
