//! Bits that flip on a simulated disk. Invariant: exactly one bit of one segment changes; with `Lie::ChecksumsRepaired` the
//! checksum of its frame is made to fit, as if nobody looked at it.

use std::path::PathBuf;

use rand::Rng;
use rand::rngs::StdRng;

use super::super::frame::{self, FRAME_HEADER_BYTES};
use super::super::segment::{FileKind, SEGMENT_HEADER_BYTES, SegmentHeader, kind_of};
use super::SimDisk;
use super::plan::Lie;

/// Flips a bit of some segment; false if there is none that fits.
pub(super) fn flip(disk: &SimDisk, dice: &mut StdRng, lie: Lie) -> bool {
    let segments: Vec<(PathBuf, Vec<u8>)> =
        disk.files().into_iter().filter(|(path, bytes)| matches!(kind_of(path), FileKind::Segment(_)) && !bytes.is_empty()).collect();
    if segments.is_empty() {
        return false;
    }
    let (path, mut bytes) = segments[dice.random_range(0..segments.len())].clone();
    if lie == Lie::ChecksumsRepaired {
        if !flip_payload(&mut bytes, dice) {
            return false;
        }
    } else {
        let bit = dice.random_range(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    disk.overwrite(&path, bytes);
    true
}

/// Flips a bit of the last byte of some frame's last record, and makes the checksum fit.
fn flip_payload(bytes: &mut [u8], dice: &mut StdRng) -> bool {
    let Ok(header) = SegmentHeader::decode(bytes) else { return false };
    let key = header.key();
    let (mut frames, mut at) = (Vec::new(), SEGMENT_HEADER_BYTES);
    while let Ok(frame) = frame::check(&bytes[at..], key) {
        if frame.count > 0 && frame.bytes > FRAME_HEADER_BYTES {
            frames.push((at, frame));
        }
        at += frame.bytes;
    }
    if frames.is_empty() {
        return false;
    }
    let (at, frame) = frames[dice.random_range(0..frames.len())];
    let whole = &mut bytes[at..at + frame.bytes];
    whole[frame.bytes - 1] ^= 1;
    frame::seal(whole, key, &frame);
    true
}
