//! Rows of one side, in columns. Invariant: a row has the number of rows that came before it; rows are given up from the front.
//!
//! Small batches are merged as they come, so that the number of batches stays small however the rows were cut.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::limits::BATCH_ROWS_MAX;
use crate::operators::compact::compact;

/// Instead of a row's number: no row.
pub const NONE: u64 = u64::MAX;

/// Numbered rows.
pub struct RowBuffer {
    schema: SchemaRef,
    /// With the number of their first row.
    batches: VecDeque<(u64, RecordBatch)>,
    end: u64,
    /// Memory of the batches.
    bytes: usize,
}

impl RowBuffer {
    /// For rows of `schema`.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, batches: VecDeque::new(), end: 0, bytes: 0 }
    }

    /// The number of the next row that comes.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Memory that its rows take, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes rows.
    pub fn append(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let (mut first, mut rows) = (self.end, compact(rows)?);
        self.end += rows.num_rows() as u64;
        // Each row is copied once for each doubling.
        while let Some((_, last)) = self.batches.back()
            && last.num_rows() <= rows.num_rows()
            && last.num_rows() + rows.num_rows() <= BATCH_ROWS_MAX
        {
            rows = concat_batches(&self.schema, [last, &rows])?;
            first -= last.num_rows() as u64;
            self.bytes -= last.get_array_memory_size();
            self.batches.pop_back();
        }
        self.bytes += rows.get_array_memory_size();
        self.batches.push_back((first, rows));
        Ok(())
    }

    /// Gives up rows with numbers below `end`, a whole batch at a time.
    pub fn forget(&mut self, end: u64) {
        while let Some((first, rows)) = self.batches.front()
            && first + rows.num_rows() as u64 <= end
        {
            self.bytes -= rows.get_array_memory_size();
            self.batches.pop_front();
        }
    }

    /// The columns of the rows with these numbers; NULLs for `NONE`.
    pub fn gather(&self, numbers: &[u64]) -> Result<Vec<ArrayRef>> {
        let mut source_of: Vec<Option<usize>> = vec![None; self.batches.len()];
        let mut sources: Vec<&RecordBatch> = Vec::new();
        let mut places = Vec::with_capacity(numbers.len());
        for &number in numbers {
            if number == NONE {
                places.push((usize::MAX, 0));
                continue;
            }
            let batch = self.batches.partition_point(|(first, _)| *first <= number) - 1;
            let (first, rows) = &self.batches[batch];
            let source = *source_of[batch].get_or_insert_with(|| {
                sources.push(rows);
                sources.len() - 1
            });
            places.push((source, (number - first) as usize));
        }
        let nulls = sources.len();
        places.iter_mut().filter(|p| p.0 == usize::MAX).for_each(|p| p.0 = nulls);
        let columns = self.schema.fields().iter().enumerate().map(|(i, field)| {
            let null = new_null_array(field.data_type(), 1);
            let values = sources.iter().map(|s| s.column(i).as_ref()).chain([null.as_ref()]);
            // Without the NULLs where none are asked for: one source alone is faster.
            let count = if numbers.contains(&NONE) { nulls + 1 } else { nulls };
            Ok(interleave(&values.take(count).collect::<Vec<&dyn Array>>(), &places)?)
        });
        columns.collect()
    }

    /// The rows from number `from` on, as one batch.
    pub fn rows_from(&self, from: u64) -> Result<RecordBatch> {
        let kept = self.batches.iter().filter(|(first, rows)| first + rows.num_rows() as u64 > from).map(|(first, rows)| {
            let gone = from.saturating_sub(*first) as usize;
            rows.slice(gone, rows.num_rows() - gone)
        });
        Ok(concat_batches(&self.schema, &kept.collect::<Vec<_>>())?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, StringViewArray, UInt64Array};
    use arrow::datatypes::UInt64Type;

    use super::*;

    fn batch(numbers: std::ops::Range<u64>) -> RecordBatch {
        let texts: StringViewArray = numbers.clone().map(|n| Some(format!("the text of row number {n}"))).collect();
        let columns: [(&str, ArrayRef); 2] = [("n", Arc::new(UInt64Array::from_iter_values(numbers))), ("t", Arc::new(texts))];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap()
    }

    #[test]
    fn rows_are_found_by_number_until_they_are_forgotten() {
        let mut buffer = RowBuffer::new(batch(0..0).schema());
        let mut end = 0;
        for size in [1, 2, 3, 5_000, 1, 1, 1, 4, 20_000, 30, 7, 0, 300] {
            buffer.append(&batch(end..end + size)).unwrap();
            end += size;
        }
        assert_eq!(buffer.end(), end);
        assert!(buffer.batches.len() < 8, "{}", buffer.batches.len());
        let held = |buffer: &RowBuffer| buffer.batches.iter().map(|(_, rows)| rows.get_array_memory_size()).sum::<usize>();
        assert_eq!(buffer.bytes(), held(&buffer));
        for forgotten in [0, 5, 5_006, 25_012] {
            buffer.forget(forgotten);
            let asked = [end - 1, NONE, forgotten, forgotten + 1, 25_100, NONE, forgotten];
            let columns = buffer.gather(&asked).unwrap();
            let want: UInt64Array = asked.iter().map(|&n| (n != NONE).then_some(n)).collect();
            assert_eq!(columns[0].as_primitive::<UInt64Type>(), &want);
            assert_eq!(columns[1].as_string_view().value(2), format!("the text of row number {forgotten}"));
            assert_eq!(buffer.rows_from(forgotten).unwrap(), batch(forgotten..end));
        }
        assert!(buffer.gather(&[NONE, NONE]).unwrap().iter().all(|c| c.null_count() == 2));
        buffer.forget(end);
        assert_eq!((buffer.batches.len(), buffer.bytes(), buffer.rows_from(end).unwrap().num_rows()), (0, 0, 0));
    }
}
