//! `ROW_NUMBER() OVER (PARTITION BY … ORDER BY …)` with a bound on the number: top-N and deduplication. Invariant: without a bound it
//! is an OVER call; with one, no more rows are kept than the bound says, as far as the input allows.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::logical_plan::{Filter, Projection, Window as WindowNode};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions;
use thalweg_engine::plan::{Project, Rank, SortKey, Stage, StepKind};

use super::lowering::Lowering;
use super::project::{filter, materialize};
use super::reject::Unsupported;
use super::rel::{At, Late, Physical, Rel, Slot, Visible, unaliased};
use crate::diagnostics::{Problem, Result};

/// A numbering of rows with a bound.
pub(super) struct Found<'p> {
    node: &'p WindowNode,
    /// Columns that are left of it, before the condition.
    pub(super) between: Option<&'p Projection>,
    /// Name of the number's column.
    pub(super) name: String,
    /// First and last number that stay, from 1.
    first: u64,
    last: u64,
    /// What else the condition says.
    rest: Vec<Expr>,
}

/// The numbering that a plan is, if it has a bound.
pub(super) fn above(plan: &LogicalPlan) -> Option<Found<'_>> {
    let LogicalPlan::Filter(Filter { predicate, input, .. }) = plan else { return None };
    let (node, between) = match input.as_ref() {
        LogicalPlan::Window(node) => (node, None),
        LogicalPlan::Projection(between) if between.expr.iter().all(|e| matches!(e, Expr::Column(_))) => match between.input.as_ref() {
            LogicalPlan::Window(node) => (node, Some(between)),
            _ => return None,
        },
        _ => return None,
    };
    let [only] = node.window_expr.as_slice() else { return None };
    let Expr::WindowFunction(function) = unaliased(only) else { return None };
    if function.fun.name() != "row_number" {
        return None;
    }
    let name = node.schema.fields().last()?.name().clone();
    let (mut first, mut last, mut rest) = (1_u64, None, Vec::new());
    for conjunct in split_conjunction(predicate) {
        match bound(conjunct, &name) {
            Some((low, high)) => {
                first = first.max(low);
                last = match (last, high) {
                    (Some(a), Some(b)) => Some(u64::min(a, b)),
                    (a, b) => a.or(b),
                };
            }
            None => rest.push(conjunct.clone()),
        }
    }
    Some(Found { node, between, name, first, last: last?, rest })
}

