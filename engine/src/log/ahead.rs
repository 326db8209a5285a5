//! The file of the next segment, made while the one before fills up. Invariant: a file that is handed out is durable with its
//! zeros, but for its name, and belongs to nobody else; whatever goes wrong here, a sync too, only means that the file is thrown away
//! and the writer makes its own.
//!
//! Zeros go to the disk piece by piece, as records come: what others sync meanwhile waits for one piece at most, and the disk
//! never gets many of them at once.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::contract::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::limits::ZERO_PIECE_BYTES;
use crate::locks::lock;

use super::appender::ZEROS;

/// Name of the file while it belongs to no segment; removed at the next start.
pub(super) const FILE_NAME: &str = "next.tmp";

/// The file of one partition.
#[derive(Debug)]
pub(super) struct Ahead {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    state: Mutex<State>,
    /// Whether the disk has no space for a file that nobody needs yet.
    scarce: AtomicBool,
    rounds: AtomicU64,
    maker: Sender<Arc<Ahead>>,
}

#[derive(Debug)]
enum State {
    Idle,
    Making(Making),
    Ready(Made),
    /// It went wrong; the next segment is made by the writer.
    Failed,
    /// Nobody wants one any more.
    Closed,
}

/// A file on its way. The maker gets one message for each piece.
#[derive(Debug, Clone)]
struct Making {
    /// Tells it from one that was given up.
    round: u64,
    /// How many zeros it is to hold.
    zeros: u64,
    /// How many the maker was told to write.
    told: u64,
    /// How many it has written.
    written: u64,
    file: Option<Arc<dyn DiskFile>>,
}

/// A file that is to become a segment.
#[derive(Debug)]
pub(super) struct Made {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The file.
    pub(super) file: Arc<dyn DiskFile>,
    /// Zeros in it, in bytes.
    pub(super) bytes: u64,
}

impl Ahead {
    /// For the partition in `dir`.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path, maker: &Maker) -> Arc<Self> {
        Arc::new(Self {
            disk,
            path: dir.join(FILE_NAME),
            state: Mutex::new(State::Idle),
            scarce: AtomicBool::new(false),
            rounds: AtomicU64::new(0),
            maker: maker.sender.clone(),
        })
    }

    /// Asks for a file with so many zeros, of which `due` should be written by now.
    pub(super) fn ask(self: &Arc<Self>, zeros: u64, due: u64) {
        if self.scarce.load(Ordering::Relaxed) {
            return;
        }
        let mut state = lock(&self.state);
        if matches!(*state, State::Idle) {
            let round = self.rounds.fetch_add(1, Ordering::Relaxed);
            *state = State::Making(Making { round, zeros, told: 0, written: 0, file: None });
        }
        let State::Making(making) = &mut *state else { return };
        while making.told < due.min(making.zeros) && self.maker.send(self.clone()).is_ok() {
            making.told += ZERO_PIECE_BYTES as u64;
        }
    }

    /// The disk has little space left, or enough again. A file that nobody has taken is given back, now or when its next piece comes.
    pub(super) fn set_scarce(&self, scarce: bool) {
        if self.scarce.swap(scarce, Ordering::Relaxed) || !scarce {
            return;
        }
        let mut state = lock(&self.state);
        if matches!(*state, State::Making(_) | State::Ready(_)) {
            *state = State::Idle;
            self.remove();
        }
    }

    /// The file, if it is there.
    pub(super) fn take(&self) -> Option<Made> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Idle) {
            State::Ready(made) => return Some(made),
            State::Idle | State::Failed => {}
            other => *state = other,
        }
        None
    }

    /// Removes a file that nobody took, now or when its next piece would come.
    pub(super) fn close(&self) {
        if !matches!(std::mem::replace(&mut *lock(&self.state), State::Closed), State::Idle) {
            self.remove();
        }
    }

    /// Writes one piece.
    fn go_on(&self) {
        let making = match &*lock(&self.state) {
            State::Making(making) => making.clone(),
            _ => return,
        };
        let done = self.write_piece(&making);
        let mut state = lock(&self.state);
        match (done, &mut *state) {
            (Ok((file, written)), State::Making(now)) if now.round == making.round && written < now.zeros => {
                (now.file, now.written) = (Some(file), written);
            }
            (Ok((file, bytes)), State::Making(now)) if now.round == making.round => {
                *state = State::Ready(Made { path: self.path.clone(), file, bytes })
            }
            (Err(e), State::Making(now)) if now.round == making.round => {
                tracing::warn!(file = %self.path.display(), "the file of the next segment is thrown away, and made when it is needed: {e}");
                *state = State::Failed;
                self.remove();
            }
            // Closed or given up meanwhile. Nobody else makes files of this name than this thread.
            _ => self.remove(),
        }
    }

    fn remove(&self) {
        // If it stays, the next start removes it.
        let _ = self.disk.remove(&self.path);
    }

    /// The file, and how many durable zeros it holds now.
    fn write_piece(&self, making: &Making) -> std::io::Result<(Arc<dyn DiskFile>, u64)> {
        let file = match &making.file {
            Some(file) => file.clone(),
            None => {
                if self.disk.exists(&self.path) {
                    self.disk.remove(&self.path)?;
                }
                Arc::from(self.disk.open(&self.path, OpenMode::CreateNew)?)
            }
        };
        let bytes = (making.zeros - making.written).min(ZERO_PIECE_BYTES as u64);
        file.write_at(&ZEROS[..bytes as usize], making.written)?;
        file.sync_data()?;
        Ok((file, making.written + bytes))
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
                ahead.go_on();
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
