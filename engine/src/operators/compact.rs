//! Rows that stay longer than the batch they came in. Invariant: the values do not change, only how much memory they hold on to.
//!
//! A text column that was filtered, cut or merged still holds the whole buffers that its texts lie in, and a snapshot would
//! write them all.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, GenericByteViewArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::ByteViewType;

use crate::error::Result;

/// The rows with buffers of their own, where those they have are more than twice as long as needed.
pub fn compact(rows: &RecordBatch) -> Result<RecordBatch> {
    let columns = rows.columns().iter().map(|column| {
        if let Some(text) = column.as_string_view_opt() {
            own(text, column)
        } else if let Some(bytes) = column.as_binary_view_opt() {
            own(bytes, column)
        } else {
            column.clone()
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(rows.schema(), columns.collect(), &options)?)
}

fn own<T: ByteViewType>(values: &GenericByteViewArray<T>, column: &ArrayRef) -> ArrayRef {
    let held: usize = values.data_buffers().iter().map(|b| b.capacity()).sum();
    if held > 2 * values.total_buffer_bytes_used() { Arc::new(values.gc()) } else { column.clone() }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::*;

    #[test]
    fn a_few_rows_of_many_do_not_hold_the_texts_of_all() {
        let texts: StringViewArray = (0..1_000).map(|i| (i % 7 > 0).then(|| format!("a text that is longer than twelve: {i}"))).collect();
        let all = RecordBatch::try_from_iter([("t", Arc::new(texts) as ArrayRef)]).unwrap();
        let held = |rows: &RecordBatch| -> usize { rows.column(0).as_string_view().data_buffers().iter().map(|b| b.len()).sum() };
        let few = all.slice(500, 10);
        assert_eq!(held(&few), held(&all));
        let compacted = compact(&few).unwrap();
        assert_eq!(compacted, few);
        assert!(held(&compacted) < 10 * 50, "{}", held(&compacted));
        assert_eq!(held(&compact(&all).unwrap()), held(&all));
    }
}
