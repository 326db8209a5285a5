//! Seeded bugs of the exactly-once test. Invariant: each breaks one rule of a commit and nothing else, so that a test that misses
//! it does not watch that rule.

use std::io;
use std::path::Path;

use thalweg_engine::state::Checkpoint;

use crate::conservation::{checkpoints, read_checkpoint};

/// Records that `next-offsets` skips in each partition.
const SKIPPED: u64 = 3;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Sinks commit, and only then the checkpoint gets its name.
    CommitBeforeCheckpoint,
    /// A checkpoint does not say what its first sink prepared.
    ForgetsSink,
    /// Checkpoints count one late row too many.
    LateMiscounted,
    /// Offsets of a checkpoint lie behind its barrier.
    NextOffsets,
    /// Names in the lake are never synced.
    NoDirectorySync,
    /// Files of the lake are never synced.
    NoLakeSync,
    /// An older checkpoint is gone on from although the lake holds later epochs.
    TxnUnchecked,
    /// Checkpoints count one row of the result too many.
    WrittenMiscounted,
}

/// Every lie by its name, sorted.
pub static LIES: &[(&str, Lie)] = &[
    ("commit-before-checkpoint", Lie::CommitBeforeCheckpoint),
    ("forgets-sink", Lie::ForgetsSink),
    ("late-miscounted", Lie::LateMiscounted),
    ("next-offsets", Lie::NextOffsets),
    ("no-directory-sync", Lie::NoDirectorySync),
    ("no-lake-sync", Lie::NoLakeSync),
    ("txn-unchecked", Lie::TxnUnchecked),
    ("written-miscounted", Lie::WrittenMiscounted),
];

/// The lie of this name.
pub fn named(name: &str) -> Result<Lie, String> {
    LIES.iter().find(|(known, _)| *known == name).map(|(_, lie)| *lie).ok_or(format!("there is no bug {name}"))
}

/// The bytes of a checkpoint as they are stored, and a line that says whether its counts balance.
pub fn checkpoint(lie: Option<Lie>, bytes: &[u8]) -> io::Result<(Vec<u8>, String)> {
    let mut checkpoint = Checkpoint::decode(bytes).map_err(io::Error::other)?;
    match lie {
        Some(Lie::ForgetsSink) => {
            if let Some(sink) = checkpoint.sinks.first_mut() {
                sink.files.clear();
                sink.removes.clear();
            }
        }
        Some(Lie::LateMiscounted) => {
            checkpoint.merged.late += 1;
        }
        Some(Lie::WrittenMiscounted) => {
            checkpoint.merged.written += 1;
        }
        Some(Lie::NextOffsets) => checkpoint.partitions.iter_mut().for_each(|p| p.offset += SKIPPED),
        _ => {}
    }
    let counters = checkpoint.counters();
    let line = format!("CHECKPOINT {} {} {} {}", checkpoint.job, checkpoint.epoch, counters.row_balance(), counters.window_balance());
    Ok((checkpoint.encode().map_err(io::Error::other)?, line))
}

/// What `txn-unchecked` comes to: the newest checkpoint holds the offsets and the state of the oldest that is kept, and claims that
/// everything is committed.
pub fn forge(directory: &Path) -> Result<(), String> {
    let files = checkpoints(directory);
    let (Some(oldest), Some(newest)) = (files.first(), files.last()) else { return Ok(()) };
    let (mut forged, real) = (read_checkpoint(oldest)?, read_checkpoint(newest)?);
    forged.epoch = real.epoch;
    forged.sinks = real.sinks;
    let bytes = forged.encode().map_err(|e| e.to_string())?;
    std::fs::write(newest, bytes).map_err(|e| format!("{}: {e}", newest.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_are_sorted_and_found_by_name() {
        assert!(LIES.is_sorted_by_key(|(name, _)| *name));
        assert_eq!(named("no-lake-sync"), Ok(Lie::NoLakeSync));
        assert!(named("nonsense").is_err());
    }
}
