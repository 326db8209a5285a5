//! Walking the frames of a segment. Invariant: the result depends on the file's bytes alone; any bytes give a result, in
//! bounded memory and without a panic.
//!
//! At the first byte that begins no valid frame, what follows decides:
//!
//! ```text
//! nothing but zeros                                            Clean: the file ends here
//! a later valid frame that was written when this offset        Damaged: these bytes had been durable, and may have been
//!   was durable already (`synced` beyond it)                     acknowledged
//! anything else                                                Torn: the last group, not durable, not acknowledged
//! ```

use std::io;

use memchr::memmem::Finder;

use crate::contract::DiskFile;
use crate::ids::Offset;
use crate::limits::SCAN_WINDOW_BYTES;
use crate::time::Micros;

use super::frame::{self, FRAME_HEADER_BYTES, Fault, FrameHeader, Key};
use super::index::Index;
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, Trailer};
use super::window::Window;

/// What the valid frames of a segment add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    /// Frames, closing marks included.
    pub(super) frames: u64,
    /// Offset after the last record.
    pub(super) end: Offset,
    /// Byte after the last frame.
    pub(super) data_end: u64,
    /// Bytes of the last frame.
    pub(super) last_bytes: u64,
    /// Receive time of the first and the last record, if there is one.
    pub(super) received: Option<(Micros, Micros)>,
    /// CRC over the checksums of the frames.
    pub(super) chain: u32,
    /// Whether the last frame is a closing mark.
    pub(super) closed: bool,
    /// Where frames begin.
    pub(super) index: Index,
}

impl Summary {
    /// Of a segment that begins with offset `base` and has no frames.
    pub(super) fn new(base: Offset) -> Self {
        Self {
            frames: 0,
            end: base,
            data_end: SEGMENT_HEADER_BYTES as u64,
            last_bytes: 0,
            received: None,
            chain: 0,
            closed: false,
            index: Index::default(),
        }
    }

    /// Of a sealed segment; the index is not loaded.
    pub(super) fn of_trailer(trailer: &Trailer) -> Self {
        Self {
            frames: trailer.frames,
            end: trailer.end,
            data_end: trailer.data_end,
            last_bytes: 0,
            received: Some((trailer.received_first, trailer.received_last)),
            chain: trailer.chain,
            closed: false,
            index: Index::default(),
        }
    }

    /// Adds the frame that begins at `data_end`; `received_first` is the receive time of its first record.
    pub(super) fn add(&mut self, header: &FrameHeader, received_first: Micros) {
        assert_eq!(header.base, self.end, "frames follow each other without a gap");
        self.index.note(self.data_end, header);
        self.frames += 1;
        self.end = header.end();
        self.last_bytes = header.bytes as u64;
        self.data_end += self.last_bytes;
        self.chain = crc32c::crc32c_append(self.chain, &header.checksum.to_le_bytes());
        self.closed = header.count == 0;
        if header.count > 0 {
            self.received = Some((self.received.map_or(received_first, |(first, _)| first), header.received_last));
        }
    }

    /// What a footer says; `None` while there is no record, for such a segment is never sealed.
    pub(super) fn trailer(&self, key: Key) -> Option<Trailer> {
        let (received_first, received_last) = self.received?;
        Some(Trailer {
            marks: self.index.len() as u32,
            marks_checksum: key.checksum(&self.index.encode()),
            chain: self.chain,
            frames: self.frames,
            end: self.end,
            data_end: self.data_end,
            received_first,
            received_last,
        })
    }
}

/// Why a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nothing follows.
    Clean,
    /// Bytes follow that were never durable.
    Torn {
        /// The byte after the last of them that is not zero.
        content_end: u64,
        /// Why they are no frame.
        fault: Fault,
    },
    /// Bytes that had been durable are damaged.
    Damaged {
        /// The first offset after the damage that is there again.
        resumes: Offset,
        /// Why they are no frame.
        fault: Fault,
    },
    /// A whole frame of a newer version.
    Unsupported {
        /// What it uses.
        fault: Fault,
    },
}

