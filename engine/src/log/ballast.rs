//! Space that is held back for hard times. Invariant: it is given back when the disk is fuller than the log alone would ever
//! make it, so that retention, checkpoints and notes can still be written; it is taken again only from plenty.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::contract::{Disk, OpenMode};
use crate::limits::{BALLAST_BYTES, DISK_FREE_BYTES_MIN, DISK_SCARCE_BYTES};

use super::segment::with_suffix;

const _: () = assert!(BALLAST_BYTES < DISK_FREE_BYTES_MIN, "the log refuses records before the ballast is needed");
const CHUNK_BYTES: usize = 1024 * 1024;

/// What to do about the ballast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Take,
    Release,
    Keep,
}

/// With `free` bytes left.
fn decide(is_held: bool, free: u64) -> Decision {
    match is_held {
        true if free < DISK_FREE_BYTES_MIN - BALLAST_BYTES => Decision::Release,
        false if free >= DISK_SCARCE_BYTES + BALLAST_BYTES => Decision::Take,
        _ => Decision::Keep,
    }
}

/// A file that does nothing but take space.
#[derive(Debug)]
pub(super) struct Ballast {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Ballast {
    /// At `path`.
    pub(super) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { disk, path }
    }

    /// Takes or gives back, as the disk has room.
    pub(super) fn balance(&self) -> io::Result<()> {
        match self.decide()? {
            Decision::Keep => Ok(()),
            Decision::Take => self.take(),
            Decision::Release => self.release(),
        }
    }

    /// Gives it back if the disk is full: a start has to write a little, before anybody balances.
    pub(super) fn relieve(&self) -> io::Result<()> {
        match self.decide()? {
            Decision::Keep | Decision::Take => Ok(()),
            Decision::Release => self.release(),
        }
    }

    fn decide(&self) -> io::Result<Decision> {
        let free = self.disk.free_bytes(self.path.parent().unwrap_or(&self.path))?;
        Ok(decide(self.disk.exists(&self.path), free))
    }

    fn release(&self) -> io::Result<()> {
        tracing::warn!(file = %self.path.display(), "the disk is full; {BALLAST_BYTES} bytes held back for this are given up");
        self.disk.remove(&self.path)
    }

    fn take(&self) -> io::Result<()> {
        let temporary = with_suffix(&self.path, "tmp");
        if self.disk.exists(&temporary) {
            self.disk.remove(&temporary)?;
        }
        let file = self.disk.open(&temporary, OpenMode::CreateNew)?;
        let zeros = vec![0; CHUNK_BYTES];
        for position in (0..BALLAST_BYTES).step_by(CHUNK_BYTES) {
            file.write_at(&zeros, position)?;
        }
        file.sync_data()?;
        self.disk.rename(&temporary, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_when_the_disk_is_full_and_comes_back_from_plenty() {
        assert_eq!(decide(true, 0), Decision::Release);
        assert_eq!(decide(true, DISK_FREE_BYTES_MIN), Decision::Keep);
        assert_eq!(decide(false, BALLAST_BYTES * 2), Decision::Keep);
        assert_eq!(decide(false, DISK_SCARCE_BYTES + BALLAST_BYTES), Decision::Take);
        assert_eq!(decide(true, u64::MAX), Decision::Keep);
    }

    #[test]
    fn what_is_given_back_is_there_to_be_written() {
        let disk = crate::log::sim::SimDisk::default();
        let path = PathBuf::from("log/ballast");
        disk.create_dir_all(path.parent().unwrap()).unwrap();
        let ballast = Ballast::new(Arc::new(disk.clone()), path.clone());
        ballast.balance().unwrap();
        assert_eq!(disk.files()[&path].len() as u64, BALLAST_BYTES);
        disk.faults.full.store(true, std::sync::atomic::Ordering::Relaxed);
        ballast.balance().unwrap();
        assert!(!disk.exists(&path));
        ballast.balance().unwrap();
        assert!(!disk.exists(&path), "not taken while the disk is full");
    }

    #[test]
    fn a_start_on_a_full_disk_has_it_to_write_and_takes_none() {
        use crate::log::{LogConfig, Logs};
        let disk = crate::log::sim::SimDisk::default();
        let (dir, path) = (PathBuf::from("log"), PathBuf::from("log/ballast"));
        let clock = Arc::new(crate::log::sim::SimClock::default());
        let open = || Logs::open(&dir, Arc::new(disk.clone()), clock.clone(), LogConfig::default()).unwrap();
        let logs = open();
        assert!(!disk.exists(&path), "a start writes no more than it has to");
        logs.upkeep().unwrap();
        assert!(disk.exists(&path));
        drop(logs);
        disk.faults.full.store(true, std::sync::atomic::Ordering::Relaxed);
        drop(open());
        assert!(!disk.exists(&path));
    }
}
