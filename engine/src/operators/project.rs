//! SELECT's expressions. Invariant: as many rows leave as came, each with its offset.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};

use crate::batch::Batch;
use crate::contract::{Operator, Output};
use crate::error::Result;
use crate::plan;

/// Computes columns from columns.
pub struct Project {
    plan: plan::Project,
}

impl Project {
    /// A projection as planned.
    pub fn new(plan: plan::Project) -> Self {
        Self { plan }
    }

    /// The projection of plain rows.
    pub fn apply(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let evaluate = |e: &std::sync::Arc<dyn datafusion_physical_expr_common::physical_expr::PhysicalExpr>| -> Result<ArrayRef> {
            Ok(e.evaluate(rows)?.into_array(count)?)
        };
        let columns = self.plan.expressions.iter().map(evaluate).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(self.plan.schema.clone(), columns, &options)?)
    }
}

impl Operator for Project {
    fn push(&mut self, batch: Batch, _out: &mut Output) -> Result<Option<Batch>> {
        let rows = self.apply(&batch.rows)?;
        Ok(Some(Batch { rows, ..batch }))
    }
}
