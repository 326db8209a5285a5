//! The producers of a partition across a restart. Invariant: a snapshot speaks of durable records only, and one that is
//! damaged, unreadable, missing or of another log is made anew from the records: that takes longer and gives the same.
//!
//! ```text
//! producers.snap   0 magic "TWPR" │ 4 format u32 │ 8 UUID of the segment that was written to │ 24 offset u64
//!                 32 producers, see there │ then CRC-32C of everything before u32
//! ```
//!
//! It is replaced when a segment begins, so that a start reads little more than the newest segment.

use std::io;
use std::path::Path;

use uuid::Uuid;

use crate::contract::{Disk, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Offset;

use super::appender::{Failure, fatal, unchanged};
use super::little_endian::{put, u32_at, u64_at};
use super::partition::Partition;
use super::producers::{self, Producers};
use super::segment::with_suffix;

const FILE_NAME: &str = "producers.snap";
const MAGIC: [u8; 4] = *b"TWPR";
const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
/// No snapshot is longer.
const BYTES_MAX: u64 = (HEADER_BYTES + producers::ENCODED_BYTES_MAX + 4) as u64;

/// The producers of all records below `offset`.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Every record below is accounted for.
    pub(super) offset: Offset,
    bytes: Vec<u8>,
}

impl Snapshot {
    /// Of the producers as they are when `offset` is the next.
    pub(super) fn new(offset: Offset, producers: &Producers) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 4, FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 24, offset.to_le_bytes());
        producers.encode(&mut bytes);
        Self { offset, bytes }
    }

    /// Writes it durably in place of the one before; to be called when `offset` is durable. Errors: `Full` if it may be tried again.
    pub(super) fn write(mut self, disk: &dyn Disk, dir: &Path, segment: &Uuid) -> Result<(), Failure> {
        put(&mut self.bytes, 8, segment.into_bytes());
        let checksum = crc32c::crc32c(&self.bytes);
        self.bytes.extend_from_slice(&checksum.to_le_bytes());
        let path = dir.join(FILE_NAME);
        let temporary = with_suffix(&path, "tmp");
        let write = || {
            if disk.exists(&temporary) {
                disk.remove(&temporary)?;
            }
            let file = disk.open(&temporary, OpenMode::CreateNew)?;
            file.write_at(&self.bytes, 0)?;
            Ok::<_, io::Error>(file)
        };
        let file = write().map_err(|e| unchanged(&format!("write {}", temporary.display()), e))?;
        file.sync_data().map_err(|e| fatal(&format!("sync {}", temporary.display()), &e))?;
        disk.rename(&temporary, &path).map_err(|e| unchanged(&format!("rename {}", temporary.display()), e))?;
        disk.sync_dir(dir).map_err(|e| fatal(&format!("sync {}", dir.display()), &e))
    }
}

/// What a snapshot file holds; `None` if it is not whole.
fn decode(bytes: &[u8]) -> Option<(Uuid, Offset, Producers)> {
    let (bytes, checksum) = bytes.split_last_chunk()?;
    let (head, body) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    if head[..4] != MAGIC || u32_at(head, 4) != FORMAT_VERSION || crc32c::crc32c(bytes) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let uuid = Uuid::from_slice(&head[8..24]).ok()?;
    Some((uuid, u64_at(head, 24), Producers::decode(body)?))
}

/// The snapshot, if there is a whole one. Errors: it cannot be read.
fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<(Uuid, Offset, Producers)>> {
    let path = dir.join(FILE_NAME);
    if !disk.exists(&path) {
        return Ok(None);
    }
    let file = disk.open(&path, OpenMode::Read)?;
    let len = file.len()?;
    let snapshot = if len > BYTES_MAX {
        None
    } else {
        let mut bytes = vec![0; len as usize];
        let read = file.read_at(&mut bytes, 0)?;
        decode(&bytes[..read])
    };
    if snapshot.is_none() {
        tracing::warn!(file = %path.display(), "what devices sent last is damaged here; made anew from the records");
    }
    Ok(snapshot)
}

