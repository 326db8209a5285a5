//! What all tables of a lake share: where it lies, how bytes become durable, what time it is, and where asynchronous work runs.
//! Invariant: while an environment that may write lives, its process holds the lock of the lake, and its fence is the newest.
//!
//! The lock is enough on a disk of one machine. Where it is not (somebody removed it, or a network file system does not know locks), the
//! fence is: a number in `_fence` that each owner raises durably when it opens the lake. An owner that finds a higher one has been
//! replaced: it prepares, commits, seals and removes nothing more, and its process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::contract::{Clock, Disk};
use crate::error::{Error, Result};
use crate::lake::durable::{Durable, Place};
use crate::limits::{LAKE_ENCODE_THREADS_MAX, LAKE_HISTORY_S, LAKE_HISTORY_S_DEFAULT};
use crate::parallel::Helpers;
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
    /// Threads that encode files, of all tables together.
    pub(super) helpers: Arc<Helpers>,
    /// Time for which replaced files stay readable.
    pub(super) history: Duration,
    /// Somebody waits for upkeep to end.
    ending: AtomicBool,
    /// The lock of the lake, and the fence of this owner; `None` if this process only reads.
    owner: Option<(File, u64)>,
}

const FENCE: &str = "_fence";

impl Environment {
    /// Takes the lake at `root`. Errors: `Conflict` if another process has it; `Invalid` for a history that is too short to read by, or too long
    /// to be listed by each commit.
    pub(super) fn open(root: &Path, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, handle: Handle, history: Duration) -> Result<Self> {
        if !LAKE_HISTORY_S.contains(&history.as_secs()) {
            return Err(Error::invalid(format!("replaced files of the lake cannot be kept for {history:?}")).hint(format!(
                "set lake-history to {} to {} s: readers need them, and every commit lists them",
                LAKE_HISTORY_S.start(),
                LAKE_HISTORY_S.end()
            )));
        }
        let given = root;
        let at = |e: std::io::Error| Error::from(e).context(format!("lake {}", given.display()));
        std::fs::create_dir_all(given).map_err(at)?;
        let root = given.canonicalize().map_err(at)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(root.join("_lock")).map_err(at)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::conflict(format!("the lake at {} is in use by another process", root.display()))
                    .hint("stop the other process, or read the tables with tools that do not write"));
            }
            Err(TryLockError::Error(e)) => return Err(at(e).context("lock")),
        }
        let durable = Arc::new(Durable::open(disk, &root.join("_scratch")).map_err(at)?);
        durable.sync_dir(&root).map_err(at)?;
        let fence = read_fence(&root)? + 1;
        durable.write(&root.join(FENCE), [format!("{fence}\n").as_bytes()].into_iter(), Place::Any).map_err(at)?;
        let ending = AtomicBool::new(false);
        Ok(Self { root, durable, clock, handle, helpers: helpers(), history, ending, owner: Some((lock, fence)) })
    }

    /// Reads the lake at `root`, which another process may own meanwhile.
    pub(super) fn open_to_read(root: &Path, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, handle: Handle) -> Result<Self> {
        let root = root.canonicalize()?;
        let durable = Arc::new(Durable::to_read(disk, &root.join("_scratch")));
        let history = Duration::from_secs(LAKE_HISTORY_S_DEFAULT);
        Ok(Self { root, durable, clock, handle, helpers: helpers(), history, ending: AtomicBool::new(false), owner: None })
    }

    /// Number of this owner; 0 if this process only reads.
    pub(super) fn fence(&self) -> u64 {
        self.owner.as_ref().map_or(0, |(_, fence)| *fence)
    }

    /// Whether this process may write. Errors: `Conflict` if it only reads.
    pub(super) fn check_owner(&self) -> Result<()> {
        match self.owner {
            Some(_) => Ok(()),
            None => Err(Error::conflict(format!("the lake at {} was opened to be read", self.root.display()))),
        }
    }

    /// Whether this process is still the owner. Errors: `Conflict` if another has opened the lake since, which is fatal.
    pub(super) fn check_fence(&self) -> Result<()> {
        self.check_owner()?;
        let (own, found) = (self.fence(), read_fence(&self.root)?);
        if found == own {
            return Ok(());
        }
        Err(Error::conflict(format!(
            "another process has taken the lake at {} over: its fence is {found}, ours {own}",
            self.root.display()
        ))
        .hint("stop one of the two processes: a lake, and a copy of its data directory, has one owner"))
    }

    /// Has upkeep begin nothing more.
    pub(super) fn end_upkeep(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether upkeep begins nothing more.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
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

fn helpers() -> Arc<Helpers> {
    Arc::new(Helpers::of_machine(LAKE_ENCODE_THREADS_MAX))
}

/// The fence of the newest owner; 0 if there was none.
fn read_fence(root: &Path) -> Result<u64> {
    let path = root.join(FENCE);
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| {
            Error::corrupt(format!("{} holds no number", path.display()))
                .hint("remove it if no other process writes this lake: the next start makes a new one")
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(Error::from(e).context(path.display())),
    }
}
