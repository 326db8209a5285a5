//! Writes frames to segment files. Invariant: at most one frame is written and not yet synced, and a segment takes frames
//! only after its header, its name and the footer of the segment before are durable.
//!
//! ```text
//! new segment:  N.log.tmp, or next.tmp, made ahead ─► header ─► sync ─► rename to N.log ─► sync directory ─► frames
//! frame:        [zeros ahead] ─► write ─► sync ─► visible to readers
//! sealing:      footer ─► cut to its end ─► sync
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

use crate::contract::{Disk, DiskFile, OpenMode};
use crate::ids::{Offset, Partition};
use crate::limits::{ZERO_AHEAD_BYTES, ZERO_AHEAD_FRAME_BYTES_MAX, ZERO_SEGMENT_FRAME_BYTES_MAX};
use crate::time::Micros;

use super::ahead::{Ahead, Made};
use super::frame::{self, Content, FRAME_HEADER_BYTES, FrameHeader};
use super::group::Draft;
use super::live::Segment;
use super::scan::Summary;
use super::segment::{self, SEGMENT_HEADER_BYTES, SegmentHeader};

/// Why a frame could not be written.
#[derive(Debug)]
pub(super) enum Failure {
    /// No space; everything is as it was before, so the same call may be repeated.
    Full(io::Error),
    /// It is unknown what is on disk: nothing may be acknowledged any more.
    Fatal(String),
}

/// Where UUIDs come from.
#[derive(Debug, Clone)]
pub(super) enum Uuids {
    /// From chance.
    Random,
    /// One after the other, so that a simulation can be repeated.
    Counted(Arc<AtomicU64>),
}

impl Uuids {
    fn next(&self) -> Uuid {
        match self {
            Self::Random => Uuid::new_v4(),
            // Spread over all bytes, as chance would.
            Self::Counted(count) => Uuid::from_u64_pair(count.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15), !0),
        }
    }
}

/// Where a partition's segments lie.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The disk.
    pub(super) disk: Arc<dyn Disk>,
    /// Directory of the partition.
    pub(super) dir: PathBuf,
    /// The partition.
    pub(super) partition: Partition,
    /// Size at which segments are sealed, in bytes.
    pub(super) segment_bytes: u64,
    /// Where segments get their UUIDs.
    pub(super) uuids: Uuids,
    /// Makes the file of the next segment; `None` if the writer does that itself.
    pub(super) ahead: Option<Arc<Ahead>>,
}

/// Zeros for every partition.
pub(super) static ZEROS: [u8; ZERO_AHEAD_BYTES] = [0; ZERO_AHEAD_BYTES];

/// The end of a partition, where frames are added.
#[derive(Debug)]
pub(super) struct Appender {
    place: Place,
    active: Option<Active>,
    previous: Uuid,
    next: Offset,
}

#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    file_bytes: u64,
}

impl Appender {
    /// Will begin a new segment with offset `next`.
    pub(super) fn create_next(place: Place, next: Offset, previous: Uuid) -> Self {
        Self { place, active: None, previous, next }
    }

    /// Continues a segment whose file of `file_bytes` holds zeros after the last frame.
    pub(super) fn continue_with(place: Place, segment: Arc<Segment>, file: Arc<dyn DiskFile>, file_bytes: u64) -> Self {
        let (next, previous) = (segment.end(), segment.header.uuid);
        Self { place, active: Some(Active { segment, file, file_bytes }), previous, next }
    }

    /// Offset of the next record.
    pub(super) fn next(&self) -> Offset {
        self.next
    }

    /// The newest segment.
    pub(super) fn segment(&self) -> Uuid {
        self.previous
    }

    /// Makes one frame durable. `now` is monotonic time; `opened` gets the segment, if a new one was begun for it.
    pub(super) fn append(
        &mut self,
        draft: Draft,
        bytes: &mut [u8],
        now: Duration,
        opened: &mut dyn FnMut(Arc<Segment>),
    ) -> Result<(), Failure> {
        assert_eq!(draft.base, self.next, "offsets are dense");
        assert!(draft.count > 0, "a frame of a group holds records");
        self.make_room(bytes.len(), opened)?;
        self.write_frame(bytes, draft.count, (draft.received_first, draft.received_last), now)?;
        self.next += Offset::from(draft.count);
        Ok(())
    }

