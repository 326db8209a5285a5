//! The records that wait for the next group commit, already encoded. Invariant: drafts follow each other without a gap, in
//! bytes and in offsets, and each fits the limits of a frame.
//!
//! ```text
//! bytes:  [48 reserved][record][record]…[48 reserved][record]…
//! drafts:  ^ start, base, count          ^ start, base, count        one frame each, sealed by the writer
//! ```

use crate::batch::Record;
use crate::ids::Offset;
use crate::limits::{FRAME_BYTES_MAX, FRAME_RECORDS_MAX, GROUP_BUFFER_KEPT_BYTES_MAX};
use crate::time::Micros;

use super::frame::FRAME_HEADER_BYTES;
use super::record;

/// A frame whose header is still to be filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Draft {
    /// First byte in the group.
    pub(super) start: usize,
    /// Offset of the first record.
    pub(super) base: Offset,
    /// Records.
    pub(super) count: u32,
    /// Receive time of the first record.
    pub(super) received_first: Micros,
    /// Receive time of the last record.
    pub(super) received_last: Micros,
}

/// Frames on their way to the disk.
#[derive(Debug, Default)]
pub(super) struct Group {
    bytes: Vec<u8>,
    drafts: Vec<Draft>,
    /// What is reserved for it, see `Pending`.
    pub(super) reserved: usize,
}

impl Group {
    /// Adds a record that `record::validate` accepted.
    pub(super) fn push(&mut self, record: &Record<'_>, offset: Offset, received: Micros) {
        let most = record::encoded_bytes(record);
        let open = self
            .drafts
            .last()
            .is_some_and(|d| (d.count as usize) < FRAME_RECORDS_MAX && self.bytes.len() - d.start + most <= FRAME_BYTES_MAX);
        if !open {
            let start = self.bytes.len();
            self.drafts.push(Draft { start, base: offset, count: 0, received_first: received, received_last: received });
            self.bytes.resize(start + FRAME_HEADER_BYTES, 0);
        }
        record::encode(&mut self.bytes, record, received);
        if let Some(draft) = self.drafts.last_mut() {
            assert_eq!(draft.base + Offset::from(draft.count), offset, "offsets are dense");
            draft.count += 1;
            draft.received_last = received;
        }
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// Frames that wait.
    pub(super) fn len(&self) -> usize {
        self.drafts.len()
    }

    /// One of the frames, from 0.
    pub(super) fn frame(&mut self, at: usize) -> (Draft, &mut [u8]) {
        let draft = self.drafts[at];
        let end = self.drafts.get(at + 1).map_or(self.bytes.len(), |next| next.start);
        (draft, &mut self.bytes[draft.start..end])
    }

    /// Forgets everything; keeps the memory that the next group will want if it is like this one.
    pub(super) fn clear(&mut self) {
        let keep = self.bytes.len().max(GROUP_BUFFER_KEPT_BYTES_MAX);
        self.bytes.clear();
        self.drafts.clear();
        self.bytes.shrink_to(keep);
    }

    /// Gives memory back that nothing has needed for a while. Only for a group without records.
    pub(super) fn rest(&mut self) {
        self.bytes.shrink_to(GROUP_BUFFER_KEPT_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::ContentType;
    use crate::limits::RECORD_PAYLOAD_BYTES_MAX;

    #[test]
    fn a_group_is_cut_into_frames_that_fit() {
        let (mut group, large) = (Group::default(), vec![1; RECORD_PAYLOAD_BYTES_MAX]);
        let record = Record { device: "d", topic: "t", content_type: ContentType::Binary, producer: None, payload: &large };
        let small = Record { payload: b"x", ..record };
        for offset in 0..20 {
            group.push(&record, offset, 5);
        }
        for offset in 20..20 + FRAME_RECORDS_MAX as u64 + 1 {
            group.push(&small, offset, 6);
        }
        let frames: Vec<_> = (0..group.len())
            .map(|i| {
                let (d, b) = group.frame(i);
                (d.base, d.count, b.len())
            })
            .collect();
        assert!(frames.len() >= 3, "{frames:?}");
        let mut next = 0;
        for (base, count, bytes) in frames {
            assert_eq!(base, next);
            assert!(bytes <= FRAME_BYTES_MAX && count as usize <= FRAME_RECORDS_MAX);
            next += u64::from(count);
        }
        assert_eq!(next, 20 + FRAME_RECORDS_MAX as u64 + 1);
        group.clear();
        assert!(group.is_empty());
    }
}
