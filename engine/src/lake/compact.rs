//! The small files of a day become larger sorted ones: merged, as long as the day lasts, and sealed when it is over; a sealed file is never
//! written again. Invariant: no row changes; the commit that adds files removes exactly those whose rows are in them.
//!
//! ```text
//! recent/date=D/ e1 e2 … e60 ──► sort by device and time, column by column ──► merged: recent/date=D/m<n>-o<fence>-s0.parquet
//!                   ▲                                                     │    sealed: data/date=D/e<n>-o<fence>-s0.parquet
//!                   └───── m1 … m8, with more of their size (`merge`) ────┘
//!
//! one commit of a day: Remove(e1…e60) + Add(…), dataChange = false, txn(maint/<table>, n)
//! ```
//!
//! The replaced files stay on disk for the history of the lake, so that readers of an older version do not break (`sweep`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;

use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take};
use deltalake_core::kernel::{Action, Add, Remove};
use deltalake_core::protocol::DeltaOperation;

use crate::contract::StagedFile;
use crate::error::{Error, Result};
use crate::lake::actions::{add, remove};
use crate::lake::file::{FinishedFile, OpenFile};
use crate::lake::layout::Level;
use crate::lake::merge::{self, Rewrite, Size};
use crate::lake::snapshot::TableFile;
use crate::lake::source::{Source, column};
use crate::lake::table::LakeTable;
use crate::lake::writer::Day;
use crate::limits::{RECENT_FILES_MAX, SEAL_BYTES_MAX};
use crate::parallel::in_background;
use crate::time::{self, DAY, MILLISECOND, Micros, SECOND};

/// Begin of the transaction ids of maintenance.
pub(super) const APP_ID_PREFIX: &str = "maint/";
/// Rows may come late by this much before their day is sealed. What comes later waits no longer, and is sealed no more often.
const LATENESS: Micros = 3600 * SECOND;

/// First letter of the names of merged files. Those of sinks begin with `e`, so that a sink takes none of these for its own.
const MERGED: char = 'm';

/// Which days are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealScope<'a> {
    /// Those that are over. Of others that have too many small files, those of about as many rows are merged, and sealed once they are enough
    /// for a sealed file.
    Due,
    /// This one, `2026-01-02`.
    Date(&'a str),
    /// Every day.
    All,
    /// None. Of every day small files of about as many rows are merged, however few there are, and sealed once they are enough.
    Alike,
}

/// A day whose small files became fewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactedDay {
    /// `cold.telemetry`.
    pub table: String,
    /// The day.
    pub date: String,
    /// Small files that were replaced.
    pub replaced: usize,
    /// Merged files that took their place; they may be replaced again.
    pub merged: usize,
    /// Sealed files that did.
    pub sealed: usize,
    /// Rows in both.
    pub rows: u64,
}

/// What is done with the small files of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// All are sealed.
    Seal,
    /// Those of about as many rows are merged.
    Merge,
}

impl Decision {
    /// Which files become one.
    fn rewrites(self, sizes: &[Size]) -> Vec<Rewrite> {
        match self {
            Self::Seal => merge::all(sizes),
            Self::Merge => merge::alike(sizes),
        }
    }
}

/// Days that have something to do, with their small files in the order in which they were written. Buckets of a table with a primary key
/// have no day: they stay as they are.
fn decide<'a>(files: &'a [TableFile], now: Micros, scope: SealScope<'_>) -> Vec<(&'a str, Decision, Vec<&'a TableFile>)> {
    let mut days: BTreeMap<&str, Vec<&TableFile>> = BTreeMap::new();
    let recent = files.iter().filter(|f| !f.is_sealed());
    for (date, file) in recent.filter_map(|f| Some((f.date.as_deref()?, f))) {
        days.entry(date).or_default().push(file);
    }
    let due = |date: &str, recent: &[&TableFile]| {
        let is_over = day_of(date).is_some_and(|day| (day + 1) * DAY + LATENESS <= now);
        let is_old = |f: &TableFile| f.written_at + LATENESS <= now;
        let sealed = files.iter().filter(|f| f.is_sealed() && f.date.as_deref() == Some(date));
        let last_sealed = sealed.max_by_key(|f| f.written_at);
        // A merged file has the time of its merge. Without the last seal, rows that trickle in would begin to wait anew with each.
        let waited = last_sealed.is_none_or(is_old) || recent.iter().any(|&f| is_old(f));
        if is_over && waited {
            return Some(Decision::Seal);
        }
        (recent.len() > RECENT_FILES_MAX).then_some(Decision::Merge)
    };
    let decided = |(date, mut recent): (&'a str, Vec<&'a TableFile>)| {
        let decision = match scope {
            SealScope::Due => due(date, &recent)?,
            SealScope::Date(wanted) => (date == wanted).then_some(Decision::Seal)?,
            SealScope::All => Decision::Seal,
            SealScope::Alike => Decision::Merge,
        };
        recent.sort_by_key(|f| f.written_at);
        Some((date, decision, recent))
    };
    days.into_iter().filter_map(decided).collect()
}

