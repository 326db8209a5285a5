//! The data directory and who owns it. Invariant: at most one process writes below it, which holds the lock on `LOCK` for as long
//! as it lives; and its name was synced before anything was put below it.
//!
//! ```text
//! LOCK  log/<stream>/…  lake/<namespace>/<table>/…  devices/  checkpoints/<job>/  reference/  references/<table>/  statements.json  spill/
//! ```

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thalweg_engine::contract::Disk;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::system::RealDisk;

const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// An owned data directory.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is not there and takes its lock, waiting a second for a process that is just ending.
    /// Errors: `Conflict` if another process holds it.
    pub fn open(root: &Path) -> Result<Self> {
        let create = |e: std::io::Error| Error::from(e).context(format!("data directory {}", root.display()));
        let root = std::path::absolute(root).and_then(|root| make(&root)).map_err(create)?;
        let mut lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(root.join("LOCK")).map_err(create)?;
        let mut tries = 0;
        while let Err(error) = lock.try_lock() {
            tries += 1;
            if let std::fs::TryLockError::Error(e) = error {
                return Err(create(e));
            }
            if tries == TRIES {
                let mut owner = String::new();
                let _ = lock.read_to_string(&mut owner);
                return Err(Error::conflict(format!("data directory {} is in use by process {}", root.display(), owner.trim()))
                    .hint("stop that server, or give another directory with --data"));
            }
            std::thread::sleep(PAUSE);
        }
        let told = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| write!(lock, "{}", std::process::id()));
        // Who has it is for a message only, and no reason not to start on a full disk.
        told.or_else(|e| if is_full(&e) { Ok(()) } else { Err(create(e)) })?;
        Ok(Self { root, _lock: lock })
    }

    /// The directory itself, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

fn is_full(e: &std::io::Error) -> bool {
    matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Makes a directory, with those above it, and makes each name durable before there is anything below it. Returns its path without
/// symbolic links.
fn make(path: &Path) -> std::io::Result<PathBuf> {
    let sync_name = |path: &Path| path.parent().map_or(Ok(()), |parent| RealDisk.sync_dir(parent));
    if path.is_dir() {
        let path = path.canonicalize()?;
        // A process that died may have made it, and not have come to sync it. Where that cannot be done, somebody else made it.
        return match sync_name(&path) {
            Err(e) if !matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::InvalidInput) => Err(e),
            _ => Ok(path),
        };
    }
    if let Some(parent) = path.parent() {
        make(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    sync_name(path)?;
    path.canonicalize()
}

/// Where things are below a data directory.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Streams of the log.
    pub log: PathBuf,
    /// The lake.
    pub lake: PathBuf,
    /// Registry, catalog, tokens, audit.
    pub devices: PathBuf,
    /// Checkpoints of jobs.
    pub checkpoints: PathBuf,
    /// Versions of reference tables.
    pub references: PathBuf,
    /// Declared tables and jobs.
    pub statements: PathBuf,
    /// What batch queries put aside while they run; means nothing after a restart.
    pub spill: PathBuf,
}

impl Layout {
    /// Below `root`.
    pub fn of(root: &Path) -> Self {
        Self {
            log: root.join("log"),
            lake: root.join("lake"),
            devices: root.join("devices"),
            checkpoints: root.join("checkpoints"),
            references: root.join("references"),
            statements: root.join("statements.json"),
            spill: root.join("spill"),
        }
    }

    /// Whether there is a log below `root`. Errors: `NotFound` if there is none; why that cannot be told.
    pub fn check_log(&self, root: &Path) -> Result<()> {
        check_there(&self.log, "log", root)
    }

    /// Whether there is a lake below `root`. Errors: the same.
    pub fn check_lake(&self, root: &Path) -> Result<()> {
        check_there(&self.lake, "lake", root)
    }

    /// Makes the directory for what queries put aside, without what a crash has left there.
    pub fn empty_spill(&self) -> Result<()> {
        let context = |e: std::io::Error| Error::from(e).context(self.spill.display());
        match std::fs::remove_dir_all(&self.spill) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(context(e)),
            _ => std::fs::create_dir(&self.spill).map_err(context),
        }
    }
}

/// A directory that may not be looked into is not one that is missing.
fn check_there(directory: &Path, what: &str, root: &Path) -> Result<()> {
    match std::fs::metadata(directory) {
        Ok(found) if found.is_dir() => Ok(()),
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::from(e).context(directory.display())),
        _ => Err(Error::not_found(format!("there is no {what} in {}", root.display())).hint("name a data directory with --data")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_with_the_process_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(&dir.path().join("d")).unwrap();
        let error = DataDir::open(&dir.path().join("d")).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()) && error.contains("--data"), "{error}");
        drop(first);
        DataDir::open(&dir.path().join("d")).unwrap();
    }

    #[test]
    fn a_lock_that_is_released_late_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();
        let late = std::thread::spawn(move || {
            std::thread::sleep(PAUSE / 2);
            drop(first);
        });
        DataDir::open(dir.path()).unwrap();
        late.join().unwrap();
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_called_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (root, file) = (dir.path().join("d"), dir.path().join("file"));
        std::fs::create_dir_all(root.join("log")).unwrap();
        std::fs::write(&file, "").unwrap();
        let layout = Layout::of(&root);
        layout.check_log(&root).unwrap();
        assert!(layout.check_lake(&root).unwrap_err().message().starts_with("there is no lake in "));
        // As with a right that somebody lacks.
        let error = Layout::of(&file).check_log(&file).unwrap_err();
        assert!(error.message().contains("file/log: ") && !error.message().contains("there is no"), "{error}");
    }

    #[test]
    fn directories_above_it_are_made_too_and_belong_to_nobody_else() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b/c");
        let owner = DataDir::open(&root).unwrap();
        assert_eq!(owner.root(), root.canonicalize().unwrap());
        for made in ["a", "a/b", "a/b/c"] {
            assert_eq!(std::fs::metadata(dir.path().join(made)).unwrap().permissions().mode() & 0o777, 0o700, "{made}");
        }
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(DataDir::open(&dir.path().join("file/d")).is_err());
    }
}
