//! Reading a partition. Invariant: a record is handed out only from a frame that was checked in full just now; indexes and
//! hints say where to look, never what is there.
//!
//! ```text
//! from ─► segment ─► hint, or mark of the index and then frame headers ─► position of the frame with `from`
//!      ─► one read of up to a batch ─► each frame checked ─► entries point into the bytes read
//! ```

use std::sync::Arc;

use arrow::buffer::Buffer;

use crate::batch::Records;
use crate::contract::DiskFile;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Offset;
use crate::limits::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, INDEX_STRIDE_BYTES, INDEXES_LOADED_MAX, READ_HINTS_MAX};
use crate::locks::{lock, read};
use crate::time::Micros;

use super::chunk::Chunk;
use super::frame::{self, Content, FRAME_HEADER_BYTES};
use super::index::{Index, Mark};
use super::live::Segment;
use super::partition::Partition;
use super::record;
use super::segment::SEGMENT_HEADER_BYTES;
use super::window::Window;

/// Less than what most records take.
const SMALL_RECORD_BYTES: usize = 128;

/// Where the frame that begins with `offset` lies, as a reader left it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hint {
    segment: Offset,
    offset: Offset,
    position: u64,
}

impl Partition {
    /// See `LogStore::read`.
    pub(super) fn read(&self, from: Offset) -> Result<Option<Records>> {
        if from >= self.durable() {
            return Ok(None);
        }
        let segment = self.segment_of(from)?;
        let read = segment.file(&*self.disk).and_then(|file| self.read_segment(&segment, &*file, from));
        match read {
            // Retention may have taken the segment in the meantime; then that is the answer.
            Err(e) if e.kind() == ErrorKind::NotFound => Err(self.segment_of(from).err().unwrap_or(e)),
            read => read.map(Some),
        }
    }

    /// See `LogStore::offset_at`.
    pub(super) fn offset_at(&self, time: Micros) -> Result<Offset> {
        let durable = self.durable();
        let segments = self.segments_now();
        let at = segments.partition_point(|s| s.received_last().is_some_and(|last| last < time));
        let Some(segment) = segments.get(at) else { return Ok(durable) };
        let file = segment.file(&*self.disk)?;
        let mark = self.look_up(segment, &*file, |index| index.before_time(time))?;
        let mut from = mark.map_or(segment.header.base, |m| m.offset);
        while let Some(records) = self.read(from)? {
            let before = records.entries.partition_point(|e| e.received < time);
            if let Some(entry) = records.entries.get(before) {
                return Ok(entry.offset);
            }
            from = records.end();
        }
        Ok(durable)
    }

    /// The segment that holds `from`. Errors: `Invalid` if it is gone.
    fn segment_of(&self, from: Offset) -> Result<Arc<Segment>> {
        let segments = read(&self.segments);
        let after = segments.partition_point(|s| s.header.base <= from);
        match after.checked_sub(1).and_then(|at| segments.get(at)) {
            Some(segment) => Ok(segment.clone()),
            None => {
                let start = segments.front().map_or(from, |s| s.header.base);
                Err(Error::invalid(format!("offset {from} of log {} is no longer kept; the oldest is {start}", self.label))
                    .hint("read from the oldest on, and treat the records before it as lost"))
            }
        }
    }

