//! Opens a partition: gathers facts, lets `recovery` decide, acts. Invariant: nothing is changed before the decision, nothing
//! at all if it is to refuse; and what will be served was synced first, because after the death of a process a file may
//! look whole and yet lie in memory only.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::contract::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::ids::Offset;
use crate::limits::SCAN_WINDOW_BYTES;
use crate::time::Micros;

use super::appender::{Appender, Place};
use super::floors::Floor;
use super::live::Segment;
use super::recovery::{self, Damage, Decision, Facts, Tail};
use super::scan::{self, Scan, Stop};
use super::segment::{self, FORMAT_VERSION, FileKind, HeaderFault, SEGMENT_HEADER_BYTES, SegmentHeader, TRAILER_BYTES, Trailer};
use super::start;
use super::window::Window;

/// Copies of torn tails that a partition keeps, for whoever wants to know what was cut off.
const TORN_KEPT: usize = 8;

/// A partition's files, ready to be served.
pub(super) struct Opened {
    /// Readable segments, oldest first.
    pub(super) segments: VecDeque<Arc<Segment>>,
    /// Offset after the last readable record.
    pub(super) next: Offset,
    /// Receive time of the last readable record.
    pub(super) received_last: Micros,
    /// Bytes of a torn tail that were cut off.
    pub(super) torn_bytes: u64,
    /// Offsets before the oldest segment that retention did not remove; empty if there are none.
    pub(super) missing: Range<Offset>,
    /// Where to write, or why nothing may be written.
    pub(super) end: std::result::Result<Appender, String>,
}

/// Files of a partition, by kind.
pub(super) struct Listing {
    /// Segments in order of their base offsets.
    pub(super) segments: Vec<(Offset, PathBuf)>,
    leftovers: Vec<PathBuf>,
}

/// Lists the files of a partition.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<Listing> {
    let mut listing = Listing { segments: Vec::new(), leftovers: Vec::new() };
    for path in disk.list(dir).map_err(|e| at(dir, e))? {
        match segment::kind_of(&path) {
            FileKind::Segment(base) => listing.segments.push((base, path)),
            FileKind::Leftover => listing.leftovers.push(path),
            FileKind::Other => {}
        }
    }
    listing.segments.sort();
    Ok(listing)
}

/// What there is to know about one segment; frames are looked at only if it is the newest and not sealed.
pub(super) fn facts_of(file: &dyn DiskFile, base: Offset, newest: Newest) -> io::Result<Facts> {
    let bytes = file.len()?;
    let mut head = [0; SEGMENT_HEADER_BYTES];
    let read = file.read_at(&mut head, 0)?;
    let header = SegmentHeader::decode(&head[..read]);
    let mut facts = Facts { base, bytes, header, trailer: None, scan: None, blank: false };
    match &header {
        Ok(header) => {
            facts.trailer = read_trailer(file, header, bytes)?;
            if facts.trailer.is_none() && newest == Newest::Yes {
                facts.scan = Some(walk_settled(file, bytes, header)?);
            }
        }
        Err(HeaderFault::Damaged) => {
            let after = Window::new(file, bytes, SCAN_WINDOW_BYTES).end_of_content(SEGMENT_HEADER_BYTES as u64)?;
            facts.blank = after.is_none();
        }
        Err(HeaderFault::Version(_)) => {}
    }
    Ok(facts)
}

/// Walks a segment that may be written to meanwhile: a frame that was seen half written, and one after it whole, look like
/// damage until they are looked at again.
fn walk_settled(file: &dyn DiskFile, bytes: u64, header: &SegmentHeader) -> io::Result<Scan> {
    let mut scan = scan::walk(file, bytes, header, &mut |_, _, _| ())?;
    while let Stop::Damaged { .. } = scan.stop {
        let again = scan::walk(file, bytes, header, &mut |_, _, _| ())?;
        if again == scan {
            break;
        }
        scan = again;
    }
    Ok(scan)
}

/// Whether a segment is the newest of its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Newest {
    /// It is.
    Yes,
    /// Another follows.
    No,
}

fn read_trailer(file: &dyn DiskFile, header: &SegmentHeader, bytes: u64) -> io::Result<Option<Trailer>> {
    let Some(position) = bytes.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
    let mut tail = [0; TRAILER_BYTES];
    let read = file.read_at(&mut tail, position)?;
    Ok(Trailer::decode(&tail[..read], header, bytes))
}

