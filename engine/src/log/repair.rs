//! Giving up what is damaged, once a person has said so. Invariant: every record that is still whole is kept, byte for byte and
//! at its offset; the offsets of the others become a frame that says so, and no offset is ever used twice.
//!
//! ```text
//! examine:  segments ─► pieces: frames that are whole, and the offsets between them
//! repair:   N.log.tmp: header, frames, lost frames, footer ─► sync ─► copy of the old file ─► rename to N.log ─► sync directory
//! ```
//!
//! One node has no second copy to bring records back from: damage is detected, not mended. What the disk does not give back counts
//! as damaged.

use std::ops::Range;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::contract::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::ids::{Name, Offset, Partition};
use crate::limits::SCAN_WINDOW_BYTES;
use crate::time::Micros;

use super::floors::Floor;
use super::frame::{self, Content, FRAME_HEADER_BYTES, Fault, FrameHeader};
use super::open::{self, Newest};
use super::recovery::Facts;
use super::salvage::Salvaged;
use super::scan::{self, Scan, Stop, Summary};
use super::segment::{self, FORMAT_VERSION, HeaderFault, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::start;
use super::window::Window;

/// Least bytes of a record in a frame: what bounds the records that an unreadable file can have held.
const RECORD_BYTES_MIN: u64 = 16;

/// What is damaged in a partition, and what a repair would do.
#[derive(Debug, Default)]
pub struct Examined {
    /// Offsets whose records would be given up, in order; empty if all of them are still there.
    pub lost: Vec<Range<Offset>>,
    /// What is wrong, a sentence each, with the file; empty if nothing is.
    pub problems: Vec<String>,
    rewrites: Vec<Rewrite>,
}

/// A segment that is written anew.
#[derive(Debug)]
struct Rewrite {
    path: PathBuf,
    header: SegmentHeader,
    pieces: Vec<Piece>,
    sealed: bool,
    /// Receive time of the last record before it.
    received: Micros,
}

/// A part of a segment.
#[derive(Debug)]
enum Piece {
    /// Whole frames, by their bytes in the old file.
    Frames(Range<u64>),
    /// Offsets whose records are lost.
    Lost(Range<Offset>),
}

/// Where the next segment should begin.
#[derive(Debug, Clone, Copy)]
struct End {
    offset: Offset,
    uuid: Uuid,
    /// Receive time of the last record before it; 0 if there is none.
    received: Micros,
}

/// Reads every byte of a partition, which somebody has read up to `floor`, and says what a repair would do; nothing is changed.
pub fn examine(disk: &dyn Disk, dir: &Path, (stream, number): (&Name, Partition), floor: Option<&Floor>) -> Result<Examined> {
    let read = floor.map_or(0, |floor| floor.offset);
    let dir = segment::partition_dir(&dir.join(stream.as_str()), number);
    let listing = open::list(disk, &dir)?;
    let mut all = Vec::with_capacity(listing.segments.len());
    for (at, (base, path)) in listing.segments.iter().enumerate() {
        let newest = if at + 1 == listing.segments.len() { Newest::Yes } else { Newest::No };
        let file = Salvaged::open(disk, path).map_err(|e| Error::from(e).context(path.display()))?;
        let facts = open::facts_of(&file, *base, newest).map_err(|e| Error::from(e).context(path.display()))?;
        all.push((path.clone(), file, facts));
    }
    let mut examined = Examined::default();
    let oldest = all.first().map(|(_, _, facts)| facts);
    let missing = start::missing(start::read(disk, &dir), oldest.map(|facts| facts.base));
    let mut end: Option<End> = oldest.filter(|_| !missing.is_empty()).map(|oldest| {
        let uuid = oldest.header.map_or_else(|_| Uuid::new_v4(), |h| h.previous);
        let begin = End { offset: missing.start, uuid: Uuid::nil(), received: 0 };
        examined.fill_gap(&dir, number, begin, End { offset: missing.end, uuid, received: 0 })
    });
    for (at, (path, file, facts)) in all.iter().enumerate() {
        let next = all.get(at + 1).map(|(_, _, facts)| facts);
        let bad = file.unreadable().map_err(|e| Error::from(e).context(path.display()))?;
        if next.is_none() && facts.blank && bad.is_none() {
            // Recovery removes it by itself.
            break;
        }
        let before = match end {
            None => End { offset: facts.base, uuid: facts.header.map_or(Uuid::nil(), |h| h.previous), received: 0 },
            Some(end) if end.offset > facts.base => {
                return Err(Error::corrupt(format!("{}: the segment before it ends at offset {}", path.display(), end.offset))
                    .hint("two copies of a log were mixed; move one of them away"));
            }
            Some(end) if end.offset < facts.base => {
                let uuid = facts.header.map_or_else(|_| Uuid::new_v4(), |h| h.previous);
                examined.fill_gap(&dir, number, end, End { offset: facts.base, uuid, received: end.received })
            }
            Some(end) => end,
        };
        end = Some(examined.add_segment(file, path, (number, before, read), (facts, next))?);
    }
    let first = || End { offset: all.first().map_or(0, |(_, _, facts)| facts.base), uuid: Uuid::nil(), received: 0 };
    let end = end.unwrap_or_else(first);
    if end.offset < read {
        examined.fill_gap(&dir, number, end, End { offset: read, uuid: Uuid::new_v4(), received: end.received });
    }
    Ok(examined)
}

impl Examined {
    /// Plans a segment in place of one that is gone.
    fn fill_gap(&mut self, dir: &Path, partition: Partition, end: End, next: End) -> End {
        let path = segment::path_of(dir, end.offset);
        let lost = end.offset..next.offset;
        self.problems.push(format!("{}: the file is gone", path.display()));
        self.lost.push(lost.clone());
        let header = SegmentHeader { uuid: next.uuid, previous: end.uuid, base: end.offset, partition };
        self.rewrites.push(Rewrite { path, header, pieces: vec![Piece::Lost(lost)], sealed: true, received: end.received });
        next
    }

    /// Judges one segment that should follow `before`, in a partition of which all before `read` was read; returns where it ends.
    fn add_segment(
        &mut self,
        file: &Salvaged,
        path: &Path,
        (partition, before, read): (Partition, End, Offset),
        (facts, next): (&Facts, Option<&Facts>),
    ) -> Result<End> {
        let context = |e: std::io::Error| Error::from(e).context(path.display());
        if let Err(HeaderFault::Version(version)) = facts.header {
            return Err(Error::other_version(path.display(), version, FORMAT_VERSION));
        }
        let problems_before = self.problems.len();
        let mut problem = |what: &str| self.problems.push(format!("{}: {what}", path.display()));
        let uuid = match uuid_of(file, facts, next).map_err(context)? {
            Some(uuid) => uuid,
            None => next.and_then(|next| next.header.ok()).map_or_else(Uuid::new_v4, |h| h.previous),
        };
        let header = SegmentHeader { uuid, previous: before.uuid, base: facts.base, partition };
        if facts.header != Ok(header) {
            problem("the segment header is damaged");
        }
        let sealed = next.is_some() || facts.trailer.is_some();
        if sealed && facts.trailer.is_none() {
            problem("the footer is damaged or missing");
        }
        let limit = match (&facts.trailer, &facts.scan) {
            (Some(trailer), _) => trailer.data_end,
            // What follows was never durable; recovery cuts it off.
            (None, Some(Scan { summary, stop: Stop::Clean | Stop::Torn { .. } })) if read <= summary.end => summary.data_end,
            (None, _) => facts.bytes,
        };
        let known_end = facts.trailer.map(|t| t.end).or(next.map(|next| next.base));
        let (pieces, mut end) = pieces(file, limit, &header).map_err(context)?;
        let mut pieces = pieces;
        let bad = unreadable(file, facts).map_err(context)?;
        if let Some(bad) = &bad {
            problem(&format!("not all bytes from {} to {} can be read", bad.start, bad.end));
        }
        let end_told = known_end.unwrap_or_else(|| end_at_most(facts, end, &pieces, bad).max(read));
        if end_told > end {
            pieces.push(Piece::Lost(end..end_told));
            end = end_told;
        }
        let lost: Vec<_> = pieces.iter().filter_map(|p| if let Piece::Lost(lost) = p { Some(lost.clone()) } else { None }).collect();
        for lost in &lost {
            problem(&format!("the records of offsets {} to {} cannot be read", lost.start, lost.end - 1));
        }
        self.lost.extend(lost);
        if self.problems.len() > problems_before {
            self.rewrites.push(Rewrite { path: path.to_owned(), header, pieces, sealed, received: before.received });
        }
        let scanned = || facts.scan.as_ref()?.summary.received.map(|(_, last)| last);
        let received = facts.trailer.map(|t| t.received_last).or_else(scanned).map_or(before.received, |last| last.max(before.received));
        Ok(End { offset: end, uuid, received })
    }
}

/// The UUID of a segment: what its header says, or, if that is damaged, whatever its frames answer to.
fn uuid_of(file: &dyn DiskFile, facts: &Facts, next: Option<&Facts>) -> std::io::Result<Option<Uuid>> {
    if let Ok(header) = facts.header {
        return Ok(Some(header.uuid));
    }
    let mut bytes = [0; 16];
    let read = file.read_at(&mut bytes, 16)?;
    let own = (read == bytes.len()).then(|| Uuid::from_bytes(bytes));
    let following = next.and_then(|next| next.header.ok()).map(|header| header.previous);
    for uuid in [own, following].into_iter().flatten() {
        let key = frame::Key::of(&uuid);
        let mut window = Window::new(file, facts.bytes, SCAN_WINDOW_BYTES);
        if scan::later_frame(&mut window, SEGMENT_HEADER_BYTES as u64, key, &|frame| frame.base >= facts.base)?.is_some() {
            return Ok(Some(uuid));
        }
    }
    Ok(None)
}

/// Where bytes of a segment cannot be read, of which the frames were read before.
fn unreadable(file: &Salvaged, facts: &Facts) -> std::io::Result<Option<Range<u64>>> {
    if let Some(trailer) = &facts.trailer {
        file.read_at(&mut vec![0; trailer.marks_bytes() as usize], trailer.data_end)?;
    }
    file.unreadable()
}

/// The offset after the last record that can have been in a segment of which nothing tells it: its whole frames end with `end`,
/// and no more records than this fit into what came after them and cannot be read.
fn end_at_most(facts: &Facts, end: Offset, pieces: &[Piece], bad: Option<Range<u64>>) -> Offset {
    if facts.header.is_err() && end == facts.base {
        return facts.base + facts.bytes / RECORD_BYTES_MIN;
    }
    let last = pieces.iter().rev().find_map(|piece| if let Piece::Frames(bytes) = piece { Some(bytes.end) } else { None });
    let from = last.unwrap_or(SEGMENT_HEADER_BYTES as u64);
    end + bad.map_or(0, |bad| bad.end.saturating_sub(from) / RECORD_BYTES_MIN)
}

/// The whole frames of a segment, what is lost between them, and the offset after the last of them.
fn pieces(file: &dyn DiskFile, limit: u64, header: &SegmentHeader) -> std::io::Result<(Vec<Piece>, Offset)> {
    let key = header.key();
    let mut window = Window::new(file, limit, SCAN_WINDOW_BYTES);
    let (mut pieces, mut position, mut expected) = (Vec::new(), SEGMENT_HEADER_BYTES as u64, header.base);
    loop {
        if let Err(fault @ Fault::Unsupported(_)) = scan::next_frame(&mut window, position, key)? {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, format!("{fault} (byte {position})")));
        }
        let found = scan::later_frame(&mut window, position, key, &|frame| frame.base >= expected)?;
        let Some((start, frame)) = found else { return Ok((pieces, expected)) };
        if frame.base > expected {
            pieces.push(Piece::Lost(expected..frame.base));
        }
        let end = start + frame.bytes as u64;
        match pieces.last_mut() {
            Some(Piece::Frames(range)) if range.end == start => range.end = end,
            _ => pieces.push(Piece::Frames(start..end)),
        }
        (position, expected) = (end, frame.end());
    }
}

