//! WHERE and SELECT. Invariant: the event time of rows goes with them, also where the query does not name it, so that every later
//! step can tell the order of time.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::physical_expr::{PhysicalExpr, expressions};
use thalweg_engine::error::Error;
use thalweg_engine::plan::{Assign, Project, Stage, WindowParameters};
use thalweg_engine::time::{MILLISECOND, timestamp_type};

use super::check::place;
use super::lowering::{Lowering, is_true};
use super::markers;
use super::output::cannot_carry;
use super::reject::Unsupported;
use super::rel::{At, Attached, Pending, Physical, Rel, Slot, Visible, unaliased};
use crate::bind::{ONE_WINDOW, WINDOW_COLUMNS};
use crate::diagnostics::{Problem, Result};
use crate::types;

/// Name of the event time where the query has none for it.
pub(super) const HIDDEN_TIME: &str = "$rowtime";

/// Keeps rows for which a condition is true.
pub(super) fn filter<'a>(lowering: &mut Lowering<'a>, mut rel: Rel<'a>, predicate: &Expr) -> Result<Rel<'a>> {
    let visible = rel.columns.len();
    let predicate = attach_markers(lowering, &mut rel, std::slice::from_ref(predicate))?.remove(0);
    // DataFusion may infer a version marker for the other side of a join; the lookup has its own.
    let says = |c: &Expr| !is_true(c) && markers::says(c);
    let mut simple: Vec<Expr> = split_conjunction_owned(rel.simplify(predicate)?).into_iter().filter(says).collect();
    // A condition on windows as a whole waits until they are made.
    let waiting: Vec<Expr> = simple.iter().filter_map(|c| rel.of_window(c)).collect();
    simple.retain(|c| rel.of_window(c).is_none());
    rel.deferred.extend(waiting);
    if simple.iter().any(|c| rel.mentions_window(c)) {
        materialize(lowering, &mut rel)?;
    }
    if let Some(condition) = conjunction(simple) {
        let stage = Stage::Filter(rel.compile(&condition)?);
        let schema = rel.schema();
        lowering.stage(&mut rel, stage, schema);
    }
    rel.columns.truncate(visible);
    Ok(rel)
}

/// Computes columns.
pub(super) fn project<'a>(lowering: &mut Lowering<'a>, mut rel: Rel<'a>, expressions: &[Expr], schema: &DFSchema) -> Result<Rel<'a>> {
    let expressions = attach_markers(lowering, &mut rel, expressions)?;
    let plain = |rel: &Rel<'_>, e: &Expr| matches!(unaliased(e), Expr::Column(c) if rel.slot(c).is_some());
    if expressions.iter().any(|e| !plain(&rel, e) && rel.mentions_window(e)) {
        materialize(lowering, &mut rel)?;
    }
    if expressions.iter().all(|e| plain(&rel, e)) {
        let columns = expressions.iter().zip(schema.iter()).map(|(e, (table, field))| {
            let slot = match unaliased(e) {
                Expr::Column(c) => rel.slot(c),
                _ => None,
            };
            let slot = slot.ok_or_else(|| Error::internal(format!("column {e} vanished")))?;
            Ok(Visible { table: table.cloned(), name: field.name().clone(), planned: field.data_type().clone(), slot })
        });
        rel.columns = columns.collect::<Result<Vec<_>>>()?;
        return Ok(rel);
    }
    compute(lowering, rel, &expressions, schema, false)
}

/// Computes exactly the columns of `schema`, in its order and types, so that rows of several queries have one form; after them the
/// event time if it is not among them.
fn align<'a>(lowering: &mut Lowering<'a>, mut rel: Rel<'a>, schema: &DFSchema) -> Result<Rel<'a>> {
    materialize(lowering, &mut rel)?;
    let columns: Vec<Expr> = rel.columns.iter().map(|v| Expr::Column(Column::new(v.table.clone(), &v.name))).collect();
    compute(lowering, rel, &columns, schema, true)
}

/// The same for several queries. Where one has no event time besides those columns, none has: rows of all are of one width.
pub(super) fn align_all<'a>(lowering: &mut Lowering<'a>, rels: Vec<Rel<'a>>, schema: &DFSchema) -> Result<Vec<Rel<'a>>> {
    let mut aligned = rels.into_iter().map(|rel| align(lowering, rel, schema)).collect::<Result<Vec<_>>>()?;
    let width = aligned.iter().map(|r| r.physical.len()).min().unwrap_or_default();
    for rel in aligned.iter_mut().filter(|r| r.physical.len() > width) {
        narrow(lowering, rel, width);
    }
    Ok(aligned)
}

