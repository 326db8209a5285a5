//! GROUP BY. Invariant: rows that belong to windows are grouped by both ends of theirs; then each window is closed by the watermark,
//! and its result is final. Everything else is a result that changes.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::logical_plan::Aggregate as AggregateNode;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, cast};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions;
use sqlparser::tokenizer::Location;
use thalweg_engine::error::Error;
use thalweg_engine::plan::{self, From, Group, Input, Lateness, Project, Stage, StepKind, Told, Window, WindowParameters, WindowSource};
use thalweg_engine::time::{MILLISECOND, timestamp_type};

use super::aggregate::{is_ordered, retractable, windowed};
use super::check::place;
use super::early::early;
use super::grouping;
use super::lowering::Lowering;
use super::output::cannot_carry;
use super::project::{attach_markers, in_chain, materialize};
use super::reject::Unsupported;
use super::rel::{At, Attached, Late, Physical, Rel, Slot, Visible, unaliased};
use crate::bind::{WINDOW_COLUMNS, WindowSpec};
use crate::diagnostics::{Problem, Result};
use crate::types;

/// What a group expression is.
enum Part {
    /// A column of the window: start, end or time.
    Window(usize),
    /// A key: its place among the keys.
    Key(usize),
}

/// Lowers an aggregation.
pub(super) fn aggregate<'a>(lowering: &mut Lowering<'a>, mut rel: Rel<'a>, node: &AggregateNode) -> Result<Rel<'a>> {
    if let [Expr::GroupingSet(sets)] = node.group_expr.as_slice() {
        return grouping::sets(lowering, rel, node, sets);
    }
    let groups = attach_markers(lowering, &mut rel, &distinct(&node.group_expr))?;
    let calls = attach_markers(lowering, &mut rel, &node.aggr_expr)?;
    grouped(lowering, rel, &groups, &calls, &node.schema)
}

/// Group expressions, each once: the schema of an aggregation has one column for those that are the same.
pub(super) fn distinct(groups: &[Expr]) -> Vec<Expr> {
    let mut once: Vec<Expr> = Vec::with_capacity(groups.len());
    for group in groups {
        if !once.contains(group) {
            once.push(group.clone());
        }
    }
    once
}

/// Lowers an aggregation without grouping sets; its columns are `groups` and then `calls`, named as in `schema`.
pub(super) fn grouped<'a>(
    lowering: &mut Lowering<'a>,
    rel: Rel<'a>,
    groups: &[Expr],
    calls: &[Expr],
    schema: &DFSchema,
) -> Result<Rel<'a>> {
    let at = lowering.place("GROUP BY");
    let mut parts = Vec::new();
    let mut keys: Vec<(Arc<dyn PhysicalExpr>, FieldRef)> = Vec::new();
    let mut key_columns = Vec::new();
    let mut seen = [false; 3];
    for (i, expression) in groups.iter().enumerate() {
        if let Some(part) = window_part(&rel, expression) {
            seen[part] = true;
            parts.push(Part::Window(part));
            continue;
        }
        if rel.mentions_window(expression) {
            return Err(Unsupported::WINDOW_COLUMN.at(place(expression)));
        }
        let (table, field) = schema.qualified_field(i);
        let compiled = rel.compile(expression)?;
        let planned = compiled.data_type(&rel.schema())?;
        let carried = types::carried(&planned).ok_or_else(|| cannot_carry(place(expression), field.name(), &planned))?;
        let compiled = rel.compile_as(expression, &carried)?;
        let nullable = compiled.nullable(&rel.schema())?;
        let name = key_name(expression, field.name(), table.map(|t| t.table()));
        parts.push(Part::Key(keys.len()));
        key_columns.push(rel.physical_of(expression));
        keys.push((compiled, Arc::new(Field::new(name, carried, nullable))));
    }
    let of_window = rel.pending.is_some() || rel.attached.is_some();
    match seen {
        [true, true, _] => {
            let window = windowed_group(lowering, rel, (keys, key_columns), calls, at)?;
            label(lowering, window, &parts, schema)
        }
        [false, false, false] => updating_group(lowering, rel, keys, calls, (schema, &parts), at),
        _ if of_window => Err(Unsupported::WINDOW_GROUP.at(at)),
        _ => Err(Error::internal("a window column of no window").into()),
    }
}

