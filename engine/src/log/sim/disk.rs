//! A disk in memory. Invariant: `crash` leaves what was synced and any chosen part of what was not, by sectors and by names, as
//! a power cut may; a sync that fails forgets what it was to write, as real systems do, so that trying it again proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::contract::{Disk, DiskFile, OpenMode};
use crate::locks::lock;

use super::plan::{Action, Operation, Plan};

const SECTOR: usize = 512;
const HANG_MS_MAX: u64 = 60_000;

/// Things that go wrong on demand, and what was done so far.
#[derive(Debug, Default)]
pub struct Faults {
    /// Every sync of a file fails.
    pub sync_fails: AtomicBool,
    /// Every sync of a directory fails.
    pub dir_sync_fails: AtomicBool,
    /// Every sync of a file takes until this ends.
    pub sync_hangs: AtomicBool,
    /// Every write fails for lack of space, after half of it was written.
    pub full: AtomicBool,
    /// The same for files with this in their path.
    pub full_for: Mutex<Option<String>>,
    /// Files with this in their path cannot be renamed.
    pub stuck: Mutex<Option<String>>,
    /// Every read takes until this ends.
    pub read_hangs: AtomicBool,
    /// Bytes that are not free.
    pub taken: AtomicU64,
    /// How often somebody asked for free space.
    pub looks: AtomicU64,
    /// Cutting a file fails.
    pub cut_fails: AtomicBool,
    /// Every write panics.
    pub write_panics: AtomicBool,
    /// It lies on another machine.
    pub on_network: AtomicBool,
    /// Syncs of files so far.
    pub syncs: AtomicU64,
    /// Bytes read so far.
    pub bytes_read: AtomicU64,
    /// Faults at chosen operations.
    pub plan: Mutex<Plan>,
}

impl Faults {
    /// An operation is about to be done. Errors: it is to fail.
    fn step(&self, operation: Operation, path: &Path, amount: u64) -> io::Result<Action> {
        lock(&self.plan).step(operation, path, amount)
    }
}

/// A disk in memory.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    names: Arc<Mutex<Names>>,
    /// What goes wrong.
    pub faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Names {
    dirs: BTreeSet<PathBuf>,
    now: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    durable: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
}

#[derive(Debug, Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// What cannot be read.
    bad: Vec<Range<usize>>,
}

#[derive(Debug, Clone)]
enum Change {
    Bytes { position: usize, bytes: Vec<u8> },
    Len(usize),
}

#[derive(Debug)]
struct SimFile {
    path: PathBuf,
    content: Arc<Mutex<Content>>,
    faults: Arc<Faults>,
    writable: bool,
}

impl SimDisk {
    /// The disk after a power cut; `survives` decides about each sector and name that was not synced.
    pub fn crash(&self, mut survives: impl FnMut() -> bool) -> Self {
        let names = lock(&self.names);
        let mut after = BTreeMap::new();
        let paths: BTreeSet<_> = names.now.keys().chain(names.durable.keys()).collect();
        for path in paths {
            let (now, durable) = (names.now.get(path), names.durable.get(path));
            let same = now.map(Arc::as_ptr) == durable.map(Arc::as_ptr);
            let Some(content) = (if same || !survives() { durable } else { now }) else { continue };
            let content = lock(content);
            let mut bytes = content.durable.clone();
            for change in &content.unsynced {
                match change {
                    Change::Len(len) if survives() => bytes.resize(*len, 0),
                    Change::Len(_) => {}
                    Change::Bytes { position, bytes: written } => {
                        let mut at = 0;
                        while at < written.len() {
                            let end = written.len().min(at + SECTOR - (position + at) % SECTOR);
                            if survives() {
                                write(&mut bytes, position + at, &written[at..end]);
                            }
                            at = end;
                        }
                    }
                }
            }
            let kept = Content { now: bytes.clone(), durable: bytes, unsynced: Vec::new(), bad: content.bad.clone() };
            after.insert(path.clone(), Arc::new(Mutex::new(kept)));
        }
        let names = Names { dirs: names.dirs.clone(), now: after.clone(), durable: after };
        Self { names: Arc::new(Mutex::new(names)), faults: Arc::default() }
    }

