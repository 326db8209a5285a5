//! Expressions of `CREATE TABLE`, compiled. Invariant: they see the columns of one row and nothing else.

use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use sqlparser::tokenizer::Location;
use thalweg_engine::error::Error;
use thalweg_engine::plan::Column;

use super::check::check;
use super::output::cannot_carry;
use super::planner::Planner;
use super::reject::Unsupported;
use super::rel::{At, Physical, Rel, Slot, Visible, unaliased};
use crate::bind::BoundQuery;
use crate::diagnostics::Result;
use crate::tables::Compiled;
use crate::types;

/// Compiles the one item of `SELECT expression FROM table`, where the table has these columns.
pub(crate) fn computed(planner: &Planner<'_>, bound: BoundQuery, columns: &[Column]) -> Result<Compiled> {
    let BoundQuery { query, relations, .. } = bound;
    let at = relations.first().map_or(Location { line: 0, column: 0 }, |r| r.at);
    let plan = || -> Result<LogicalPlan> {
        let logical = planner.plan(query)?;
        check(&logical)?;
        planner.coerce(logical)
    };
    let plan = plan().map_err(|p| p.or_at(at))?;
    let LogicalPlan::Projection(node) = &plan else { return Err(Unsupported::COMPUTED.at(at)) };
    let of_rows = match node.input.as_ref() {
        LogicalPlan::SubqueryAlias(alias) => matches!(alias.input.as_ref(), LogicalPlan::TableScan(_)),
        other => matches!(other, LogicalPlan::TableScan(_)),
    };
    let ([expression], true) = (node.expr.as_slice(), of_rows) else { return Err(Unsupported::COMPUTED.at(at)) };
    let expression = unaliased(expression);
    let known: Vec<(Option<&TableReference>, &str)> = node.input.schema().iter().map(|(t, f)| (t, f.name().as_str())).collect();
    let mut inputs = Vec::new();
    for column in expression.column_refs() {
        let place = known.iter().position(|(table, name)| *table == column.relation.as_ref() && *name == column.name);
        inputs.push(place.ok_or_else(|| Error::internal(format!("column {column} is not among those of the table")))?);
    }
    inputs.sort_unstable();
    let visible = |(slot, &i): (usize, &usize)| {
        let (table, field) = node.input.schema().qualified_field(i);
        Visible { table: table.cloned(), name: field.name().clone(), planned: field.data_type().clone(), slot: Slot::Physical(slot) }
    };
    let rel = Rel {
        state: planner.state(),
        at: At::Chain { scan: 0, stages: Vec::new() },
        physical: inputs.iter().map(|&i| Physical { field: columns[i].field.clone(), unit: columns[i].time_unit.max(1) }).collect(),
        columns: inputs.iter().enumerate().map(visible).collect(),
        times: Default::default(),
        unit: 1,
        pending: None,
        attached: None,
        updating: false,
        key: None,
        deferred: Vec::new(),
    };
    let compiled = compile(&rel, expression, at).map_err(|p| p.or_at(at))?;
    let nullable = compiled.nullable(&rel.schema())?;
    Ok(Compiled { inputs, data_type: compiled.data_type(&rel.schema())?, expression: compiled, nullable })
}

fn compile(rel: &Rel<'_>, expression: &Expr, at: Location) -> Result<Arc<dyn PhysicalExpr>> {
    let planned = rel.compile(expression)?.data_type(&rel.schema())?;
    let carried = types::carried(&planned).ok_or_else(|| cannot_carry(at, &expression.to_string(), &planned))?;
    rel.compile_as(expression, &carried)
}
