//! What a window needs of its input, computed before it. Invariant: an expression that fails, fails here, where the row can
//! still be rejected alone.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use crate::batch::Batch;
use crate::contract::{Operator, Output};
use crate::error::Result;
use crate::plan;

/// Computes event time, keys, and each aggregate's arguments and filter, in this order.
pub struct WindowInputs {
    time: usize,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl WindowInputs {
    /// For `window` over rows of the schema `input`.
    pub fn new(window: &plan::Window, input: &Schema) -> Result<Self> {
        let mut expressions: Vec<Arc<dyn PhysicalExpr>> = window.keys.iter().map(|(e, _)| e.clone()).collect();
        for aggregate in &window.aggregates {
            expressions.extend(aggregate.arguments.iter().chain(&aggregate.filter).cloned());
        }
        let mut fields: Vec<FieldRef> = vec![Arc::new(input.field(window.time).clone())];
        for (i, expression) in expressions.iter().enumerate() {
            fields.push(Arc::new(Field::new(format!("c{i}"), expression.data_type(input)?, true)));
        }
        Ok(Self { time: window.time, expressions, schema: Arc::new(Schema::new(fields)) })
    }
}

impl Operator for WindowInputs {
    fn push(&mut self, batch: Batch, _out: &mut Output) -> Result<Option<Batch>> {
        let rows = batch.rows.num_rows();
        let mut columns = vec![batch.rows.column(self.time).clone()];
        for expression in &self.expressions {
            columns.push(expression.evaluate(&batch.rows)?.into_array(rows)?);
        }
        Ok(Some(Batch { rows: RecordBatch::try_new(self.schema.clone(), columns)?, ..batch }))
    }
}
