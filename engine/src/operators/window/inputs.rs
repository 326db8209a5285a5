//! What a window needs of its input, computed before it. Invariant: an expression that fails, fails here, where the row can
//! still be rejected alone.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef, TimestampMicrosecondType};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use crate::batch::Batch;
use crate::contract::{Operator, Output};
use crate::error::{Error, Result};
use crate::plan;
use crate::time::Micros;

/// Computes event time, keys, and each aggregate's arguments and filter, in this order.
pub struct WindowInputs {
    /// Columns that stand before the keys.
    times: Vec<usize>,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl WindowInputs {
    /// For `window` over rows of the schema `input`.
    pub fn new(window: &plan::Window, input: &Schema) -> Result<Self> {
        Self::with_times(window, input, vec![window.time])
    }

    /// With the columns `times` instead of the event time.
    pub(super) fn with_times(window: &plan::Window, input: &Schema, times: Vec<usize>) -> Result<Self> {
        let mut expressions: Vec<Arc<dyn PhysicalExpr>> = window.keys.iter().map(|(e, _)| e.clone()).collect();
        for aggregate in &window.aggregates {
            expressions.extend(aggregate.arguments.iter().chain(&aggregate.filter).cloned());
        }
        let mut fields: Vec<FieldRef> = times.iter().map(|&t| Arc::new(input.field(t).clone())).collect();
        for (i, expression) in expressions.iter().enumerate() {
            fields.push(Arc::new(Field::new(format!("c{i}"), expression.data_type(input)?, true)));
        }
        Ok(Self { times, expressions, schema: Arc::new(Schema::new(fields)) })
    }

    /// Schema of what it computes.
    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// What a window needs of these rows.
    pub(super) fn compute(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = self.times.iter().map(|&t| rows.column(t).clone()).collect();
        for expression in &self.expressions {
            columns.push(expression.evaluate(rows)?.into_array(rows.num_rows())?);
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

impl Operator for WindowInputs {
    fn push(&mut self, batch: Batch, _out: &mut Output) -> Result<Option<Batch>> {
        Ok(Some(Batch { rows: self.compute(&batch.rows)?, ..batch }))
    }
}

/// The values of a column of times. Errors: `Internal`, if it is not one or has NULLs.
pub(super) fn times(column: &ArrayRef) -> Result<&[Micros]> {
    if column.null_count() > 0 {
        return Err(Error::internal("a NULL time reached a window"));
    }
    Ok(column.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| Error::internal("event time is not a timestamp"))?.values())
}
