//! Looking at a log without opening it, also while a server writes it. Invariant: nothing is changed, and damage is reported,
//! never skipped in silence.
//!
//! A group that is just being written looks like a torn tail of the newest segment; neither is a problem.

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use arrow::buffer::Buffer;

use crate::batch::{Entry, Records};
use crate::contract::{Disk, DiskFile, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Name, Offset, Partition};
use crate::time::Micros;

use super::floors::{Floor, Floors};
use super::frame::{Content, FRAME_HEADER_BYTES, FrameHeader};
use super::index::Index;
use super::meta::StreamMeta;
use super::open::{self, Newest};
use super::recovery::{self, Damage, Decision, Facts};
use super::scan::{self, Stop, Summary};
use super::segment::{self, SegmentHeader, Trailer};
use super::{record, start, streams};

/// One segment, as its files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Stream it belongs to.
    pub stream: Name,
    /// Partition it belongs to.
    pub partition: Partition,
    /// Its file.
    pub file: PathBuf,
    /// Its records.
    pub offsets: Range<Offset>,
    /// Receive time of the first and the last record, in microseconds; `None` if it has no record.
    pub received: Option<(Micros, Micros)>,
    /// Bytes of the file, zeros ahead included.
    pub bytes: u64,
    /// Whether it is complete; records are added to the newest only.
    pub sealed: bool,
}

/// Result of `verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Segments read.
    pub segments: u64,
    /// Frames whose checksum is right.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Records given up by a repair; readers are told.
    pub lost: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes of torn tails: never acknowledged, cut off at the next start.
    pub torn_bytes: u64,
    /// What is damaged.
    pub problems: Vec<Problem>,
}

/// Damaged or missing bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub file: PathBuf,
    /// At which byte.
    pub byte: u64,
    /// Records that cannot be read because of it; empty if all can.
    pub offsets: Range<Offset>,
    /// What is wrong.
    pub what: String,
}

/// Names of all streams under `dir`.
pub fn streams(disk: &dyn Disk, dir: &Path) -> Result<Vec<Name>> {
    streams::list(disk, dir)
}

/// How many partitions a stream has. Errors: `Corrupt` if its `stream.json` is damaged.
pub fn partitions(disk: &dyn Disk, dir: &Path, stream: &Name) -> Result<u32> {
    Ok(StreamMeta::read(disk, &dir.join(stream.as_str()), stream)?.partitions)
}

/// The segments of all streams, by stream, partition and offset. Those without a whole header are left to `verify`.
pub fn segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<SegmentInfo>> {
    let mut infos = Vec::new();
    for stream in streams(disk, dir)? {
        for partition in 0..partitions(disk, dir, &stream)? {
            for (file, facts) in facts(disk, &partition_dir(dir, &stream, partition))? {
                let summary = match (facts.trailer, &facts.scan) {
                    (Some(trailer), _) => Summary::of_trailer(&trailer),
                    (None, Some(scan)) => scan.summary.clone(),
                    (None, None) => continue,
                };
                infos.push(SegmentInfo {
                    stream: stream.clone(),
                    partition,
                    file,
                    offsets: facts.base..summary.end,
                    received: summary.received,
                    bytes: facts.bytes,
                    sealed: facts.trailer.is_some(),
                });
            }
        }
    }
    Ok(infos)
}

