//! Sealing: the small files of a day become one sorted file that is never written again. Invariant: a seal changes no row; the
//! commit that adds the sealed file removes exactly the files whose rows are in it.
//!
//! ```text
//! recent/date=D/ e1 e2 e3 … e48  ──► sort by device and time, column by column ──► data/date=D/e<n>-o<fence>-s0.parquet
//!                                    one commit: Remove(e1…e48) + Add(data), dataChange = false, txn(maint/<table>, n)
//! ```
//!
//! The replaced files stay on disk for the history of the lake, so that readers of an older version do not break (`sweep`).

use std::collections::BTreeMap;
use std::sync::PoisonError;

use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take};
use deltalake_core::kernel::{Action, Add, Remove};
use deltalake_core::protocol::DeltaOperation;

use crate::contract::StagedFile;
use crate::error::{Error, Result};
use crate::lake::actions::{add, remove};
use crate::lake::file::{FinishedFile, OpenFile};
use crate::lake::layout::{Layout, Level};
use crate::lake::snapshot::TableFile;
use crate::lake::source::{Source, column};
use crate::lake::table::LakeTable;
use crate::lake::writer::Day;
use crate::limits::{RECENT_FILES_MAX, SEAL_BYTES_MAX, SEAL_ROWS_MAX};
use crate::parallel::in_background;
use crate::time::{self, DAY, MILLISECOND, Micros, SECOND};

/// Begin of the transaction ids of maintenance.
pub(super) const APP_ID_PREFIX: &str = "maint/";
/// Rows may come late by this much before their day is sealed, and a sealed day waits this long for more late rows.
const LATENESS: Micros = 3600 * SECOND;

/// Which days are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealScope<'a> {
    /// Those that are over, or have too many small files.
    Due,
    /// This one, `2026-01-02`.
    Date(&'a str),
    /// Every day.
    All,
}

/// A day that was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedDay {
    /// `cold.telemetry`.
    pub table: String,
    /// The day.
    pub date: String,
    /// Small files that were replaced.
    pub replaced: usize,
    /// Sealed files that took their place.
    pub files: usize,
    /// Rows in them.
    pub rows: u64,
}

/// Days to seal with their small files. Buckets of a table with a primary key have no day: they stay as they are.
fn decide<'a>(files: &'a [TableFile], now: Micros, scope: SealScope<'_>) -> BTreeMap<&'a str, Vec<&'a TableFile>> {
    let mut days: BTreeMap<&str, Vec<&TableFile>> = BTreeMap::new();
    let recent = files.iter().filter(|f| !f.is_sealed());
    for (date, file) in recent.filter_map(|f| Some((f.date.as_deref()?, f))) {
        days.entry(date).or_default().push(file);
    }
    let is_due = |date: &str, recent: &[&TableFile]| {
        if recent.len() > RECENT_FILES_MAX {
            return true;
        }
        let is_over = day_of(date).is_some_and(|day| (day + 1) * DAY + LATENESS <= now);
        let sealed_before = files.iter().any(|f| f.is_sealed() && f.date.as_deref() == Some(date));
        let waited = recent.iter().any(|f| f.written_at + LATENESS <= now);
        is_over && (!sealed_before || waited)
    };
    days.retain(|&date, recent| match scope {
        SealScope::Due => is_due(date, recent),
        SealScope::Date(wanted) => date == wanted,
        SealScope::All => true,
    });
    days
}

