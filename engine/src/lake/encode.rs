//! The columns of one row group, encoded by several threads. Invariant: what is written does not depend on how many threads there are: a
//! column's values are encoded in the order of the rows, by one thread at a time.
//!
//! ```text
//! rows ─► waiting, up to a block ─► a task a column, taken by whichever thread is free ─► column writers ─► chunks of a row group
//!         next block meanwhile      done when the next block is full
//! ```

use std::cmp::Reverse;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{FieldRef, Schema};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};

use crate::error::{Error, Result};
use crate::lake::layout::leaves;
use crate::limits::{LAKE_ENCODE_BYTES, LAKE_ENCODE_ROWS, ROW_GROUP_BYTES, ROW_GROUP_ROWS};
use crate::parallel::{Helpers, Tasks};

/// Arrays that are shorter on the average are put together before they are encoded: the writer does much for each.
const ARRAY_ROWS_MIN: usize = 1024;

/// A row group in the making.
pub(super) struct RowGroup {
    helpers: Arc<Helpers>,
    /// Those of the table; none while a block is encoded, and after an error.
    columns: Vec<Column>,
    encoding: Option<Tasks<Column>>,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    /// What `waiting` holds on to: buffers that are shared count each time.
    waiting_bytes: usize,
    rows: usize,
    /// What the blocks take that are encoded: pages that are done, and those in the making.
    bytes: usize,
}

/// What one thread does at a time: a column of the table, which is several of the file if it is nested.
struct Column {
    field: FieldRef,
    index: usize,
    writers: Vec<ArrowColumnWriter>,
    /// Of a block.
    values: Vec<ArrayRef>,
    /// In the end.
    chunks: Vec<ArrowColumnChunk>,
}

impl RowGroup {
    /// Without rows yet, for a table with these columns.
    pub(super) fn new(table: &Schema, writers: Vec<ArrowColumnWriter>, helpers: &Arc<Helpers>) -> Result<Self> {
        let mut writers = writers.into_iter();
        let mut columns = Vec::with_capacity(table.fields().len());
        for (index, field) in table.fields().iter().enumerate() {
            let count = leaves(field.data_type());
            let writers: Vec<ArrowColumnWriter> = writers.by_ref().take(count).collect();
            if writers.len() < count {
                return Err(Error::internal("a file has too few columns"));
            }
            columns.push(Column { field: field.clone(), index, writers, values: Vec::new(), chunks: Vec::new() });
        }
        let (helpers, waiting) = (helpers.clone(), Vec::new());
        Ok(Self { helpers, columns, encoding: None, waiting, waiting_rows: 0, waiting_bytes: 0, rows: 0, bytes: 0 })
    }

    /// Rows that it still takes.
    pub(super) fn room(&self) -> usize {
        if self.bytes > ROW_GROUP_BYTES { 0 } else { ROW_GROUP_ROWS.saturating_sub(self.rows) }
    }

    /// Takes rows.
    pub(super) fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.rows += rows.num_rows();
        self.waiting_rows += rows.num_rows();
        self.waiting_bytes += rows.get_array_memory_size();
        self.waiting.push(rows);
        let full = self.waiting_rows >= LAKE_ENCODE_ROWS || self.waiting_bytes >= LAKE_ENCODE_BYTES;
        if full { self.encode() } else { Ok(()) }
    }

    /// Its columns, whole.
    pub(super) fn finish(mut self) -> Result<Vec<ArrowColumnChunk>> {
        // A small one is not worth waking a thread.
        let threads = if self.rows < LAKE_ENCODE_ROWS / 2 { 1 } else { self.helpers.threads() };
        let block = self.block()?;
        let mut columns = self.helpers.share_out(threads, block, Column::close)?;
        columns.sort_unstable_by_key(|column| column.index);
        Ok(columns.into_iter().flat_map(|column| column.chunks).collect())
    }

    /// Begins to encode what waits.
    fn encode(&mut self) -> Result<()> {
        let block = self.block()?;
        let threads = self.helpers.threads();
        self.encoding = Some(self.helpers.begin(threads, block, Column::encode));
        // Without others it would only wait, and hold on to its rows.
        if threads <= 1 { self.settle() } else { Ok(()) }
    }

    /// The columns with what waits, once what was begun is done.
    fn block(&mut self) -> Result<Vec<Column>> {
        self.settle()?;
        let mut columns = std::mem::take(&mut self.columns);
        if columns.is_empty() {
            return Err(Error::internal("a row group that could not be encoded is used again"));
        }
        let batches = std::mem::take(&mut self.waiting);
        (self.waiting_rows, self.waiting_bytes) = (0, 0);
        for column in &mut columns {
            column.values = batches.iter().map(|batch| batch.column(column.index).clone()).collect();
        }
        // The longest first, as far as the blocks before tell it: begun last, a column of payloads has the other threads wait for it.
        columns.sort_by_key(|column| Reverse(column.writers.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum::<usize>()));
        Ok(columns)
    }

    /// Waits until the block that was begun is encoded.
    fn settle(&mut self) -> Result<()> {
        if let Some(encoding) = self.encoding.take() {
            self.columns = encoding.finish()?;
            let writers = self.columns.iter().flat_map(|column| &column.writers);
            self.bytes = writers.map(|writer| writer.get_estimated_total_bytes() + writer.memory_size()).sum();
        }
        Ok(())
    }
}