fn day_of(date: &str) -> Option<Day> {
    time::parse(format!("{date}T00:00:00Z").as_bytes()).map(|t| t.div_euclid(DAY))
}

impl LakeTable {
    /// Seals the days in `scope`, and merges small files of other days if it says so. Errors: `Conflict` if another thread is at it in this
    /// table, or another process has taken the lake over.
    pub fn seal(&self, scope: SealScope<'_>, now: Micros) -> Result<Vec<CompactedDay>> {
        self.environment.check_fence()?;
        let lease = match self.maintenance.try_lock() {
            Ok(lease) => lease,
            Err(std::sync::TryLockError::Poisoned(e)) => PoisonError::into_inner(e),
            Err(std::sync::TryLockError::WouldBlock) => {
                return Err(Error::conflict(format!("{} is being sealed already", self.full_name())));
            }
        };
        if *lease {
            return Ok(Vec::new());
        }
        let snapshot = self.snapshot()?;
        // One day that cannot be sealed does not keep the others from it.
        let days = decide(&snapshot.files, now, scope).into_iter().take_while(|_| !self.environment.is_ending());
        let done: Vec<Result<Option<CompactedDay>>> = days.map(|(date, decision, files)| self.compact(date, decision, &files)).collect();
        drop(lease);
        done.into_iter().filter_map(Result::transpose).collect()
    }

    /// Transaction id of this table's maintenance.
    fn maintenance_app(&self) -> String {
        format!("{APP_ID_PREFIX}{}", self.full_name())
    }

    /// `None` if there is nothing to do. Errors: also, after the others were merged, why a file could not be opened or read.
    fn compact(&self, date: &str, decision: Decision, files: &[&TableFile]) -> Result<Option<CompactedDay>> {
        let app = self.maintenance_app();
        let number = self.begin().version(&app)? + 1;
        let stem = format!("{number:08}-o{}", self.environment.fence());
        day_of(date).ok_or_else(|| Error::corrupt(format!("{}: {date:?} is not a day", self.full_name())))?;
        let (sources, damaged) = self.sources(decision, files)?;
        let sizes: Vec<Size> = sources.iter().map(|s| Size { rows: s.rows(), bytes: s.bytes() }).collect();
        let rewrites = decision.rewrites(&sizes);
        if rewrites.is_empty() {
            return damaged.map_or(Ok(None), Err);
        }
        let replaced: Vec<&TableFile> = rewrites.iter().flat_map(|r| &r.files).map(|&i| sources[i].file()).collect();
        let expected: u64 = replaced.iter().map(|f| f.rows).sum();
        let mut staged: Vec<StagedFile> = Vec::new();
        let mut write = || -> Result<u64> {
            for (n, rewrite) in rewrites.iter().enumerate() {
                let first = if rewrite.level == Level::Sealed { 'e' } else { MERGED };
                let path = format!("{}/date={date}/{first}{stem}-s{n}.parquet", rewrite.level.directory());
                let group: Vec<&Source<'_>> = rewrite.files.iter().map(|&i| &sources[i]).collect();
                staged.push(in_background(|| self.sorted(&group, rewrite.level))?.publish(self, path, Some(date.to_owned()))?);
            }
            Ok(staged.iter().map(|f| f.rows).sum())
        };
        let rows = match write() {
            Ok(rows) if rows == expected => rows,
            failed => {
                self.forget(&staged);
                if decision == Decision::Merge {
                    let read: Vec<&Source<'_>> = rewrites.iter().flat_map(|r| &r.files).map(|&i| &sources[i]).collect();
                    self.merge_others(date, files, &read)?;
                }
                let lost = Error::internal(format!("{} {date}: what was merged or sealed does not hold {expected} rows", self.full_name()));
                return Err(failed.err().unwrap_or(lost));
            }
        };
        if let Err(e) = self.replace(&replaced, &staged, &app, number) {
            self.withdraw(staged, &app);
            return Err(e);
        }
        let sealed = rewrites.iter().filter(|r| r.level == Level::Sealed).count();
        let (table, date, merged) = (self.full_name(), date.to_owned(), rewrites.len() - sealed);
        damaged.map_or(Ok(Some(CompactedDay { table, date, replaced: replaced.len(), merged, sealed, rows })), Err)
    }