/// Valid frames, and what comes after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    /// The valid frames.
    pub(super) summary: Summary,
    /// What comes after them.
    pub(super) stop: Stop,
}

/// Walks the frames of a segment up to byte `limit`, and hands each to `visit` with its position and bytes. Errors: only
/// those of reading.
pub(super) fn walk(
    file: &dyn DiskFile,
    limit: u64,
    segment: &SegmentHeader,
    visit: &mut dyn FnMut(u64, &FrameHeader, &[u8]),
) -> io::Result<Scan> {
    let key = segment.key();
    let mut window = Window::new(file, limit, SCAN_WINDOW_BYTES);
    let mut summary = Summary::new(segment.base);
    loop {
        let position = summary.data_end;
        let fault = match next_frame(&mut window, position, key)? {
            Ok((header, bytes)) if header.base == summary.end => {
                visit(position, &header, bytes);
                summary.add(&header, received_first(&header, bytes));
                continue;
            }
            Ok((header, _)) => {
                let resumes = header.base.max(summary.end + 1);
                return Ok(Scan { summary, stop: Stop::Damaged { resumes, fault: Fault::Foreign } });
            }
            Err(fault) => fault,
        };
        let stop = judge(&mut window, position, key, summary.end, fault)?;
        return Ok(Scan { summary, stop });
    }
}

/// The frame at `position`, or why there is none.
pub(super) fn next_frame<'w>(window: &'w mut Window<'_>, position: u64, key: Key) -> io::Result<Result<(FrameHeader, &'w [u8]), Fault>> {
    let header = match frame::peek(window.get(position, FRAME_HEADER_BYTES)?, key) {
        Ok(header) => header,
        Err(fault) => return Ok(Err(fault)),
    };
    let bytes = window.get(position, header.bytes)?;
    Ok(frame::check(bytes, key).map(|header| (header, bytes)))
}

/// Decides what the bytes from `position` on are, where a frame with offset `expected` should begin.
fn judge(window: &mut Window<'_>, position: u64, key: Key, expected: Offset, fault: Fault) -> io::Result<Stop> {
    if let Fault::Unsupported(_) = fault {
        return Ok(Stop::Unsupported { fault });
    }
    let Some(content_end) = window.end_of_content(position)? else {
        return Ok(Stop::Clean);
    };
    // A later frame that was written when offset `expected` was durable.
    Ok(match later_frame(window, position + 1, key, &|later| later.synced > expected)? {
        Some((_, later)) => Stop::Damaged { resumes: later.base.max(expected + 1), fault },
        None => Stop::Torn { content_end, fault },
    })
}

/// The first valid frame at or after `position` that is wanted, and where it begins.
pub(super) fn later_frame(
    window: &mut Window<'_>,
    mut position: u64,
    key: Key,
    wanted: &dyn Fn(&FrameHeader) -> bool,
) -> io::Result<Option<(u64, FrameHeader)>> {
    let tail = key.tail();
    let finder = Finder::new(&tail);
    while position + FRAME_HEADER_BYTES as u64 <= window.file_bytes() {
        let bytes = window.get(position, SCAN_WINDOW_BYTES)?;
        if bytes.len() < FRAME_HEADER_BYTES {
            break;
        }
        let Some(found) = finder.find(&bytes[8..]) else {
            position += bytes.len() as u64 - 11;
            continue;
        };
        position += found as u64;
        if let Ok((header, _)) = next_frame(window, position, key)?
            && wanted(&header)
        {
            return Ok(Some((position, header)));
        }
        position += 1;
    }
    Ok(None)
}

/// Receive time of the first record of a frame; each record begins with it.
pub(super) fn received_first(header: &FrameHeader, frame: &[u8]) -> Micros {
    let first = frame.get(FRAME_HEADER_BYTES..).and_then(|body| body.first_chunk().copied());
    first.map_or(header.received_last, i64::from_le_bytes)
}
