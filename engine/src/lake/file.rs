//! One Parquet file in the making. Invariant: a file gets a name inside its table only when it is whole and durable; until then
//! it lies in the scratch directory, and is removed if it is dropped.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves};
use parquet::file::writer::SerializedFileWriter;

use crate::contract::StagedFile;
use crate::error::{Error, Result};
use crate::lake::durable::Place;
use crate::lake::encode::RowGroup;
use crate::lake::environment::Environment;
use crate::lake::layout::{Layout, Level};
use crate::lake::schema::check_rows;
use crate::lake::table::LakeTable;
use crate::limits::{ROW_GROUP_ROWS, SEAL_BYTES_MAX, SEAL_ROWS_MAX};
use crate::parallel::Helpers;
use crate::system::start_writing;

/// Bytes after which the system is asked to begin to write them: what is left for the sync at the end is little, however long the file.
const START_WRITING_BYTES: u64 = 8 * 1024 * 1024;

/// A file that rows are written to.
pub(super) struct OpenFile {
    scratch: Scratch,
    columns: SchemaRef,
    helpers: Arc<Helpers>,
    writer: SerializedFileWriter<Checksummed>,
    row_groups: ArrowRowGroupWriterFactory,
    open: Option<RowGroup>,
}

/// A whole file without a name.
pub(super) struct FinishedFile {
    scratch: Scratch,
    /// Open until the file is synced: else an error of the system's own writing could be forgotten before.
    file: Option<File>,
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
    /// Up to where the system was asked to write to the disk.
    started: u64,
}