    /// The disk after the death of the process: everything is still there, and what was not synced still is not.
    pub fn kill(&self) -> Self {
        let names = lock(&self.names);
        let mut copies = BTreeMap::new();
        let mut copy = |content: &Arc<Mutex<Content>>| {
            copies.entry(Arc::as_ptr(content)).or_insert_with(|| Arc::new(Mutex::new(lock(content).clone()))).clone()
        };
        let now = names.now.iter().map(|(path, content)| (path.clone(), copy(content))).collect();
        let durable = names.durable.iter().map(|(path, content)| (path.clone(), copy(content))).collect();
        let names = Names { dirs: names.dirs.clone(), now, durable };
        Self { names: Arc::new(Mutex::new(names)), faults: Arc::default() }
    }

    /// A copy on which everything survived.
    pub fn copy(&self) -> Self {
        self.crash(|| true)
    }

    /// All files and their bytes.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        lock(&self.names).now.iter().map(|(path, content)| (path.clone(), lock(content).now.clone())).collect()
    }

    /// These bytes of a file cannot be read any more.
    pub fn spoil(&self, path: &Path, bytes: Range<usize>) {
        if let Some(content) = lock(&self.names).now.get(path) {
            lock(content).bad.push(bytes);
        }
    }

    /// Replaces the bytes of a file.
    pub fn overwrite(&self, path: &Path, bytes: Vec<u8>) {
        let content = Content { now: bytes.clone(), durable: bytes, ..Content::default() };
        let content = Arc::new(Mutex::new(content));
        let mut names = lock(&self.names);
        names.now.insert(path.to_owned(), content.clone());
        names.durable.insert(path.to_owned(), content);
    }
}

/// Whether a path has a part that was named.
fn is_named(part: &Mutex<Option<String>>, path: &Path) -> bool {
    lock(part).as_ref().is_some_and(|part| path.to_string_lossy().contains(part))
}

fn write(to: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    if to.len() < position + bytes.len() {
        to.resize(position + bytes.len(), 0);
    }
    to[position..position + bytes.len()].copy_from_slice(bytes);
}