/// Opens a partition that somebody has read up to `floor`. Errors: the files cannot be read or synced.
pub(super) fn open(place: &Place, floor: Option<&Floor>) -> Result<Opened> {
    let disk = &*place.disk;
    let listing = list(disk, &place.dir)?;
    let mut facts = Vec::with_capacity(listing.segments.len());
    for (number, (base, path)) in listing.segments.iter().enumerate() {
        let newest = if number + 1 == listing.segments.len() { Newest::Yes } else { Newest::No };
        let file = disk.open(path, OpenMode::Read).map_err(|e| at(path, e))?;
        facts.push(facts_of(&*file, *base, newest).map_err(|e| at(path, e))?);
    }
    let (start, base) = (start::read(disk, &place.dir), listing.segments.first().map(|(base, _)| *base));
    let opened = match recovery::keep_read(recovery::decide(place.partition, &facts), &facts, floor) {
        Decision::Open { discard_newest, tail } => {
            for path in &listing.leftovers {
                disk.remove(path).map_err(|e| at(path, e))?;
            }
            if discard_newest && let Some((_, path)) = listing.segments.last() {
                tracing::warn!(file = %path.display(), "a log segment without a header was removed; it never held a record");
                disk.remove(path).map_err(|e| at(path, e))?;
                facts.pop();
            }
            if let (None, Some(base)) = (start, base)
                && let Err(e) = start::write(disk, &place.dir, base)
            {
                tracing::warn!(directory = %place.dir.display(), "where the partition begins was not written down: {e}");
            }
            disk.sync_dir(&place.dir).map_err(|e| at(&place.dir, e))?;
            serve(place, &listing, &facts, tail)
        }
        Decision::Refuse(damage) => refuse(place, &listing, &facts, &damage),
    }?;
    Ok(Opened { missing: start::missing(start, base), ..opened })
}

fn serve(place: &Place, listing: &Listing, facts: &[Facts], tail: Tail) -> Result<Opened> {
    let mut segments: VecDeque<_> = sealed_segments(listing, facts);
    let mut received_last = segments.back().and_then(|s| s.received_last()).unwrap_or(Micros::MIN);
    let mut torn_bytes = 0;
    let newest_file = |facts: &Facts| {
        let path = segment::path_of(&place.dir, facts.base);
        let file = place.disk.open(&path, OpenMode::ReadWrite).map_err(|e| at(&path, e))?;
        Ok::<_, Error>((path, file))
    };
    let appender = match (tail, facts.last()) {
        (Tail::Continue { torn_until }, Some(newest @ Facts { header: Ok(header), scan: Some(scan), .. })) => {
            let (path, file) = newest_file(newest)?;
            let mut bytes = newest.bytes;
            if let Some(until) = torn_until {
                cut_tail(place, &path, &*file, scan, until)?;
                bytes = scan.summary.data_end;
                torn_bytes = until.saturating_sub(bytes);
            }
            make_durable(&*file, scan.summary.data_end - scan.summary.last_bytes, scan.summary.data_end).map_err(|e| at(&path, e))?;
            received_last = scan.summary.received.map_or(received_last, |(_, last)| last);
            let file: Arc<dyn DiskFile> = Arc::from(file);
            let segment = Arc::new(Segment::active(path, *header, scan.summary.clone(), file.clone()));
            segments.push_back(segment.clone());
            Appender::continue_with(place.clone(), segment, file, bytes)
        }
        (Tail::Create { base, previous }, newest) => {
            if let Some(newest) = newest {
                let (path, file) = newest_file(newest)?;
                let footer = newest.trailer.map_or(newest.bytes, |trailer| trailer.data_end);
                let cut = file.set_len(newest.bytes);
                cut.and_then(|()| make_durable(&*file, footer, newest.bytes)).map_err(|e| at(&path, e))?;
            }
            Appender::create_next(place.clone(), base, previous)
        }
        (Tail::Continue { .. }, _) => return Err(Error::internal("recovery continues a segment that was not examined")),
    };
    Ok(Opened { segments, next: appender.next(), received_last, torn_bytes, missing: 0..0, end: Ok(appender) })
}

/// Makes the bytes from `from` to `to` durable, which were written last before the process ended. If their sync had failed,
/// the system may hold them in memory and take them for written: a sync alone would do nothing. So they are written again.
fn make_durable(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let mut window = Window::new(file, to, SCAN_WINDOW_BYTES);
    let mut position = from;
    while position < to {
        let bytes = window.get(position, SCAN_WINDOW_BYTES)?;
        if bytes.is_empty() {
            break;
        }
        file.write_at(bytes, position)?;
        position += bytes.len() as u64;
    }
    file.sync_data()
}

