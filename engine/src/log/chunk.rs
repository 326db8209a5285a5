//! Memory that batches are read into. Invariant: a chunk is written to again only after nobody holds a view of it any more.
//!
//! A reader that catches up asks for a few megabytes every few milliseconds. Fresh ones would be zeroed, and paged in, each time.

use std::ops::Range;
use std::sync::Mutex;

use arrow::buffer::Buffer;
use bytes::Bytes;

use crate::limits::{BATCH_BYTES_MAX, READ_CHUNKS_KEPT_MAX};
use crate::locks::lock;

/// Chunks that nobody uses now.
static FREE: Mutex<Kept> = Mutex::new(Kept(Vec::new()));

/// Chunks that are kept are of multiples of this many bytes.
const STEP: usize = BATCH_BYTES_MAX / 8;

/// Bytes that were read into, those that nobody wanted for longest first.
#[derive(Debug)]
struct Kept(Vec<Box<[u8]>>);

impl Kept {
    /// One of such a length.
    fn take(&mut self, lengths: Range<usize>) -> Option<Box<[u8]>> {
        let at = self.0.iter().rposition(|bytes| lengths.contains(&bytes.len()))?;
        Some(self.0.remove(at))
    }

    /// Keeps one; returns what has to go for it.
    fn put(&mut self, bytes: Box<[u8]>) -> Option<Box<[u8]>> {
        let oldest = (self.0.len() >= READ_CHUNKS_KEPT_MAX).then(|| self.0.remove(0));
        self.0.push(bytes);
        oldest
    }
}

/// Bytes to read into.
#[derive(Debug)]
pub(super) struct Chunk {
    bytes: Box<[u8]>,
    used: usize,
}

impl Chunk {
    /// Of `used` bytes, whatever they hold. Small ones are made for it, others are less than twice as long: a view of one must not keep
    /// megabytes.
    pub(super) fn new(used: usize) -> Self {
        let room = if is_kept(used) { used.next_multiple_of(STEP) } else { used };
        let kept = if 2 * used > STEP { lock(&FREE).take(room..2 * used) } else { None };
        Self { bytes: kept.unwrap_or_else(|| vec![0; room].into_boxed_slice()), used }
    }

    /// All of it.
    pub(super) fn get_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.used]
    }

    /// Only the first `used` bytes count from now on.
    pub(super) fn truncate(&mut self, used: usize) {
        self.used = self.used.min(used);
    }

    /// Shared from now on; the chunk is used again when the last view of it is gone.
    pub(super) fn share(self) -> Buffer {
        Buffer::from(Bytes::from_owner(self))
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if is_kept(self.bytes.len()) {
            let oldest = lock(&FREE).put(std::mem::take(&mut self.bytes));
            // Not under the lock: it goes back to the system.
            drop(oldest);
        }
    }
}

/// Whether a chunk of so many bytes is worth keeping.
fn is_kept(bytes: usize) -> bool {
    (STEP..=BATCH_BYTES_MAX).contains(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_written_to_again_only_when_no_view_is_left() {
        let mut first = Chunk::new(BATCH_BYTES_MAX);
        first.get_mut().fill(7);
        first.truncate(1_000_000);
        let whole = first.share();
        let view = whole.slice_with_length(10, 20);
        drop(whole);
        let mut others: Vec<Chunk> = (0..8).map(|_| Chunk::new(BATCH_BYTES_MAX - 1)).collect();
        others.iter_mut().for_each(|other| other.get_mut().fill(9));
        assert_eq!(view.as_slice(), [7; 20]);
        assert_eq!(others[7].as_ref().len(), BATCH_BYTES_MAX - 1);
    }

    #[test]
    fn what_was_wanted_last_is_kept() {
        let bytes = |steps: usize| vec![0; steps * STEP].into_boxed_slice();
        let mut kept = Kept(Vec::new());
        for steps in 1..=READ_CHUNKS_KEPT_MAX {
            assert_eq!(kept.put(bytes(steps)), None);
        }
        let second = kept.take(2 * STEP..3 * STEP).unwrap();
        assert_eq!((second.len(), kept.take(2 * STEP..3 * STEP)), (2 * STEP, None));
        assert_eq!(kept.put(second), None);
        let gone = [5, 5].map(|steps| kept.put(bytes(steps)).map(|bytes| bytes.len() / STEP));
        assert_eq!(gone, [Some(1), Some(3)]);
    }

    #[test]
    fn a_chunk_is_less_than_twice_as_long_as_asked_for() {
        for used in [STEP - 1, STEP, STEP + 1, BATCH_BYTES_MAX / 3, BATCH_BYTES_MAX, BATCH_BYTES_MAX + 1] {
            (0..4).map(|_| Chunk::new(used)).for_each(drop);
            for other in [used / 2, used - 1, used, used + 1] {
                let chunk = Chunk::new(other);
                assert!((other..2 * other).contains(&chunk.bytes.len()), "{} for {other}", chunk.bytes.len());
            }
        }
    }

    #[test]
    fn a_small_chunk_is_no_larger_than_asked_for() {
        let mut small = Chunk::new(100);
        assert_eq!((small.bytes.len(), small.get_mut().len()), (100, 100));
        small.truncate(40);
        assert_eq!(small.share().len(), 40);
    }
}