/// The numbers that a condition lets through: the first, and the last if there is one.
fn bound(condition: &Expr, name: &str) -> Option<(u64, Option<u64>)> {
    match condition {
        Expr::Between(Between { expr, negated: false, low, high }) if is_number(expr, name) => {
            Some((literal(low)?.max(1), Some(literal(high)?)))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (value, op) = match (is_number(left, name), is_number(right, name)) {
                (true, false) => (literal(right)?, *op),
                (false, true) => (literal(left)?, op.swap()?),
                _ => return None,
            };
            match op {
                Operator::Eq => Some((value.max(1), Some(value))),
                Operator::LtEq => Some((1, Some(value))),
                Operator::Lt => Some((1, Some(value.saturating_sub(1)))),
                Operator::GtEq => Some((value.max(1), None)),
                Operator::Gt => Some((value.saturating_add(1), None)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn is_number(expression: &Expr, name: &str) -> bool {
    match expression {
        Expr::Column(c) => c.name == name,
        Expr::Cast(cast) if cast.field.data_type().is_numeric() => is_number(&cast.expr, name),
        _ => false,
    }
}

/// A whole number; what is below 0 counts as 0.
fn literal(expression: &Expr) -> Option<u64> {
    match expression {
        Expr::Literal(value, _) => {
            let whole = value.cast_to(&DataType::Int64).ok()?;
            // A fraction does not come back as it was.
            if whole.cast_to(&value.data_type()).ok()? != *value {
                return None;
            }
            match whole {
                ScalarValue::Int64(Some(n)) => Some(u64::try_from(n).unwrap_or(0)),
                _ => None,
            }
        }
        Expr::Cast(cast) => literal(&cast.expr),
        _ => None,
    }
}

/// Lowers a numbering with a bound; `shown` says whether anything above names the number.
pub(super) fn rank<'a>(lowering: &mut Lowering<'a>, found: &Found<'_>, shown: bool) -> Result<Rel<'a>> {
    let at = lowering.place("OVER");
    let mut rel = lowering.lower(&found.node.input)?;
    materialize(lowering, &mut rel)?;
    let Some(Expr::WindowFunction(function)) = found.node.window_expr.first().map(unaliased) else {
        return Err(Problem::new(at, "this form of OVER is not supported"));
    };
    let params = &function.params;
    if params.order_by.is_empty() {
        return Err(Unsupported::RANK_ORDER.at(at));
    }
    if found.last < found.first {
        return Err(Problem::new(at, "no row can have such a number").hint("numbers begin with 1"));
    }
    let expressions: Vec<&Expr> = params.partition_by.iter().chain(params.order_by.iter().map(|s| &s.expr)).collect();
    let indexes = columns(lowering, &mut rel, &expressions)?;
    let (partition, order) = indexes.split_at(params.partition_by.len());
    let order: Vec<SortKey> = order
        .iter()
        .zip(&params.order_by)
        .map(|(&column, s)| SortKey { column, options: SortOptions { descending: !s.asc, nulls_first: s.nulls_first } })
        .collect();
    let shown = shown || found.rest.iter().any(|e| e.column_refs().into_iter().any(|c| c.name == found.name));
    let end = rel.attached.map(|a| a.end).filter(|end| partition.contains(end) && !rel.updating);
    let (offset, limit) = (found.first - 1, found.last - found.first + 1);
    let by_time = event_time(&order, &rel);
    let time = by_time.or(rel.time()).filter(|_| !rel.updating);
    let first_only = time.is_some() && by_time.is_some() && offset == 0 && limit == 1;
    // The first row of a key is final: one that is late cannot take its place. What is forgotten is not there for it.
    let late = time.filter(|_| (first_only || lowering.ttl.is_some()) && end.is_none()).map_or(Late::Keep, Late::Row);
    let from = lowering.behind(&mut rel, late)?;
    let input = rel.schema();
    let number = rel.physical.len();
    if shown {
        rel.physical.push(Physical { field: Arc::new(Field::new("row_number()", DataType::Int64, false)), unit: 1 });
    }
    let schema = rel.schema();
    let plan = Rank {
        input,
        partition: partition.to_vec(),
        order,
        offset,
        limit,
        place: shown,
        time,
        window_end: end,
        unit: rel.unit,
        ttl: lowering.ttl,
        schema: schema.clone(),
    };
    rel.at = At::Behind(lowering.step(vec![from], StepKind::Rank(plan), schema));
    rel.updating = end.is_none() && !first_only;
    rel.times = match (end, first_only) {
        (Some(_), _) => rel.attached.and_then(|a| a.time).into_iter().collect(),
        (None, true) => by_time.into_iter().collect(),
        (None, false) => BTreeSet::new(),
    };
    rel.key = key(rel.key.take(), partition, limit, shown.then_some(number));
    let field = found.node.schema.fields().last().cloned();
    let planned = field.map_or(DataType::UInt64, |f| f.data_type().clone());
    if shown {
        rel.columns.push(Visible { table: None, name: found.name.clone(), planned, slot: Slot::Physical(number) });
    }
    match conjunction(found.rest.iter().cloned()) {
        Some(rest) => filter(lowering, rel, &rest),
        None => Ok(rel),
    }
}

/// The event time that an order is of, if it is of nothing else and begins with the first row.
fn event_time(order: &[SortKey], rel: &Rel<'_>) -> Option<usize> {
    match order {
        [only] if rel.times.contains(&only.column) && !only.options.descending => Some(only.column),
        _ => None,
    }
}

/// What tells the rows of a ranking apart: `number` is the column of the place, if it is one.
fn key(before: Option<Vec<usize>>, partition: &[usize], limit: u64, number: Option<usize>) -> Option<Vec<usize>> {
    match (number, limit) {
        (_, 1) => Some(partition.to_vec()),
        (Some(number), _) => Some(partition.iter().copied().chain([number]).collect()),
        (None, _) => before,
    }
}

/// The physical columns of expressions; those that are none yet are computed.
fn columns<'a>(lowering: &mut Lowering<'a>, rel: &mut Rel<'a>, wanted: &[&Expr]) -> Result<Vec<usize>> {
    let mut found = Vec::new();
    let mut more: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
    let mut added: Vec<Physical> = Vec::new();
    for expression in wanted {
        match rel.physical_of(expression) {
            Some(i) => found.push(i),
            None => {
                let compiled = rel.compile(expression)?;
                let data_type = compiled.data_type(&rel.schema())?;
                found.push(rel.physical.len() + added.len());
                added.push(Physical { field: Arc::new(Field::new(format!("$order{}", added.len()), data_type, true)), unit: 1 });
                more.push(compiled);
            }
        }
    }
    if more.is_empty() {
        return Ok(found);
    }
    let column = |(i, p): (usize, &Physical)| Arc::new(expressions::Column::new(p.field.name(), i)) as Arc<dyn PhysicalExpr>;
    let all: Vec<Arc<dyn PhysicalExpr>> = rel.physical.iter().enumerate().map(column).chain(more).collect();
    rel.physical.extend(added);
    let fields: Vec<FieldRef> = rel.physical.iter().map(|p| p.field.clone()).collect();
    let schema = Arc::new(Schema::new(fields));
    lowering.stage(rel, Stage::Project(Project { expressions: all, schema: schema.clone() }), schema);
    Ok(found)
}
