//! Whole rows as bytes that sort in an order. Invariant: equal bytes are equal rows, and decoding gives the rows that were encoded.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Schema;
use arrow::row::{RowConverter, Rows, SortField};

use crate::error::Result;
use crate::plan::SortKey;

/// Encodes rows: the columns of the order, then the others from left to right.
pub struct RowOrder {
    converter: RowConverter,
    /// Columns of a row, in the order in which they are encoded.
    columns: Vec<usize>,
}

impl RowOrder {
    /// For rows of `schema`.
    pub fn new(schema: &Schema, order: &[SortKey]) -> Result<Self> {
        let (mut columns, mut fields) = (Vec::new(), Vec::new());
        for key in order {
            if !columns.contains(&key.column) {
                columns.push(key.column);
                fields.push(SortField::new_with_options(schema.field(key.column).data_type().clone(), key.options));
            }
        }
        for (column, field) in schema.fields().iter().enumerate() {
            if !columns.contains(&column) {
                columns.push(column);
                fields.push(SortField::new(field.data_type().clone()));
            }
        }
        Ok(Self { converter: RowConverter::new(fields)?, columns })
    }

    /// The rows as bytes.
    pub fn encode(&self, rows: &RecordBatch) -> Result<Rows> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|&c| rows.column(c).clone()).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }

    /// The columns of rows, from left to right.
    pub fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        let rows: Vec<&[u8]> = rows.into_iter().collect();
        let decoded = self.converter.convert_rows(rows.iter().map(|row| parser.parse(row)))?;
        let mut columns: Vec<(usize, ArrayRef)> = self.columns.iter().copied().zip(decoded).collect();
        columns.sort_by_key(|(column, _)| *column);
        Ok(columns.into_iter().map(|(_, values)| values).collect())
    }
}
