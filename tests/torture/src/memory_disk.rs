//! A disk in memory for tests that open a log many thousand times. Invariant: a clone shares the bytes of files until one
//! side writes, and never sees the other's writes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thalweg_engine::contract::{Disk, DiskFile, OpenMode};

/// Content of a file; cloned when it is first written to.
type Content = Arc<Mutex<Arc<Vec<u8>>>>;

/// Files and directories in memory.
#[derive(Debug, Default)]
pub struct MemoryDisk {
    files: Mutex<BTreeMap<PathBuf, Content>>,
    directories: Mutex<BTreeSet<PathBuf>>,
}

#[derive(Debug)]
struct MemoryFile(Content);

impl MemoryDisk {
    /// A disk with these files.
    pub fn of(files: &BTreeMap<PathBuf, Arc<Vec<u8>>>) -> Self {
        let directories = files.keys().flat_map(|path| path.ancestors().skip(1).map(Path::to_owned)).collect();
        let files = files.iter().map(|(path, bytes)| (path.clone(), Arc::new(Mutex::new(bytes.clone())))).collect();
        Self { files: Mutex::new(files), directories: Mutex::new(directories) }
    }

    /// All files with their bytes.
    pub fn files(&self) -> BTreeMap<PathBuf, Arc<Vec<u8>>> {
        lock(&self.files).iter().map(|(path, content)| (path.clone(), lock(content).clone())).collect()
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let bytes = lock(&self.0).clone();
        let rest = usize::try_from(position).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<()> {
        let mut content = lock(&self.0);
        let bytes = Arc::make_mut(&mut content);
        let position = position as usize;
        bytes.resize(bytes.len().max(position + buf.len()), 0);
        bytes[position..position + buf.len()].copy_from_slice(buf);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Arc::make_mut(&mut lock(&self.0)).resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut files = lock(&self.files);
        let content = match (files.get(path), mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, OpenMode::CreateNew) => files.entry(path.to_owned()).or_default(),
            (Some(content), _) => content,
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(MemoryFile(content.clone())))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        lock(&self.directories).extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = lock(&self.files);
        let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.files).remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let directories = lock(&self.directories);
        if !directories.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let files = lock(&self.files);
        let mut paths: Vec<_> = directories.iter().chain(files.keys()).filter(|p| p.parent() == Some(path)).cloned().collect();
        paths.sort();
        Ok(paths)
    }

    fn exists(&self, path: &Path) -> bool {
        lock(&self.files).contains_key(path) || lock(&self.directories).contains(path)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_does_not_see_later_writes() {
        let disk = MemoryDisk::default();
        let path = Path::new("d/f");
        disk.create_dir_all(Path::new("d")).unwrap();
        disk.open(path, OpenMode::CreateNew).unwrap().write_at(b"one", 2).unwrap();
        let copy = MemoryDisk::of(&disk.files());
        disk.open(path, OpenMode::ReadWrite).unwrap().write_at(b"two", 2).unwrap();
        let mut bytes = [9; 5];
        assert_eq!(copy.open(path, OpenMode::Read).unwrap().read_at(&mut bytes, 0).unwrap(), 5);
        assert_eq!(&bytes, b"\0\0one");
        assert_eq!(copy.list(Path::new("d")).unwrap(), [path]);
    }
}
