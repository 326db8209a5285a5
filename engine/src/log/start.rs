//! Where a partition begins, as retention left it. Invariant: it is durable before retention removes anything that lies before it, so
//! segments that are missing after it were removed by somebody else.
//!
//! ```text
//! start      0 magic "TWST" │ 4 format u32 │ 8 offset u64 │ 16 CRC-32C of the 16 bytes u32
//! ```
//!
//! It is overwritten in place: on a full disk, too. One that is not there, as in logs of earlier builds, or not whole tells nothing, and is
//! made at the next start.

use std::io;
use std::ops::Range;
use std::path::Path;

use crate::contract::{Disk, DiskFile, OpenMode};
use crate::ids::Offset;

use super::little_endian::{put, u32_at, u64_at};

const FILE_NAME: &str = "start";
const MAGIC: [u8; 4] = *b"TWST";
const FORMAT_VERSION: u32 = 1;
const BYTES: usize = 20;

/// The offset, if there is one and it is whole.
pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Option<Offset> {
    let mut bytes = [0; BYTES];
    let read = disk.open(&dir.join(FILE_NAME), OpenMode::Read).and_then(|file| file.read_at(&mut bytes, 0));
    let is_whole = read.is_ok_and(|read| read == BYTES)
        && bytes[..4] == MAGIC
        && u32_at(&bytes, 4) == FORMAT_VERSION
        && u32_at(&bytes, 16) == crc32c::crc32c(&bytes[..16]);
    is_whole.then(|| u64_at(&bytes, 8))
}

/// Writes it; it is durable when the file that is returned was synced. `None` if there was none, or too little of one to tell
/// anything, and none can be made. Errors: what was there could not be overwritten.
pub(super) fn write(disk: &dyn Disk, dir: &Path, start: Offset) -> io::Result<Option<Box<dyn DiskFile>>> {
    let path = dir.join(FILE_NAME);
    let mut bytes = [0; BYTES];
    put(&mut bytes, 0, MAGIC);
    put(&mut bytes, 4, FORMAT_VERSION.to_le_bytes());
    put(&mut bytes, 8, start.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..16]);
    put(&mut bytes, 16, checksum.to_le_bytes());
    let write = |mode| {
        let file = disk.open(&path, mode)?;
        file.write_at(&bytes, 0)?;
        Ok::<_, io::Error>(file)
    };
    if !disk.exists(&path) {
        return Ok(write(OpenMode::CreateNew).ok());
    }
    // An attempt on a full disk leaves one that is too short: only a whole one needs no space.
    let is_short = disk.open(&path, OpenMode::Read).and_then(|file| file.len()).is_ok_and(|len| len < BYTES as u64);
    match write(OpenMode::ReadWrite) {
        Err(_) if is_short => Ok(None),
        written => written.map(Some),
    }
}

/// Offsets whose segments somebody else has removed, in a partition whose oldest segment begins with `base`; empty if there are none.
pub(super) fn missing(start: Option<Offset>, base: Option<Offset>) -> Range<Offset> {
    start.zip(base).map_or(0..0, |(start, base)| start..base.max(start))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::log::sim::SimDisk;

    #[test]
    fn what_was_written_is_read_and_what_is_not_whole_tells_nothing() {
        let (disk, dir) = (SimDisk::default(), Path::new("p"));
        disk.create_dir_all(dir).unwrap();
        assert_eq!(read(&disk, dir), None);
        for start in [0, 7, Offset::MAX] {
            assert!(write(&disk, dir, start).unwrap().is_some());
            assert_eq!(read(&disk, dir), Some(start));
        }
        let good = disk.files().remove(&dir.join(FILE_NAME)).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            disk.overwrite(&dir.join(FILE_NAME), bad);
            assert_eq!(read(&disk, dir), None, "bit {bit}");
        }
        for len in 0..good.len() {
            disk.overwrite(&dir.join(FILE_NAME), good[..len].to_vec());
            assert_eq!(read(&disk, dir), None, "{len} bytes");
        }
        assert!(write(&disk, dir, 9).unwrap().is_some());
        assert_eq!(read(&disk, dir), Some(9), "it is made anew");
    }

    #[test]
    fn a_full_disk_is_no_error_until_there_is_a_whole_one() {
        let (disk, dir) = (SimDisk::default(), Path::new("p"));
        disk.create_dir_all(dir).unwrap();
        disk.faults.full.store(true, Ordering::Relaxed);
        assert!(write(&disk, dir, 1).unwrap().is_none());
        assert!(write(&disk, dir, 1).unwrap().is_none());
        disk.faults.full.store(false, Ordering::Relaxed);
        assert!(write(&disk, dir, 1).unwrap().is_some());
        disk.faults.full.store(true, Ordering::Relaxed);
        assert!(write(&disk, dir, 2).is_err());
    }

    /// Version 1, never written again.
    const GOLDEN: &[u8] = b"TWST\x01\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01\xec\x49\x32\xbe";

    #[test]
    fn the_format_is_that_of_version_1() {
        let (disk, dir) = (SimDisk::default(), Path::new("p"));
        disk.create_dir_all(dir).unwrap();
        write(&disk, dir, 0x0102_0304_0506_0708).unwrap();
        assert_eq!(disk.files()[&dir.join(FILE_NAME)], GOLDEN);
        disk.overwrite(&dir.join(FILE_NAME), GOLDEN.to_vec());
        assert_eq!(read(&disk, dir), Some(0x0102_0304_0506_0708));
    }

    #[test]
    fn only_an_offset_before_the_oldest_segment_tells_of_missing_ones() {
        for (start, base, want) in [(Some(3), Some(9), 3..9), (Some(9), Some(9), 9..9), (Some(9), Some(3), 9..9), (None, Some(9), 0..0)] {
            assert_eq!(missing(start, base), want);
        }
        assert!(missing(Some(3), None).is_empty(), "without a segment there is another problem");
    }
}
