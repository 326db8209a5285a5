//! Which columns a job needs. Invariant: a column is read if and only if an expression names it, or it is the event time.

use std::collections::BTreeSet;

use datafusion::common::Column;
use datafusion::logical_expr::Expr;

use super::shape::Shape;
use crate::bind::WINDOW_COLUMNS;

/// Names of the columns of each table that expressions mention.
pub(super) struct Needed(BTreeSet<(String, String)>);

impl Needed {
    /// All columns of a shape, without keys of joins on the side of the reference table.
    pub(super) fn new(shape: &Shape) -> Self {
        let mut needed = Self(BTreeSet::new());
        match &shape.aggregate {
            Some(aggregate) => aggregate.group_expr.iter().chain(&aggregate.aggr_expr).for_each(|e| needed.add(e, None)),
            None => shape.projection.iter().for_each(|(e, _)| needed.add(e, None)),
        }
        shape.filter.iter().for_each(|e| needed.add(e, None));
        shape.joins.iter().for_each(|j| needed.add(&j.on, Some(&j.alias)));
        needed
    }

    fn add(&mut self, expression: &Expr, without: Option<&str>) {
        for Column { relation, name, .. } in expression.column_refs() {
            if let Some(table) = relation.as_ref().map(|r| r.table()).filter(|t| Some(*t) != without) {
                self.0.insert((table.to_owned(), name.clone()));
            }
        }
    }

    /// Whether a column is mentioned.
    pub(super) fn contains(&self, table: &str, column: &str) -> bool {
        self.0.contains(&(table.to_owned(), column.to_owned()))
    }
}

/// Whether an expression mentions a window column of the stream.
pub(super) fn mentions_window(expression: &Expr, stream: &str) -> bool {
    expression.column_refs().into_iter().any(|c| is_window_column(c, stream).is_some())
}

/// The name of a window column of the stream.
pub(super) fn is_window_column(column: &Column, stream: &str) -> Option<&'static str> {
    let of_stream = column.relation.as_ref().is_some_and(|r| r.table() == stream);
    WINDOW_COLUMNS.into_iter().find(|name| of_stream && column.name == *name)
}
