//! Room on the disk for what is made out of the log: tables of the lake, checkpoints, what queries put aside. Invariant: all of it
//! together never takes the last [`DISK_SCARCE_BYTES`]; they are the log's, so that whoever fills the disk, results wait first and
//! records are taken for longer.
//!
//! ```text
//! free bytes of the disk   |◄── log alone, down to DISK_FREE_BYTES_MIN ──►|◄── log, lake, checkpoints, spilled queries ──►|
//!                          0                                    DISK_SCARCE_BYTES
//! ```

use std::path::Path;

use crate::contract::Disk;
use crate::error::{Case, Error, Result};
use crate::limits::DISK_SCARCE_BYTES;

const MIB: u64 = 1024 * 1024;

/// Bytes that may be taken where `path` lies; no end of them if the file system does not say.
pub fn left(disk: &dyn Disk, path: &Path) -> u64 {
    disk.free_bytes(path).map_or(u64::MAX, |free| free.saturating_sub(DISK_SCARCE_BYTES))
}

/// Whether there is any. Errors: `Unavailable`.
pub fn check(disk: &dyn Disk, path: &Path) -> Result<()> {
    match left(disk, path) {
        0 => Err(Error::unavailable(format!("less than {} MiB are free on the disk; they are kept for the log", DISK_SCARCE_BYTES / MIB))
            .of_case(Case::DiskFull)
            .hint("free space; jobs and queries go on by themselves")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::log::sim::SimDisk;

    #[test]
    fn the_last_bytes_are_the_logs() {
        let (disk, path) = (SimDisk::default(), Path::new("checkpoints"));
        for (free, want) in [(u64::MAX, u64::MAX - DISK_SCARCE_BYTES), (DISK_SCARCE_BYTES + 1, 1), (DISK_SCARCE_BYTES, 0), (7, 0)] {
            disk.faults.taken.store(u64::MAX - free, Ordering::Relaxed);
            assert_eq!(left(&disk, path), want);
            assert_eq!(check(&disk, path).is_ok(), want > 0);
        }
    }
}