/// Waits while it is set, but not for ever: a test that fails meanwhile waits for this thread.
fn hang(is_set: &AtomicBool) {
    for _ in 0..HANG_MS_MAX {
        if !is_set.load(Ordering::Relaxed) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        hang(&self.faults.read_hangs);
        self.faults.step(Operation::Read, &self.path, position)?;
        let content = lock(&self.content);
        let from = (position as usize).min(content.now.len());
        let n = buf.len().min(content.now.len() - from);
        if content.bad.iter().any(|bad| bad.start < from + n && from < bad.end) {
            return Err(io::Error::other("a bad sector"));
        }
        buf[..n].copy_from_slice(&content.now[from..from + n]);
        self.faults.bytes_read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<()> {
        assert!(!self.faults.write_panics.load(Ordering::Relaxed), "a write panics, as the test wants");
        assert!(self.writable);
        let action = self.faults.step(Operation::Write, &self.path, position ^ (buf.len() as u64) << 32)?;
        let error = match action {
            _ if self.faults.full.load(Ordering::Relaxed) => Some(io::ErrorKind::StorageFull),
            _ if is_named(&self.faults.full_for, &self.path) => Some(io::ErrorKind::StorageFull),
            Action::Cut(kind) => Some(kind),
            _ => None,
        };
        let buf = if error.is_some() { &buf[..buf.len() / 2] } else { buf };
        let mut content = lock(&self.content);
        write(&mut content.now, position as usize, buf);
        content.unsynced.push(Change::Bytes { position: position as usize, bytes: buf.to_vec() });
        error.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn sync_data(&self) -> io::Result<()> {
        hang(&self.faults.sync_hangs);
        self.faults.syncs.fetch_add(1, Ordering::Relaxed);
        let action = self.faults.step(Operation::Sync, &self.path, 0)?;
        let mut content = lock(&self.content);
        let content = &mut *content;
        match action {
            Action::Nothing => return Ok(()),
            Action::ForgetQuietly => {
                content.unsynced.clear();
                return Ok(());
            }
            Action::Cut(_) => {
                content.unsynced.clear();
                return Err(io::Error::other("injected"));
            }
            Action::Do if self.faults.sync_fails.load(Ordering::Relaxed) => {
                content.unsynced.clear();
                return Err(io::Error::other("injected"));
            }
            Action::Do => {}
        }
        for change in content.unsynced.drain(..) {
            match change {
                Change::Len(len) => content.durable.resize(len, 0),
                Change::Bytes { position, bytes } => write(&mut content.durable, position, &bytes),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.step(Operation::SetLen, &self.path, len)?;
        if self.faults.cut_fails.load(Ordering::Relaxed) {
            return Err(io::Error::other("injected"));
        }
        let mut content = lock(&self.content);
        content.now.resize(len as usize, 0);
        content.unsynced.push(Change::Len(len as usize));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.content).now.len() as u64)
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        self.faults.step(Operation::Open, path, mode as u64)?;
        let mut names = lock(&self.names);
        let content = match (mode, names.now.get(path)) {
            (OpenMode::CreateNew, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew, None) => {
                let content = Arc::<Mutex<Content>>::default();
                names.now.insert(path.to_owned(), content.clone());
                content
            }
            (_, Some(content)) => content.clone(),
            (_, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(SimFile { path: path.to_owned(), content, faults: self.faults.clone(), writable: mode != OpenMode::Read }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut names = lock(&self.names);
        names.dirs.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.step(Operation::Rename, to, 0)?;
        if is_named(&self.faults.stuck, from) {
            return Err(io::Error::other("injected"));
        }
        let mut names = lock(&self.names);
        let content = names.now.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.now.insert(to.to_owned(), content);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.step(Operation::Link, to, 0)?;
        let mut names = lock(&self.names);
        let content = names.now.get(from).cloned().ok_or(io::ErrorKind::NotFound)?;
        if names.now.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.now.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.faults.step(Operation::Remove, path, 0)?;
        lock(&self.names).now.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.faults.step(Operation::SyncDir, path, 0)? == Action::Nothing {
            return Ok(());
        }
        if self.faults.dir_sync_fails.load(Ordering::Relaxed) {
            return Err(io::Error::other("injected"));
        }
        let mut names = lock(&self.names);
        let names = &mut *names;
        names.durable.retain(|p, _| p.parent() != Some(path));
        names.durable.extend(names.now.iter().filter(|(p, _)| p.parent() == Some(path)).map(|(p, c)| (p.clone(), c.clone())));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.faults.step(Operation::List, path, 0)?;
        let names = lock(&self.names);
        if !names.dirs.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut paths: Vec<_> = names.dirs.iter().chain(names.now.keys()).filter(|p| p.parent() == Some(path)).cloned().collect();
        paths.sort();
        Ok(paths)
    }

    fn exists(&self, path: &Path) -> bool {
        let names = lock(&self.names);
        names.now.contains_key(path) || names.dirs.contains(path)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        self.faults.looks.fetch_add(1, Ordering::Relaxed);
        Ok(if self.faults.full.load(Ordering::Relaxed) { 0 } else { u64::MAX - self.faults.taken.load(Ordering::Relaxed) })
    }

    fn network(&self, _: &Path) -> io::Result<Option<&'static str>> {
        Ok(self.faults.on_network.load(Ordering::Relaxed).then_some("NFS"))
    }
}