/// Hands the records of a partition from offset `from` on to `take`, frame by frame, until it breaks. The last frame may be
/// one that is not durable yet. Errors: `Corrupt` where frames are damaged.
pub fn records(
    disk: &dyn Disk,
    dir: &Path,
    (stream, partition): (&Name, Partition),
    from: Offset,
    take: &mut dyn FnMut(&Records) -> ControlFlow<()>,
) -> Result<()> {
    for (path, facts) in facts(disk, &partition_dir(dir, stream, partition))? {
        if facts.trailer.is_some_and(|t| t.end <= from) {
            continue;
        }
        let limit = facts.trailer.map_or(facts.bytes, |t| t.data_end);
        let header = facts.header.map_err(|_| Error::corrupt(format!("{}: the segment header is damaged", path.display())))?;
        let Some(file) = open_if_there(disk, &path)? else { continue };
        let mut flow = ControlFlow::Continue(());
        let mut undecodable = None;
        let mut visit = |_: u64, header: &FrameHeader, bytes: &[u8]| {
            if flow.is_break() || header.end() <= from || undecodable.is_some() {
                return;
            }
            if header.content == Content::Lost {
                let lost = Some(from.max(header.base)..header.end());
                flow = take(&Records { partition, bytes: Buffer::default(), entries: Vec::new(), lost });
                return;
            }
            match decode(header, bytes, from) {
                Ok(entries) if entries.is_empty() => {}
                Ok(entries) => flow = take(&Records { partition, bytes: Buffer::from(bytes), entries, lost: None }),
                Err(offset) => undecodable = Some(offset),
            }
        };
        let walked = scan::walk(&*file, limit, &header, &mut visit).map_err(|e| at(&path, e))?;
        if flow.is_break() {
            return Ok(());
        }
        if let Some(offset) = undecodable {
            return Err(Error::corrupt(format!("{}: record {offset} cannot be decoded", path.display())));
        }
        if let Some(problem) = problem_of(&path, facts.trailer.as_ref(), facts.scan.as_ref().unwrap_or(&walked)) {
            return Err(Error::corrupt(format!("{}: {} at byte {}", path.display(), problem.what, problem.byte)));
        }
    }
    Ok(())
}

/// Reads every byte of every stream and reports what is wrong; what cannot be read is one of the findings, and so is a partition that
/// ends before what `floors` have read. Beside a server, those are to be asked for first. Errors: the streams cannot be listed.
pub fn verify(disk: &dyn Disk, dir: &Path, floors: &Floors) -> Result<Verified> {
    let mut verified = Verified::default();
    for stream in streams(disk, dir)? {
        let partitions = match partitions(disk, dir, &stream) {
            Ok(partitions) => partitions,
            Err(e) => {
                let file = dir.join(stream.as_str()).join(super::meta::FILE_NAME);
                verified.problems.push(Problem { file, byte: 0, offsets: 0..0, what: e.message().to_owned() });
                continue;
            }
        };
        for partition in 0..partitions {
            let floor = floors.of(&stream, partition);
            verify_partition(disk, &partition_dir(dir, &stream, partition), (partition, floor), &mut verified);
        }
    }
    Ok(verified)
}

/// Reads every byte of one sealed segment and says what is wrong with it; nothing if it is gone.
pub(super) fn verify_file(disk: &dyn Disk, path: &Path, header: &SegmentHeader) -> Result<Vec<Problem>> {
    let Some(file) = open_if_there(disk, path)? else { return Ok(Vec::new()) };
    let facts = open::facts_of(&*file, header.base, Newest::No).map_err(|e| at(path, e))?;
    let mut verified = Verified::default();
    if facts.header != Ok(*header) || facts.trailer.is_none() {
        let what = "header or footer are damaged".to_owned();
        verified.problems.push(Problem { file: path.to_owned(), byte: 0, offsets: header.base..header.base, what });
    }
    verify_segment(&*file, path, header, &facts, &mut verified)?;
    Ok(verified.problems)
}

/// The finding for what cannot be read.
pub(super) fn unreadable(file: &Path, offsets: Range<Offset>, e: &Error) -> Problem {
    Problem { file: file.to_owned(), byte: 0, offsets, what: format!("it cannot be read ({})", e.message()) }
}

