//! Memory that batches are read into. Invariant: a chunk is written to again only after nobody holds a view of it any more.
//!
//! A reader that catches up asks for a few megabytes every few milliseconds. Fresh ones would be zeroed, and paged in, each time.

use std::sync::Mutex;

use arrow::buffer::Buffer;
use bytes::Bytes;

use crate::limits::{BATCH_BYTES_MAX, READ_CHUNKS_KEPT_MAX};

use super::partition::lock;

/// Chunks that nobody uses now.
static FREE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// Bytes to read into.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Of `BATCH_BYTES_MAX` if it is one that is kept.
    bytes: Box<[u8]>,
    used: usize,
}

impl Chunk {
    /// Of `used` bytes, whatever they hold. Small ones are made for it: a view of one must not keep megabytes.
    pub(super) fn new(used: usize) -> Self {
        let is_large = used > BATCH_BYTES_MAX / 2 && used <= BATCH_BYTES_MAX;
        let free = if is_large { lock(&FREE).pop() } else { None };
        let bytes = free.unwrap_or_else(|| vec![0; if is_large { BATCH_BYTES_MAX } else { used }].into_boxed_slice());
        Self { bytes, used }
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
        if self.bytes.len() == BATCH_BYTES_MAX {
            let mut free = lock(&FREE);
            if free.len() < READ_CHUNKS_KEPT_MAX {
                free.push(std::mem::take(&mut self.bytes));
            }
        }
    }
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
    fn a_small_chunk_is_no_larger_than_asked_for() {
        let mut small = Chunk::new(100);
        assert_eq!((small.bytes.len(), small.get_mut().len()), (100, 100));
        small.truncate(40);
        assert_eq!(small.share().len(), 40);
    }
}
