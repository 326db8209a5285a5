//! Bytes and names that survive a power cut. Invariant: a file appears under its final name only after its bytes are durable, and
//! `Ok` means that the name is durable too; after one failed sync nothing more is published.
//!
//! ```text
//! scratch/<uuid>-<n> ── write ── fsync ──► link (create only) or rename (replace) ──► fsync of the directory
//! ```

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use crate::contract::{Disk, OpenMode};
use crate::locks::lock;

/// What may be at the place where a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing: fails with `AlreadyExists` otherwise.
    Empty,
    /// Whatever is there is replaced at once.
    Any,
}

/// Writes files through a scratch directory on the same file system.
#[derive(Debug)]
pub(super) struct Durable {
    disk: Arc<dyn Disk>,
    scratch: PathBuf,
    /// Tells its scratch files from those of a process that has taken the lake over.
    own: Uuid,
    next: AtomicU64,
    failed: AtomicBool,
    /// Directories whose own names are durable.
    directories: Mutex<HashSet<PathBuf>>,
}

impl Durable {
    /// Empties the scratch directory: what is left in it belongs to a process that died.
    pub(super) fn open(disk: Arc<dyn Disk>, scratch: &Path) -> io::Result<Self> {
        if scratch.exists() {
            fs::remove_dir_all(scratch)?;
        }
        fs::create_dir_all(scratch)?;
        let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(Self { disk, scratch: scratch.to_owned(), own: Uuid::new_v4(), next, failed, directories: Mutex::default() })
    }

    /// Over a scratch directory that belongs to another process: nothing may be written through it.
    pub(super) fn to_read(disk: Arc<dyn Disk>, scratch: &Path) -> Self {
        let (next, failed) = (AtomicU64::new(0), AtomicBool::new(true));
        Self { disk, scratch: scratch.to_owned(), own: Uuid::new_v4(), next, failed, directories: Mutex::default() }
    }

    /// A new file that nobody else knows. The caller removes it unless it is published.
    pub(super) fn scratch_file(&self) -> io::Result<(File, PathBuf)> {
        let path = self.scratch.join(format!("{}-{}", self.own, self.next.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        Ok((file, path))
    }

    /// Makes the bytes of a scratch file durable.
    pub(super) fn sync_scratch(&self, scratch: &Path) -> io::Result<()> {
        self.check()?;
        self.sync(scratch)
    }

    /// Makes the bytes of a scratch file durable and gives it its name; the scratch name is gone afterwards, whatever happens.
    pub(super) fn publish(&self, scratch: &Path, to: &Path, place: Place) -> io::Result<()> {
        let published = self.check().and_then(|()| self.sync(scratch)).and_then(|()| match place {
            Place::Empty => self.disk.link(scratch, to),
            Place::Any => self.disk.rename(scratch, to),
        });
        if place == Place::Empty || published.is_err() {
            // A leftover costs space until the next start, nothing else.
            let _ = fs::remove_file(scratch);
        }
        published?;
        self.sync_parent(to)
    }

    /// Writes a whole file.
    pub(super) fn write<'a>(&self, to: &Path, parts: impl Iterator<Item = &'a [u8]>, place: Place) -> io::Result<()> {
        let (mut file, scratch) = self.scratch_file()?;
        for part in parts {
            if let Err(e) = file.write_all(part) {
                let _ = fs::remove_file(&scratch);
                return Err(e);
            }
        }
        // Open until it is synced: else an error of the system's own writing could be forgotten before.
        let published = self.publish(&scratch, to, place);
        drop(file);
        published
    }

    /// Creates a directory and its parents; their names are durable afterwards.
    pub(super) fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut known = lock(&self.directories);
        let missing: Vec<&Path> = path.ancestors().take_while(|p| !known.contains(*p) && *p != self.root()).collect();
        for directory in missing.into_iter().rev() {
            match fs::create_dir(directory) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => self.sync_parent(directory)?,
            }
            known.insert(directory.to_owned());
        }
        Ok(())
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path).inspect_err(|_| self.failed.store(true, Ordering::Release))
    }

    /// Makes a file that somebody else wrote durable, with its name.
    pub(super) fn settle(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        self.sync(path)?;
        self.sync_parent(path)
    }

    /// Whether a sync failed since the start: what this process reads back may not be on the disk.
    pub(super) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn root(&self) -> &Path {
        self.scratch.parent().unwrap_or(&self.scratch)
    }

    fn check(&self) -> io::Result<()> {
        if self.failed() {
            return Err(io::Error::other("an earlier sync to disk failed: nothing more is written until a restart"));
        }
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let file = self.disk.open(path, OpenMode::ReadWrite)?;
        file.sync_data().inspect_err(|_| self.failed.store(true, Ordering::Release))
    }

    fn sync_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) => self.sync_dir(parent),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::RealDisk;

    fn durable(dir: &Path) -> Durable {
        Durable::open(Arc::new(RealDisk), &dir.join("_scratch")).unwrap()
    }

    #[test]
    fn an_existing_file_is_never_replaced_when_it_must_be_new() {
        let dir = tempfile::tempdir().unwrap();
        let d = durable(dir.path());
        let to = dir.path().join("a");
        d.write(&to, [b"one".as_slice()].into_iter(), Place::Empty).unwrap();
        let e = d.write(&to, [b"two".as_slice()].into_iter(), Place::Empty).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&to).unwrap(), b"one");
        d.write(&to, [b"th".as_slice(), b"ree"].into_iter(), Place::Any).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"three");
        assert_eq!(fs::read_dir(dir.path().join("_scratch")).unwrap().count(), 0, "no scratch file is left");
    }

    #[test]
    fn a_new_start_empties_the_scratch_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (_, left) = durable(dir.path()).scratch_file().unwrap();
        assert!(left.exists());
        durable(dir.path());
        assert!(!left.exists());
    }

    #[test]
    fn directories_are_made_with_their_parents() {
        let dir = tempfile::tempdir().unwrap();
        let d = durable(dir.path());
        let deep = dir.path().join("a/b/c");
        d.create_dir_all(&deep).unwrap();
        d.create_dir_all(&deep).unwrap();
        assert!(deep.is_dir());
    }

    #[test]
    fn after_a_failed_sync_nothing_is_published() {
        let dir = tempfile::tempdir().unwrap();
        let d = durable(dir.path());
        d.failed.store(true, Ordering::Release);
        let to = dir.path().join("a");
        assert!(d.write(&to, [b"x".as_slice()].into_iter(), Place::Any).is_err());
        assert!(!to.exists());
    }
}
