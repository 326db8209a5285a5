//! Results of one call for the rows of a step. Invariant: results come partition by partition, and stand in the order of the rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, new_null_array};
use arrow::compute::{cast, interleave};
use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;

use super::calls::{Kind, OverStep};
use crate::error::Result;

/// Results, one a row.
pub enum Results {
    /// Of aggregates.
    Values(Vec<ScalarValue>),
    /// Places.
    Numbers(Vec<i64>),
    /// Values of rows: which source, and which of its values. The first source is NULL.
    Picks { sources: Vec<ArrayRef>, picks: Vec<(usize, usize)> },
}

impl Results {
    /// For a call over `rows` rows.
    pub fn new(call: &OverStep, rows: usize) -> Self {
        match call.kind {
            Kind::Aggregate { .. } => Self::Values(vec![ScalarValue::Null; rows]),
            Kind::RowNumber => Self::Numbers(vec![0; rows]),
            Kind::Lag { .. } | Kind::Lead | Kind::Edge { .. } => {
                Self::Picks { sources: vec![new_null_array(call.result.data_type(), 1)], picks: vec![(0, 0); rows] }
            }
        }
    }

    /// Sets the result of an aggregate.
    pub fn value(&mut self, row: u32, value: ScalarValue) {
        if let Self::Values(values) = self {
            values[row as usize] = value;
        }
    }

    /// Sets a place.
    pub fn number(&mut self, row: u32, number: i64) {
        if let Self::Numbers(numbers) = self {
            numbers[row as usize] = number;
        }
    }

    /// Adds an array to pick from; gives its number.
    pub fn source(&mut self, values: &ArrayRef) -> usize {
        let Self::Picks { sources, .. } = self else { return 0 };
        sources.push(values.clone());
        sources.len() - 1
    }

    /// Sets a result that is the value at `place` of a source; otherwise it is NULL.
    pub fn pick(&mut self, row: u32, source: usize, place: usize) {
        if let Self::Picks { picks, .. } = self {
            picks[row as usize] = (source, place);
        }
    }

    /// The column, of the type that was planned.
    pub fn finish(self, data_type: &DataType) -> Result<ArrayRef> {
        let column: ArrayRef = match self {
            Self::Values(values) => ScalarValue::iter_to_array(values)?,
            Self::Numbers(numbers) => Arc::new(Int64Array::from(numbers)),
            Self::Picks { sources, picks } => interleave(&sources.iter().map(|s| s.as_ref() as &dyn Array).collect::<Vec<_>>(), &picks)?,
        };
        if column.data_type() == data_type { Ok(column) } else { Ok(cast(&column, data_type)?) }
    }
}
