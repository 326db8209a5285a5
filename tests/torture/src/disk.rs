//! The machine's disk with one seeded bug: what a canary is made of. Invariant: without a bug it is the machine's disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thalweg_engine::contract::{Disk, DiskFile, OpenMode};
use thalweg_engine::locks::lock;
use thalweg_engine::system::RealDisk;

/// How long a sync is put off by `ack-before-sync`.
const SYNC_DELAY: Duration = Duration::from_millis(30);
/// Writes that `write-behind` keeps to itself.
const WRITES_BEHIND_MAX: usize = 16;
/// Writes that pass `footer-late` by.
const FOOTER_LATE_WRITES: u32 = 3;

/// What a disk does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A sync returns at once and is done a little later.
    AckBeforeSync,
    /// The write before a file is cut, which is the footer of a segment, comes after three later writes.
    FooterLate,
    /// A write that does not fit is reported as done.
    FullIgnored,
    /// Once full, it stays full.
    FullSticky,
    /// Directories are never synced.
    NoDirSync,
    /// Files are never synced.
    NoFdatasync,
    /// The sync after a file was cut, which makes a footer durable, is left out.
    NoFooterSync,
    /// The first sync of a file that was there before does nothing: the one of recovery.
    NoRecoverySync,
    /// A sync that failed is tried again, and the second answer counts.
    RetrySync,
    /// A sync that failed is reported as done.
    SyncErrorIgnored,
    /// Writes stay in the memory of the process for a while, syncs notwithstanding.
    WriteBehind,
}

/// Every bug by its name, sorted.
pub static BUGS: &[(&str, Bug)] = &[
    ("ack-before-sync", Bug::AckBeforeSync),
    ("footer-late", Bug::FooterLate),
    ("full-ignored", Bug::FullIgnored),
    ("full-sticky", Bug::FullSticky),
    ("no-dir-sync", Bug::NoDirSync),
    ("no-fdatasync", Bug::NoFdatasync),
    ("no-footer-sync", Bug::NoFooterSync),
    ("no-recovery-sync", Bug::NoRecoverySync),
    ("retry-sync", Bug::RetrySync),
    ("sync-error-ignored", Bug::SyncErrorIgnored),
    ("write-behind", Bug::WriteBehind),
];

/// Whether the disk says how much is free. The log takes nothing while less than 32 MiB are, which a small test disk never has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreeSpace {
    /// It does.
    Told,
    /// It does not: there is enough until a write fails.
    Unknown,
}

/// The disk of the machine, with a bug perhaps.
#[derive(Debug, Clone)]
pub struct TortureDisk {
    free: FreeSpace,
    bug: Option<Bug>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    full: bool,
    late: Option<(u32, Arc<dyn DiskFile>, Change)>,
}

type Change = (u64, Vec<u8>);

#[derive(Debug)]
struct TortureFile {
    inner: Arc<dyn DiskFile>,
    disk: TortureDisk,
    was_there: bool,
    state: Mutex<State>,
}

/// What a file remembers: the cut since its last sync, and all else since it was opened.
#[derive(Debug, Default)]
struct State {
    cut: bool,
    synced: bool,
    held: Vec<Change>,
}

