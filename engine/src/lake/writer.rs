//! Rows to Parquet files, one or more a day. Invariant: a file gets a name inside its table only when it is whole and durable;
//! until then it lies in the scratch directory, and is removed if the writer is dropped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;

use crate::contract::StagedFile;
use crate::error::{Error, Result};
use crate::lake::durable::Place;
use crate::lake::environment::Environment;
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
    level: Level,
    open: BTreeMap<Day, OpenFile>,
    finished: Vec<(Day, FinishedFile)>,
    event_time_max: Option<Micros>,
}

struct OpenFile {
    scratch: Scratch,
    writer: ArrowWriter<Checksummed>,
}

struct FinishedFile {
    scratch: Scratch,
    file: File,
    bytes: u64,
    rows: u64,
    crc32c: u32,
    stats: String,
}

/// A scratch file that goes away with its writer.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Gone already if it was published; a leftover is removed at the next start.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A file that counts and checks what is written to it.
struct Checksummed {
    file: File,
    bytes: u64,
    crc32c: u32,
}

impl Write for Checksummed {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl TableWriter {
    /// A writer without rows.
    pub(super) fn new(environment: Arc<Environment>, layout: Arc<Layout>, level: Level) -> Self {
        Self { environment, layout, level, open: BTreeMap::new(), finished: Vec::new(), event_time_max: None }
    }

    /// Newest event time written so far.
    pub(super) fn event_time_max(&self) -> Option<Micros> {
        self.event_time_max
    }

    /// Whether no row was written since the last `finish`.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.finished.is_empty()
    }

    /// Takes rows, which must have the table's columns.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
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

    /// Takes rows of one day.
    pub(super) fn write_day(&mut self, day: Day, rows: &RecordBatch) -> Result<()> {
        if !self.open.contains_key(&day) {
            if self.open.len() >= LAKE_PARTITIONS_OPEN_MAX {
                self.close_open()?;
            }
            self.open.insert(day, self.create()?);
        }
        match self.open.get_mut(&day) {
            Some(file) => Ok(file.writer.write(rows)?),
            None => Err(Error::internal("lake writer: the file of a day is gone")),
        }
    }

    /// Makes every file durable under `<level>/date=<day>/<stem>-s<n>.parquet`, with `n` from `first` on. A file of that name
    /// that is not part of the table is what a crashed attempt left, and is replaced. Errors: `Corrupt` if it is part of it.
    pub(super) fn finish(&mut self, table: &LakeTable, stem: &str, first: usize) -> Result<Vec<StagedFile>> {
        self.close_open()?;
        self.event_time_max = None;
        let mut staged = Vec::with_capacity(self.finished.len());
        for (n, (day, done)) in (first..).zip(std::mem::take(&mut self.finished)) {
            let date = time::date(day.saturating_mul(DAY));
            let path = format!("{}/date={date}/{stem}-s{n}.parquet", self.level.directory());
            let to = table.path().join(&path);
            if to.exists() && table.snapshot()?.file(&path).is_some() {
                return Err(Error::corrupt(format!("{path} is part of {} already", table.full_name())));
            }
            let durable = &self.environment.durable;
            to.parent().map_or(Ok(()), |parent| durable.create_dir_all(parent))?;
            durable.publish(&done.file, &done.scratch.0, &to, Place::Any)?;
            staged.push(StagedFile { path, date: Some(date), bytes: done.bytes, rows: done.rows, crc32c: done.crc32c, stats: done.stats });
        }
        Ok(staged)
    }

    /// Day of each row: of its time, or of its receipt, or of the writing.
    fn days(&mut self, rows: &RecordBatch) -> Vec<Day> {
        let column = |i: Option<usize>| i.map(|i| rows.column(i).as_primitive::<TimestampMicrosecondType>());
        let (time, received) = (column(self.layout.time), column(self.layout.received));
        let today = self.environment.now().div_euclid(DAY);
        if let Some(time) = time {
            self.event_time_max = self.event_time_max.max(arrow::compute::max(time).filter(|&t| is_plain_time(t)));
        }
        let value =
            |c: Option<&TimestampMicrosecondArray>, row| c.filter(|c| c.is_valid(row)).map(|c| c.value(row)).filter(|&t| is_plain_time(t));
        let day = |row| value(time, row).or_else(|| value(received, row)).map_or(today, |t| t.div_euclid(DAY));
        (0..rows.num_rows()).map(day).collect()
    }

    fn create(&self) -> Result<OpenFile> {
        let (file, path) = self.environment.durable.scratch_file()?;
        let scratch = Scratch(path);
        // Without the embedded Arrow schema every reader takes its own types for strings.
        let options = ArrowWriterOptions::new().with_properties(self.layout.properties(self.level)?).with_skip_arrow_metadata(true);
        let target = Checksummed { file, bytes: 0, crc32c: 0 };
        let writer = ArrowWriter::try_new_with_options(target, self.layout.columns.clone(), options)?;
        Ok(OpenFile { scratch, writer })
    }

    fn close_open(&mut self) -> Result<()> {
        for (day, OpenFile { scratch, mut writer }) in std::mem::take(&mut self.open) {
            writer.flush()?;
            let groups = writer.flushed_row_groups();
            let rows = groups.iter().map(|g| g.num_rows() as u64).sum();
            let stats = self.layout.statistics_json(groups);
            let Checksummed { file, bytes, crc32c } = writer.into_inner()?;
            self.finished.push((day, FinishedFile { scratch, file, bytes, rows, crc32c, stats }));
        }
        Ok(())
    }
}