/// Leaves the first `width` columns.
fn narrow<'a>(lowering: &mut Lowering<'a>, rel: &mut Rel<'a>, width: usize) {
    rel.physical.truncate(width);
    let column = |(i, p): (usize, &Physical)| Arc::new(expressions::Column::new(p.field.name(), i)) as Arc<dyn PhysicalExpr>;
    let kept = rel.physical.iter().enumerate().map(column).collect();
    let schema = rel.schema();
    lowering.stage(rel, Stage::Project(Project { expressions: kept, schema: schema.clone() }), schema);
    rel.times.retain(|time| *time < width);
    rel.attached = rel.attached.filter(|a| a.start.max(a.end) < width).map(|a| Attached { time: a.time.filter(|t| *t < width), ..a });
    rel.key = rel.key.take().filter(|key| key.iter().all(|k| *k < width));
}

/// A projection with a stage of its own.
fn compute<'a>(lowering: &mut Lowering<'a>, mut rel: Rel<'a>, expressions: &[Expr], schema: &DFSchema, typed: bool) -> Result<Rel<'a>> {
    let mut next: Vec<Physical> = Vec::new();
    let mut columns = Vec::new();
    let mut compiled = Vec::new();
    let mut moved: Vec<(usize, usize)> = Vec::new();
    for (expression, (table, field)) in expressions.iter().zip(schema.iter()) {
        let visible = |slot| Visible { table: table.cloned(), name: field.name().clone(), planned: field.data_type().clone(), slot };
        if let Expr::Column(c) = unaliased(expression)
            && let Some(slot @ Slot::Window(_)) = rel.slot(c)
        {
            columns.push(visible(slot));
            continue;
        }
        let at = place(expression);
        let physical = rel.compile(expression)?;
        let planned = if typed { field.data_type().clone() } else { physical.data_type(&rel.schema())? };
        let carried = types::carried(&planned).ok_or_else(|| cannot_carry(at, field.name(), &planned))?;
        let physical = rel.compile_as(expression, &carried)?;
        let nullable = typed || physical.nullable(&rel.schema())?;
        if let Some(from) = rel.physical_of(expression)
            && !moved.iter().any(|(f, _)| *f == from)
        {
            moved.push((from, next.len()));
        }
        columns.push(visible(Slot::Physical(next.len())));
        next.push(Physical { field: Arc::new(Field::new(field.name(), carried, nullable)), unit: rel.unit_of(expression) });
        compiled.push(physical);
    }
    // The event time, and the ends of the window that rows belong to, go along.
    let has_time = rel.times.iter().any(|t| moved.iter().any(|(from, _)| from == t));
    let hidden = rel.time().filter(|_| !has_time || rel.pending.is_some());
    let pending_time = rel.pending.map(|p| p.time);
    for column in hidden.into_iter().chain(pending_time) {
        if moved.iter().any(|(from, _)| *from == column) {
            continue;
        }
        let field = rel.physical[column].field.as_ref().clone().with_name(HIDDEN_TIME);
        compiled.push(Arc::new(expressions::Column::new(rel.physical[column].field.name(), column)));
        moved.push((column, next.len()));
        next.push(Physical { field: Arc::new(field), unit: rel.physical[column].unit });
    }
    let place_of = |column: usize| moved.iter().find(|(from, _)| *from == column).map(|(_, to)| *to);
    let times: BTreeSet<usize> = rel.times.iter().filter_map(|t| place_of(*t)).collect();
    let pending = rel.pending.and_then(|p| Some(Pending { time: place_of(p.time)?, ..p }));
    let attached =
        rel.attached.and_then(|a| Some(Attached { start: place_of(a.start)?, end: place_of(a.end)?, time: a.time.and_then(place_of) }));
    let key = rel.key.as_ref().and_then(|key| key.iter().map(|k| place_of(*k)).collect());
    let fields: Vec<FieldRef> = next.iter().map(|p| p.field.clone()).collect();
    let out = Arc::new(Schema::new(fields));
    let stage = Stage::Project(Project { expressions: compiled, schema: out.clone() });
    lowering.stage(&mut rel, stage, out);
    Ok(Rel { physical: next, columns, times, pending, attached, key, ..rel })
}

