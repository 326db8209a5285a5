//! Law of `Disk`: the only way to bytes that must last. Bytes survive a power cut once `sync_data` on their file returned
//! `Ok`, and a name (created, renamed, removed) once `sync_dir` on its directory did; nothing else promises anything.
//! After `sync_data` failed, nothing written to that file may be trusted: never retry it and count it as success.

use std::io;
use std::path::{Path, PathBuf};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; reads only.
    Read,
    /// Must exist; reads and writes.
    ReadWrite,
    /// Must not exist; reads and writes.
    CreateNew,
}

/// An open file. Positions are bytes from its start.
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    /// Reads up to `buf.len()` bytes at `position`; fewer only at the end of the file. Returns how many.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes all of `buf` at `position`, or fails having written an unknown part of it.
    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<()>;

    /// Makes written bytes and the length durable.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts or extends (with zeros) to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A file system.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;

    /// Creates a directory and its parents and makes each new name durable.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Replaces `to` by `from`, atomically. Durable after `sync_dir`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, unless that name is taken: of several who try, one does. Durable after `sync_dir`. Errors:
    /// `AlreadyExists`.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable after `sync_dir`.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Paths of the entries of a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Whether the path exists.
    fn exists(&self, path: &Path) -> bool;

    /// Bytes still free where `path` lies.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// The network file system that `path` lies on; `None` on a disk of the machine. Over a network, what a lock and a sync
    /// are worth is up to somebody else.
    fn network(&self, _path: &Path) -> io::Result<Option<&'static str>> {
        Ok(None)
    }
}