impl TortureDisk {
    /// The machine's disk with the named bug. Errors: there is none of that name.
    pub fn new(bug: Option<&str>, free: FreeSpace) -> Result<Self, String> {
        let find = |name: &str| BUGS.iter().find(|(known, _)| *known == name).map(|(_, bug)| *bug).ok_or(format!("there is no bug {name}"));
        Ok(Self { free, bug: bug.map(find).transpose()?, shared: Arc::default() })
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

impl TortureFile {
    /// Writes what was held back, oldest first.
    fn release(&self) -> io::Result<()> {
        let held = std::mem::take(&mut lock(&self.state).held);
        held.iter().try_for_each(|(position, bytes)| self.inner.write_at(bytes, *position))
    }

    /// Counts writes and lets the late footer through when enough have passed it.
    fn pass_late(&self) -> io::Result<()> {
        let mut shared = lock(&self.disk.shared);
        if let Some((left, file, (position, bytes))) = &mut shared.late {
            *left -= 1;
            if *left == 0 {
                file.write_at(bytes, *position)?;
                shared.late = None;
            }
        }
        Ok(())
    }

    fn write_or_lie(&self, buf: &[u8], position: u64) -> io::Result<()> {
        if self.disk.has(Bug::FullSticky) && lock(&self.disk.shared).full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match self.inner.write_at(buf, position) {
            Err(e) if e.kind() == io::ErrorKind::StorageFull => {
                lock(&self.disk.shared).full = true;
                if self.disk.has(Bug::FullIgnored) { Ok(()) } else { Err(e) }
            }
            written => written,
        }
    }
}

impl Drop for TortureFile {
    fn drop(&mut self) {
        let _ = self.release();
    }
}

impl DiskFile for TortureFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buf, position)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<()> {
        match self.disk.bug {
            Some(Bug::WriteBehind) => {
                let mut state = lock(&self.state);
                state.held.push((position, buf.to_vec()));
                let enough = state.held.len() > WRITES_BEHIND_MAX;
                drop(state);
                if enough { self.release() } else { Ok(()) }
            }
            Some(Bug::FooterLate) => {
                self.release()?;
                self.pass_late()?;
                lock(&self.state).held.push((position, buf.to_vec()));
                Ok(())
            }
            _ => self.write_or_lie(buf, position),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let cut = std::mem::take(&mut lock(&self.state).cut);
        match self.disk.bug {
            Some(Bug::NoFdatasync) => Ok(()),
            Some(Bug::NoFooterSync) if cut => Ok(()),
            Some(Bug::NoRecoverySync) if self.was_there && !std::mem::replace(&mut lock(&self.state).synced, true) => Ok(()),
            Some(Bug::AckBeforeSync) => {
                let file = self.inner.clone();
                std::thread::spawn(move || {
                    std::thread::sleep(SYNC_DELAY);
                    file.sync_data()
                });
                Ok(())
            }
            Some(Bug::RetrySync) => self.inner.sync_data().or_else(|_| self.inner.sync_data()),
            Some(Bug::SyncErrorIgnored) => self.inner.sync_data().or(Ok(())),
            Some(Bug::FooterLate) => self.release().and_then(|()| self.inner.sync_data()),
            _ => self.inner.sync_data(),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.disk.has(Bug::FooterLate)
            && let Some(footer) = lock(&self.state).held.pop()
        {
            lock(&self.disk.shared).late = Some((FOOTER_LATE_WRITES, self.inner.clone(), footer));
        }
        self.release()?;
        lock(&self.state).cut = true;
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

impl Disk for TortureDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let inner = RealDisk.open(path, mode)?;
        if self.bug.is_none() || mode == OpenMode::Read {
            return Ok(inner);
        }
        let was_there = mode == OpenMode::ReadWrite;
        Ok(Box::new(TortureFile { inner: Arc::from(inner), disk: self.clone(), was_there, state: Mutex::default() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if self.has(Bug::NoDirSync) { std::fs::create_dir_all(path) } else { RealDisk.create_dir_all(path) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.has(Bug::NoDirSync) { Ok(()) } else { RealDisk.sync_dir(path) }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(path)
    }

    fn exists(&self, path: &Path) -> bool {
        RealDisk.exists(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        match self.free {
            FreeSpace::Told => RealDisk.free_bytes(path),
            FreeSpace::Unknown => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bugs_are_sorted_and_found_by_name() {
        assert!(BUGS.is_sorted_by_key(|(name, _)| *name));
        assert!(TortureDisk::new(Some("no-fdatasync"), FreeSpace::Told).is_ok());
        assert!(TortureDisk::new(Some("nonsense"), FreeSpace::Told).is_err());
    }

    #[test]
    fn a_late_footer_comes_after_three_writes() {
        let temp = tempfile::tempdir().unwrap();
        let disk = TortureDisk::new(Some("footer-late"), FreeSpace::Told).unwrap();
        let (a, b) = (temp.path().join("a"), temp.path().join("b"));
        let first = disk.open(&a, OpenMode::CreateNew).unwrap();
        first.write_at(b"footer", 0).unwrap();
        first.set_len(6).unwrap();
        first.sync_data().unwrap();
        drop(first);
        let second = disk.open(&b, OpenMode::CreateNew).unwrap();
        for at in 0..2 {
            second.write_at(b"x", at).unwrap();
            assert_eq!(std::fs::read(&a).unwrap(), [0; 6]);
        }
        second.write_at(b"x", 2).unwrap();
        assert_eq!(std::fs::read(&a).unwrap(), b"footer");
    }
}
