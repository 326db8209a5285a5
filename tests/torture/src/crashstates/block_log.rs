//! The block log that qemu's `blklogwrites` keeps, in the format of the kernel's dm-log-writes. Invariant: entries are in the
//! order in which the disk took them; what lies after a flush may reach the disk in any part.
//!
//! ```text
//! sector 0   magic u64 │ version u64 │ entries u64 │ sector size u32
//! entry      one sector: sector u64 │ sectors u64 │ flags u64 │ length u64;  then the data, unless it is a discard
//! ```

use std::ops::Range;
use std::path::Path;

use rand::Rng;
use rand::rngs::StdRng;

const SECTOR: usize = 512;
const BLOCK: usize = 4096;
/// What the superblock of ext4's journal begins with: its magic number and its type.
const JOURNAL_SUPERBLOCK: &[u8] = &[0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4];
const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// Everything that was written to a disk.
#[derive(Debug)]
pub struct BlockLog {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Byte of the disk.
    position: usize,
    /// Where the data lie in the log; empty for a flush.
    data: Range<usize>,
    flags: u64,
}

impl BlockLog {
    /// Reads a block log. Errors: it is none, or it is cut off.
    pub fn load(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let number = |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        let cut = || format!("{} is cut off", path.display());
        let (magic, count) = (number(0).ok_or_else(cut)?, number(16).ok_or_else(cut)?);
        if magic != MAGIC {
            return Err(format!("{} is no block log", path.display()));
        }
        let (mut at, mut entries) = (SECTOR, Vec::new());
        for _ in 0..count {
            let (sector, sectors) = (number(at).ok_or_else(cut)? as usize, number(at + 8).ok_or_else(cut)? as usize);
            let flags = number(at + 16).ok_or_else(cut)?;
            let length = if flags & DISCARD == 0 { sectors * SECTOR } else { 0 };
            let data = at + SECTOR..at + SECTOR + length;
            at = data.end;
            entries.push(Entry { position: sector * SECTOR, data, flags });
        }
        if at <= bytes.len() { Ok(Self { bytes, entries }) } else { Err(cut()) }
    }

    /// Entries with data.
    pub fn writes(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.data.is_empty()).count()
    }

    /// Numbers of entries after which everything before is on the disk for good.
    pub fn boundaries(&self) -> Vec<usize> {
        let durable = |(number, entry): (usize, &Entry)| (entry.flags & (FLUSH | FUA) != 0).then_some(number + 1);
        self.entries.iter().enumerate().filter_map(durable).collect()
    }

    /// Applies one entry to an image.
    pub fn apply(&self, entry: usize, image: &mut [u8]) {
        let entry = &self.entries[entry];
        let data = &self.bytes[entry.data.clone()];
        image[entry.position..entry.position + data.len()].copy_from_slice(data);
    }

    /// Applies a random part of the writes from entry `from` to the next flush, in pieces of the size of a block or a sector.
    /// The superblocks of ext4 and of its journal stay whole: no file system survives that they tear, whatever a log does.
    pub fn apply_some(&self, from: usize, random: &mut StdRng, image: &mut [u8]) {
        let piece = if random.random_bool(0.3) { SECTOR } else { BLOCK };
        let share = [0.1, 0.5, 0.9][random.random_range(0..3)];
        for entry in self.entries[from..].iter().take_while(|entry| entry.flags & (FLUSH | FUA) == 0) {
            let data = &self.bytes[entry.data.clone()];
            let superblock = entry.position < BLOCK || data.starts_with(JOURNAL_SUPERBLOCK);
            let piece = if superblock { BLOCK } else { piece };
            for (number, part) in data.chunks(piece).enumerate() {
                if random.random_bool(share) {
                    let position = entry.position + number * piece;
                    image[position..position + part.len()].copy_from_slice(part);
                }
            }
        }
    }
}
