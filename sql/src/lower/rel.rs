//! Rows at one point of a job: where they are, what they are called, and what is known of them. Invariant: a column that the query
//! can name has a slot; compiled expressions refer to physical columns by their index here.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, cast as cast_to};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::expressions::{self, cast};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use thalweg_engine::error::Error;
use thalweg_engine::plan::{From, Stage};
use thalweg_engine::time::Micros;

use super::check::place;
use super::reject::Unsupported;
use crate::bind::WINDOW_COLUMNS;
use crate::diagnostics::Result;

/// Where rows are.
#[derive(Debug, Clone)]
pub(super) enum At {
    /// Still in the partitions of a scan, after these stages.
    Chain {
        /// Index of the scan.
        scan: usize,
        /// What is done to its rows.
        stages: Vec<Stage>,
    },
    /// Behind the exchange.
    Behind(From),
}

/// A physical column.
#[derive(Debug, Clone)]
pub(super) struct Physical {
    /// Name and type in the batch.
    pub(super) field: FieldRef,
    /// For times: what all of them are whole multiples of, in microseconds; 1 if that is not known.
    pub(super) unit: Micros,
}

/// Where the value of a visible column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// A physical column.
    Physical(usize),
    /// `WINDOW_COLUMNS` of the pending window.
    Window(usize),
}

/// A column as the query knows it.
#[derive(Debug, Clone)]
pub(super) struct Visible {
    pub(super) table: Option<TableReference>,
    pub(super) name: String,
    /// The type that DataFusion planned with.
    pub(super) planned: DataType,
    pub(super) slot: Slot,
}

/// A window function over the rows whose windows nobody has needed yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    /// Index into the windows of the query.
    pub(super) number: usize,
    /// Physical column of the time.
    pub(super) time: usize,
}

/// The window that each row belongs to: physical columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Its last millisecond, if that is a column.
    pub(super) time: Option<usize>,
}

/// What is done with rows that come when the watermark has passed their event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// They go on.
    Keep,
    /// They are late, by this physical column.
    Row(usize),
}

/// Rows.
#[derive(Clone)]
pub(super) struct Rel<'a> {
    pub(super) state: &'a SessionState,
    pub(super) at: At,
    pub(super) physical: Vec<Physical>,
    pub(super) columns: Vec<Visible>,
    /// Physical columns that are event times.
    pub(super) times: BTreeSet<usize>,
    /// Smallest step of event time in microseconds.
    pub(super) unit: Micros,
    pub(super) pending: Option<Pending>,
    /// Conditions on the columns of the pending window alone, over `WINDOW_COLUMNS`: windows that do not meet them are left out.
    pub(super) deferred: Vec<Expr>,
    pub(super) attached: Option<Attached>,
    /// Whether rows may be taken back.
    pub(super) updating: bool,
    /// Physical columns that tell rows apart, if that is known.
    pub(super) key: Option<Vec<usize>>,
}

