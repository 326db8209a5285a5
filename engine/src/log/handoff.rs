//! The hand-off between producers, the writer of a partition, and those who wait for durable records. Invariant: the writer
//! never sleeps while there is work, and nobody sleeps through the offset that they wait for.
//!
//! It knows nothing of records: `I` is what producers and writer share. Its locks come from `sync`, so that a model checker can
//! put its own in their place and try every order of events (`engine/loom`).

use std::time::Duration;

use super::sync::{Condvar, Mutex, MutexGuard, PoisonError, wait_while};

/// See the module.
#[derive(Debug)]
pub(super) struct Handoff<I> {
    intake: Mutex<Shared<I>>,
    work: Condvar,
    published: Mutex<u64>,
    readable: Condvar,
}

#[derive(Debug)]
struct Shared<I> {
    inner: I,
    /// Whether the writer sleeps: waking it costs too much to be done for every record.
    writer_waits: bool,
}

/// A thread panicked while it changed what is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Poisoned;

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Next<W> {
    /// This.
    Do(W),
    /// Waits for a change.
    Wait,
    /// Waits for a change or until this time has passed.
    WaitFor(Duration),
}

impl<I> Handoff<I> {
    /// Every offset below `published` is durable.
    pub(super) fn new(inner: I, published: u64) -> Self {
        let intake = Mutex::new(Shared { inner, writer_waits: false });
        Self { intake, work: Condvar::new(), published: Mutex::new(published), readable: Condvar::new() }
    }

    /// Changes what is shared, and wakes the writer if it sleeps.
    pub(super) fn give<R>(&self, change: impl FnOnce(&mut I) -> R) -> Result<R, Poisoned> {
        self.give_if(change, |_| true)
    }

    /// As `give`, but lets the writer sleep unless `is_work` says of the result that there is something to do.
    pub(super) fn give_if<R>(&self, change: impl FnOnce(&mut I) -> R, is_work: impl FnOnce(&R) -> bool) -> Result<R, Poisoned> {
        Ok(self.change(self.intake.lock().map_err(|_| Poisoned)?, change, is_work))
    }

    /// As `give`, also after a panic: for changes that are right whatever was half done.
    pub(super) fn set<R>(&self, change: impl FnOnce(&mut I) -> R) -> R {
        self.change(self.intake.lock().unwrap_or_else(PoisonError::into_inner), change, |_| true)
    }

    fn change<R>(&self, mut shared: MutexGuard<'_, Shared<I>>, change: impl FnOnce(&mut I) -> R, is_work: impl FnOnce(&R) -> bool) -> R {
        let result = change(&mut shared.inner);
        let wake = is_work(&result) && std::mem::take(&mut shared.writer_waits);
        drop(shared);
        if wake {
            self.work.notify_one();
        }
        result
    }

    /// The writer's side: asks `next` until there is something to do. Only one thread calls this or `pause`.
    pub(super) fn take<W>(&self, mut next: impl FnMut(&mut I) -> Next<W>) -> Result<W, Poisoned> {
        let mut shared = self.intake.lock().map_err(|_| Poisoned)?;
        loop {
            let time = match next(&mut shared.inner) {
                Next::Do(work) => return Ok(work),
                Next::Wait => None,
                Next::WaitFor(time) => Some(time),
            };
            shared = self.sleep(shared, time).map_err(|_| Poisoned)?;
        }
    }

    /// The writer's side: changes what is shared, and if that went well waits for another change or until `time` has passed.
    pub(super) fn pause<E>(&self, time: Duration, change: impl FnOnce(&mut I) -> Result<(), E>) -> Result<Result<(), E>, Poisoned> {
        let mut shared = self.intake.lock().map_err(|_| Poisoned)?;
        let changed = change(&mut shared.inner);
        if changed.is_ok() {
            drop(self.sleep(shared, Some(time))?);
        }
        Ok(changed)
    }

    fn sleep<'a>(&self, mut shared: MutexGuard<'a, Shared<I>>, time: Option<Duration>) -> Result<MutexGuard<'a, Shared<I>>, Poisoned> {
        shared.writer_waits = true;
        let mut shared = match time {
            None => self.work.wait(shared).map_err(|_| Poisoned)?,
            Some(time) => self.work.wait_timeout(shared, time).map_err(|_| Poisoned)?.0,
        };
        shared.writer_waits = false;
        Ok(shared)
    }

    /// Every offset below `offset` is durable now; `tell` hears of it at the same moment.
    pub(super) fn publish(&self, offset: u64, tell: impl FnOnce()) {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(offset > *published, "durable offsets only grow");
        *published = offset;
        // Under the lock, so that whoever learns it one way finds it the other way too.
        tell();
        drop(published);
        self.readable.notify_all();
    }

    /// Every offset below is durable.
    pub(super) fn published(&self) -> u64 {
        *self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `offset` is durable; false if `time` passed before.
    pub(super) fn wait(&self, offset: u64, time: Duration) -> bool {
        let guard = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        *wait_while(&self.readable, guard, time, |published| *published <= offset) > offset
    }
}
