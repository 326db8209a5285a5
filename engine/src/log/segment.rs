//! A segment file: header, frames, and once it is sealed a footer. Invariant: a file named `N.log` has a whole header, begins
//! with offset N, and names the segment before it; only the newest segment of a partition may lack its footer.
//!
//! ```text
//! header     0 magic "THALWEG\0" │ 8 version u32 │ 12 partition u32 │ 16 uuid │ 32 uuid of the segment before
//!           48 base offset u64 │ 56 zero u32 │ 60 CRC-32C of the 60 bytes u32
//! frames    from byte 64 on, without gaps; in the newest segment zeros may follow
//! footer    marks of the index, 24 bytes each, then the trailer, with which the file ends:
//!            0 magic "TWGF" │ 4 marks u32 │ 8 CRC of the marks u32 │ 12 CRC over all frame checksums u32
//!           16 frames u64 │ 24 end offset u64 │ 32 end of frames u64 │ 40 first, 48 last receive time i64
//!           56 base offset u64 │ 64 zero u32 │ 68 CRC of the 68 bytes u32       (CRCs seeded with the UUID)
//! ```
//!
//! All numbers are little-endian. Names: `N.log` with N in 20 digits; `.tmp` while it is made, `.deleted` while it goes;
//! `N.log.P.torn` is a copy of what was cut off at byte P.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::ids::{Offset, Partition};
use crate::time::Micros;

use super::frame::Key;
use super::little_endian::{i64_at, put, u32_at, u64_at};

/// Bytes before the first frame.
pub(super) const SEGMENT_HEADER_BYTES: usize = 64;
/// Bytes of the trailer.
pub(super) const TRAILER_BYTES: usize = 72;
/// The format that this version writes.
pub(super) const FORMAT_VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"THALWEG\0";
const TRAILER_MAGIC: [u8; 4] = *b"TWGF";

/// The identity of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Its own.
    pub(super) uuid: Uuid,
    /// That of the segment before; nil for the first.
    pub(super) previous: Uuid,
    /// Offset of its first record.
    pub(super) base: Offset,
    /// Partition it belongs to.
    pub(super) partition: Partition,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// Cut off, or some bit differs.
    Damaged,
    /// Whole, but of another format.
    Version(u32),
}

impl SegmentHeader {
    /// As bytes.
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 12, self.partition.to_le_bytes());
        put(&mut bytes, 16, self.uuid.into_bytes());
        put(&mut bytes, 32, self.previous.into_bytes());
        put(&mut bytes, 48, self.base.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..60]);
        put(&mut bytes, 60, checksum.to_le_bytes());
        bytes
    }

    /// From the first bytes of a file.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let bytes: &[u8; SEGMENT_HEADER_BYTES] = bytes.first_chunk().ok_or(HeaderFault::Damaged)?;
        if bytes[..8] != MAGIC || u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60]) {
            return Err(HeaderFault::Damaged);
        }
        if u32_at(bytes, 8) != FORMAT_VERSION {
            return Err(HeaderFault::Version(u32_at(bytes, 8)));
        }
        Ok(Self { uuid: uuid_at(bytes, 16), previous: uuid_at(bytes, 32), base: u64_at(bytes, 48), partition: u32_at(bytes, 12) })
    }

    /// What ties frames to this segment.
    pub(super) fn key(&self) -> Key {
        Key::of(&self.uuid)
    }
}

fn uuid_at(bytes: &[u8; SEGMENT_HEADER_BYTES], at: usize) -> Uuid {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&bytes[at..at + 16]);
    Uuid::from_bytes(uuid)
}

/// What a sealed segment says about its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Marks of the index, which lie between `data_end` and the trailer.
    pub(super) marks: u32,
    /// Checksum of the marks.
    pub(super) marks_checksum: u32,
    /// CRC over the checksums of all frames, in order.
    pub(super) chain: u32,
    /// Frames, closing marks included.
    pub(super) frames: u64,
    /// Offset after the last record.
    pub(super) end: Offset,
    /// Byte after the last frame.
    pub(super) data_end: u64,
    /// Receive time of the first record.
    pub(super) received_first: Micros,
    /// Receive time of the last record.
    pub(super) received_last: Micros,
}

