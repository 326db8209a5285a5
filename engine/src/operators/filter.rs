//! WHERE. Invariant: a row stays exactly if the predicate is true; false and NULL drop it, and every dropped row is counted.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter, filter_record_batch, prep_null_mask_filter};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use crate::batch::Batch;
use crate::contract::{Operator, Output};
use crate::error::{Error, Result};

/// Keeps rows for which `predicate` is true.
pub struct Filter {
    predicate: Arc<dyn PhysicalExpr>,
}

impl Filter {
    /// A filter by a boolean expression over its input.
    pub fn new(predicate: Arc<dyn PhysicalExpr>) -> Self {
        Self { predicate }
    }

    /// Which of `rows` stay; without NULLs.
    pub fn mask(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let value = self.predicate.evaluate(rows)?.into_array(rows.num_rows())?;
        let mask = value
            .as_boolean_opt()
            .ok_or_else(|| Error::internal(format!("predicate {} is {}, not BOOLEAN", self.predicate, value.data_type())))?;
        Ok(if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() })
    }
}

impl Operator for Filter {
    fn push(&mut self, batch: Batch, out: &mut Output) -> Result<Option<Batch>> {
        let rows = batch.rows.num_rows();
        let mask = self.mask(&batch.rows)?;
        let kept = mask.true_count();
        out.counters.filtered += (rows - kept) as u64;
        match kept {
            0 => Ok(None),
            _ if kept == rows => Ok(Some(batch)),
            _ => keep(&batch, &mask).map(Some),
        }
    }
}

/// The rows of `batch` for which `mask` (without NULLs) is true.
pub fn keep(batch: &Batch, mask: &BooleanArray) -> Result<Batch> {
    let watermarks = match &batch.watermarks {
        Some(w) => Some(filter(w, mask)?.as_primitive().clone()),
        None => None,
    };
    Ok(Batch { rows: filter_record_batch(&batch.rows, mask)?, offsets: filter(&batch.offsets, mask)?.as_primitive().clone(), watermarks })
}
