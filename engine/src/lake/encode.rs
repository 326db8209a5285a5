//! The columns of one row group, encoded by several threads. Invariant: what is written does not depend on how many threads there are: a
//! column's values are encoded in the order of the rows, by one thread at a time.
//!
//! ```text
//! rows ─► waiting, up to a block ─► a task a column, taken by whichever thread is free ─► column writers ─► chunks of a row group
//! ```

use std::cmp::Reverse;

use arrow::array::RecordBatch;
use arrow::datatypes::FieldRef;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};

use crate::error::{Error, Result};
use crate::lake::layout::leaves;
use crate::limits::{LAKE_ENCODE_BYTES, LAKE_ENCODE_ROWS, LAKE_ENCODE_THREADS_MAX, ROW_GROUP_BYTES, ROW_GROUP_ROWS};
use crate::parallel::share_out;

/// A row group in the making.
pub(super) struct RowGroup {
    columns: Vec<ArrowColumnWriter>,
    threads: usize,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    /// What `waiting` holds on to: buffers that are shared count each time.
    waiting_bytes: usize,
    rows: usize,
}

/// What one thread does at a time: a column of the table, which is several of the file if it is nested.
struct Task<'a> {
    field: &'a FieldRef,
    index: usize,
    writers: &'a mut [ArrowColumnWriter],
}

/// Threads for one file: as many as there are cores.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(LAKE_ENCODE_THREADS_MAX)
}

impl RowGroup {
    /// Without rows yet; at most so many threads encode it.
    pub(super) fn new(columns: Vec<ArrowColumnWriter>, threads: usize) -> Self {
        Self { columns, threads, waiting: Vec::new(), waiting_rows: 0, waiting_bytes: 0, rows: 0 }
    }

    /// Rows that it still takes.
    pub(super) fn room(&self) -> usize {
        // Pages that are done, and what those in the making take.
        let bytes = |column: &ArrowColumnWriter| column.get_estimated_total_bytes() + column.memory_size();
        let is_full = self.columns.iter().map(bytes).sum::<usize>() > ROW_GROUP_BYTES;
        if is_full { 0 } else { ROW_GROUP_ROWS.saturating_sub(self.rows) }
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
        self.encode()?;
        Ok(self.columns.into_iter().map(ArrowColumnWriter::close).collect::<std::result::Result<_, _>>()?)
    }

    fn encode(&mut self) -> Result<()> {
        let batches = std::mem::take(&mut self.waiting);
        let Some(first) = batches.first() else { return Ok(()) };
        let schema = first.schema();
        let (mut tasks, mut rest) = (Vec::new(), self.columns.as_mut_slice());
        for (index, field) in schema.fields().iter().enumerate() {
            let count = leaves(field.data_type());
            let (writers, after) =
                std::mem::take(&mut rest).split_at_mut_checked(count).ok_or_else(|| Error::internal("a file has too few columns"))?;
            tasks.push(Task { field, index, writers });
            rest = after;
        }
        // The longest first, as far as the blocks before tell it: begun last, a column of payloads has the other threads wait for it.
        tasks.sort_by_key(|task| Reverse(task.writers.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum::<usize>()));
        // A block that is not full is the end of a file; a small one is not worth a thread.
        let threads = if self.waiting_rows < LAKE_ENCODE_ROWS / 4 { 1 } else { self.threads };
        (self.waiting_rows, self.waiting_bytes) = (0, 0);
        share_out(threads, tasks, |task| task.run(&batches))
    }
}

impl Task<'_> {
    fn run(self, batches: &[RecordBatch]) -> Result<()> {
        for batch in batches {
            for (leaf, writer) in compute_leaves(self.field, batch.column(self.index))?.iter().zip(self.writers.iter_mut()) {
                writer.write(leaf)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, StringViewArray};
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
        let mut group = RowGroup::new(row_groups.create_column_writers(0).unwrap(), threads);
        (0..count).step_by(batch as usize).for_each(|from| group.write(rows(from, batch.min(count - from))).unwrap());
        assert_eq!(group.room(), ROW_GROUP_ROWS - count as usize);
        let chunks = group.finish().unwrap();
        let mut open = writer.next_row_group().unwrap();
        chunks.into_iter().for_each(|chunk| chunk.append_to_row_group(&mut open).unwrap());
        open.close().unwrap();
        writer.into_inner().unwrap()
    }

    #[test]
    fn the_file_is_the_same_with_any_number_of_threads_and_holds_every_row() {
        let (batch, count) = (10_000, 3 * LAKE_ENCODE_ROWS as i64 + 5);
        let one = file(1, batch, count);
        assert_eq!(one, file(3, batch, count));
        assert_eq!(one, file(16, batch, count));
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(one)).unwrap().with_batch_size(count as usize).build();
        let read: Vec<RecordBatch> = reader.unwrap().map(|r| r.unwrap()).collect();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].columns(), rows(0, count).columns());
    }
}