    /// Asks for the next segment's file, from an eighth of this one on and 4/3 as fast as this one fills: it is there in time,
    /// and few of its zeros are on their way at any moment. To be called when those who wait for a frame have been told: the maker of
    /// zeros wants a processor, too.
    pub(super) fn look_ahead(&self) {
        let (Some(ahead), Some(active)) = (&self.place.ahead, &self.active) else { return };
        let segment_bytes = self.place.segment_bytes;
        if let due @ 1.. = active.segment.data_end().saturating_sub(segment_bytes / 8) * 4 / 3 {
            // Large frames make the file longer themselves, and zeros before them would be written for nothing.
            let are_large = active.segment.frame_bytes_mean() > ZERO_SEGMENT_FRAME_BYTES_MAX as u64;
            ahead.ask(if are_large { segment_bytes.min(ZERO_AHEAD_BYTES as u64) } else { segment_bytes }, due);
        }
    }

    /// Seals the active segment, if it has records, and begins the next.
    pub(super) fn roll(&mut self, opened: &mut dyn FnMut(Arc<Segment>)) -> Result<(), Failure> {
        self.seal()?;
        if self.active.is_none() {
            opened(self.create()?);
        }
        Ok(())
    }

    /// Adds a closing mark: if anything before it does not validate at the next start, it was damaged, not torn.
    pub(super) fn close(&mut self) -> Result<(), Failure> {
        let Some(active) = &self.active else { return Ok(()) };
        if active.segment.is_closed() {
            return Ok(());
        }
        let received = active.segment.received_last().unwrap_or(0);
        self.write_frame(&mut [0; FRAME_HEADER_BYTES], 0, (received, received), Duration::ZERO)
    }

    /// Begins the segment of offset `next`; the caller has none open.
    pub(super) fn create(&mut self) -> Result<Arc<Segment>, Failure> {
        assert!(self.active.is_none(), "one segment is written at a time");
        let header =
            SegmentHeader { uuid: self.place.uuids.next(), previous: self.previous, base: self.next, partition: self.place.partition };
        let path = segment::path_of(&self.place.dir, self.next);
        let disk = &self.place.disk;
        if disk.exists(&path) {
            return Err(Failure::Fatal(format!("{} exists already", path.display())));
        }
        let made = self.place.ahead.as_ref().and_then(|ahead| ahead.take());
        let (temporary, file_bytes, made) = match made {
            Some(Made { path, file, bytes }) => (path, bytes, Some(file)),
            None => (segment::with_suffix(&path, "tmp"), 0, None),
        };
        let file = self.prepare(&temporary, made, &header).map_err(|e| {
            let _ = disk.remove(&temporary);
            unchanged(&format!("create {}", path.display()), e)
        })?;
        file.sync_data().map_err(|e| fatal(&format!("sync {}", temporary.display()), &e))?;
        disk.rename(&temporary, &path).map_err(|e| unchanged(&format!("rename {}", temporary.display()), e))?;
        disk.sync_dir(&self.place.dir).map_err(|e| fatal(&format!("sync {}", self.place.dir.display()), &e))?;
        let segment = Arc::new(Segment::active(path, header, Summary::new(self.next), file.clone()));
        self.previous = header.uuid;
        self.active = Some(Active { segment: segment.clone(), file, file_bytes: file_bytes.max(SEGMENT_HEADER_BYTES as u64) });
        Ok(segment)
    }

    /// A file that holds the header, in `made` if there is that already.
    fn prepare(&self, temporary: &Path, made: Option<Arc<dyn DiskFile>>, header: &SegmentHeader) -> io::Result<Arc<dyn DiskFile>> {
        let file = match made {
            Some(file) => file,
            None => {
                if self.place.disk.exists(temporary) {
                    self.place.disk.remove(temporary)?;
                }
                Arc::from(self.place.disk.open(temporary, OpenMode::CreateNew)?)
            }
        };
        file.write_at(&header.encode(), 0)?;
        Ok(file)
    }

