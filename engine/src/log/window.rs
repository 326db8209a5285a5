//! A moving view of a file. Invariant: memory stays within the larger of the window and one request, whatever the file holds.

use std::io;

use crate::contract::DiskFile;

/// Reads a file piece by piece, mostly forward.
pub(super) struct Window<'a> {
    file: &'a dyn DiskFile,
    file_bytes: u64,
    window_bytes: usize,
    start: u64,
    buffer: Vec<u8>,
}

impl<'a> Window<'a> {
    /// A view of the first `file_bytes` bytes that reads `window_bytes` at a time.
    pub(super) fn new(file: &'a dyn DiskFile, file_bytes: u64, window_bytes: usize) -> Self {
        Self { file, file_bytes, window_bytes, start: 0, buffer: Vec::new() }
    }

    /// Bytes that can be viewed.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// `want` bytes from `position` on; fewer only at the end.
    pub(super) fn get(&mut self, position: u64, want: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.file_bytes.saturating_sub(position)).unwrap_or(usize::MAX);
        let want = want.min(left);
        let held = position >= self.start && position - self.start + want as u64 <= self.buffer.len() as u64;
        if !held {
            self.buffer.resize(want.max(self.window_bytes).min(left), 0);
            let read = self.file.read_at(&mut self.buffer, position)?;
            self.buffer.truncate(read);
            self.start = position;
        }
        let from = (position - self.start) as usize;
        let to = (from + want).min(self.buffer.len());
        Ok(&self.buffer[from.min(to)..to])
    }

    /// The byte after the last one at or after `position` that is not zero.
    pub(super) fn end_of_content(&mut self, mut position: u64) -> io::Result<Option<u64>> {
        let mut end = None;
        while position < self.file_bytes {
            let bytes = self.get(position, self.window_bytes)?;
            if bytes.is_empty() {
                break;
            }
            if let Some(last) = bytes.iter().rposition(|b| *b != 0) {
                end = Some(position + last as u64 + 1);
            }
            position += bytes.len() as u64;
        }
        Ok(end)
    }
}