/// Which column of the window of its rows an expression is.
fn window_part(rel: &Rel<'_>, expression: &Expr) -> Option<usize> {
    let Expr::Column(c) = unaliased(expression) else { return None };
    match (rel.slot(c)?, rel.attached) {
        (Slot::Window(part), _) => Some(part),
        (Slot::Physical(i), Some(a)) if i == a.start => Some(0),
        (Slot::Physical(i), Some(a)) if i == a.end => Some(1),
        (Slot::Physical(i), Some(a)) if Some(i) == a.time => Some(2),
        _ => None,
    }
}

pub(super) type Keys = (Vec<(Arc<dyn PhysicalExpr>, FieldRef)>, Vec<Option<usize>>);

/// Aggregation over windows. Its rows are start, end, keys, results; visible columns are not set yet.
fn windowed_group<'a>(
    lowering: &mut Lowering<'a>,
    mut rel: Rel<'a>,
    (keys, key_columns): Keys,
    calls: &[Expr],
    at: Location,
) -> Result<Rel<'a>> {
    if rel.updating {
        return Err(Unsupported::WINDOW_UPDATING.at(at));
    }
    if let Some(every) = lowering.early {
        return early(lowering, rel, (keys, key_columns), calls, (every, at));
    }
    let aggregates = calls.iter().map(|call| aggregate_of(call, &rel)).collect::<Result<Vec<_>>>()?;
    let ordered = calls.iter().any(is_ordered);
    let (parameters, time, source) = match rel.pending {
        Some(pending) => {
            let spec = &lowering.windows[pending.number];
            check_partition(spec, &rel, &key_columns)?;
            (parameters(spec), pending.time, WindowSource::Time)
        }
        None => {
            let Some(Attached { start, end, time }) = rel.attached else { return Err(Unsupported::WINDOW_GROUP.at(at)) };
            // The time of the window is the same for all its rows.
            let order = rel.times.iter().copied().find(|t| Some(*t) != time).filter(|_| ordered);
            let parameters = WindowParameters { kind: "attached".to_owned(), sizes: Vec::new(), offset: 0 };
            (parameters, end, WindowSource::Attached { start, end, order })
        }
    };
    let window = Window { parameters, time, keys, aggregates };
    let schema = window.schema();
    let unit = rel.unit;
    // In the partitions rows come as they come: what depends on their order is computed behind the exchange, in the order of time.
    let at = if in_chain(&rel) && source == WindowSource::Time && !ordered {
        let At::Chain { scan, stages } = std::mem::replace(&mut rel.at, At::Behind(From::Input(0))) else {
            return Err(Error::internal("rows left their chain").into());
        };
        let input = Input { scan, stages, window: Some(window), late: Lateness::Keep, unit, schema: schema.clone() };
        lowering.inputs.push(input);
        From::Input(lowering.inputs.len() - 1)
    } else {
        let from = lowering.behind(&mut rel, if source == WindowSource::Time { Late::Row(time) } else { Late::Keep })?;
        lowering.step(vec![from], StepKind::Window { window, source, unit }, schema.clone())
    };
    let keys = schema.fields().len() - calls.len() - 2;
    let deferred = std::mem::take(&mut rel.deferred);
    let physical = schema.fields().iter().enumerate().map(|(i, f)| {
        let unit = match i {
            0 | 1 => MILLISECOND,
            _ => key_columns.get(i - 2).copied().flatten().map_or(1, |c| rel.physical[c].unit),
        };
        Physical { field: f.clone(), unit }
    });
    Ok(Rel {
        state: rel.state,
        at: At::Behind(at),
        physical: physical.collect(),
        columns: Vec::new(),
        times: std::collections::BTreeSet::new(),
        unit: MILLISECOND,
        pending: None,
        deferred,
        attached: Some(Attached { start: 0, end: 1, time: None }),
        updating: false,
        key: Some((0..keys + 2).collect()),
    })
}

fn aggregate_of(call: &Expr, rel: &Rel<'_>) -> Result<plan::Aggregate> {
    if rel.mentions_window(call) { Err(Unsupported::WINDOW_COLUMN.at(place(call))) } else { windowed(call, rel) }
}