/// The files of a day in groups that fit into memory; one group becomes one file.
fn groups<'a>(layout: &'a Layout, files: &[&'a TableFile]) -> Result<Vec<Vec<Source<'a>>>> {
    let mut groups: Vec<Vec<Source<'a>>> = Vec::new();
    let (mut bytes, mut rows) = (0, 0);
    for file in files {
        let source = Source::open(layout, file)?;
        bytes += source.bytes();
        rows += source.rows();
        match groups.last_mut() {
            Some(group) if bytes <= SEAL_BYTES_MAX && rows <= SEAL_ROWS_MAX => group.push(source),
            _ => {
                (bytes, rows) = (source.bytes(), source.rows());
                groups.push(vec![source]);
            }
        }
    }
    Ok(groups)
}

fn day_of(date: &str) -> Option<Day> {
    time::parse(format!("{date}T00:00:00Z").as_bytes()).map(|t| t.div_euclid(DAY))
}

impl LakeTable {
    /// Seals the days in `scope`. Errors: `Conflict` if another thread is sealing this table, or another process has taken the lake over.
    pub fn seal(&self, scope: SealScope<'_>, now: Micros) -> Result<Vec<SealedDay>> {
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
        let sealed: Vec<Result<SealedDay>> =
            decide(&snapshot.files, now, scope).into_iter().map(|(date, files)| self.seal_day(date, &files)).collect();
        drop(lease);
        sealed.into_iter().collect()
    }

    /// Transaction id of this table's maintenance.
    fn maintenance_app(&self) -> String {
        format!("{APP_ID_PREFIX}{}", self.full_name())
    }

    fn seal_day(&self, date: &str, replaced: &[&TableFile]) -> Result<SealedDay> {
        let app = self.maintenance_app();
        let number = self.begin().version(&app)? + 1;
        let stem = format!("e{number:08}-o{}", self.environment.fence());
        day_of(date).ok_or_else(|| Error::corrupt(format!("{}: {date:?} is not a day", self.full_name())))?;
        let mut staged: Vec<StagedFile> = Vec::new();
        let expected: u64 = replaced.iter().map(|f| f.rows).sum();
        let mut write = || -> Result<u64> {
            for (n, group) in groups(&self.layout, replaced)?.iter().enumerate() {
                let path = format!("{}/date={date}/{stem}-s{n}.parquet", Level::Sealed.directory());
                staged.push(in_background(|| self.sorted(group))?.publish(self, path, Some(date.to_owned()))?);
            }
            Ok(staged.iter().map(|f| f.rows).sum())
        };
        let rows = match write() {
            Ok(rows) if rows == expected => rows,
            failed => {
                self.forget(&staged)?;
                let lost = Error::internal(format!("seal of {} {date}: the files do not hold {expected} rows", self.full_name()));
                return Err(failed.err().unwrap_or(lost));
            }
        };
        if let Err(e) = self.commit_seal(replaced, &staged, &app, number) {
            if self.begin().version(&app).is_ok_and(|version| version != number) {
                self.forget(&staged)?;
            }
            return Err(e);
        }
        Ok(SealedDay { table: self.full_name(), date: date.to_owned(), replaced: replaced.len(), files: staged.len(), rows })
    }

    /// Removes files that no commit names: left alone, a glob over the sealed files would count their rows twice.
    fn forget(&self, staged: &[StagedFile]) -> Result<()> {
        Ok(staged.iter().try_for_each(|f| std::fs::remove_file(self.path().join(&f.path)))?)
    }

    /// The rows of some files in the order of a sealed file. Beside the sorted columns one more is in memory at a time.
    fn sorted(&self, sources: &[Source<'_>]) -> Result<FinishedFile> {
        let options = Some(SortOptions { descending: false, nulls_first: true });
        let keys = self.layout.sort.iter().map(|&i| Ok(SortColumn { values: column(sources, i)?, options }));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let order = if keys.is_empty() { None } else { Some(lexsort_to_indices(&keys, None)?) };
        drop(keys);
        let mut file = OpenFile::create(&self.environment, &self.layout, Level::Sealed)?;
        let rows: u64 = sources.iter().map(Source::rows).sum();
        file.write_columns(rows as usize, |i| {
            let values = column(sources, i)?;
            Ok(order.as_ref().map_or(Ok(values.clone()), |order| take(&values, order, None))?)
        })?;
        file.finish(&self.layout)
    }

    fn commit_seal(&self, replaced: &[&TableFile], staged: &[StagedFile], app: &str, number: i64) -> Result<()> {
        let now = self.environment.now() / MILLISECOND;
        let removes = replaced.iter().map(|f| Action::Remove(Remove { data_change: false, ..remove(f, now) }));
        let adds = staged.iter().map(|f| Action::Add(Add { data_change: false, ..add(f, now) }));
        let actions: Vec<Action> = removes.chain(adds).collect();
        let operation = DeltaOperation::Optimize { predicate: None, target_size: SEAL_BYTES_MAX as i64 };
        let mut guard = self.begin();
        let snapshot = self.snapshot()?;
        if let Some(gone) = replaced.iter().find(|f| snapshot.file(&f.relative).is_none()) {
            return Err(Error::conflict(format!("{} of {} was removed while it was sealed", gone.relative, self.full_name())));
        }
        guard.commit(actions, operation, app, number)
    }
}