    /// Sees to it that the active segment has room for a frame.
    fn make_room(&mut self, frame_bytes: usize, opened: &mut dyn FnMut(Arc<Segment>)) -> Result<(), Failure> {
        if let Some(active) = &self.active
            && active.segment.data_end() + frame_bytes as u64 > self.place.segment_bytes
        {
            self.seal()?;
        }
        if self.active.is_none() {
            opened(self.create()?);
        }
        Ok(())
    }

    /// Writes the footer. A segment without records stays open: the next one would have its name.
    fn seal(&mut self) -> Result<(), Failure> {
        let Some(active) = &self.active else { return Ok(()) };
        let Some((trailer, mut footer)) = active.segment.footer() else { return Ok(()) };
        footer.extend_from_slice(&trailer.encode(&active.segment.header));
        let path = active.segment.path.display();
        if let Err(e) = active.file.write_at(&footer, trailer.data_end) {
            return Err(self.undo(e));
        }
        active.file.set_len(trailer.file_bytes()).map_err(|e| fatal(&format!("cut {path}"), &e))?;
        active.file.sync_data().map_err(|e| fatal(&format!("sync {path}"), &e))?;
        active.segment.seal(trailer);
        self.active = None;
        Ok(())
    }

    fn write_frame(
        &mut self,
        bytes: &mut [u8],
        count: u32,
        (received_first, received_last): (Micros, Micros),
        now: Duration,
    ) -> Result<(), Failure> {
        self.zero_ahead(bytes.len())?;
        let Some(active) = &mut self.active else { return Err(Failure::Fatal("no segment is open".to_owned())) };
        let position = active.segment.data_end();
        let (base, synced) = (active.segment.end(), active.segment.end());
        let header = FrameHeader { bytes: bytes.len(), checksum: 0, count, base, synced, received_last, content: Content::Records };
        let header = frame::seal(bytes, active.segment.key, &header);
        if let Err(e) = active.file.write_at(bytes, position) {
            return Err(self.undo(e));
        }
        active.file_bytes = active.file_bytes.max(position + bytes.len() as u64);
        let path = active.segment.path.display();
        active.file.sync_data().map_err(|e| fatal(&format!("sync {path}"), &e))?;
        active.segment.add(&header, received_first, now);
        Ok(())
    }

    /// Writes zeros before a small frame that would make the file longer. Zeros are no data: a full disk is no failure here.
    fn zero_ahead(&mut self, frame_bytes: usize) -> Result<(), Failure> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let end = active.segment.data_end() + frame_bytes as u64;
        if frame_bytes > ZERO_AHEAD_FRAME_BYTES_MAX || end <= active.file_bytes {
            return Ok(());
        }
        let room = self.place.segment_bytes.saturating_sub(active.file_bytes).min(ZERO_AHEAD_BYTES as u64);
        if room < frame_bytes as u64 {
            return Ok(());
        }
        match active.file.write_at(&ZEROS[..room as usize], active.file_bytes) {
            Ok(()) => active.file_bytes += room,
            Err(e) if is_full(&e) => {}
            Err(e) => return Err(fatal(&format!("write {}", active.segment.path.display()), &e)),
        }
        Ok(())
    }

    /// After a failed write: back to the last good frame, if the disk is only full.
    fn undo(&mut self, e: io::Error) -> Failure {
        let Some(active) = &mut self.active else { return fatal("write", &e) };
        let (path, data_end) = (active.segment.path.display(), active.segment.data_end());
        if !is_full(&e) {
            return fatal(&format!("write {path}"), &e);
        }
        match active.file.set_len(data_end) {
            Ok(()) => {
                active.file_bytes = data_end;
                Failure::Full(e)
            }
            Err(e) => fatal(&format!("cut {path}"), &e),
        }
    }
}

/// Whether there is no space for what was tried.
fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A failure after which it is unknown what is on disk: also one of a sync for lack of space, see decision 0042.
pub(super) fn fatal(what: &str, e: &io::Error) -> Failure {
    Failure::Fatal(format!("{what}: {e}"))
}

/// A failure before anything that counts was changed.
pub(super) fn unchanged(what: &str, e: io::Error) -> Failure {
    if is_full(&e) { Failure::Full(e) } else { fatal(what, &e) }
}
