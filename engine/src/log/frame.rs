//! A frame: the records of one group commit. Invariant: a frame is valid only in the segment that it was written to, whole,
//! and bit for bit: its checksum covers all bytes but the checksum itself and is seeded with the segment's UUID.
//!
//! ```text
//!  0 len           u32   bytes of the frame, this header included
//!  4 checksum      u32   CRC-32C of UUID, len, bytes 8..len
//!  8 segment       u32   last four bytes of the segment's UUID: makes frames easy to find again after damage
//! 12 count         u32   records; 0 in a closing mark, which only says that everything before is durable
//! 16 base          u64   offset of the first record
//! 24 synced        u64   every offset below was durable when the frame was written
//! 32 received_last i64   receive time of the last record, in microseconds
//! 40 codec         u8    0 = records as they are, 255 = none: they are lost, see `repair`; everything else is refused
//! 41 reserved      7 × 0
//! 48 records
//! ```

use std::fmt;

use uuid::Uuid;

use crate::ids::Offset;
use crate::limits::{FRAME_BYTES_MAX, FRAME_RECORDS_MAX};
use crate::time::Micros;

use super::little_endian::{i64_at, put, u32_at, u64_at};

/// Bytes before the records of a frame.
pub(super) const FRAME_HEADER_BYTES: usize = 48;
const CODEC_NONE: u8 = 0;
const CODEC_LOST: u8 = 255;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Content {
    /// Its records.
    #[default]
    Records,
    /// Nothing: its records were damaged, and an operator accepted the loss. There may be any number of them.
    Lost,
}

/// What ties frames to their segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    seed: u32,
    tail: [u8; 4],
}

impl Key {
    /// The key of a segment.
    pub(super) fn of(uuid: &Uuid) -> Self {
        let bytes = uuid.as_bytes();
        Self { seed: crc32c::crc32c(bytes), tail: [bytes[12], bytes[13], bytes[14], bytes[15]] }
    }

    /// CRC-32C of the UUID and `bytes`.
    pub(super) fn checksum(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.seed, bytes)
    }

    /// What stands at byte 8 of each frame of the segment.
    pub(super) fn tail(self) -> [u8; 4] {
        self.tail
    }
}

/// What a frame says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Bytes of the whole frame.
    pub(super) bytes: usize,
    /// Its checksum.
    pub(super) checksum: u32,
    /// Records in it.
    pub(super) count: u32,
    /// Offset of the first record.
    pub(super) base: Offset,
    /// Every offset below was durable when this was written.
    pub(super) synced: Offset,
    /// Receive time of the last record.
    pub(super) received_last: Micros,
    /// What follows the header.
    pub(super) content: Content,
}

impl FrameHeader {
    /// The offset after the last record.
    pub(super) fn end(&self) -> Offset {
        self.base + Offset::from(self.count)
    }
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The file ends inside it.
    Short,
    /// The length makes no sense.
    Length(u32),
    /// It belongs to another segment, or is no frame at all.
    Foreign,
    /// The record count makes no sense.
    Count,
    /// Some bit differs.
    Checksum,
    /// Whole, but written by a newer version.
    Unsupported(u8),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the frame is cut off"),
            Self::Length(len) => write!(f, "a frame cannot have {len} bytes"),
            Self::Foreign => f.write_str("these bytes are no frame of this segment"),
            Self::Count => f.write_str("the record count is impossible"),
            Self::Checksum => f.write_str("the checksum of the frame is wrong"),
            Self::Unsupported(codec) => write!(f, "codec {codec} of the frame is unknown to this version"),
        }
    }
}

/// Fills in the header of a frame whose records are in place; returns it with length and checksum.
pub(super) fn seal(frame: &mut [u8], key: Key, header: &FrameHeader) -> FrameHeader {
    assert!(frame.len() >= FRAME_HEADER_BYTES);
    assert!(frame.len() <= FRAME_BYTES_MAX);
    let codec = match header.content {
        Content::Records => CODEC_NONE,
        Content::Lost => CODEC_LOST,
    };
    assert!(header.content == Content::Lost || header.count as usize <= FRAME_RECORDS_MAX);
    put(frame, 0, (frame.len() as u32).to_le_bytes());
    put(frame, 8, key.tail);
    put(frame, 12, header.count.to_le_bytes());
    put(frame, 16, header.base.to_le_bytes());
    put(frame, 24, header.synced.to_le_bytes());
    put(frame, 32, header.received_last.to_le_bytes());
    put(frame, 40, [codec, 0, 0, 0, 0, 0, 0, 0]);
    let checksum = checksum(frame, key);
    put(frame, 4, checksum.to_le_bytes());
    FrameHeader { bytes: frame.len(), checksum, ..*header }
}