impl Column {
    fn encode(&mut self) -> Result<()> {
        let mut arrays = std::mem::take(&mut self.values);
        let rows: usize = arrays.iter().map(|values| values.len()).sum();
        if arrays.len() > 1 && rows / arrays.len() < ARRAY_ROWS_MIN {
            let short: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            arrays = vec![concat(&short)?];
        }
        for values in arrays {
            for (leaf, writer) in compute_leaves(&self.field, &values)?.iter().zip(&mut self.writers) {
                writer.write(leaf)?;
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.encode()?;
        let writers = std::mem::take(&mut self.writers).into_iter();
        self.chunks = writers.map(ArrowColumnWriter::close).collect::<std::result::Result<_, _>>()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, ListArray, StringViewArray};
    use arrow::datatypes::Int64Type;
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn rows(from: i64, count: i64) -> RecordBatch {
        let numbers = from..from + count;
        let lists = numbers.clone().map(|n| (n % 3 > 0).then(|| (0..n % 3).map(Some).collect::<Vec<_>>()));
        let columns: [(&str, ArrayRef); 4] = [
            ("n", Arc::new(Int64Array::from_iter_values(numbers.clone()))),
            ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
            ("text", Arc::new(numbers.clone().map(|n| (n % 7 > 0).then(|| format!("device {}", n % 1_000))).collect::<StringViewArray>())),
            ("value", Arc::new(numbers.map(|n| Some(n as f64 / 8.0)).collect::<Float64Array>())),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn file(threads: usize, batch: i64, count: i64) -> Vec<u8> {
        let writer = ArrowWriter::try_new(Vec::new(), rows(0, 0).schema(), None).unwrap();
        let (mut writer, row_groups) = writer.into_serialized_writer().unwrap();
        let helpers = Arc::new(Helpers::new(threads));
        let mut group = RowGroup::new(&rows(0, 0).schema(), row_groups.create_column_writers(0).unwrap(), &helpers).unwrap();
        (0..count).step_by(batch as usize).for_each(|from| group.write(rows(from, batch.min(count - from))).unwrap());
        assert_eq!(group.room(), ROW_GROUP_ROWS - count as usize);
        let chunks = group.finish().unwrap();
        let mut open = writer.next_row_group().unwrap();
        chunks.into_iter().for_each(|chunk| chunk.append_to_row_group(&mut open).unwrap());
        open.close().unwrap();
        writer.into_inner().unwrap()
    }

    /// The rows of a file.
    fn read(file: Vec<u8>, count: i64) -> RecordBatch {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap().with_batch_size(count as usize).build();
        let read: Vec<RecordBatch> = reader.unwrap().map(|r| r.unwrap()).collect();
        assert_eq!(read.len(), 1);
        read[0].clone()
    }

    #[test]
    fn the_file_is_the_same_with_any_number_of_threads_and_holds_every_row() {
        let (batch, count) = (10_000, 3 * LAKE_ENCODE_ROWS as i64 + 5);
        let one = file(1, batch, count);
        assert_eq!(one, file(3, batch, count));
        assert_eq!(one, file(16, batch, count));
        assert_eq!(read(one, count).columns(), rows(0, count).columns());
    }

    #[test]
    fn rows_that_come_one_by_one_are_all_there() {
        for batch in [1, 7] {
            let count = LAKE_ENCODE_ROWS as i64 + 5;
            assert_eq!(read(file(2, batch, count), count).columns(), rows(0, count).columns());
        }
    }
}
