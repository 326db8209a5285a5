//! The ways in which a log is damaged, each with its law. Invariant: a variant is made from its base when it is judged, so that
//! a hundred thousand of them fit into memory.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::layout::{self, Frame, SEGMENT_HEADER_BYTES};

use super::base::{Base, Files};
use super::law::Law;

const SECTOR: usize = 512;

/// A damaged log.
#[derive(Debug, Clone)]
pub struct Variant {
    /// What is done.
    pub what: What,
    /// What must come out.
    pub law: Law,
}

/// What is done to a log.
#[derive(Debug, Clone)]
pub enum What {
    /// One bit of a file is turned.
    Flip(PathBuf, usize),
    /// A file ends at this byte.
    Cut(PathBuf, usize),
    /// These bytes of a file are zero.
    Zero(PathBuf, Range<usize>),
    /// Files are replaced, or removed; the text says how.
    Files(String, Vec<(PathBuf, Option<Vec<u8>>)>),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flip(path, bit) => write!(f, "{} byte {} bit {} flipped", path.display(), bit / 8, bit % 8),
            Self::Cut(path, at) => write!(f, "{} cut at byte {at}", path.display()),
            Self::Zero(path, range) => write!(f, "{} zero from byte {} to {}", path.display(), range.start, range.end),
            Self::Files(how, _) => f.write_str(how),
        }
    }
}

impl Variant {
    /// The files of the damaged log.
    pub fn files(&self, base: &Base) -> Files {
        let mut files = base.files.clone();
        let mut change = |path: &PathBuf, change: &dyn Fn(&mut Vec<u8>)| {
            if let Some(bytes) = files.get_mut(path) {
                change(bytes);
            }
        };
        match &self.what {
            What::Flip(path, bit) => change(path, &|bytes| bytes[bit / 8] ^= 1 << (bit % 8)),
            What::Cut(path, at) => change(path, &|bytes| bytes.truncate(*at)),
            What::Zero(path, range) => change(path, &|bytes| bytes[range.clone()].fill(0)),
            What::Files(_, changes) => {
                for (path, bytes) in changes {
                    match bytes {
                        Some(bytes) => drop(files.insert(path.clone(), bytes.clone())),
                        None => drop(files.remove(path)),
                    }
                }
            }
        }
        files
    }
}

/// Every variant of a log.
pub fn of(base: &Base) -> Vec<Variant> {
    let mut variants = Vec::new();
    for (path, bytes) in &base.files {
        let law = |range: Range<usize>| law_of(base, path, range);
        variants.extend((0..bytes.len() * 8).map(|bit| Variant { what: What::Flip(path.clone(), bit), law: law(bit / 8..bit / 8 + 1) }));
        variants.extend((0..bytes.len()).map(|at| Variant { what: What::Cut(path.clone(), at), law: law(at..bytes.len()) }));
        let sectors = (0..bytes.len()).step_by(SECTOR).map(|start| start..bytes.len().min(start + SECTOR));
        variants.extend(sectors.map(|range| Variant { what: What::Zero(path.clone(), range.clone()), law: law(range) }));
    }
    exchanges(base, &mut variants);
    removals(base, &mut variants);
    if base.name == "crashed" {
        torn_frames(base, &mut variants);
        torn_footers(base, &mut variants);
        torn_creations(base, &mut variants);
    }
    variants
}

/// What must come out if these bytes of a file are not what they were.
fn law_of(base: &Base, path: &Path, damaged: Range<usize>) -> Law {
    let newest = base.newest();
    if path != base.segments[newest] {
        return Law::Noticed;
    }
    let frames = base.frames(newest);
    let hit = |frame: &Frame| frame.bytes.start < damaged.end && damaged.start < frame.bytes.end;
    let reaches_end = frames.last().is_none_or(|last| damaged.end >= last.bytes.end);
    if damaged.start < SEGMENT_HEADER_BYTES {
        // Without its header a file is not the log's; only a file that holds nothing else is one that was never begun.
        return if reaches_end { Law::NoticedOrTorn(frames.first().map_or(base.end(), |first| first.base)) } else { Law::Noticed };
    }
    match frames.iter().position(hit) {
        None => Law::Torn(base.end()),
        Some(first) if frames[first + 1..].iter().all(hit) => Law::NoticedOrTorn(frames[first].base),
        Some(_) => Law::Noticed,
    }
}

/// Frames of one segment exchanged with each other and with those of other segments; segments exchanged.
fn exchanges(base: &Base, variants: &mut Vec<Variant>) {
    for (segment, path) in base.segments.iter().enumerate() {
        let (bytes, frames) = (base.bytes(segment), base.frames(segment));
        for (a, first) in frames.iter().enumerate() {
            for second in &frames[a + 1..] {
                let how = format!("{} frames at {} and {} exchanged", path.display(), first.bytes.start, second.bytes.start);
                variants.push(replaced(how, path, exchanged(bytes, first, second), Law::Noticed));
            }
        }
        for other in (0..base.segments.len()).filter(|other| *other != segment) {
            for (frame, stranger) in frames.iter().zip(base.frames(other)) {
                let bytes = substituted(bytes, frame, &base.bytes(other)[stranger.bytes.clone()]);
                let how = format!("{} frame at {} replaced by one of segment {other}", path.display(), frame.bytes.start);
                let until = frame.bytes.start + stranger.bytes.len().max(frame.bytes.len());
                let law =
                    law_of(base, path, frame.bytes.start..if stranger.bytes.len() == frame.bytes.len() { until } else { bytes.len() });
                variants.push(replaced(how, path, bytes, law));
            }
            let how = format!("{} holds what segment {other} holds", path.display());
            variants.push(replaced(how, path, base.bytes(other).clone(), Law::Noticed));
            let both = vec![(path.clone(), Some(base.bytes(other).clone())), (base.segments[other].clone(), Some(bytes.clone()))];
            variants.push(Variant { what: What::Files(format!("segments {segment} and {other} exchanged"), both), law: Law::Noticed });
        }
    }
}

