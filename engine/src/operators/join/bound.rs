//! How much a join may let out at once. Invariant: what one push or one watermark lets out is collected before it goes on, and takes about
//! `JOIN_OUTPUT_BYTES_MAX` at most; beyond, the job ends with an error and the process goes on.
//!
//! An ASOF JOIN needs no bound: a left row leaves once at most.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Schema;

use crate::error::{Error, Result};
use crate::limits::JOIN_OUTPUT_BYTES_MAX;

/// What noting a row takes beside its columns, in bytes.
const NOTE_BYTES: u64 = 24;
/// What a value takes whose type does not tell, in bytes: the view of a text.
const VALUE_BYTES: u64 = 16;
/// What each column of a row takes that stands alone, in bytes.
const ALONE_BYTES: u64 = 128;

/// Counts what leaves.
pub struct Bound {
    max: u64,
    columns: u64,
    /// Of one row, as far as its types tell.
    row_bytes: u64,
    bytes: u64,
}

impl Bound {
    /// For rows of `schema`.
    pub fn new(schema: &Schema) -> Self {
        let widths = schema.fields().iter().map(|f| f.data_type().primitive_width().map_or(VALUE_BYTES, |width| width as u64));
        let row_bytes = NOTE_BYTES + widths.sum::<u64>();
        Self { max: JOIN_OUTPUT_BYTES_MAX, columns: schema.fields().len() as u64, row_bytes, bytes: 0 }
    }

    /// For so many rows of `schema`.
    #[cfg(test)]
    pub fn of_rows(schema: &Schema, rows: u64) -> Self {
        let bound = Self::new(schema);
        Self { max: rows * bound.row_bytes, ..bound }
    }

    /// What left before has gone on.
    pub fn begin(&mut self) {
        self.bytes = 0;
    }

    /// Allows another row for each of so many that were kept: state has a bound of its own, and may leave at once when time jumps.
    pub fn credit(&mut self, rows: u64) {
        self.bytes = self.bytes.saturating_sub(rows.saturating_mul(self.row_bytes));
    }

    /// How many rows may still leave.
    pub fn rows_left(&self) -> u64 {
        self.max.saturating_sub(self.bytes) / self.row_bytes
    }

    /// Counts rows. Errors: `Invalid` if they are too many.
    pub fn add(&mut self, rows: u64) -> Result<()> {
        self.add_bytes(rows.saturating_mul(self.row_bytes))
    }

    /// Counts the texts of columns that nothing else holds. Errors: as for `add`.
    pub fn add_texts(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.add_bytes(columns.iter().map(text_bytes).sum())
    }

    /// Counts the rows that failed among `pairs`: each holds on to all of them. Errors: as for `add`.
    pub fn add_failed(&mut self, pairs: usize, failed: usize) -> Result<()> {
        if failed == 0 {
            return Ok(());
        }
        self.add(pairs as u64)?;
        self.add_bytes((failed as u64).saturating_mul(self.columns * ALONE_BYTES))
    }

    fn add_bytes(&mut self, bytes: u64) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes <= self.max {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "a join lets out more than the {} MiB that are allowed at once: too many rows of its sides match each other",
            self.max / (1024 * 1024)
        ))
        .hint(
            "compare more columns in ON, filter or aggregate before the join, or let it forget ('table.exec.state.ttl'); then give the \
             statement again: it goes on from its last checkpoint",
        ))
    }
}

/// What the texts of a column take beside their views.
fn text_bytes(column: &ArrayRef) -> u64 {
    if let Some(texts) = column.as_string_view_opt() {
        texts.data_buffers().iter().map(|b| b.capacity() as u64).sum()
    } else if let Some(bytes) = column.as_binary_view_opt() {
        bytes.data_buffers().iter().map(|b| b.capacity() as u64).sum()
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringViewArray;
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::error::ErrorKind;

    fn bound(rows: u64) -> Bound {
        Bound::of_rows(&Schema::new(vec![Field::new("k", DataType::Utf8View, true), Field::new("v", DataType::Int64, true)]), rows)
    }

    #[test]
    fn rows_count_until_they_have_gone_on() {
        let mut bound = bound(10);
        bound.add(4).unwrap();
        assert_eq!(bound.rows_left(), 6);
        bound.add(6).unwrap();
        assert_eq!(bound.rows_left(), 0);
        bound.begin();
        bound.add(10).unwrap();
        let error = bound.add(1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().starts_with("a join lets out more than") && error.hint_text().is_some(), "{error}");
        assert_eq!(bound.rows_left(), 0);
        bound.begin();
        assert!(bound.add(u64::MAX).is_err());
    }

    #[test]
    fn texts_and_rows_that_failed_count_too() {
        let long = "a text that is longer than twelve".repeat(100);
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values([long.as_str()]));
        assert!(bound(10).add_texts(std::slice::from_ref(&texts)).is_err());
        bound(10).add_texts(&[Arc::new(StringViewArray::from_iter_values(["short"]))]).unwrap();
        bound(10).add_failed(1_000, 0).unwrap();
        assert!(bound(10).add_failed(11, 1).is_err());
        assert!(bound(10).add_failed(5, 5).is_err());
    }
}