impl Write for Checksummed {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &buf[..n]);
        self.bytes += n as u64;
        if self.bytes - self.started >= START_WRITING_BYTES {
            start_writing(&self.file, self.started, self.bytes - self.started);
            self.started = self.bytes;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl OpenFile {
    /// A file without rows.
    pub(super) fn create(environment: &Environment, layout: &Layout, level: Level) -> Result<Self> {
        let (file, path) = environment.durable.scratch_file()?;
        let scratch = Scratch(path);
        // Without the embedded Arrow schema every reader takes its own types for strings.
        let options = ArrowWriterOptions::new().with_properties(layout.properties(level)?).with_skip_arrow_metadata(true);
        let target = Checksummed { file, bytes: 0, crc32c: 0, started: 0 };
        let writer = ArrowWriter::try_new_with_options(target, layout.columns.clone(), options)?;
        let (writer, row_groups) = writer.into_serialized_writer()?;
        let (columns, helpers) = (layout.columns.clone(), environment.helpers.clone());
        Ok(Self { scratch, columns, helpers, writer, row_groups, open: None })
    }

    /// Takes rows of the layout's columns. Whether a column may be NULL is for the table to say: rows may promise more. Errors: `Invalid`
    /// if there is a NULL where none may be.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let typed = RecordBatch::try_new(self.columns.clone(), rows.columns().to_vec());
        let rows = typed.map_err(|e| check_rows(&self.columns, rows).err().unwrap_or_else(|| e.into()))?;
        let mut from = 0;
        while from < rows.num_rows() {
            let group = match &mut self.open {
                Some(group) => group,
                none => {
                    let writers = self.row_groups.create_column_writers(self.writer.flushed_row_groups().len())?;
                    none.insert(RowGroup::new(&self.columns, writers, &self.helpers)?)
                }
            };
            let count = group.room().min(rows.num_rows() - from);
            group.write(rows.slice(from, count))?;
            from += count;
            if group.room() == 0 {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Whether it is as large as a file may be that is to be sealed with others.
    pub(super) fn is_full(&self) -> bool {
        let groups = self.writer.flushed_row_groups();
        let bytes: i64 = groups.iter().map(|g| g.total_byte_size()).sum();
        let rows: i64 = groups.iter().map(|g| g.num_rows()).sum();
        bytes.unsigned_abs() >= SEAL_BYTES_MAX / 4 || rows.unsigned_abs() >= SEAL_ROWS_MAX / 2
    }

    /// Takes rows that are given column by column, so that beside their encoded bytes only one of them need be in memory. Errors: `Corrupt`
    /// if a column has not `rows` values, or a NULL where none may be.
    pub(super) fn write_columns(&mut self, rows: usize, values: impl Fn(usize) -> Result<ArrayRef>) -> Result<()> {
        self.flush()?;
        let (columns, before) = (self.columns.clone(), self.writer.flushed_row_groups().len());
        let cuts: Vec<(usize, usize)> = (0..rows).step_by(ROW_GROUP_ROWS).map(|at| (at, ROW_GROUP_ROWS.min(rows - at))).collect();
        let groups = (before..before + cuts.len()).map(|n| Ok(self.row_groups.create_column_writers(n)?.into_iter()));
        let mut groups = groups.collect::<Result<Vec<_>>>()?;
        let mut chunks: Vec<Vec<ArrowColumnChunk>> = cuts.iter().map(|_| Vec::new()).collect();
        for (i, field) in columns.fields().iter().enumerate() {
            let column = values(i)?;
            if column.len() != rows || (!field.is_nullable() && column.null_count() > 0) {
                return Err(Error::corrupt(format!("column {} has {} of {rows} values", field.name(), column.len() - column.null_count())));
            }
            for ((&(at, count), writers), chunks) in cuts.iter().zip(&mut groups).zip(&mut chunks) {
                for (leaf, mut writer) in compute_leaves(field, &column.slice(at, count))?.iter().zip(writers) {
                    writer.write(leaf)?;
                    chunks.push(writer.close()?);
                }
            }
        }
        chunks.into_iter().try_for_each(|chunks| self.append(chunks))
    }

    /// Writes the open row group.
    fn flush(&mut self) -> Result<()> {
        self.open.take().map_or(Ok(()), |group| self.append(group.finish()?))
    }

    fn append(&mut self, chunks: Vec<ArrowColumnChunk>) -> Result<()> {
        let mut writer = self.writer.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut writer)?;
        }
        writer.close()?;
        Ok(())
    }

    /// Writes the footer.
    pub(super) fn finish(mut self, layout: &Layout) -> Result<FinishedFile> {
        self.flush()?;
        let Self { scratch, writer, .. } = self;
        let groups = writer.flushed_row_groups();
        let rows = groups.iter().map(|g| g.num_rows() as u64).sum();
        let stats = layout.statistics_json(groups);
        let Checksummed { file, bytes, crc32c, .. } = writer.into_inner()?;
        Ok(FinishedFile { scratch, file: Some(file), bytes, rows, crc32c, stats })
    }
}

impl FinishedFile {
    /// Makes its bytes durable and lets go of the descriptor, for one of many.
    pub(super) fn settle(&mut self, environment: &Environment) -> Result<()> {
        if self.file.is_some() {
            environment.durable.sync_scratch(&self.scratch.0)?;
            self.file = None;
        }
        Ok(())
    }

    /// Makes the file durable at `path`, relative to the table. A file of that name that is not part of the table is what a
    /// crashed attempt left, and is replaced. Errors: `Corrupt` if it is part of it.
    pub(super) fn publish(self, table: &LakeTable, path: String, date: Option<String>) -> Result<StagedFile> {
        let to = table.path().join(&path);
        if to.exists() && table.snapshot()?.file(&path).is_some() {
            return Err(Error::corrupt(format!("{path} is part of {} already", table.full_name())));
        }
        let durable = &table.environment.durable;
        to.parent().map_or(Ok(()), |parent| durable.create_dir_all(parent))?;
        durable.publish(&self.scratch.0, &to, Place::Any)?;
        Ok(StagedFile { path, date, bytes: self.bytes, rows: self.rows, crc32c: self.crc32c, stats: self.stats })
    }
}