impl Trailer {
    /// As bytes.
    pub(super) fn encode(&self, header: &SegmentHeader) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        put(&mut bytes, 0, TRAILER_MAGIC);
        put(&mut bytes, 4, self.marks.to_le_bytes());
        put(&mut bytes, 8, self.marks_checksum.to_le_bytes());
        put(&mut bytes, 12, self.chain.to_le_bytes());
        put(&mut bytes, 16, self.frames.to_le_bytes());
        put(&mut bytes, 24, self.end.to_le_bytes());
        put(&mut bytes, 32, self.data_end.to_le_bytes());
        put(&mut bytes, 40, self.received_first.to_le_bytes());
        put(&mut bytes, 48, self.received_last.to_le_bytes());
        put(&mut bytes, 56, header.base.to_le_bytes());
        let checksum = header.key().checksum(&bytes[..68]);
        put(&mut bytes, 68, checksum.to_le_bytes());
        bytes
    }

    /// From the last bytes of a file of `file_bytes`; `None` if they are no trailer of this segment.
    pub(super) fn decode(bytes: &[u8], header: &SegmentHeader, file_bytes: u64) -> Option<Self> {
        let bytes: &[u8; TRAILER_BYTES] = bytes.try_into().ok()?;
        if bytes[..4] != TRAILER_MAGIC || u32_at(bytes, 68) != header.key().checksum(&bytes[..68]) {
            return None;
        }
        let trailer = Self {
            marks: u32_at(bytes, 4),
            marks_checksum: u32_at(bytes, 8),
            chain: u32_at(bytes, 12),
            frames: u64_at(bytes, 16),
            end: u64_at(bytes, 24),
            data_end: u64_at(bytes, 32),
            received_first: i64_at(bytes, 40),
            received_last: i64_at(bytes, 48),
        };
        let fits = u64_at(bytes, 56) == header.base && trailer.end > header.base && trailer.file_bytes() == file_bytes;
        fits.then_some(trailer)
    }

    /// Bytes of the marks.
    pub(super) fn marks_bytes(&self) -> u64 {
        u64::from(self.marks) * super::index::MARK_BYTES as u64
    }

    /// Bytes of the whole file.
    pub(super) fn file_bytes(&self) -> u64 {
        self.data_end.saturating_add(self.marks_bytes()).saturating_add(TRAILER_BYTES as u64)
    }
}

/// What a file in a partition's directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    /// The segment that begins with this offset.
    Segment(Offset),
    /// Half made or half deleted: may go.
    Leftover,
    /// Anything else: stays.
    Other,
}

/// Tells by its name what a file is.
pub(super) fn kind_of(path: &Path) -> FileKind {
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else { return FileKind::Other };
    match name.split_once('.') {
        Some((digits, "log")) if is_base(digits) => digits.parse().map_or(FileKind::Other, FileKind::Segment),
        Some(("next" | "producers", "tmp" | "snap.tmp")) => FileKind::Leftover,
        Some((digits, "log.tmp" | "log.deleted")) if is_base(digits) => FileKind::Leftover,
        _ => FileKind::Other,
    }
}

/// Of a copy of a torn tail: the base offset of its segment, and the byte where it was cut off.
pub(super) fn torn_at(path: &Path) -> Option<(Offset, u64)> {
    let (digits, rest) = path.file_name()?.to_str()?.split_once(".log.")?;
    Some((digits.parse().ok()?, rest.strip_suffix(".torn")?.parse().ok()?))
}

fn is_base(digits: &str) -> bool {
    digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The path of a segment.
pub(super) fn path_of(dir: &Path, base: Offset) -> PathBuf {
    dir.join(format!("{base:020}.log"))
}

/// `path` with `.suffix` after it.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory of a partition.
pub(super) fn partition_dir(stream_dir: &Path, partition: Partition) -> PathBuf {
    stream_dir.join(format!("{partition:03}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader { uuid: Uuid::from_u128(5), previous: Uuid::from_u128(4), base: 100, partition: 2 }
    }

    #[test]
    fn every_flipped_bit_of_header_and_trailer_is_noticed() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bad), Err(HeaderFault::Damaged), "bit {bit}");
        }
        let trailer =
            Trailer { marks: 1, marks_checksum: 2, chain: 3, frames: 4, end: 101, data_end: 200, received_first: -1, received_last: 1 };
        let bytes = trailer.encode(&header());
        assert_eq!(Trailer::decode(&bytes, &header(), 200 + 24 + 72), Some(trailer));
        assert_eq!(Trailer::decode(&bytes, &header(), 200 + 24 + 71), None);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Trailer::decode(&bad, &header(), 200 + 24 + 72), None, "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut bytes = header().encode();
        put(&mut bytes, 8, 9u32.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..60]);
        put(&mut bytes, 60, checksum.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderFault::Version(9)));
    }

    #[test]
    fn names_tell_what_files_are() {
        let path = path_of(Path::new("p"), 42);
        assert_eq!(kind_of(&path), FileKind::Segment(42));
        assert_eq!(kind_of(&with_suffix(&path, "tmp")), FileKind::Leftover);
        assert_eq!(kind_of(&with_suffix(&path, "deleted")), FileKind::Leftover);
        assert_eq!(kind_of(&with_suffix(&path, "64.torn")), FileKind::Other);
        assert_eq!(kind_of(Path::new("p/42.log")), FileKind::Other);
        assert_eq!(torn_at(&with_suffix(&path, "64.torn")), Some((42, 64)));
        assert_eq!(torn_at(&with_suffix(&path, "damaged")), None);
    }
}
