//! A file of which a part cannot be read, for repair alone. Invariant: what cannot be read is zeros here, and it is known where;
//! nobody else may read through this, because zeros look like the end of a segment.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

use crate::contract::{Disk, DiskFile, OpenMode};
use crate::locks::lock;

/// Systems read whole pages: less of a bad one is not to be had.
const SECTOR_BYTES: u64 = 4096;

/// A file that always gives something.
#[derive(Debug)]
pub(super) struct Salvaged {
    file: Box<dyn DiskFile>,
    /// First bytes of the sectors that could not be read.
    bad: Mutex<BTreeSet<u64>>,
}

impl Salvaged {
    /// Opens a file to read from it.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        Ok(Self { file: disk.open(path, OpenMode::Read)?, bad: Mutex::default() })
    }

    /// Where bytes could not be read so far: from the first to the last of them.
    pub(super) fn unreadable(&self) -> io::Result<Option<Range<u64>>> {
        let bytes = self.file.len()?;
        let bad = lock(&self.bad);
        let last = bad.last().map(|last| bytes.min(last + SECTOR_BYTES));
        Ok(bad.first().zip(last).map(|(first, end)| *first..end))
    }

    fn read_sectors(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let left = usize::try_from(self.file.len()?.saturating_sub(position)).unwrap_or(usize::MAX);
        let count = buf.len().min(left);
        let mut done = 0;
        while done < count {
            let at = position + done as u64;
            let end = count.min(done + (SECTOR_BYTES - at % SECTOR_BYTES) as usize);
            match self.file.read_at(&mut buf[done..end], at) {
                Ok(0) => return Ok(done),
                Ok(read) => done += read,
                Err(_) => {
                    buf[done..end].fill(0);
                    lock(&self.bad).insert(at - at % SECTOR_BYTES);
                    done = end;
                }
            }
        }
        Ok(done)
    }
}

impl DiskFile for Salvaged {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buf, position).or_else(|_| self.read_sectors(buf, position))
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