/// Repairs a partition whose log nobody has open. `accepted` are the offsets that a person gave up, `now` goes
/// into the note about it. The old files stay beside
/// the new ones with the ending `damaged`. Errors: `Conflict` if other offsets would be lost; nothing is changed then.
pub fn repair(
    disk: &dyn Disk,
    dir: &Path,
    (stream, number): (&Name, Partition),
    floor: Option<&Floor>,
    accepted: &[Range<Offset>],
    now: Micros,
) -> Result<Examined> {
    let examined = examine(disk, dir, (stream, number), floor)?;
    if let Some(lost) = examined.lost.iter().find(|lost| !accepted.iter().any(|a| a.start <= lost.start && lost.end <= a.end)) {
        return Err(Error::conflict(format!("offsets {} to {} of {stream}/{number} would be lost", lost.start, lost.end - 1))
            .hint(format!("to accept that, say --accept-loss {}..{}", lost.start, lost.end)));
    }
    if !examined.rewrites.is_empty() {
        note(disk, &dir.join(stream.as_str()), number, &examined, now)?;
    }
    for rewrite in &examined.rewrites {
        write(disk, rewrite).map_err(|e| Error::from(e).context(rewrite.path.display()))?;
    }
    Ok(examined)
}

/// Adds a line about the repair to the stream's `repairs.jsonl`, durably, before anything is changed.
fn note(disk: &dyn Disk, dir: &Path, partition: Partition, examined: &Examined, now: Micros) -> Result<()> {
    let path = dir.join("repairs.jsonl");
    let lost: Vec<_> = examined.lost.iter().map(|lost| [lost.start, lost.end]).collect();
    let line = serde_json::json!({ "time": now, "partition": partition, "lost": lost, "problems": examined.problems });
    let write = || {
        let mode = if disk.exists(&path) { OpenMode::ReadWrite } else { OpenMode::CreateNew };
        let file = disk.open(&path, mode)?;
        file.write_at(format!("{line}\n").as_bytes(), file.len()?)?;
        file.sync_data()?;
        disk.sync_dir(dir)
    };
    write().map_err(|e| Error::from(e).context(path.display()))
}

