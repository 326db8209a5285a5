//! The file of the next segment, made while the one before fills up. Invariant: a file that is handed out is durable with its
//! zeros, but for its name, and belongs to nobody else; whatever goes wrong here only means that the writer makes its own.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::contract::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::limits::ZERO_PIECE_BYTES;

use super::partition::lock;

/// Name of the file while it belongs to no segment; removed at the next start.
pub(super) const FILE_NAME: &str = "next.tmp";

/// The file of one partition.
#[derive(Debug)]
pub(super) struct Ahead {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    state: Mutex<State>,
    maker: Sender<Arc<Ahead>>,
}

#[derive(Debug)]
enum State {
    Idle,
    /// How many zeros it should hold.
    Asked(u64),
    Ready(Made),
    /// Nobody wants one any more.
    Closed,
}

/// A file that is to become a segment.
#[derive(Debug)]
pub(super) struct Made {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The file.
    pub(super) file: Box<dyn DiskFile>,
    /// Zeros in it, in bytes.
    pub(super) bytes: u64,
}

impl Ahead {
    /// For the partition in `dir`.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path, maker: &Maker) -> Arc<Self> {
        Arc::new(Self { disk, path: dir.join(FILE_NAME), state: Mutex::new(State::Idle), maker: maker.sender.clone() })
    }

    /// Asks for a file with so many zeros, unless that was done.
    pub(super) fn ask(self: &Arc<Self>, zeros: u64) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Idle) && self.maker.send(self.clone()).is_ok() {
            *state = State::Asked(zeros);
        }
    }

    /// The file, if it is there.
    pub(super) fn take(&self) -> Option<Made> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Idle) {
            State::Ready(made) => Some(made),
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
        let State::Asked(zeros) = *lock(&self.state) else { return };
        let made = self.write(zeros);
        let mut state = lock(&self.state);
        match made {
            Ok(_) if matches!(*state, State::Closed) => self.remove(),
            Ok(file) => *state = State::Ready(Made { path: self.path.clone(), file, bytes: zeros }),
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

    /// Zeros go to the disk piece by piece: what others sync meanwhile should not wait for all of them.
    fn write(&self, zeros: u64) -> std::io::Result<Box<dyn DiskFile>> {
        if self.disk.exists(&self.path) {
            self.disk.remove(&self.path)?;
        }
        let file = self.disk.open(&self.path, OpenMode::CreateNew)?;
        let piece = vec![0; ZERO_PIECE_BYTES];
        let mut position = 0;
        while position < zeros {
            let bytes = piece.len().min(usize::try_from(zeros - position).unwrap_or(usize::MAX));
            file.write_at(&piece[..bytes], position)?;
            file.sync_data()?;
            position += bytes as u64;
        }
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
