//! The sparse index of a segment: offset and time to position. Invariant: it is derived from the frames and never trusted
//! alone; who follows it checks the frame that it finds.
//!
//! A mark every 64 KiB or more: `offset u64 | position u64 | received_last i64`, 24 bytes each, in order.

use crate::ids::Offset;
use crate::limits::INDEX_STRIDE_BYTES;
use crate::time::Micros;

use super::frame::FrameHeader;
use super::little_endian::{i64_at, put, u64_at};

/// Bytes of one mark on disk.
pub(super) const MARK_BYTES: usize = 24;

/// Where a frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Offset of its first record.
    pub(super) offset: Offset,
    /// Its first byte in the segment file.
    pub(super) position: u64,
    /// Receive time of its last record.
    pub(super) received_last: Micros,
}

/// Marks in order of offset, position and time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    marks: Vec<Mark>,
}

impl Index {
    /// Takes note of a frame at `position`, if the last mark is far enough behind.
    pub(super) fn note(&mut self, position: u64, header: &FrameHeader) {
        let due = self.marks.last().is_none_or(|m| position - m.position >= INDEX_STRIDE_BYTES);
        if due && header.count > 0 {
            self.marks.push(Mark { offset: header.base, position, received_last: header.received_last });
        }
    }

    /// The last mark at or before `offset`.
    pub(super) fn at_or_before(&self, offset: Offset) -> Option<Mark> {
        let after = self.marks.partition_point(|m| m.offset <= offset);
        self.marks[..after].last().copied()
    }

    /// The first mark at or after `offset`.
    pub(super) fn at_or_after(&self, offset: Offset) -> Option<Mark> {
        self.marks.get(self.marks.partition_point(|m| m.offset < offset)).copied()
    }

    /// The last mark whose frame, and so everything before, was received before `time`.
    pub(super) fn before_time(&self, time: Micros) -> Option<Mark> {
        let after = self.marks.partition_point(|m| m.received_last < time);
        self.marks[..after].last().copied()
    }

    /// How many marks there are.
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// As bytes for a footer.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.marks.len() * MARK_BYTES];
        for (mark, out) in self.marks.iter().zip(bytes.chunks_exact_mut(MARK_BYTES)) {
            put(out, 0, mark.offset.to_le_bytes());
            put(out, 8, mark.position.to_le_bytes());
            put(out, 16, mark.received_last.to_le_bytes());
        }
        bytes
    }

    /// Back from the bytes of a footer.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let (marks, _) = bytes.as_chunks::<MARK_BYTES>();
        let mark = |m: &[u8; MARK_BYTES]| Mark { offset: u64_at(m, 0), position: u64_at(m, 8), received_last: i64_at(m, 16) };
        Self { marks: marks.iter().map(mark).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::frame::Content;

    fn index() -> Index {
        let mut index = Index::default();
        for i in 0..10u64 {
            let (base, received_last) = (i * 10, i.cast_signed() * 100);
            let header = FrameHeader { bytes: 0, checksum: 0, count: 10, base, synced: 0, received_last, content: Content::Records };
            index.note(64 + i * INDEX_STRIDE_BYTES / 2, &header);
        }
        index
    }

    #[test]
    fn marks_keep_their_distance_and_are_found_from_both_sides() {
        let index = index();
        assert_eq!(index.len(), 5);
        assert_eq!(index.at_or_before(39).map(|m| m.offset), Some(20));
        assert_eq!(index.at_or_before(40).map(|m| m.offset), Some(40));
        assert_eq!(index.at_or_after(41).map(|m| m.offset), Some(60));
        assert_eq!(index.at_or_after(81), None);
        assert_eq!(index.before_time(0), None);
        assert_eq!(index.before_time(401).map(|m| m.offset), Some(40));
    }

    #[test]
    fn bytes_and_back() {
        assert_eq!(Index::decode(&index().encode()), index());
    }
}
