//! Rows with what they do to a result: the changelog between steps behind the exchange. Invariant: a stream of inserts alone carries
//! no kinds at all, so that append-only queries pay nothing.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringViewArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// What a row does to the result that it belongs to. The numbers are in checkpoints: never change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum RowKind {
    /// A new row.
    Insert = 0,
    /// The old form of a row that changes; its new form follows.
    UpdateBefore = 1,
    /// The new form of a row that changed.
    UpdateAfter = 2,
    /// The row is no longer part of the result.
    Delete = 3,
}

impl RowKind {
    /// Whether the row is part of the result afterwards.
    pub fn adds(self) -> bool {
        matches!(self, Self::Insert | Self::UpdateAfter)
    }

    /// As Flink prints it: `+I`, `-U`, `+U`, `-D`.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Insert => "+I",
            Self::UpdateBefore => "-U",
            Self::UpdateAfter => "+U",
            Self::Delete => "-D",
        }
    }
}

/// Rows in the order in which they change the result.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The rows.
    pub rows: RecordBatch,
    /// What each does; `None` if all are inserts.
    pub kinds: Option<Vec<RowKind>>,
}

impl Changes {
    /// New rows.
    pub fn inserts(rows: RecordBatch) -> Self {
        Self { rows, kinds: None }
    }

    /// Rows with their kinds, as many; plain inserts lose theirs.
    pub fn new(rows: RecordBatch, kinds: Vec<RowKind>) -> Self {
        debug_assert_eq!(rows.num_rows(), kinds.len(), "a kind for each row");
        let kinds = kinds.iter().any(|k| *k != RowKind::Insert).then_some(kinds);
        Self { rows, kinds }
    }

    /// What row `i` does.
    pub fn kind(&self, i: usize) -> RowKind {
        self.kinds.as_ref().map_or(RowKind::Insert, |k| k[i])
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Schema of the rows.
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// The rows for which `mask` (without NULLs) is true.
    pub fn keep(&self, mask: &BooleanArray) -> Result<Self> {
        let kinds = self.kinds.as_ref().map(|k| k.iter().zip(mask.values()).filter(|(_, m)| *m).map(|(k, _)| *k).collect());
        Ok(Self { rows: filter_record_batch(&self.rows, mask)?, kinds })
    }

    /// `count` rows from row `from` on.
    #[must_use]
    pub fn slice(&self, from: usize, count: usize) -> Self {
        let kinds = self.kinds.as_ref().map(|k| k[from..from + count].to_vec());
        Self { rows: self.rows.slice(from, count), kinds }
    }

    /// `schema` with the column `op` before its own.
    pub fn signed_schema(schema: &Schema) -> SchemaRef {
        let op: FieldRef = Arc::new(Field::new("op", DataType::Utf8View, false));
        Arc::new(Schema::new([op].into_iter().chain(schema.fields().iter().cloned()).collect::<Vec<_>>()))
    }

    /// The rows with what each does as a column, for people: see `RowKind::sign`.
    pub fn signed(&self) -> Result<RecordBatch> {
        let signs: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..self.len()).map(|i| self.kind(i).sign())));
        let columns = [signs].into_iter().chain(self.rows.columns().iter().cloned()).collect();
        Ok(RecordBatch::try_new(Self::signed_schema(self.rows.schema_ref()), columns)?)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn rows_are_shown_with_what_they_do() {
        let rows = RecordBatch::try_from_iter([("v", Arc::new(Int64Array::from(vec![1, 2, 3, 4])) as ArrayRef)]).unwrap();
        let kinds = vec![RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];
        let shown = Changes::new(rows.clone(), kinds).signed().unwrap();
        assert_eq!(shown.schema(), Changes::signed_schema(&rows.schema()));
        assert_eq!(shown.column(0).as_string_view().iter().flatten().collect::<Vec<_>>(), ["+I", "-U", "+U", "-D"]);
        assert_eq!(shown.column(1).as_primitive::<Int64Type>().values().as_ref(), [1, 2, 3, 4]);
    }
}
