//! The layout of a segment file, read by somebody who did not write it. Invariant: it follows the drawings in the engine's
//! `log/segment.rs` and `log/frame.rs`, and shares no code with them.

use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes before the first frame.
pub const SEGMENT_HEADER_BYTES: usize = 64;
/// Bytes before the records of a frame.
pub const FRAME_HEADER_BYTES: usize = 48;
const TRAILER_MAGIC: &[u8; 4] = b"TWGF";
const TRAILER_BYTES: usize = 72;
const UUID: Range<usize> = 16..32;

/// One frame of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it lies in the file.
    pub bytes: Range<usize>,
    /// Offset of its first record.
    pub base: u64,
    /// Records; 0 in a closing mark.
    pub count: u32,
}

impl Frame {
    /// The offset after its last record.
    pub fn end(&self) -> u64 {
        self.base + u64::from(self.count)
    }
}

/// The frames of a whole segment file, in order.
pub fn frames(file: &[u8]) -> Vec<Frame> {
    let end = footer(file).map_or(file.len(), |footer| footer.start);
    let (mut at, mut frames) = (SEGMENT_HEADER_BYTES, Vec::new());
    while let Some(frame) = file.get(at..end).and_then(|bytes| frame(bytes, at)) {
        at = frame.bytes.end;
        frames.push(frame);
    }
    frames
}

/// The frame that `bytes`, which lie at position `at` of a file, begin with; only its shape is looked at.
pub fn frame(bytes: &[u8], at: usize) -> Option<Frame> {
    let len = u32_at(bytes, 0)? as usize;
    if len < FRAME_HEADER_BYTES {
        return None;
    }
    Some(Frame { bytes: at..at + len, count: u32_at(bytes, 12)?, base: u64_at(bytes, 16)? })
}

/// Where the footer lies, if the segment is sealed.
pub fn footer(file: &[u8]) -> Option<Range<usize>> {
    let trailer = file.len().checked_sub(TRAILER_BYTES)?;
    if file.get(trailer..trailer + 4)? != TRAILER_MAGIC {
        return None;
    }
    Some(u64_at(file, trailer + 32)? as usize..file.len())
}

/// Writes the right checksum into a frame, as a bug in the wrong place would.
pub fn repair_checksum(file: &mut [u8], frame: &Frame) {
    let seed = crc32c::crc32c(&file[UUID]);
    let bytes = &mut file[frame.bytes.clone()];
    let checksum = crc32c::crc32c_append(crc32c::crc32c_append(seed, &bytes[..4]), &bytes[8..]);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// Writes the beginning of a frame behind the last one of a log's partition, as a power cut in the middle of a write leaves
/// it. Returns whether there was an unsealed segment to write to.
pub fn tear(partition: &Path) -> io::Result<bool> {
    let mut segments: Vec<PathBuf> = std::fs::read_dir(partition)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments.sort();
    let Some(newest) = segments.pop() else { return Ok(false) };
    let bytes = std::fs::read(&newest)?;
    if footer(&bytes).is_some() {
        return Ok(false);
    }
    let end = frames(&bytes).last().map_or(SEGMENT_HEADER_BYTES, |frame| frame.bytes.end);
    let mut torn = 700u32.to_le_bytes().to_vec();
    torn.write_all(&[0xa5; 296])?;
    let file = std::fs::OpenOptions::new().write(true).open(&newest)?;
    file.write_all_at(&torn, end as u64)?;
    Ok(true)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().map(u32::from_le_bytes).ok()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().map(u64::from_le_bytes).ok()
}