/// Gives every row the columns of its windows; a row that lies in several becomes several. Where a row lies in exactly one and nobody
/// asks which, rows stay as they are.
pub(super) fn materialize<'a>(lowering: &mut Lowering<'a>, rel: &mut Rel<'a>) -> Result<()> {
    let Some(pending) = rel.pending.take() else { return Ok(()) };
    let spec = &lowering.windows[pending.number];
    let unasked = rel.deferred.is_empty() && rel.columns.iter().all(|v| matches!(v.slot, Slot::Physical(_)));
    if unasked && ONE_WINDOW.contains(&spec.kind) {
        return Ok(());
    }
    if spec.kind == "session" {
        return Err(Unsupported::SESSION_UNGROUPED.at(spec.at));
    }
    if rel.updating {
        return Err(Unsupported::WINDOW_UPDATING.at(spec.at));
    }
    if let At::Behind(from) = rel.at {
        lowering.on_time(from, pending.time);
    }
    let first = rel.physical.len();
    for name in WINDOW_COLUMNS {
        rel.physical.push(Physical { field: Arc::new(Field::new(name, timestamp_type(), false)), unit: MILLISECOND });
    }
    for column in &mut rel.columns {
        if let Slot::Window(part) = column.slot {
            column.slot = Slot::Physical(first + part);
        }
    }
    let parameters = WindowParameters { kind: spec.kind.to_owned(), sizes: spec.sizes.clone(), offset: spec.offset };
    let schema = rel.schema();
    let assign = Assign { parameters, time: pending.time, unit: rel.unit, early: None, schema: schema.clone() };
    lowering.stage(rel, Stage::Assign(assign), schema);
    rel.attached = Some(Attached { start: first, end: first + 1, time: Some(first + 2) });
    if let Some(condition) = conjunction(std::mem::take(&mut rel.deferred)) {
        let visible = rel.columns.len();
        for (part, name) in WINDOW_COLUMNS.iter().enumerate() {
            let slot = Slot::Physical(first + part);
            rel.columns.insert(0, Visible { table: None, name: (*name).to_owned(), planned: timestamp_type(), slot });
        }
        let stage = Stage::Filter(rel.compile(&condition)?);
        let schema = rel.schema();
        lowering.stage(rel, stage, schema);
        rel.columns.drain(..rel.columns.len() - visible);
    }
    rel.times.insert(first + 2);
    rel.key = None;
    Ok(())
}

/// Notes the window that markers stand for, and puts columns in their place.
pub(super) fn attach_markers<'a>(lowering: &Lowering<'a>, rel: &mut Rel<'a>, expressions: &[Expr]) -> Result<Vec<Expr>> {
    expressions.iter().map(|e| attach(lowering, rel, e)).collect()
}

fn attach<'a>(lowering: &Lowering<'a>, rel: &mut Rel<'a>, expression: &Expr) -> Result<Expr> {
    let mut problem = None;
    let replaced = expression.clone().transform_down(|e| {
        let Some((time, part, number)) = markers::window(&e) else { return Ok(Transformed::no(e)) };
        match column(lowering, rel, time, part, number) {
            Ok(column) => Ok(Transformed::yes(Expr::Column(column))),
            Err(p) => {
                problem.get_or_insert(p);
                Ok(Transformed::no(e))
            }
        }
    })?;
    problem.map_or(Ok(replaced.data), Err)
}

/// The column that a marker stands for.
fn column<'a>(lowering: &Lowering<'a>, rel: &mut Rel<'a>, time: &Expr, part: usize, number: usize) -> Result<Column> {
    let Some(spec) = lowering.windows.get(number) else { return Err(Error::internal(format!("there is no window {number}")).into()) };
    let name = format!("${}{number}", WINDOW_COLUMNS[part]);
    let column = Column::new_unqualified(name.clone());
    if rel.slot(&column).is_some() {
        return Ok(column);
    }
    let at = match place(time) {
        known if known.line > 0 => known,
        _ => spec.at,
    };
    let Some(index) = rel.physical_of(time).filter(|i| rel.times.contains(i)) else {
        let known = rel.columns.iter().filter(|v| matches!(v.slot, Slot::Physical(i) if rel.times.contains(&i)));
        let known: Vec<&str> = known.map(|v| v.name.as_str()).collect();
        let problem = Problem::new(at, format!("{time} is not an event time"));
        return Err(if known.is_empty() {
            problem
                .hint("the rows have none: declare WATERMARK FOR column AS … in CREATE TABLE, or select window_time of an earlier window")
        } else {
            problem.hint(format!("the event time is '{}': write DESCRIPTOR({})", known.join("' or '"), known[0]))
        });
    };
    if rel.pending.is_some_and(|p| p.number != number) {
        materialize_refused(spec.at)?;
    }
    if rel.updating {
        return Err(Unsupported::WINDOW_UPDATING.at(spec.at));
    }
    rel.pending = Some(Pending { number, time: index });
    for (part, column) in WINDOW_COLUMNS.iter().enumerate() {
        rel.columns.push(Visible { table: None, name: format!("${column}{number}"), planned: timestamp_type(), slot: Slot::Window(part) });
    }
    Ok(column)
}

fn materialize_refused(at: sqlparser::tokenizer::Location) -> Result<()> {
    Err(Problem::new(at, "rows that are cut into windows cannot be cut again before they are grouped")
        .hint("group by window_start, window_end first, and use window_time as the time of the second window"))
}

/// Whether rows still stand in the partitions.
pub(super) fn in_chain(rel: &Rel<'_>) -> bool {
    matches!(rel.at, At::Chain { .. })
}