/// Result of `recover`.
pub(super) struct Recovered {
    /// Of all durable records.
    pub(super) producers: Producers,
    /// Whether so much had to be read that a new snapshot is worth its while.
    pub(super) snapshot_due: bool,
}

/// The producers of a partition that takes no records yet. Errors: its segments cannot be read, or a snapshot that must not be
/// believed cannot be removed; damaged records are passed over.
pub(super) fn recover(partition: &Partition, dir: &Path) -> Result<Recovered> {
    let segments = partition.segments_now();
    let fits = |uuid: &Uuid, offset: Offset| {
        let own = segments.iter().any(|s| s.header.uuid == *uuid && s.header.base <= offset);
        own && offset <= partition.durable()
    };
    let path = dir.join(FILE_NAME);
    let read = read(&*partition.disk, dir);
    if let Err(e) = &read {
        tracing::warn!(file = %path.display(), "what devices sent last cannot be read here, and is made anew from the records: {e}");
    }
    let is_unknown = read.is_err();
    let snapshot = read.ok().flatten();
    if is_unknown || snapshot.as_ref().is_some_and(|(uuid, offset, _)| !fits(uuid, *offset)) {
        if let Some((_, offset, _)) = &snapshot {
            tracing::warn!(file = %path.display(), offset, end = partition.durable(),
                "what devices sent last is told here of records that the log does not hold; made anew from the records");
        }
        // It may speak of records that are not here. When others have taken their offsets, it must not seem to speak of those.
        let removed = partition.disk.remove(&path).and_then(|()| partition.disk.sync_dir(dir));
        removed.map_err(|e| Error::from(e).context(path.display()))?;
    }
    let snapshot = snapshot.filter(|(uuid, offset, _)| fits(uuid, *offset));
    let snapshot_due = snapshot.is_none() && segments.len() > 1;
    let (from, producers) = snapshot.map_or_else(|| (partition.start(), Producers::default()), |(_, from, p)| (from, p));
    Ok(Recovered { producers: add_records(partition, from, producers)?, snapshot_due })
}

/// Adds what was sent from offset `from` on.
fn add_records(partition: &Partition, mut from: Offset, mut producers: Producers) -> Result<Producers> {
    loop {
        match partition.read(from) {
            Ok(Some(records)) => {
                for entry in &records.entries {
                    if let Some(producer) = entry.producer {
                        producers.admit(records.text(&entry.device), producer, entry.offset);
                    }
                }
                from = records.end();
            }
            Ok(None) => return Ok(producers),
            Err(e) if !matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => return Err(e),
            Err(e) => {
                tracing::warn!(log = %partition.label, "records repeated from a damaged segment will not be recognised: {e}");
                let later = partition.segments_now().into_iter().find(|s| s.header.base > from);
                let Some(next) = later else { return Ok(producers) };
                from = next.header.base;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::ProducerSequence;

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let mut producers = Producers::default();
        producers.admit("pump-1", ProducerSequence { epoch: 3, sequence: 9 }, 4);
        let disk = crate::log::sim::SimDisk::default();
        let dir = Path::new("p");
        disk.create_dir_all(dir).unwrap();
        Snapshot::new(5, &producers).write(&disk, dir, &Uuid::from_u128(7)).unwrap();
        let good = disk.files().remove(&dir.join(FILE_NAME)).unwrap();
        let (uuid, offset, _) = decode(&good).unwrap();
        assert_eq!((uuid, offset), (Uuid::from_u128(7), 5));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad).is_none(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(decode(&good[..len]).is_none());
        }
    }

    #[test]
    fn one_that_is_longer_than_any_can_be_is_damaged_and_takes_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join(FILE_NAME)).unwrap();
        file.set_len(1 << 40).unwrap();
        assert!(read(&crate::system::RealDisk, dir.path()).unwrap().is_none());
    }
}