    fn read_segment(&self, segment: &Arc<Segment>, file: &dyn DiskFile, from: Offset) -> Result<Records> {
        let data_end = segment.data_end();
        let position = self.locate(segment, file, from, data_end)?;
        let enough = self.look_up(segment, file, |index| index.at_or_after(from.saturating_add(BATCH_ROWS_MAX as Offset)))?;
        let until = enough.map_or(data_end, |mark| mark.position).max(position);
        let want = usize::try_from(until - position).unwrap_or(BATCH_BYTES_MAX).min(BATCH_BYTES_MAX);
        let mut shared = Chunk::new(want);
        let read = file.read_at(shared.get_mut(), position).map_err(|e| segment.error(e))?;
        shared.truncate(read);
        let chunk = shared.as_ref();

        // Room for all of them if they are not tiny: growing would copy them again and again.
        let mut entries = Vec::with_capacity((chunk.len() / SMALL_RECORD_BYTES).min(BATCH_ROWS_MAX));
        let (mut at, mut next) = (0, from);
        while at < chunk.len() {
            let damaged = |what: &str| Err(segment.damage(position + at as u64, next, what));
            let header = match frame::check(&chunk[at..], segment.key) {
                Ok(header) => header,
                // The chunk was cut inside this frame, or it is damaged: the next read will tell.
                Err(_) if !entries.is_empty() => break,
                Err(fault) => return damaged(&fault.to_string()),
            };
            if header.base > next {
                return damaged(&format!("offset {next} should come here, but {} does", header.base));
            }
            if header.content == Content::Lost && !entries.is_empty() {
                break;
            }
            if header.content == Content::Lost {
                let end = Hint { segment: segment.header.base, offset: header.end(), position: position + (at + header.bytes) as u64 };
                self.remember(end);
                let lost = Some(from.max(header.base)..header.end());
                return Ok(Records { partition: self.number, bytes: Buffer::default(), entries, lost });
            }
            if !entries.is_empty() && entries.len() + header.count as usize > BATCH_ROWS_MAX {
                break;
            }
            let end = at + header.bytes;
            if let Err(offset) = record::decode(chunk, at + FRAME_HEADER_BYTES..end, &header, from, &mut entries) {
                return damaged(&format!("record {offset} cannot be decoded"));
            }
            at = end;
            next = next.max(header.end());
        }
        if entries.is_empty() {
            return Err(segment.damage(position, from, "the frame is not there"));
        }
        self.remember(Hint { segment: segment.header.base, offset: next, position: position + at as u64 });
        shared.truncate(at);
        // Large records: what was too much room goes back, for batches wait in memory.
        entries.shrink_to(2 * entries.len());
        Ok(Records { partition: self.number, bytes: shared.share(), entries, lost: None })
    }

    /// Position of the frame that should hold `from`.
    fn locate(&self, segment: &Arc<Segment>, file: &dyn DiskFile, from: Offset, data_end: u64) -> Result<u64> {
        if let Some(position) = self.recall(segment.header.base, from) {
            return Ok(position);
        }
        let mark = self.look_up(segment, file, |index| index.at_or_before(from))?;
        let mut position = mark.map_or(SEGMENT_HEADER_BYTES as u64, |m| m.position);
        let mut window = Window::new(file, data_end, INDEX_STRIDE_BYTES as usize);
        loop {
            let bytes = window.get(position, FRAME_HEADER_BYTES).map_err(|e| segment.error(e))?;
            let header = frame::peek(bytes, segment.key).map_err(|fault| segment.damage(position, from, &fault.to_string()))?;
            if header.end() > from {
                return Ok(position);
            }
            position += header.bytes as u64;
        }
    }

    /// Looks something up in the index of a segment. Of those that were loaded for that the last ones stay in memory.
    fn look_up(&self, segment: &Arc<Segment>, file: &dyn DiskFile, find: impl Fn(&Index) -> Option<Mark>) -> Result<Option<Mark>> {
        segment.look_up(file, find, || {
            let mut indexed = lock(&self.indexed);
            indexed.push_back(segment.clone());
            let oldest = if indexed.len() > INDEXES_LOADED_MAX { indexed.pop_front() } else { None };
            drop(indexed);
            if let Some(oldest) = oldest {
                oldest.drop_index();
            }
        })
    }

    fn recall(&self, segment: Offset, offset: Offset) -> Option<u64> {
        let mut hints = lock(&self.hints);
        let at = hints.iter().position(|h| h.offset == offset && h.segment == segment)?;
        hints.remove(at).map(|h| h.position)
    }

    fn remember(&self, hint: Hint) {
        let mut hints = lock(&self.hints);
        if hints.len() >= READ_HINTS_MAX {
            hints.pop_front();
        }
        hints.push_back(hint);
    }
}

impl Segment {
    /// The error for bytes that should be a frame and are not.
    fn damage(&self, byte: u64, from: Offset, what: &str) -> Error {
        let path = self.path.display();
        Error::corrupt(format!("{path}: {what} at byte {byte}; offsets {from} to {} cannot be read", self.end()))
            .hint("run `thalweg log verify`, and bring the file back from a copy")
    }
}