/// Files that are gone. Without its oldest segments a log looks as after retention, so those are left alone.
fn removals(base: &Base, variants: &mut Vec<Variant>) {
    for path in base.files.keys().filter(|path| **path != base.segments[0]) {
        let newest = base.newest();
        let law = if *path == base.segments[newest] { law_of(base, path, 0..base.bytes(newest).len()) } else { Law::Noticed };
        variants.push(Variant { what: What::Files(format!("{} removed", path.display()), vec![(path.clone(), None)]), law });
    }
}

/// The last frame as a power cut may leave it while it is not yet synced: any part of it, in bytes and in sectors.
fn torn_frames(base: &Base, variants: &mut Vec<Variant>) {
    let path = &base.segments[base.newest()];
    let Some(last) = base.frames(base.newest()).pop() else { return };
    for at in last.bytes.clone() {
        let law = Law::Torn(last.base);
        variants.push(Variant { what: What::Cut(path.clone(), at), law });
        variants.push(Variant { what: What::Zero(path.clone(), at..last.bytes.end), law });
    }
    let first = last.bytes.start / SECTOR;
    let sectors: Vec<Range<usize>> = (first..=(last.bytes.end - 1) / SECTOR)
        .map(|sector| (sector * SECTOR).max(last.bytes.start)..((sector + 1) * SECTOR).min(last.bytes.end))
        .collect();
    for kept in 0..(1usize << sectors.len()) - 1 {
        let mut bytes = base.bytes(base.newest()).clone();
        sectors.iter().enumerate().filter(|(n, _)| kept >> n & 1 == 0).for_each(|(_, sector)| bytes[sector.clone()].fill(0));
        let how = format!("{} sectors {kept:b} of the last frame kept", path.display());
        variants.push(replaced(how, path, bytes, Law::Torn(last.base)));
    }
}

/// A footer of which only a part was written when the power went, before and after the file was cut to its end.
fn torn_footers(base: &Base, variants: &mut Vec<Variant>) {
    let (path, bytes) = (&base.segments[0], base.bytes(0));
    let Some(footer) = layout::footer(bytes) else { return };
    let end = base.frames(0).last().map_or(0, Frame::end);
    let gone = || base.segments[1..].iter().map(|path| (path.clone(), None));
    for at in footer.start..=footer.end {
        for zeros in [0, 200] {
            let mut bytes = bytes.clone();
            bytes[at..].fill(0);
            bytes.resize(bytes.len() + zeros, 0);
            let how = format!("only {}, written until byte {at}, {zeros} zeros after it", path.display());
            let files = std::iter::once((path.clone(), Some(bytes))).chain(gone()).collect();
            variants.push(Variant { what: What::Files(how, files), law: Law::Torn(end) });
        }
    }
}

/// A segment in the making: any part of its header under its first name.
fn torn_creations(base: &Base, variants: &mut Vec<Variant>) {
    let newest = &base.segments[base.newest()];
    let end = base.frames(base.newest()).first().map_or(0, |frame| frame.base);
    for at in 0..=SEGMENT_HEADER_BYTES {
        let temporary = newest.with_extension("log.tmp");
        let files = vec![(newest.clone(), None), (temporary, Some(base.bytes(base.newest())[..at].to_vec()))];
        variants.push(Variant { what: What::Files(format!("a new segment of which {at} bytes are there"), files), law: Law::Torn(end) });
    }
}

/// The canary: a payload changed together with its checksum, so that only a comparison can tell.
pub fn repaired(base: &Base) -> Vec<Variant> {
    let mut variants = Vec::new();
    for (segment, path) in base.segments.iter().enumerate() {
        for frame in base.frames(segment).iter().filter(|frame| frame.count > 0) {
            let mut bytes = base.bytes(segment).clone();
            bytes[frame.bytes.end - 1] ^= 1;
            layout::repair_checksum(&mut bytes, frame);
            let how = format!("{} frame at {} changed with its checksum", path.display(), frame.bytes.start);
            variants.push(replaced(how, path, bytes, Law::Noticed));
        }
    }
    variants
}

/// The canary: a writer that has two frames in flight leaves the second behind without the first, and the second says that
/// the first was durable. Such a tail was never acknowledged, yet it is refused.
pub fn two_in_flight(base: &Base) -> Vec<Variant> {
    let (path, frames) = (&base.segments[base.newest()], base.frames(base.newest()));
    let [.., first, _] = frames.as_slice() else { return Vec::new() };
    vec![Variant { what: What::Zero(path.clone(), first.bytes.clone()), law: Law::Torn(first.base) }]
}

fn replaced(how: String, path: &Path, bytes: Vec<u8>, law: Law) -> Variant {
    Variant { what: What::Files(how, vec![(path.to_owned(), Some(bytes))]), law }
}

/// The file with two of its frames exchanged; what lies between moves if they differ in length.
fn exchanged(bytes: &[u8], first: &Frame, second: &Frame) -> Vec<u8> {
    let (a, b) = (first.bytes.clone(), second.bytes.clone());
    [&bytes[..a.start], &bytes[b.clone()], &bytes[a.end..b.start], &bytes[a], &bytes[b.end..]].concat()
}

/// The file with other bytes in the place of a frame.
fn substituted(bytes: &[u8], frame: &Frame, other: &[u8]) -> Vec<u8> {
    [&bytes[..frame.bytes.start], other, &bytes[frame.bytes.end..]].concat()
}
