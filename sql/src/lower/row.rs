//! The columns at one stage of a job, and expressions over them. Invariant: a compiled expression refers to columns by their
//! index in exactly this row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::expressions::{self, cast};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use thalweg_engine::time::Micros;

use crate::diagnostics::Result;

/// Columns with the names that a query knows them by.
#[derive(Clone)]
pub(super) struct Row<'a> {
    state: &'a SessionState,
    columns: Vec<RowColumn>,
}

/// A column of a row.
#[derive(Clone)]
pub(super) struct RowColumn {
    /// Table that qualifies it; none for results.
    pub(super) table: Option<TableReference>,
    /// Name that the query knows it by.
    pub(super) name: String,
    /// Name and type in the batch.
    pub(super) field: FieldRef,
    /// For times: what all of them are whole multiples of, in microseconds; 1 if that is not known.
    pub(super) time_unit: Micros,
}

impl<'a> Row<'a> {
    /// A row of these columns.
    pub(super) fn new(state: &'a SessionState, columns: Vec<RowColumn>) -> Self {
        Self { state, columns }
    }

    /// The columns in order.
    pub(super) fn columns(&self) -> &[RowColumn] {
        &self.columns
    }

    /// The same row with more columns at its end.
    pub(super) fn with(&self, more: impl IntoIterator<Item = RowColumn>) -> Self {
        Self { state: self.state, columns: self.columns.iter().cloned().chain(more).collect() }
    }

    /// Its batches' schema.
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|c| c.field.clone()).collect::<Vec<FieldRef>>()))
    }

    /// Index of a column.
    pub(super) fn index(&self, column: &Column) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column.name && c.table == column.relation)
    }

    /// Whether every column of an expression is here.
    pub(super) fn covers(&self, expression: &Expr) -> bool {
        expression.column_refs().into_iter().all(|c| self.index(c).is_some())
    }

    /// What all times that an expression gives are whole multiples of, in microseconds; 1 if that is not known.
    pub(super) fn time_unit(&self, expression: &Expr) -> Micros {
        match expression {
            Expr::Column(c) => self.index(c).map_or(1, |i| self.columns[i].time_unit),
            _ => 1,
        }
    }

    /// An expression made as simple as it gets, without evaluating anything that depends on when it runs.
    pub(super) fn simplify(&self, expression: Expr) -> Result<Expr> {
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(self.names()?))
            .with_config_options(self.state.config_options().clone())
            .build();
        Ok(ExprSimplifier::new(context).simplify(expression)?)
    }

    /// An expression that runs over batches of this row.
    pub(super) fn compile(&self, expression: &Expr) -> Result<Arc<dyn PhysicalExpr>> {
        let simple = self.simplify(expression.clone())?;
        let physical = create_physical_expr(&simple, &self.names()?, self.state.execution_props(), &PhysicalPlanningContext::default())?;
        let named = physical.transform_up(|e| {
            let any: &dyn std::any::Any = e.as_ref();
            Ok(match any.downcast_ref::<expressions::Column>() {
                Some(c) => {
                    let name = self.columns[c.index()].field.name();
                    Transformed::yes(Arc::new(expressions::Column::new(name, c.index())) as Arc<dyn PhysicalExpr>)
                }
                None => Transformed::no(e),
            })
        })?;
        Ok(named.data)
    }

    /// An expression that runs over batches of this row and gives `to`.
    pub(super) fn compile_as(&self, expression: &Expr, to: &DataType) -> Result<Arc<dyn PhysicalExpr>> {
        let compiled = self.compile(expression)?;
        Ok(cast(compiled, &self.schema(), to.clone())?)
    }

    /// The columns under the names of the query.
    fn names(&self) -> Result<DFSchema> {
        let field = |c: &RowColumn| (c.table.clone(), Arc::new(c.field.as_ref().clone().with_name(&c.name)));
        Ok(DFSchema::new_with_metadata(self.columns.iter().map(field).collect(), HashMap::new())?)
    }
}
