//! The file of the next segment, made while the one before fills up. Invariant: a file that is handed out is durable with its
//! zeros, but for its name, and belongs to nobody else; whatever goes wrong here only means that the writer makes its own.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::contract::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::limits::ZERO_AHEAD_BYTES;

use super::partition::lock;

/// Name of the file while it belongs to no segment; removed at the next start.
pub(super) const FILE_NAME: &str = "next.tmp";

/// The file of one partition.
#[derive(Debug)]
pub(super) struct Ahead {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    zeros: usize,
    state: Mutex<State>,
    maker: Sender<Arc<Ahead>>,
}

#[derive(Debug)]
enum State {
    Idle,
    Asked,
    Ready(Box<dyn DiskFile>),
    /// Nobody wants one any more.
    Closed,
}

impl Ahead {
    /// For the partition in `dir`, whose segments have `segment_bytes`.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path, segment_bytes: u64, maker: &Maker) -> Arc<Self> {
        let zeros = usize::try_from(segment_bytes).unwrap_or(usize::MAX).min(ZERO_AHEAD_BYTES);
        Arc::new(Self { disk, path: dir.join(FILE_NAME), zeros, state: Mutex::new(State::Idle), maker: maker.sender.clone() })
    }

    /// Asks for a file, unless that was done.
    pub(super) fn ask(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Idle) && self.maker.send(self.clone()).is_ok() {
            *state = State::Asked;
        }
    }

    /// The file and its path, if it is there.
    pub(super) fn take(&self) -> Option<(PathBuf, Box<dyn DiskFile>)> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Idle) {
            State::Ready(file) => Some((self.path.clone(), file)),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Removes a file that nobody took, now or when it is made.
    pub(super) fn close(&self) {
        if let State::Ready(_) = std::mem::replace(&mut *lock(&self.state), State::Closed) {
            self.remove();
        }
    }

    fn make(&self) {
        let made = self.write();
        let mut state = lock(&self.state);
        match made {
            Ok(_) if matches!(*state, State::Closed) => self.remove(),
            Ok(file) => *state = State::Ready(file),
            Err(e) => {
                tracing::debug!(file = %self.path.display(), "no segment was prepared: {e}");
                *state = State::Idle;
            }
        }
    }

    fn remove(&self) {
        // If it stays, the next start removes it.
        let _ = self.disk.remove(&self.path);
    }

    fn write(&self) -> std::io::Result<Box<dyn DiskFile>> {
        if self.disk.exists(&self.path) {
            self.disk.remove(&self.path)?;
        }
        let file = self.disk.open(&self.path, OpenMode::CreateNew)?;
        file.write_at(&vec![0; self.zeros], 0)?;
        file.sync_data()?;
        Ok(file)
    }
}

/// The thread that makes the files of a stream.
#[derive(Debug)]
pub(super) struct Maker {
    sender: Sender<Arc<Ahead>>,
    thread: JoinHandle<()>,
}

impl Maker {
    /// Starts it.
    pub(super) fn start(label: &str) -> Result<Self> {
        let (sender, receiver): (_, Receiver<Arc<Ahead>>) = channel();
        let work = move || {
            // Ends when the last partition is gone; those that are only waited for do not count.
            for ahead in receiver {
                ahead.make();
            }
        };
        let thread = std::thread::Builder::new().name(format!("log {label} ahead")).spawn(work);
        let thread = thread.map_err(|e| Error::from(e).context("start a thread of the log"))?;
        Ok(Self { sender, thread })
    }

    /// Ends it; all its partitions must have ended before.
    pub(super) fn stop(self) {
        drop(self.sender);
        // A panic in there left a file that the next start removes.
        let _ = self.thread.join();
    }
}
