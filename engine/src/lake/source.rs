//! Files of a table that are read again. Invariant: rows come in the columns of the table, in the order of the file; a column that is newer
//! than the file is NULL.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{Field, FieldRef, Schema};
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
    /// Where each column of the table is among those of the file, which are in the same order.
    places: Vec<Option<usize>>,
}

impl<'a> Source<'a> {
    /// Reads the footer.
    pub(super) fn open(layout: &'a Layout, file: &'a TableFile) -> Result<Self> {
        let read = || -> Result<(ArrowReaderMetadata, Vec<Option<usize>>)> {
            let found = ArrowReaderMetadata::load(&File::open(&file.path)?, ArrowReaderOptions::new())?;
            let places = layout.columns.fields().iter().map(|own| found.schema().index_of(own.name()).ok()).collect();
            // A file that is older than the right of a column to be NULL says that it is not, and is read as it says.
            let as_found =
                |f: &FieldRef| -> Result<Field> { Ok(layout.columns.field_with_name(f.name())?.clone().with_nullable(f.is_nullable())) };
            let fields = found.schema().fields().iter().map(as_found).collect::<Result<Vec<Field>>>()?;
            let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
            Ok((ArrowReaderMetadata::try_new(found.metadata().clone(), options)?, places))
        };
        let (footer, places) = read().map_err(|e| of(file, e))?;
        Ok(Self { file, layout, footer, places })
    }

    /// The file.
    pub(super) fn file(&self) -> &'a TableFile {
        self.file
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
        self.batches(&(0..self.places.len()).collect::<Vec<_>>())
    }

    /// Reads all of it, a column at a time. Errors: it cannot be read, or holds another number of rows than the log says.
    pub(super) fn check(&self) -> Result<()> {
        (0..self.places.len()).try_for_each(|i| {
            let rows: usize = self.column(i)?.iter().map(|values| values.len()).sum();
            let differs = || of(self.file, Error::corrupt(format!("{rows} rows, the log says {}", self.rows())));
            if rows as u64 == self.rows() { Ok(()) } else { Err(differs()) }
        })
    }

    /// The values of one column.
    fn column(&self, i: usize) -> Result<Vec<ArrayRef>> {
        if self.places[i].is_none() {
            return Ok(vec![new_null_array(self.layout.columns.field(i).data_type(), self.rows() as usize)]);
        }
        Ok(self.batches(&[i])?.iter().map(|rows| rows.column(0).clone()).collect())
    }

    /// Rows of these columns of the table, which are in its order; the file has one of them at least.
    fn batches(&self, wanted: &[usize]) -> Result<Vec<RecordBatch>> {
        let columns = Arc::new(self.layout.columns.project(wanted)?);
        let mask = ProjectionMask::roots(self.footer.parquet_schema(), wanted.iter().filter_map(|&i| self.places[i]));
        let as_wanted = |rows: RecordBatch| -> Result<RecordBatch> {
            let mut found = rows.columns().iter();
            let null = |i: usize| new_null_array(self.layout.columns.field(i).data_type(), rows.num_rows());
            let values = wanted.iter().map(|&i| self.places[i].and_then(|_| found.next().cloned()).unwrap_or_else(|| null(i)));
            let values = values.collect::<Vec<ArrayRef>>();
            Ok(RecordBatch::try_new(columns.clone(), values)?)
        };
        let read = || -> Result<Vec<RecordBatch>> {
            let file = File::open(&self.file.path)?;
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.footer.clone());
            let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
            reader.map(|rows| as_wanted(rows?)).collect()
        };
        read().map_err(|e| of(self.file, e))
    }
}

/// One column of several files, one after another.
pub(super) fn column(sources: &[&Source<'_>], i: usize) -> Result<ArrayRef> {
    let parts = sources.iter().map(|s| s.column(i)).collect::<Result<Vec<_>>>()?.concat();
    Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
}

fn of(file: &TableFile, error: Error) -> Error {
    error.context(format!("lake file {}", file.path.display()))
}
