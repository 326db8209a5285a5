//! Files on disk that no reader needs. Invariant: a file is removed only if no version that a reader may still use names it, and
//! no stored checkpoint may still commit it.
//!
//! ```text
//! on disk, in the newest version                        stays
//! on disk, replaced longer ago than the history         removed by `sweep`
//! in data/, never in the log                            left by a crashed seal: removed when the table is opened
//! in recent/ or keyed/, never in the log                orphan: staged or merged, and not committed; removed when its sink has committed
//!                                                       that epoch, or on request once it is a day old
//! ```

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use deltalake_core::kernel::TombstoneView;
use deltalake_core::protocol::checkpoints::cleanup_metadata;
use futures::TryStreamExt;

use crate::contract::PreCommit;
use crate::error::{Error, Result};
use crate::ids::Epoch;
use crate::lake::layout::Level;
use crate::lake::table::LakeTable;
use crate::time::{MILLISECOND, Micros, SECOND};

/// Where sinks put their files, and merges. Those in `data/` are never replaced.
const STAGED: [Level; 2] = [Level::Recent, Level::Bucket];
/// Age below which a staged file may still be committed by a job that is starting.
pub(super) const ORPHAN_AGE_MIN: Micros = 24 * 3600 * SECOND;

impl LakeTable {
    /// Removes replaced files that are old enough. Returns how many.
    pub(super) fn sweep(&self, now: Micros) -> Result<usize> {
        let stray = self.stray(&STAGED)?;
        if stray.is_empty() {
            return Ok(0);
        }
        let removed_at = self.removed_at()?;
        let kept = self.environment.history.as_micros() as Micros;
        let is_old = |path: &&String| removed_at.get(*path).is_some_and(|at| at + kept <= now);
        let old: Vec<&String> = stray.iter().filter(is_old).collect();
        old.iter().try_for_each(|path| std::fs::remove_file(self.path().join(path)))?;
        Ok(old.len())
    }

    /// Removes log files that are older than their retention. Returns how many.
    pub(super) fn clean_log(&self) -> Result<usize> {
        let table = self.delta_table();
        let removed = self.environment.wait(cleanup_metadata(&table, None))?;
        if removed > 0 {
            // What is in memory may begin at a checkpoint that is gone.
            self.begin().reload()?;
        }
        Ok(removed)
    }

    /// Removes sealed files that never were committed, so that a glob over the sealed files is right again.
    pub(super) fn remove_unfinished_seals(&self) -> Result<()> {
        let unknown = self.unknown(&[Level::Sealed])?;
        Ok(unknown.iter().try_for_each(|path| std::fs::remove_file(self.path().join(path)))?)
    }

    /// Removes what one sink, whose files have `mark` in their names, staged for epochs up to `last` and never committed: the log holds
    /// `last`, so no checkpoint can commit it any more. Returns how many.
    pub(super) fn remove_uncommitted(&self, mark: &str, last: Epoch) -> Result<usize> {
        let mut unknown = self.unknown(&STAGED)?;
        unknown.retain(|path| staged_for(path, mark).is_some_and(|epoch| epoch <= last));
        unknown.iter().try_for_each(|path| std::fs::remove_file(self.path().join(path)))?;
        Ok(unknown.len())
    }

    /// Staged and merged files that no commit and none of the stored checkpoints names, and that are more than a day old.
    pub(super) fn orphans(&self, now: Micros, keep: &[PreCommit]) -> Result<Vec<PathBuf>> {
        let kept: HashSet<&str> = keep.iter().flat_map(|p| &p.files).map(|f| f.path.as_str()).collect();
        let mut orphans = Vec::new();
        for relative in self.unknown(&STAGED)?.iter().filter(|path| !kept.contains(path.as_str())) {
            let path = self.path().join(relative);
            if modified_at(&path)? + ORPHAN_AGE_MIN <= now {
                orphans.push(path);
            }
        }
        Ok(orphans)
    }

    /// Files on disk that the log never named.
    fn unknown(&self, levels: &[Level]) -> Result<Vec<String>> {
        let mut stray = self.stray(levels)?;
        if !stray.is_empty() {
            let removed_at = self.removed_at()?;
            stray.retain(|path| !removed_at.contains_key(path));
        }
        Ok(stray)
    }

    /// Files on disk that are not in the newest version.
    fn stray(&self, levels: &[Level]) -> Result<Vec<String>> {
        let mut on_disk = list(self.path(), levels)?;
        let snapshot = self.snapshot()?;
        on_disk.retain(|path| snapshot.file(path).is_none());
        Ok(on_disk)
    }

    /// When each file that the log still remembers was removed.
    fn removed_at(&self) -> Result<HashMap<String, Micros>> {
        let state = self.state();
        let entry = |t: TombstoneView| (t.path().into_owned(), t.deletion_timestamp().unwrap_or_default() * MILLISECOND);
        // The library looks for the runtime before the first poll.
        let removed = async { state.delta.all_tombstones(self.log_store.as_ref()).map_ok(entry).try_collect().await };
        Ok(self.environment.wait(removed)?)
    }
}

/// The epoch that a sink staged a file for; `None` if the file is another sink's.
fn staged_for(path: &str, mark: &str) -> Option<Epoch> {
    let (epoch, rest) = Path::new(path).file_name()?.to_str()?.strip_prefix('e')?.split_once('-')?;
    rest.strip_prefix(mark)?.strip_prefix('-').and(epoch.parse().ok())
}

/// Parquet files of some levels, relative to the table.
fn list(table: &Path, levels: &[Level]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut pending: Vec<PathBuf> = levels.iter().map(|level| table.join(level.directory())).collect();
    while let Some(directory) = pending.pop() {
        if !directory.exists() {
            continue;
        }
        for entry in std::fs::read_dir(&directory)? {
            let (entry, path) = entry.map(|e| (e.file_type(), e.path()))?;
            if entry?.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "parquet") {
                let relative = path.strip_prefix(table).ok().and_then(Path::to_str);
                let relative = relative.ok_or_else(|| Error::internal(format!("{} has no name in its table", path.display())))?;
                found.push(relative.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn modified_at(path: &Path) -> Result<Micros> {
    let modified = std::fs::metadata(path)?.modified()?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staged_file_tells_its_epoch_and_its_sink() {
        let mark = "job-main-00c0ffee";
        for name in ["e00000012-job-main-00c0ffee-o7-s0", "e00000012-job-main-00c0ffee-s0", "e00000012-job-main-00c0ffee-o7-b03"] {
            assert_eq!(staged_for(&format!("recent/date=2026-01-01/{name}.parquet"), mark), Some(12), "{name}");
        }
        for name in
            ["e00000012-job-late-00c0ffee-o7-s0", "e00000012-job-main-00c0ffee0-o7-s0", "x-job-main-00c0ffee-o7-s0", "m00000012-o7-s0"]
        {
            assert_eq!(staged_for(&format!("recent/{name}.parquet"), mark), None, "{name}");
        }
    }
}