/// Reads a header without trusting it: only what is certainly wrong is refused.
pub(super) fn peek(bytes: &[u8], key: Key) -> Result<FrameHeader, Fault> {
    let head: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk().ok_or(Fault::Short)?;
    let len = u32_at(head, 0);
    if !(FRAME_HEADER_BYTES..=FRAME_BYTES_MAX).contains(&(len as usize)) {
        return Err(Fault::Length(len));
    }
    if head[8..12] != key.tail {
        return Err(Fault::Foreign);
    }
    let (count, base) = (u32_at(head, 12), u64_at(head, 16));
    let content = if head[40] == CODEC_LOST { Content::Lost } else { Content::Records };
    let too_many = content == Content::Records && count as usize > FRAME_RECORDS_MAX;
    if too_many || base.checked_add(u64::from(count)).is_none() {
        return Err(Fault::Count);
    }
    Ok(FrameHeader {
        bytes: len as usize,
        checksum: u32_at(head, 4),
        count,
        base,
        synced: u64_at(head, 24),
        received_last: i64_at(head, 32),
        content,
    })
}

/// Reads the frame that begins with the first of `bytes`, and vouches for it.
pub(super) fn check(bytes: &[u8], key: Key) -> Result<FrameHeader, Fault> {
    let header = peek(bytes, key)?;
    let frame = bytes.get(..header.bytes).ok_or(Fault::Short)?;
    if checksum(frame, key) != header.checksum {
        return Err(Fault::Checksum);
    }
    let known = match header.content {
        Content::Records => frame[40] == CODEC_NONE,
        Content::Lost => header.bytes == FRAME_HEADER_BYTES && header.count > 0,
    };
    if !known || frame[41..FRAME_HEADER_BYTES] != [0; 7] {
        return Err(Fault::Unsupported(frame[40]));
    }
    Ok(header)
}

fn checksum(frame: &[u8], key: Key) -> u32 {
    crc32c::crc32c_append(key.checksum(&frame[..4]), &frame[8..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(key: Key) -> Vec<u8> {
        let mut frame = vec![0; FRAME_HEADER_BYTES];
        frame.extend_from_slice(b"records of any kind");
        let header = FrameHeader { bytes: 0, checksum: 0, count: 3, base: 10, synced: 9, received_last: -5, content: Content::Records };
        seal(&mut frame, key, &header);
        frame
    }

    #[test]
    fn a_frame_says_what_was_sealed() {
        let key = Key::of(&Uuid::from_u128(7));
        let frame = sample(key);
        let header = check(&frame, key).unwrap();
        assert_eq!((header.bytes, header.count, header.base, header.end()), (frame.len(), 3, 10, 13));
        assert_eq!((header.synced, header.received_last), (9, -5));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let key = Key::of(&Uuid::from_u128(7));
        let good = sample(key);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&bad, key).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert_eq!(check(&good[..len], key), Err(Fault::Short));
        }
    }

    #[test]
    fn a_frame_of_another_segment_is_no_frame() {
        let (a, b) = (Key::of(&Uuid::from_u128(1 << 64 | 7)), Key::of(&Uuid::from_u128(2 << 64 | 7)));
        assert_eq!(a.tail(), b.tail());
        assert_eq!(check(&sample(a), b), Err(Fault::Checksum));
        assert_eq!(check(&sample(a), Key::of(&Uuid::from_u128(8))), Err(Fault::Foreign));
    }

    #[test]
    fn an_unknown_codec_is_refused_not_guessed() {
        let key = Key::of(&Uuid::from_u128(7));
        let mut frame = sample(key);
        frame[40] = 2;
        let sum = checksum(&frame, key);
        put(&mut frame, 4, sum.to_le_bytes());
        assert_eq!(check(&frame, key), Err(Fault::Unsupported(2)));
    }
}
