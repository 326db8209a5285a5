//! The one shape of a stream's plan. Invariant: every node is matched with all its fields; another shape is refused.
//!
//! ```text
//! Projection ( [Filter: having] Aggregate )? ( [Filter: where] Join* Alias(Scan) )
//! ```

use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::logical_plan::{Aggregate, Filter, Join, Projection, SubqueryAlias};
use datafusion::logical_expr::{Expr, LogicalPlan};
use sqlparser::tokenizer::Location;
use thalweg_engine::plan::LookupKind;

use crate::diagnostics::{Problem, Result};

/// A plan taken apart.
#[derive(Debug)]
pub(super) struct Shape {
    /// Items of SELECT and their names.
    pub(super) projection: Vec<(Expr, String)>,
    pub(super) having: Option<Expr>,
    pub(super) aggregate: Option<Aggregate>,
    pub(super) filter: Option<Expr>,
    /// Joins in order.
    pub(super) joins: Vec<ShapeJoin>,
    /// Alias of the table that is read first.
    pub(super) first: String,
}

/// A join with a table.
#[derive(Debug)]
pub(super) struct ShapeJoin {
    pub(super) alias: String,
    pub(super) kind: LookupKind,
    pub(super) on: Expr,
}

/// Takes a plan apart.
pub(super) fn shape(plan: LogicalPlan) -> Result<Shape> {
    let LogicalPlan::Projection(Projection { expr, input, schema, .. }) = plan else { return Err(other(&plan)) };
    let projection = expr.into_iter().zip(schema.fields()).map(|(e, f)| (e, f.name().clone())).collect();
    let mut below = LogicalPlan::clone(&input);
    let (mut having, mut aggregate) = (None, None);
    if let LogicalPlan::Filter(Filter { predicate, input, .. }) = &below
        && matches!(input.as_ref(), LogicalPlan::Aggregate(_))
    {
        having = Some(predicate.clone());
        below = LogicalPlan::clone(input);
    }
    if let LogicalPlan::Aggregate(node) = below {
        below = LogicalPlan::clone(&node.input);
        aggregate = Some(node);
    }
    let mut filter = None;
    if let LogicalPlan::Filter(Filter { predicate, input, .. }) = &below {
        filter = Some(predicate.clone());
        below = LogicalPlan::clone(input);
    }
    let mut joins = Vec::new();
    while let LogicalPlan::Join(join) = below {
        let (left, join) = shape_join(join)?;
        joins.push(join);
        below = left;
    }
    joins.reverse();
    Ok(Shape { projection, having, aggregate, filter, joins, first: scan_alias(&below)? })
}

fn shape_join(join: Join) -> Result<(LogicalPlan, ShapeJoin)> {
    let Join { left, right, on, filter, join_type, join_constraint: _, schema: _, null_equality, null_aware: _ } = join;
    let kind = match join_type {
        JoinType::Inner => LookupKind::Inner,
        JoinType::Left => LookupKind::Left,
        _ => return Err(other(&right)),
    };
    let equal = on.into_iter().map(|(l, r)| l.eq(r));
    let condition = equal.chain(filter).reduce(Expr::and);
    match condition {
        Some(on) if null_equality == NullEquality::NullEqualsNothing => {
            let join = ShapeJoin { alias: scan_alias(&right)?, kind, on };
            Ok((LogicalPlan::clone(&left), join))
        }
        _ => Err(other(&right)),
    }
}

/// The alias of a table that is scanned whole.
fn scan_alias(plan: &LogicalPlan) -> Result<String> {
    if let LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) = plan
        && let LogicalPlan::TableScan(scan) = input.as_ref()
        && scan.projection.is_none()
        && scan.filters.is_empty()
        && scan.fetch.is_none()
    {
        return Ok(alias.table().to_owned());
    }
    Err(other(plan))
}

fn other(plan: &LogicalPlan) -> Problem {
    let text = plan.display().to_string();
    let node = text.split([':', ' ']).next().unwrap_or_default().to_owned();
    Problem::new(Location { line: 0, column: 0 }, format!("this form of query is not supported on a stream ({node})"))
        .hint("write SELECT … FROM stream [JOIN reference …] [WHERE …] [GROUP BY …] [HAVING …]")
}