/// Gives the rows of a window the names of the query; `window_time` is computed where it is asked for.
fn label<'a>(lowering: &mut Lowering<'a>, mut rel: Rel<'a>, parts: &[Part], schema: &DFSchema) -> Result<Rel<'a>> {
    let keys = parts.iter().filter(|p| matches!(p, Part::Key(_))).count();
    if let Some(condition) = conjunction(std::mem::take(&mut rel.deferred)) {
        let named = |(slot, name): (usize, &&str)| Visible {
            table: None,
            name: (**name).to_owned(),
            planned: timestamp_type(),
            slot: Slot::Physical(slot),
        };
        rel.columns = WINDOW_COLUMNS.iter().enumerate().take(2).map(named).collect();
        let condition = with_window_time(condition)?;
        let stage = Stage::Filter(rel.compile(&condition)?);
        let schema = rel.schema();
        lowering.stage(&mut rel, stage, schema);
    }
    if parts.iter().any(|p| matches!(p, Part::Window(2))) {
        rel.columns = vec![Visible { table: None, name: WINDOW_COLUMNS[1].to_owned(), planned: timestamp_type(), slot: Slot::Physical(1) }];
        let time = rel.compile_as(&window_time(), &timestamp_type())?;
        let mut expressions: Vec<Arc<dyn PhysicalExpr>> = rel
            .physical
            .iter()
            .enumerate()
            .map(|(i, p)| Arc::new(expressions::Column::new(p.field.name(), i)) as Arc<dyn PhysicalExpr>)
            .collect();
        expressions.push(time);
        rel.physical.push(Physical { field: Arc::new(Field::new(WINDOW_COLUMNS[2], timestamp_type(), false)), unit: MILLISECOND });
        let last = rel.physical.len() - 1;
        // Changes have no event time.
        if !rel.updating {
            rel.times.insert(last);
            rel.attached = Some(Attached { start: 0, end: 1, time: Some(last) });
        }
        let fields: Vec<FieldRef> = rel.physical.iter().map(|p| p.field.clone()).collect();
        let out = Arc::new(Schema::new(fields));
        lowering.stage(&mut rel, Stage::Project(Project { expressions, schema: out.clone() }), out);
    }
    let last = rel.physical.len() - 1;
    let mut columns = Vec::new();
    for (i, (table, field)) in schema.iter().enumerate() {
        let slot = match parts.get(i) {
            Some(Part::Window(2)) => last,
            Some(Part::Window(part)) => *part,
            Some(Part::Key(key)) => 2 + key,
            None => 2 + keys + i - parts.len(),
        };
        columns.push(Visible {
            table: table.cloned(),
            name: field.name().clone(),
            planned: field.data_type().clone(),
            slot: Slot::Physical(slot),
        });
    }
    rel.columns = columns;
    Ok(rel)
}

/// The last millisecond of a window.
fn window_time() -> Expr {
    let millisecond = Expr::Literal(ScalarValue::new_interval_mdn(0, 0, 1_000_000), None);
    cast(Expr::Column(Column::new_unqualified(WINDOW_COLUMNS[1])) - millisecond, timestamp_type())
}

/// A condition with the window's time computed from its end.
fn with_window_time(condition: Expr) -> Result<Expr> {
    let time = Column::new_unqualified(WINDOW_COLUMNS[2]);
    let replaced = condition.transform_down(|e| {
        let is_time = matches!(&e, Expr::Column(c) if *c == time);
        Ok(if is_time { Transformed::new(window_time(), true, TreeNodeRecursion::Jump) } else { Transformed::no(e) })
    })?;
    Ok(replaced.data)
}