fn verify_partition(disk: &dyn Disk, dir: &Path, (partition, floor): (Partition, Option<&Floor>), verified: &mut Verified) {
    if !disk.exists(dir) {
        return;
    }
    let segments = match open::list(disk, dir) {
        Ok(listing) => listing.segments,
        Err(e) => return verified.problems.push(unreadable(dir, 0..0, &e)),
    };
    // After the segments were listed: retention writes first, and removes then.
    let missing = start::missing(start::read(disk, dir), segments.first().map(|(base, _)| *base));
    if !missing.is_empty() {
        let (file, what) = (segment::path_of(dir, missing.start), "the segments from here on are gone, and retention did not remove them");
        verified.problems.push(Problem { file, byte: 0, offsets: missing, what: what.to_owned() });
    }
    let (before, count) = (verified.problems.len(), segments.len());
    let (mut all, mut whole) = (Vec::with_capacity(count), true);
    for (number, (base, path)) in segments.iter().enumerate() {
        let newest = if number + 1 == count { Newest::Yes } else { Newest::No };
        match facts_at(disk, path, *base, newest) {
            Ok(found) => all.extend(found.map(|facts| (path, facts))),
            Err(e) => {
                let end = segments.get(number + 1).map_or(*base, |(next, _)| *next);
                verified.problems.push(unreadable(path, *base..end, &e));
                whole = false;
            }
        }
    }
    for (path, facts) in &all {
        verified.segments += 1;
        verified.bytes += facts.bytes;
        if let Err(e) = verify_frames(disk, path, facts, verified) {
            let end = facts.trailer.map_or(facts.base, |trailer| trailer.end);
            verified.problems.push(unreadable(path, facts.base..end, &e));
        }
    }
    // Whether one segment follows the other can only be told if all of them were looked at.
    let just_facts: Vec<_> = all.iter().map(|(_, facts)| facts.clone()).collect();
    let decision = recovery::keep_read(recovery::decide(partition, &just_facts), &just_facts, floor);
    if whole && let Decision::Refuse(Damage { segment, byte, offsets, what }) = decision {
        let file = all.get(segment).map_or_else(|| dir.to_owned(), |(path, _)| (*path).clone());
        let known = verified.problems[before..].iter().any(|p| p.file == file && p.byte == byte);
        if !known {
            verified.problems.push(Problem { file, byte, offsets, what });
        }
    }
}

/// Reads the frames of a segment, unless its header is damaged or retention took it meanwhile.
fn verify_frames(disk: &dyn Disk, path: &Path, facts: &Facts, verified: &mut Verified) -> Result<()> {
    match (&facts.header, open_if_there(disk, path)?) {
        (Ok(header), Some(file)) => verify_segment(&*file, path, header, facts, verified),
        _ => Ok(()),
    }
}

fn verify_segment(file: &dyn DiskFile, path: &Path, header: &SegmentHeader, facts: &Facts, verified: &mut Verified) -> Result<()> {
    let limit = facts.trailer.map_or(facts.bytes, |t| t.data_end);
    let (mut undecodable, mut lost) = (Vec::new(), 0);
    let mut visit = |position: u64, header: &FrameHeader, bytes: &[u8]| {
        if header.content == Content::Lost {
            lost += u64::from(header.count);
        } else if let Err(offset) = decode(header, bytes, header.base) {
            undecodable.push(Problem {
                file: path.to_owned(),
                byte: position,
                offsets: offset..header.end(),
                what: format!("record {offset} cannot be decoded"),
            });
        }
    };
    let walked = scan::walk(file, limit, header, &mut visit).map_err(|e| at(path, e))?;
    let scan = facts.scan.as_ref().unwrap_or(&walked);
    verified.frames += scan.summary.frames;
    verified.records += scan.summary.end - header.base - lost;
    verified.lost += lost;
    verified.problems.append(&mut undecodable);
    if let (None, Stop::Torn { content_end, .. }) = (&facts.trailer, &scan.stop) {
        verified.torn_bytes += content_end - scan.summary.data_end;
    }
    match (problem_of(path, facts.trailer.as_ref(), scan), &facts.trailer) {
        (Some(problem), _) => verified.problems.push(problem),
        (None, Some(trailer)) => {
            if let Some(what) = footer_problem(file, header, trailer, &scan.summary).map_err(|e| at(path, e))? {
                let none = trailer.end..trailer.end;
                verified.problems.push(Problem { file: path.to_owned(), byte: trailer.data_end, offsets: none, what });
            }
        }
        (None, None) => {}
    }
    Ok(())
}

