//! Rows to Parquet files, one or more a day. Invariant: every row goes to a file of its own day, no file is in the table
//! before `finish`, and the files that `finish` gives hold all rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{max, min, take_record_batch};
use arrow::datatypes::TimestampMicrosecondType;

use crate::contract::StagedFile;
use crate::error::{Error, Result};
use crate::lake::environment::Environment;
use crate::lake::file::{FinishedFile, OpenFile};
use crate::lake::layout::{Layout, Level, is_plain_time};
use crate::lake::table::LakeTable;
use crate::limits::LAKE_PARTITIONS_OPEN_MAX;
use crate::time::{self, DAY, Micros};

/// Days since the Unix epoch.
pub(super) type Day = i64;

/// Writes the rows of one table for one commit.
pub(super) struct TableWriter {
    environment: Arc<Environment>,
    layout: Arc<Layout>,
    open: BTreeMap<Day, OpenFile>,
    finished: Vec<(Day, FinishedFile)>,
    /// Rows since the last `finish`.
    rows: u64,
    event_time_max: Option<Micros>,
}

impl TableWriter {
    /// A writer without rows.
    pub(super) fn new(environment: Arc<Environment>, layout: Arc<Layout>) -> Self {
        Self { environment, layout, open: BTreeMap::new(), finished: Vec::new(), rows: 0, event_time_max: None }
    }

    /// Newest event time written so far.
    pub(super) fn event_time_max(&self) -> Option<Micros> {
        self.event_time_max
    }

    /// Whether no row was written since the last `finish`.
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Takes rows, which must have the table's columns.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.rows += rows.num_rows() as u64;
        self.event_time_max = self.event_time_max.max(self.layout.event_time_max(rows));
        if let Some(day) = self.one_day(rows) {
            return self.write_day(day, rows);
        }
        let days = self.days(rows);
        let (first, last) = days.iter().fold((Day::MAX, Day::MIN), |(a, b), &d| (a.min(d), b.max(d)));
        if first == last {
            return self.write_day(first, rows);
        }
        let mut indices: BTreeMap<Day, Vec<u32>> = BTreeMap::new();
        for (row, day) in (0u32..).zip(days) {
            indices.entry(day).or_default().push(row);
        }
        for (day, indices) in indices {
            self.write_day(day, &take_record_batch(rows, &UInt32Array::from(indices))?)?;
        }
        Ok(())
    }

    fn write_day(&mut self, day: Day, rows: &RecordBatch) -> Result<()> {
        if !self.open.contains_key(&day) {
            if self.open.len() >= LAKE_PARTITIONS_OPEN_MAX {
                self.close_open()?;
            }
            self.open.insert(day, OpenFile::create(&self.environment, &self.layout, Level::Recent)?);
        }
        let file = self.open.get_mut(&day).ok_or_else(|| Error::internal("lake writer: the file of a day is gone"))?;
        file.write(rows)?;
        if file.is_full()
            && let Some(file) = self.open.remove(&day)
        {
            self.close(day, file)?;
        }
        Ok(())
    }

    /// Makes every file durable under `recent/date=<day>/<stem>-s<n>.parquet`. A file of that name
    /// that is not part of the table is what a crashed attempt left, and is replaced. Errors: `Corrupt` if it is part of it; `Internal` if
    /// the files hold other rows than were written.
    pub(super) fn finish(&mut self, table: &LakeTable, stem: &str) -> Result<Vec<StagedFile>> {
        self.close_open()?;
        self.event_time_max = None;
        let mut staged = Vec::with_capacity(self.finished.len());
        for (n, (day, done)) in std::mem::take(&mut self.finished).into_iter().enumerate() {
            let date = time::date(day.saturating_mul(DAY));
            let path = format!("{}/date={date}/{stem}-s{n}.parquet", Level::Recent.directory());
            staged.push(done.publish(table, path, Some(date))?);
        }
        check_held(std::mem::take(&mut self.rows), &staged).map_err(|e| e.context(table.full_name()))?;
        Ok(staged)
    }

    /// The day of all rows, if each has a time and they tell that it is one.
    fn one_day(&self, rows: &RecordBatch) -> Option<Day> {
        let times = rows.column(self.layout.time?).as_primitive::<TimestampMicrosecondType>();
        let (first, last) = (min(times)?, max(times)?);
        let day = first.div_euclid(DAY);
        (times.null_count() == 0 && is_plain_time(first) && is_plain_time(last) && last.div_euclid(DAY) == day).then_some(day)
    }

    /// Day of each row: of its time, or of its receipt, or of the writing.
    fn days(&self, rows: &RecordBatch) -> Vec<Day> {
        let column = |i: Option<usize>| i.map(|i| rows.column(i).as_primitive::<TimestampMicrosecondType>());
        let (time, received) = (column(self.layout.time), column(self.layout.received));
        let today = self.environment.now().div_euclid(DAY);
        let value =
            |c: Option<&TimestampMicrosecondArray>, row| c.filter(|c| c.is_valid(row)).map(|c| c.value(row)).filter(|&t| is_plain_time(t));
        let day = |row| value(time, row).or_else(|| value(received, row)).map_or(today, |t| t.div_euclid(DAY));
        (0..rows.num_rows()).map(day).collect()
    }

    fn close_open(&mut self) -> Result<()> {
        std::mem::take(&mut self.open).into_iter().try_for_each(|(day, file)| self.close(day, file))
    }

    fn close(&mut self, day: Day, file: OpenFile) -> Result<()> {
        let mut done = file.finish(&self.layout)?;
        // Rows of many days are many files, and descriptors are scarce.
        if self.finished.len() >= LAKE_PARTITIONS_OPEN_MAX {
            done.settle(&self.environment)?;
        }
        self.finished.push((day, done));
        Ok(())
    }
}

/// Whether files hold the rows that were written to them, by their own footers. Errors: `Internal`: a commit of them would lose rows, or
/// have some twice.
fn check_held(written: u64, files: &[StagedFile]) -> Result<()> {
    let held: u64 = files.iter().map(|file| file.rows).sum();
    if held == written {
        return Ok(());
    }
    Err(Error::internal(format!("{written} rows were written, and their files hold {held}"))
        .hint("nothing of them was committed; keep the data directory and report this"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_lack_rows_are_not_committed() {
        let file = |rows| StagedFile { path: "recent/x".into(), date: None, bytes: 0, rows, crc32c: 0, stats: String::new() };
        check_held(0, &[]).unwrap();
        check_held(5, &[file(3), file(2)]).unwrap();
        for (written, files) in [(5, vec![file(3)]), (5, vec![file(3), file(3)]), (1, vec![])] {
            let refused = check_held(written, &files).unwrap_err();
            assert_eq!(refused.kind(), crate::error::ErrorKind::Internal, "{refused}");
        }
    }
}