/// Serves what lies before the damage, and takes nothing.
fn refuse(place: &Place, listing: &Listing, facts: &[Facts], damage: &Damage) -> Result<Opened> {
    let file = listing.segments.get(damage.segment).map_or_else(|| place.dir.clone(), |(_, path)| path.clone());
    let Damage { byte, offsets, what, .. } = damage;
    let reason = match facts.get(damage.segment).map(|facts| &facts.header) {
        // Nothing is damaged, and nothing to be repaired.
        Some(Err(HeaderFault::Version(version))) => Error::other_version(file.display(), version, FORMAT_VERSION).to_string(),
        _ => format!(
            "{}: {what} at byte {byte}; offsets {} to {} are damaged (see `thalweg log repair`)",
            file.display(),
            offsets.start,
            offsets.end
        ),
    };
    let before = &facts[..damage.segment.min(facts.len())];
    let mut segments = sealed_segments(listing, before);
    if let Some(Facts { header: Ok(header), scan: Some(scan), .. }) = facts.get(damage.segment)
        && header.base == segments.back().map_or(header.base, |s| s.end())
    {
        let file_handle = place.disk.open(&file, OpenMode::Read).map_err(|e| at(&file, e))?;
        segments.push_back(Arc::new(Segment::active(file, *header, scan.summary.clone(), Arc::from(file_handle))));
    }
    let next = segments.back().map_or(0, |s| s.end());
    let received_last = segments.back().and_then(|s| s.received_last()).unwrap_or(Micros::MIN);
    Ok(Opened { segments, next, received_last, torn_bytes: 0, missing: 0..0, end: Err(reason) })
}

fn sealed_segments(listing: &Listing, facts: &[Facts]) -> VecDeque<Arc<Segment>> {
    let sealed = listing.segments.iter().zip(facts).filter_map(|((_, path), facts)| {
        let (header, trailer) = (facts.header.ok()?, facts.trailer?);
        Some(Arc::new(Segment::sealed(path.clone(), header, trailer)))
    });
    sealed.collect()
}

/// Keeps a copy of a torn tail, then cuts it off. The copy is for curiosity: if it fails, nothing acknowledged is lost.
fn cut_tail(place: &Place, path: &Path, file: &dyn DiskFile, scan: &Scan, until: u64) -> Result<()> {
    let from = scan.summary.data_end;
    tracing::warn!(file = %path.display(), from, until, "the torn tail of a log segment is cut off; it was never acknowledged");
    let copy = segment::with_suffix(path, &format!("{from}.torn"));
    if let Err(e) = copy_range(&*place.disk, file, &copy, from, until) {
        tracing::warn!(file = %copy.display(), "no copy of the torn tail was kept: {e}");
    }
    if let Err(e) = bound_torn(place) {
        tracing::warn!(directory = %place.dir.display(), "old copies of torn tails stay: {e}");
    }
    file.set_len(from).map_err(|e| at(path, e))?;
    file.sync_data().map_err(|e| at(path, e))?;
    place.disk.sync_dir(&place.dir).map_err(|e| at(&place.dir, e))
}

/// Removes the oldest copies of torn tails beyond those that are kept.
fn bound_torn(place: &Place) -> io::Result<()> {
    let named = place.disk.list(&place.dir)?.into_iter().filter_map(|path| Some((segment::torn_at(&path)?, path)));
    let mut copies: Vec<_> = named.collect();
    copies.sort();
    for (_, old) in copies.iter().take(copies.len().saturating_sub(TORN_KEPT)) {
        tracing::info!(file = %old.display(), "an old copy of a torn tail is removed; the newest {TORN_KEPT} of its partition stay");
        place.disk.remove(old)?;
    }
    Ok(())
}

pub(super) fn copy_range(disk: &dyn Disk, file: &dyn DiskFile, to: &Path, mut from: u64, until: u64) -> io::Result<()> {
    if disk.exists(to) {
        disk.remove(to)?;
    }
    let copy = disk.open(to, OpenMode::CreateNew)?;
    let mut window = Window::new(file, until, SCAN_WINDOW_BYTES);
    let mut position = 0;
    while from < until {
        let bytes = window.get(from, SCAN_WINDOW_BYTES)?;
        if bytes.is_empty() {
            break;
        }
        copy.write_at(bytes, position)?;
        position += bytes.len() as u64;
        from += bytes.len() as u64;
    }
    copy.sync_data()
}

fn at(path: &Path, e: io::Error) -> Error {
    Error::from(e).context(path.display())
}