/// One row a group, which changes with every row that comes.
fn updating_group<'a>(
    lowering: &mut Lowering<'a>,
    mut rel: Rel<'a>,
    keys: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
    calls: &[Expr],
    (schema, parts): (&DFSchema, &[Part]),
    at: Location,
) -> Result<Rel<'a>> {
    if let Some(pending) = rel.pending {
        let spec = &lowering.windows[pending.number];
        if !rel.columns.iter().all(|v| matches!(v.slot, Slot::Physical(_))) {
            return Err(Unsupported::WINDOW_GROUP.at(if at.line > 0 { at } else { spec.at }));
        }
        materialize(lowering, &mut rel)?;
    }
    let aggregates = calls.iter().map(|c| retractable(c, &rel, false)).collect::<Result<Vec<_>>>()?;
    let time = rel.time().filter(|_| !rel.updating);
    // What depends on the order of rows cannot take one whose place has passed, and what is forgotten is not there for it.
    let late = time.filter(|_| calls.iter().any(is_ordered) || lowering.ttl.is_some()).map_or(Late::Keep, Late::Row);
    let from = lowering.behind(&mut rel, late)?;
    let fields: Vec<FieldRef> = keys.iter().map(|(_, f)| f.clone()).chain(aggregates.iter().map(|a| a.result.clone())).collect();
    let out = Arc::new(Schema::new(fields));
    let count = keys.len();
    let group = Group { input: rel.schema(), keys, aggregates, time, told: Told::Together, ttl: lowering.ttl, schema: out.clone() };
    let step = lowering.step(vec![from], StepKind::Group(group), out.clone());
    let columns = schema.iter().enumerate().map(|(i, (table, field))| Visible {
        table: table.cloned(),
        name: field.name().clone(),
        planned: field.data_type().clone(),
        slot: Slot::Physical(i),
    });
    debug_assert_eq!(parts.len(), count, "every group expression is a key");
    Ok(Rel {
        state: rel.state,
        at: At::Behind(step),
        physical: out.fields().iter().map(|f| Physical { field: f.clone(), unit: 1 }).collect(),
        columns: columns.collect(),
        times: std::collections::BTreeSet::new(),
        unit: rel.unit,
        pending: None,
        deferred: Vec::new(),
        attached: None,
        updating: true,
        key: Some((0..count).collect()),
    })
}

/// PARTITION BY of a session must be the other columns of GROUP BY: sessions are told apart by all of these.
pub(super) fn check_partition(spec: &WindowSpec, rel: &Rel<'_>, keys: &[Option<usize>]) -> Result<()> {
    let Some(partition) = &spec.partition else { return Ok(()) };
    if partition.is_empty() && !keys.is_empty() {
        return Err(Problem::new(spec.at, "sessions without PARTITION BY are those of all rows together, not of each key of GROUP BY")
            .hint("write TABLE stream PARTITION BY key for sessions of each key, or group by window_start, window_end alone"));
    }
    let mut wanted = Vec::new();
    for ident in partition {
        let found = rel.columns.iter().find(|v| v.name.eq_ignore_ascii_case(&ident.value)).map(|v| v.slot);
        if let Some(Slot::Physical(i)) = found {
            wanted.push(i);
        }
    }
    let mut grouped: Vec<usize> = keys.iter().copied().flatten().collect();
    wanted.sort_unstable();
    grouped.sort_unstable();
    if wanted.len() == partition.len() && wanted == grouped && grouped.len() == keys.len() {
        return Ok(());
    }
    let names: Vec<&str> = partition.iter().map(|i| i.value.as_str()).collect();
    Err(Problem::new(spec.at, "a session is grouped by window_start, window_end and exactly the columns of its PARTITION BY")
        .hint(format!("write GROUP BY window_start, window_end, {}", names.join(", "))))
}

pub(super) fn parameters(spec: &WindowSpec) -> WindowParameters {
    WindowParameters { kind: spec.kind.to_owned(), sizes: spec.sizes.clone(), offset: spec.offset }
}

/// A key's name in the result: that of its column, or the expression as written.
fn key_name(expression: &Expr, name: &str, table: Option<&str>) -> String {
    match expression {
        Expr::Column(c) => c.name.clone(),
        _ => table.map_or_else(|| name.to_owned(), |t| name.replace(&format!("{t}."), "")),
    }
}

/// GROUPING SETS, CUBE and ROLLUP as lists of expressions.
pub(super) fn sets_of(sets: &GroupingSet) -> Option<Vec<Vec<Expr>>> {
    match sets {
        GroupingSet::GroupingSets(sets) => Some(sets.clone()),
        GroupingSet::Rollup(all) => Some((0..=all.len()).rev().map(|n| all[..n].to_vec()).collect()),
        GroupingSet::Cube(all) if all.len() <= 8 => {
            let set = |mask: usize| (0..all.len()).filter(|i| mask & (1 << i) == 0).map(|i| all[i].clone()).collect();
            Some((0..1_usize << all.len()).map(set).collect())
        }
        GroupingSet::Cube(_) => None,
    }
}