    /// Opens files. To be merged, those that can be are enough: one that is damaged keeps no others from it.
    fn sources<'a>(&'a self, decision: Decision, files: &[&'a TableFile]) -> Result<(Vec<Source<'a>>, Option<Error>)> {
        let (mut sources, mut damaged) = (Vec::with_capacity(files.len()), None);
        for &file in files {
            match Source::open(&self.layout, file) {
                Ok(source) => sources.push(source),
                Err(e) if decision == Decision::Merge => damaged = damaged.or(Some(e)),
                Err(e) => return Err(e),
            }
        }
        Ok((sources, damaged))
    }

    /// After a merge that failed, merges the files without those of `read` that cannot be read, if there are any: pages may be damaged
    /// behind a good footer.
    fn merge_others(&self, date: &str, files: &[&TableFile], read: &[&Source<'_>]) -> Result<()> {
        let damaged = read.iter().filter(|source| in_background(|| source.check()).is_err());
        let damaged: Vec<&str> = damaged.map(|source| source.file().relative.as_str()).collect();
        if damaged.is_empty() {
            return Ok(());
        }
        let others: Vec<&TableFile> = files.iter().copied().filter(|f| !damaged.contains(&f.relative.as_str())).collect();
        self.compact(date, Decision::Merge, &others).map(|_| ())
    }

    /// Removes what a failed commit was to add, if it is known that the log does not name it. A merged file it may have named, once another owner
    /// has the lake: that one can have replaced it since, and readers of the version between need it. Sealed files nobody replaces.
    fn withdraw(&self, mut staged: Vec<StagedFile>, app: &str) {
        let Ok(snapshot) = self.begin().version(app).and_then(|_| self.snapshot()) else { return };
        let is_owner = self.environment.check_fence().is_ok();
        let is_ours = |f: &StagedFile| is_owner || Path::new(&f.path).starts_with(Level::Sealed.directory());
        staged.retain(|f| snapshot.file(&f.path).is_none() && is_ours(f));
        self.forget(&staged);
    }

    /// Removes files that no commit names: left alone, a glob over the sealed files would count their rows twice. One that stays neither
    /// keeps the others here nor hides why they were to go.
    fn forget(&self, staged: &[StagedFile]) {
        for file in staged {
            if let Err(error) = std::fs::remove_file(self.path().join(&file.path)) {
                tracing::warn!(table = self.full_name(), file = %file.path, %error, "a file that was never committed stays");
            }
        }
    }

    /// The rows of some files in the order of a sealed file. Beside the sorted columns one more is in memory at a time.
    fn sorted(&self, sources: &[&Source<'_>], level: Level) -> Result<FinishedFile> {
        let options = Some(SortOptions { descending: false, nulls_first: true });
        let keys = self.layout.sort.iter().map(|&i| Ok(SortColumn { values: column(sources, i)?, options }));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let order = if keys.is_empty() { None } else { Some(lexsort_to_indices(&keys, None)?) };
        drop(keys);
        let mut file = OpenFile::create(&self.environment, &self.layout, level)?;
        let rows: u64 = sources.iter().map(|s| s.rows()).sum();
        file.write_columns(rows as usize, |i| {
            let values = column(sources, i)?;
            Ok(order.as_ref().map_or(Ok(values.clone()), |order| take(&values, order, None))?)
        })?;
        file.finish(&self.layout)
    }

    fn replace(&self, replaced: &[&TableFile], staged: &[StagedFile], app: &str, number: i64) -> Result<()> {
        let now = self.environment.now() / MILLISECOND;
        let removes = replaced.iter().map(|f| Action::Remove(Remove { data_change: false, ..remove(f, now) }));
        let adds = staged.iter().map(|f| Action::Add(Add { data_change: false, ..add(f, now) }));
        let actions: Vec<Action> = removes.chain(adds).collect();
        let operation = DeltaOperation::Optimize { predicate: None, target_size: SEAL_BYTES_MAX as i64 };
        let mut guard = self.begin();
        let snapshot = self.snapshot()?;
        if let Some(gone) = replaced.iter().find(|f| snapshot.file(&f.relative).is_none()) {
            return Err(Error::conflict(format!("{} of {} was removed while it was rewritten", gone.relative, self.full_name())));
        }
        guard.commit(actions, operation, app, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of the 2nd of January 2026, written at this time of the 3rd.
    fn file(relative: &str, written: &str) -> TableFile {
        TableFile {
            path: relative.into(),
            relative: relative.to_owned(),
            date: Some("2026-01-02".to_owned()),
            bytes: 1,
            rows: 1,
            written_at: at(written),
            event_time_max: None,
        }
    }

    fn at(clock: &str) -> Micros {
        time::parse(format!("2026-01-03T{clock}Z").as_bytes()).unwrap()
    }

    fn decision(files: &[TableFile], now: &str, scope: SealScope<'_>) -> Option<Decision> {
        decide(files, at(now), scope).first().map(|(_, decision, _)| *decision)
    }

    #[test]
    fn days_that_last_are_merged_and_those_that_are_over_are_sealed() {
        let few = vec![file("recent/e1", "00:30:00")];
        let many = vec![few[0].clone(); RECENT_FILES_MAX + 1];
        // The day was sealed twice, the last time at `last`.
        let beside_sealed = |mut files: Vec<TableFile>, last: &str| {
            files.extend([file("data/e2", last), file("data/e1", "00:10:00")]);
            files
        };
        for (files, now, want) in [
            (few.clone(), "00:59:59", None),
            (few.clone(), "01:00:00", Some(Decision::Seal)),
            (many.clone(), "00:59:59", Some(Decision::Merge)),
            (many.clone(), "01:00:00", Some(Decision::Seal)),
            // Of a day that was sealed: more late rows are waited for.
            (beside_sealed(few.clone(), "00:20:00"), "01:19:59", None),
            (beside_sealed(few.clone(), "00:20:00"), "01:20:00", Some(Decision::Seal)),
            (beside_sealed(few.clone(), "00:40:00"), "01:29:59", None),
            (beside_sealed(few.clone(), "00:40:00"), "01:30:00", Some(Decision::Seal)),
            (beside_sealed(many.clone(), "00:20:00"), "01:19:59", Some(Decision::Merge)),
            (beside_sealed(many, "00:20:00"), "01:20:00", Some(Decision::Seal)),
            (beside_sealed(Vec::new(), "00:20:00"), "12:00:00", None),
        ] {
            assert_eq!(decision(&files, now, SealScope::Due), want, "{} files at {now}", files.len());
        }
        assert_eq!(decision(&few, "00:31:00", SealScope::All), Some(Decision::Seal));
        assert_eq!(decision(&few, "12:00:00", SealScope::Alike), Some(Decision::Merge));
        assert_eq!(decision(&few, "00:31:00", SealScope::Date("2026-01-02")), Some(Decision::Seal));
        assert_eq!(decision(&few, "00:31:00", SealScope::Date("2026-01-03")), None);
        let bucket = TableFile { date: None, ..file("keyed/e1-b00", "00:30:00") };
        assert_eq!(decision(&[bucket], "12:00:00", SealScope::All), None);
    }

    #[test]
    fn late_rows_that_trickle_in_are_sealed_once_an_hour_and_wait_no_longer() {
        let mut files = vec![file("data/e0", "01:00:00")];
        // When the first row of each small file came.
        let mut came = BTreeMap::new();
        let (mut longest, mut merged, mut sealed) = (0, 0, 0);
        for minute in 1..=12 * 60 {
            let now = at("01:00:00") + minute * 60 * SECOND;
            files.push(TableFile { written_at: now, ..file(&format!("recent/e{minute}"), "00:00:00") });
            came.insert(format!("recent/e{minute}"), now);
            longest = came.values().map(|first| now - first).max().unwrap().max(longest);
            let Some((_, decision, small)) = decide(&files, now, SealScope::Due).pop() else { continue };
            let sizes: Vec<Size> = small.iter().map(|f| Size { rows: f.rows, bytes: 100 * f.rows }).collect();
            let (mut gone, mut new) = (Vec::new(), Vec::new());
            for (n, rewrite) in decision.rewrites(&sizes).iter().enumerate() {
                let relative = format!("{}/x{minute}-s{n}", rewrite.level.directory());
                let old: Vec<&TableFile> = rewrite.files.iter().map(|&i| small[i]).collect();
                let first = old.iter().filter_map(|f| came.remove(&f.relative)).min().unwrap();
                if rewrite.level == Level::Sealed {
                    sealed += 1;
                } else {
                    merged += 1;
                    came.insert(relative.clone(), first);
                }
                let rows = old.iter().map(|f| f.rows).sum();
                gone.extend(old.iter().map(|f| f.relative.clone()));
                new.push(TableFile { rows, written_at: now, ..file(&relative, "00:00:00") });
            }
            files.retain(|f| !gone.contains(&f.relative));
            files.extend(new);
        }
        assert_eq!((longest / SECOND, merged, sealed), (59 * 60, 12, 12));
        assert_eq!(files.iter().map(|f| f.rows).sum::<u64>(), 1 + 12 * 60);
    }

    #[test]
    fn files_come_in_the_order_of_writing() {
        let files = [file("recent/e1", "00:03:00"), file("recent/e2", "00:01:00"), file("recent/m1", "00:02:00")];
        let days = decide(&files, at("12:00:00"), SealScope::Due);
        let names: Vec<&str> = days[0].2.iter().map(|f| f.relative.as_str()).collect();
        assert_eq!(names, ["recent/e2", "recent/m1", "recent/e1"]);
    }
}