/// What is wrong with a segment after its valid frames, if anything.
fn problem_of(path: &Path, trailer: Option<&Trailer>, scan: &scan::Scan) -> Option<Problem> {
    let Summary { end, data_end, .. } = scan.summary;
    let problem = |until: Offset, what: String| Some(Problem { file: path.to_owned(), byte: data_end, offsets: end..until, what });
    match (&scan.stop, trailer) {
        (Stop::Damaged { fault, .. } | Stop::Torn { fault, .. } | Stop::Unsupported { fault }, Some(trailer)) => {
            problem(trailer.end, fault.to_string())
        }
        (Stop::Clean, Some(trailer)) if data_end != trailer.data_end || end != trailer.end => {
            problem(trailer.end, "frames are missing".to_owned())
        }
        (Stop::Damaged { resumes, fault }, None) => problem(*resumes, fault.to_string()),
        (Stop::Unsupported { fault }, None) => problem(end + 1, fault.to_string()),
        (Stop::Clean, _) | (Stop::Torn { .. }, None) => None,
    }
}

/// Whether the footer says what the frames say.
fn footer_problem(file: &dyn DiskFile, header: &SegmentHeader, trailer: &Trailer, summary: &Summary) -> std::io::Result<Option<String>> {
    let mut marks = vec![0; trailer.marks_bytes() as usize];
    let read = file.read_at(&mut marks, trailer.data_end)?;
    if read < marks.len() || header.key().checksum(&marks) != trailer.marks_checksum {
        return Ok(Some("the index is damaged; it is made anew when it is needed".to_owned()));
    }
    let agrees = Index::decode(&marks) == summary.index && summary.trailer(header.key()).as_ref() == Some(trailer);
    Ok((!agrees).then(|| "the footer does not fit the frames".to_owned()))
}

/// The records of a checked frame; device and topic must be text. Errors: the offset that is wrong.
fn decode(header: &FrameHeader, bytes: &[u8], from: Offset) -> Result<Vec<Entry>, Offset> {
    let mut entries = Vec::new();
    record::decode(bytes, FRAME_HEADER_BYTES..bytes.len(), header, from, &mut entries)?;
    let is_text = |range: &Range<u32>| std::str::from_utf8(&bytes[range.start as usize..range.end as usize]).is_ok();
    match entries.iter().find(|e| !is_text(&e.device) || !is_text(&e.topic)) {
        Some(entry) => Err(entry.offset),
        None => Ok(entries),
    }
}

/// The segments of a partition with what they hold; one that retention takes meanwhile is left out.
fn facts(disk: &dyn Disk, dir: &Path) -> Result<Vec<(PathBuf, Facts)>> {
    if !disk.exists(dir) {
        return Ok(Vec::new());
    }
    let listing = open::list(disk, dir)?;
    let count = listing.segments.len();
    let mut facts = Vec::with_capacity(count);
    for (number, (base, path)) in listing.segments.into_iter().enumerate() {
        let newest = if number + 1 == count { Newest::Yes } else { Newest::No };
        if let Some(found) = facts_at(disk, &path, base, newest)? {
            facts.push((path, found));
        }
    }
    Ok(facts)
}

/// What one segment holds; `None` if retention took it meanwhile.
fn facts_at(disk: &dyn Disk, path: &Path, base: Offset, newest: Newest) -> Result<Option<Facts>> {
    let Some(file) = open_if_there(disk, path)? else { return Ok(None) };
    open::facts_of(&*file, base, newest).map(Some).map_err(|e| at(path, e))
}

fn open_if_there(disk: &dyn Disk, path: &Path) -> Result<Option<Box<dyn DiskFile>>> {
    match disk.open(path, OpenMode::Read).map_err(|e| at(path, e)) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn partition_dir(dir: &Path, stream: &Name, partition: Partition) -> PathBuf {
    segment::partition_dir(&dir.join(stream.as_str()), partition)
}

fn at(path: &Path, e: std::io::Error) -> Error {
    Error::from(e).context(path.display())
}