fn write(disk: &dyn Disk, rewrite: &Rewrite) -> std::io::Result<()> {
    let old = if disk.exists(&rewrite.path) { Some(Salvaged::open(disk, &rewrite.path)?) } else { None };
    let temporary = segment::with_suffix(&rewrite.path, "tmp");
    if disk.exists(&temporary) {
        disk.remove(&temporary)?;
    }
    let file = disk.open(&temporary, OpenMode::CreateNew)?;
    file.write_at(&rewrite.header.encode(), 0)?;
    let mut summary = Summary::new(rewrite.header.base);
    for piece in &rewrite.pieces {
        match (piece, &old) {
            (Piece::Frames(range), Some(old)) => copy_frames(old, range, &*file, rewrite, &mut summary)?,
            (Piece::Frames(_), None) => return Err(std::io::Error::other("frames of a file that is gone")),
            (Piece::Lost(lost), _) => write_lost(&*file, lost, rewrite, &mut summary)?,
        }
    }
    if let (true, Some(trailer)) = (rewrite.sealed, summary.trailer(rewrite.header.key())) {
        let mut footer = summary.index.encode();
        footer.extend_from_slice(&trailer.encode(&rewrite.header));
        file.write_at(&footer, trailer.data_end)?;
    }
    file.sync_data()?;
    if let Some(old) = &old {
        open::copy_range(disk, old, &segment::with_suffix(&rewrite.path, "damaged"), 0, old.len()?)?;
    }
    disk.rename(&temporary, &rewrite.path)?;
    disk.sync_dir(rewrite.path.parent().unwrap_or(Path::new(".")))
}

