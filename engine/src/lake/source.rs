//! Files of a table that are read again. Invariant: rows come in the columns of the table, in the order of the file.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use crate::error::{Error, Result};
use crate::lake::layout::Layout;
use crate::lake::snapshot::TableFile;

/// Rows that are read at a time.
const BATCH_ROWS: usize = 64 * 1024;

/// A file with its footer, not held open.
pub(super) struct Source<'a> {
    file: &'a TableFile,
    layout: &'a Layout,
    footer: ArrowReaderMetadata,
}

impl<'a> Source<'a> {
    /// Reads the footer.
    pub(super) fn open(layout: &'a Layout, file: &'a TableFile) -> Result<Self> {
        let footer = || -> Result<ArrowReaderMetadata> {
            let found = ArrowReaderMetadata::load(&File::open(&file.path)?, ArrowReaderOptions::new())?;
            // A file that is older than the right of a column to be NULL says that it is not, and is read as it says.
            let as_found = layout.columns.fields().iter().zip(found.schema().fields());
            let fields: Vec<Field> = as_found.map(|(own, found)| own.as_ref().clone().with_nullable(found.is_nullable())).collect();
            let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
            Ok(ArrowReaderMetadata::try_new(found.metadata().clone(), options)?)
        };
        Ok(Self { file, layout, footer: footer().map_err(|e| of(file, e))? })
    }

    /// Rows in it.
    pub(super) fn rows(&self) -> u64 {
        self.file.rows
    }

    /// Bytes of its values before they were compressed.
    pub(super) fn bytes(&self) -> u64 {
        self.footer.metadata().row_groups().iter().map(|g| g.total_byte_size().unsigned_abs()).sum()
    }

    /// All its rows.
    pub(super) fn read(&self) -> Result<Vec<RecordBatch>> {
        self.batches(ProjectionMask::all(), &self.layout.columns)
    }

    /// The values of one column.
    fn column(&self, i: usize) -> Result<Vec<ArrayRef>> {
        let mask = ProjectionMask::roots(self.footer.parquet_schema(), [i]);
        let batches = self.batches(mask, &Arc::new(self.layout.columns.project(&[i])?))?;
        Ok(batches.iter().map(|rows| rows.column(0).clone()).collect())
    }

    fn batches(&self, mask: ProjectionMask, columns: &Arc<Schema>) -> Result<Vec<RecordBatch>> {
        let read = || -> Result<Vec<RecordBatch>> {
            let file = File::open(&self.file.path)?;
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.footer.clone());
            let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
            reader.map(|rows| Ok(RecordBatch::try_new(columns.clone(), rows?.columns().to_vec())?)).collect()
        };
        read().map_err(|e| of(self.file, e))
    }
}

/// One column of several files, one after another.
pub(super) fn column(sources: &[Source<'_>], i: usize) -> Result<ArrayRef> {
    let parts = sources.iter().map(|s| s.column(i)).collect::<Result<Vec<_>>>()?.concat();
    Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
}

fn of(file: &TableFile, error: Error) -> Error {
    error.context(format!("lake file {}", file.path.display()))
}
