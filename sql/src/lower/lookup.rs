//! Joins with reference tables. Invariant: a lookup compares exactly the primary key, so that a row meets at most one row.

use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use thalweg_engine::plan::{Lookup, LookupKind};

use super::columns::{Needed, mentions_window};
use super::reject::Unsupported;
use super::row::{Row, RowColumn};
use super::shape::ShapeJoin;
use crate::bind::Relation;
use crate::diagnostics::{Problem, Result};
use crate::tables::TableDefinition;
use crate::types;

/// What a lookup needs to know of its query.
pub(super) struct Context<'a> {
    pub(super) relation: &'a Relation,
    pub(super) definition: &'a TableDefinition,
    pub(super) needed: &'a Needed,
    /// Alias and event time of the stream.
    pub(super) stream: &'a str,
    pub(super) event_time: &'a Column,
    pub(super) windowed: bool,
}

/// Lowers a join; returns the row that follows it.
pub(super) fn lookup<'a>(join: &ShapeJoin, row: &Row<'a>, context: &Context<'_>) -> Result<(Lookup, Row<'a>)> {
    let Context { relation, definition, needed, stream, event_time, windowed } = context;
    let refused = || Unsupported::JOIN_CONDITION.at(relation.at);
    let mut keys = Vec::new();
    for conjunct in split_conjunction_owned(join.on.clone()) {
        let (expression, column) = key(conjunct, &join.alias).ok_or_else(refused)?;
        if *windowed && mentions_window(&expression, stream) {
            return Err(Unsupported::WINDOW_COLUMN.at(relation.at));
        }
        if !row.covers(&expression) || keys.iter().any(|(_, c)| *c == column) || !definition.primary_key.contains(&column) {
            return Err(
                refused().hint(format!("its PRIMARY KEY is ({}): compare each of its columns once", definition.primary_key.join(", ")))
            );
        }
        let compiled = row.compile(&expression)?;
        let (left, right) = (compiled.data_type(&row.schema())?, column_type(definition, &column));
        if Some(&left) != right {
            let right = right.map_or_else(String::new, types::name);
            return Err(Problem::new(
                relation.at,
                format!("the key '{column}' is {right}, but it is compared with {}", types::name(&left)),
            )
            .hint(format!("CAST the other side to {right}")));
        }
        keys.push((compiled, column));
    }
    if keys.len() != definition.primary_key.len() {
        return Err(refused().hint(format!("its PRIMARY KEY is ({}): compare each of its columns once", definition.primary_key.join(", "))));
    }
    let wanted = definition.columns.iter().filter(|c| needed.contains(&join.alias, c.field.name()));
    let appended: Vec<RowColumn> = wanted
        .map(|c| RowColumn {
            table: Some(TableReference::bare(join.alias.clone())),
            name: c.field.name().clone(),
            field: match join.kind {
                LookupKind::Inner => c.field.clone(),
                LookupKind::Left => c.field.as_ref().clone().with_nullable(true).into(),
            },
            time_unit: 1,
        })
        .collect();
    let columns = appended.iter().map(|c| c.name.clone()).collect();
    let time = row.compile(&Expr::Column((*event_time).clone()))?;
    let next = row.with(appended);
    let lookup = Lookup { table: definition.name.clone(), kind: join.kind, keys, time: Some(time), columns, schema: next.schema() };
    Ok((lookup, next))
}

/// An expression over the row, and the column of the table that it equals.
fn key(conjunct: Expr, table: &str) -> Option<(Expr, String)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = conjunct else { return None };
    let column = |e: &Expr| match e {
        Expr::Column(c) if c.relation.as_ref().is_some_and(|r| r.table() == table) => Some(c.name.clone()),
        _ => None,
    };
    match (column(&left), column(&right)) {
        (Some(name), None) => Some((*right, name)),
        (None, Some(name)) => Some((*left, name)),
        _ => None,
    }
}

fn column_type<'a>(definition: &'a TableDefinition, name: &str) -> Option<&'a arrow::datatypes::DataType> {
    definition.columns.iter().find(|c| c.field.name() == name).map(|c| c.field.data_type())
}