impl<'a> Rel<'a> {
    /// Schema of the batches.
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.physical.iter().map(|p| p.field.clone()).collect::<Vec<FieldRef>>()))
    }

    /// The event time, if rows have one.
    pub(super) fn time(&self) -> Option<usize> {
        self.times.first().copied()
    }

    /// Where a column is.
    pub(super) fn slot(&self, column: &Column) -> Option<Slot> {
        self.visible(column).map(|v| v.slot)
    }

    fn visible(&self, column: &Column) -> Option<&Visible> {
        self.columns.iter().find(|v| v.name == column.name && v.table == column.relation)
    }

    /// The physical column that an expression is, if it is nothing but a column.
    pub(super) fn physical_of(&self, expression: &Expr) -> Option<usize> {
        match expression {
            Expr::Alias(alias) => self.physical_of(&alias.expr),
            Expr::Column(c) => match self.slot(c)? {
                Slot::Physical(i) => Some(i),
                Slot::Window(_) => None,
            },
            _ => None,
        }
    }

    /// Whether every column of an expression is here.
    pub(super) fn covers(&self, expression: &Expr) -> bool {
        expression.column_refs().into_iter().all(|c| self.slot(c).is_some())
    }

    /// Whether an expression names a column of the pending window.
    pub(super) fn mentions_window(&self, expression: &Expr) -> bool {
        expression.column_refs().into_iter().any(|c| matches!(self.slot(c), Some(Slot::Window(_))))
    }

    /// An expression over the columns of the pending window and no others, with their plain names.
    pub(super) fn of_window(&self, expression: &Expr) -> Option<Expr> {
        let columns = expression.column_refs();
        if columns.is_empty() || !columns.iter().all(|c| matches!(self.slot(c), Some(Slot::Window(_)))) {
            return None;
        }
        let renamed = expression.clone().transform(|e| {
            let Expr::Column(c) = &e else { return Ok(Transformed::no(e)) };
            Ok(match self.slot(c) {
                Some(Slot::Window(part)) => Transformed::yes(Expr::Column(Column::new_unqualified(WINDOW_COLUMNS[part]))),
                _ => Transformed::no(e),
            })
        });
        renamed.ok().map(|r| r.data)
    }

    /// What all times that an expression gives are whole multiples of, in microseconds; 1 if that is not known.
    pub(super) fn unit_of(&self, expression: &Expr) -> Micros {
        self.physical_of(expression).map_or(1, |i| self.physical[i].unit)
    }

    /// An expression made as simple as it gets, without evaluating anything that depends on when it runs.
    pub(super) fn simplify(&self, expression: Expr) -> Result<Expr> {
        let field = |v: &Visible| (v.table.clone(), Arc::new(Field::new(&v.name, v.planned.clone(), self.nullable(v.slot))));
        let schema = DFSchema::new_with_metadata(self.columns.iter().map(field).collect(), HashMap::new())?;
        Ok(ExprSimplifier::new(self.simplifying(schema)).simplify(expression)?)
    }

    fn simplifying(&self, schema: DFSchema) -> SimplifyContext {
        SimplifyContext::builder().with_schema(Arc::new(schema)).with_config_options(self.state.config_options().clone()).build()
    }

    fn nullable(&self, slot: Slot) -> bool {
        match slot {
            Slot::Physical(i) => self.physical[i].field.is_nullable(),
            Slot::Window(_) => false,
        }
    }

    /// An expression that runs over batches of these rows.
    pub(super) fn compile(&self, expression: &Expr) -> Result<Arc<dyn PhysicalExpr>> {
        let by_index = self.by_index(expression.clone())?;
        let field = |(i, p): (usize, &Physical)| (None, Arc::new(p.field.as_ref().clone().with_name(format!("#{i}"))));
        let schema = DFSchema::new_with_metadata(self.physical.iter().enumerate().map(field).collect(), HashMap::new())?;
        let simple = ExprSimplifier::new(self.simplifying(schema.clone())).simplify(by_index)?;
        let physical = create_physical_expr(&simple, &schema, self.state.execution_props(), &PhysicalPlanningContext::default())?;
        let named = physical.transform_up(|e| {
            let any: &dyn std::any::Any = e.as_ref();
            Ok(match any.downcast_ref::<expressions::Column>() {
                Some(c) => {
                    let name = self.physical[c.index()].field.name();
                    Transformed::yes(Arc::new(expressions::Column::new(name, c.index())) as Arc<dyn PhysicalExpr>)
                }
                None => Transformed::no(e),
            })
        })?;
        Ok(named.data)
    }

    /// An expression that runs over batches of these rows and gives `to`.
    pub(super) fn compile_as(&self, expression: &Expr, to: &DataType) -> Result<Arc<dyn PhysicalExpr>> {
        let compiled = self.compile(expression)?;
        Ok(cast(compiled, &self.schema(), to.clone())?)
    }

    /// The same expression over `#0`, `#1`, … with casts where a column's type is not the planned one.
    fn by_index(&self, expression: Expr) -> Result<Expr> {
        let mut refused = None;
        let rebased = expression.transform_down(|e| {
            if matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)) {
                refused = Some(Unsupported::SUBQUERY.at(place(&e)));
            }
            let Expr::Column(c) = &e else { return Ok(Transformed::no(e)) };
            match self.visible(c) {
                Some(Visible { slot: Slot::Physical(i), planned, .. }) => {
                    let column = Expr::Column(Column::new_unqualified(format!("#{i}")));
                    let fits = self.physical[*i].field.data_type() == planned;
                    let column = if fits { column } else { cast_to(column, planned.clone()) };
                    Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
                }
                Some(Visible { slot: Slot::Window(_), .. }) => {
                    refused = Some(Unsupported::WINDOW_COLUMN.at(place(&e)));
                    Ok(Transformed::no(e))
                }
                None => {
                    refused = Some(Error::internal(format!("column {c} is not among {:?}", self.names())).into());
                    Ok(Transformed::no(e))
                }
            }
        })?;
        refused.map_or(Ok(rebased.data), Err)
    }

    fn names(&self) -> Vec<String> {
        self.columns.iter().map(|v| v.name.clone()).collect()
    }

    /// The same rows under the names of another schema, column by column.
    pub(super) fn renamed(mut self, schema: &DFSchema) -> Result<Self> {
        if schema.fields().len() != self.columns.len() {
            return Err(Error::internal(format!("{} columns for {:?}", schema.fields().len(), self.names())).into());
        }
        for (column, (table, field)) in self.columns.iter_mut().zip(schema.iter()) {
            column.table = table.cloned();
            column.name.clone_from(field.name());
            column.planned = field.data_type().clone();
        }
        Ok(self)
    }
}

/// An expression over the columns of a table, with the names that they have outside.
pub(super) fn requalified(expression: Expr, table: &TableReference, columns: &[Visible]) -> Result<Expr> {
    let renamed = expression.transform(|e| {
        let Expr::Column(c) = &e else { return Ok(Transformed::no(e)) };
        if c.relation.as_ref() != Some(table) {
            return Ok(Transformed::no(e));
        }
        let outside = columns.iter().find(|v| v.name == c.name);
        Ok(outside.map_or(Transformed::no(e.clone()), |v| Transformed::yes(Expr::Column(Column::new(v.table.clone(), &v.name)))))
    })?;
    Ok(renamed.data)
}

/// The expression without its alias.
pub(super) fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