fn copy_frames(
    old: &dyn DiskFile,
    range: &Range<u64>,
    file: &dyn DiskFile,
    rewrite: &Rewrite,
    summary: &mut Summary,
) -> std::io::Result<()> {
    let mut window = Window::new(old, range.end, SCAN_WINDOW_BYTES);
    let mut position = range.start;
    while position < range.end {
        let found = scan::next_frame(&mut window, position, rewrite.header.key())?;
        let (header, bytes) = found.map_err(|fault| std::io::Error::other(fault.to_string()))?;
        file.write_at(bytes, summary.data_end)?;
        summary.add(&header, scan::received_first(&header, bytes));
        position += header.bytes as u64;
    }
    Ok(())
}

fn write_lost(file: &dyn DiskFile, lost: &Range<Offset>, rewrite: &Rewrite, summary: &mut Summary) -> std::io::Result<()> {
    let mut base = lost.start;
    while base < lost.end {
        let count = u32::try_from(lost.end - base).unwrap_or(u32::MAX);
        let received_last = summary.received.map_or(rewrite.received, |(_, last)| last);
        let header = FrameHeader { bytes: 0, checksum: 0, count, base, synced: base, received_last, content: Content::Lost };
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let header = frame::seal(&mut bytes, rewrite.header.key(), &header);
        file.write_at(&bytes, summary.data_end)?;
        summary.add(&header, received_last);
        base = header.end();
    }
    Ok(())
}
