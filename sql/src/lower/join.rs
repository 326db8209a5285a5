//! Joins of two streams of rows. Invariant: what a join keeps is bounded: by the watermark if the condition bounds the distance in
//! time or the window, otherwise by a lifetime that somebody declared.
//!
//! ```text
//! both sides have windows, and ON compares both ends       window join
//! ON bounds right.time - left.time on both sides           interval join
//! "$asof"(left.time >= right.time), or "$asof_inner"       ASOF join
//! anything else with an equality                           regular join, with a declared lifetime
//! ```
//!
//! If both sides of a regular join have event times, no pair is further apart than the lifetime; behind an inner one pairs have the time of
//! the newer row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::logical_plan::Join;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, binary, case, cast};
use thalweg_engine::plan::{AsofJoin, IntervalJoin, JoinKind, JoinSide, Project, RegularJoin, Stage, StepKind, WindowJoin};

use super::bounds::{Bounds, TimePair, bound};
use super::lookup;
use super::lowering::Lowering;
use super::markers;
use super::project::{HIDDEN_TIME, materialize};
use super::reject::Unsupported;
use super::rel::{At, Attached, Late, Physical, Rel, Slot, Visible};
use super::unnest;
use crate::diagnostics::{Problem, Result};

/// Lowers a join.
pub(super) fn join<'a>(lowering: &mut Lowering<'a>, node: &Join) -> Result<Rel<'a>> {
    if node.null_aware {
        return Err(Unsupported::NULL_AWARE.at(lowering.join_place()));
    }
    if node.null_equality != NullEquality::NullEqualsNothing {
        return Err(Unsupported::NULL_EQUAL.at(lowering.join_place()));
    }
    if let Some(reference) = lookup::reference(lowering, &node.right)? {
        return lookup::lookup(lowering, node, &reference);
    }
    if let Some(relation) = unnest::elements(lowering, &node.right)? {
        return unnest::unnest(lowering, node, relation);
    }
    let kind = match node.join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
        JoinType::LeftSemi => JoinKind::LeftSemi,
        JoinType::LeftAnti => JoinKind::LeftAnti,
        _ => return Err(Unsupported::JOIN_KIND.at(lowering.join_place())),
    };
    let mut left = lowering.lower(&node.left)?;
    let mut right = lowering.lower(&node.right)?;
    materialize(lowering, &mut left)?;
    materialize(lowering, &mut right)?;
    // The optimizer copies the version of a lookup above into a join that has its columns from both sides.
    let conjuncts = node.filter.iter().cloned().flat_map(split_conjunction_owned).filter(markers::says).collect();
    let parts = Parts { kind, on: node.on.clone(), conjuncts };
    if parts.conjuncts.iter().any(|c| markers::asof(c).is_some()) {
        return asof(lowering, parts, left, right, node);
    }
    if compares_windows(&parts.on, &left, &right) {
        return window(lowering, parts, left, right, node);
    }
    if !left.updating && !right.updating && left.time().is_some() && right.time().is_some() {
        match near(&parts, &left, &right) {
            // Forgetting by age is all that bounds those.
            Some(_) if matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti) && lowering.ttl.is_some() => {}
            Some((near, parts)) => return interval(lowering, parts, left, right, near, node),
            None => {}
        }
    }
    regular(lowering, parts, left, right, node)
}

/// A join taken apart.
struct Parts {
    kind: JoinKind,
    on: Vec<(Expr, Expr)>,
    conjuncts: Vec<Expr>,
}

/// Whether both ends of the windows of both sides are compared.
fn compares_windows(on: &[(Expr, Expr)], left: &Rel<'_>, right: &Rel<'_>) -> bool {
    let (Some(l), Some(r)) = (&left.attached, &right.attached) else { return false };
    let compares = |a: usize, b: usize| on.iter().any(|(x, y)| left.physical_of(x) == Some(a) && right.physical_of(y) == Some(b));
    compares(l.start, r.start) && compares(l.end, r.end)
}

/// The event times that a join goes by, and the bounds of `right.time - left.time`, both inclusive.
struct Near {
    times: TimePair,
    lower: i64,
    upper: i64,
}

/// The first pair of event times whose distance is bounded on both sides, and the join without what says so. What is said about other
/// pairs stays a condition.
fn near(parts: &Parts, left: &Rel<'_>, right: &Rel<'_>) -> Option<(Near, Parts)> {
    let equal = |l: &Expr, r: &Expr| {
        let time = |rel: &Rel<'_>, e: &Expr| rel.physical_of(e).filter(|i| rel.times.contains(i));
        Some((time(left, l)?, time(right, r)?))
    };
    let mut known: BTreeMap<TimePair, Bounds> = BTreeMap::new();
    for pair in parts.on.iter().filter_map(|(l, r)| equal(l, r)) {
        known.insert(pair, Bounds { lower: Some(0), upper: Some(0) });
    }
    for (pair, more) in parts.conjuncts.iter().filter_map(|c| bound(c, left, right)) {
        let bounds = known.entry(pair).or_default();
        *bounds = bounds.and(more);
    }
    let near = known.into_iter().find_map(|(times, bounds)| Some(Near { times, lower: bounds.lower?, upper: bounds.upper? }))?;
    let on = parts.on.iter().filter(|(l, r)| equal(l, r) != Some(near.times)).cloned().collect();
    let other = |c: &&Expr| bound(c, left, right).is_none_or(|(times, _)| times != near.times);
    let conjuncts = parts.conjuncts.iter().filter(other).cloned().collect();
    Some((near, Parts { kind: parts.kind, on, conjuncts }))
}

/// The two inputs of a join, their schema, and what else must be true of a pair.
struct Sides<'a> {
    rel: Rel<'a>,
    left: JoinSide,
    right: JoinSide,
    filter: Option<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    /// Whether rows of the left and of the right may be padded with NULLs.
    padded: (bool, bool),
    shift: usize,
}

/// What both sides give, and the row after the join; `times` are each side's column that the join goes by.
fn sides<'a>(parts: &Parts, left: &Rel<'a>, right: &Rel<'a>, times: (usize, usize), node: &Join) -> Result<Sides<'a>> {
    let padded = match parts.kind {
        JoinKind::Inner | JoinKind::LeftSemi | JoinKind::LeftAnti => (false, false),
        JoinKind::Left => (false, true),
        JoinKind::Right => (true, false),
        JoinKind::Full => (true, true),
    };
    let one_sided = matches!(parts.kind, JoinKind::LeftSemi | JoinKind::LeftAnti);
    let shift = left.physical.len();
    let nullable = |p: &Physical, pad: bool| match pad {
        true => Physical { field: Arc::new(p.field.as_ref().clone().with_nullable(true)), ..p.clone() },
        false => p.clone(),
    };
    let left_columns = left.physical.iter().map(|p| nullable(p, padded.0));
    let right_columns = right.physical.iter().map(|p| nullable(p, padded.1));
    let moved = right.columns.iter().map(|v| match v.slot {
        Slot::Physical(i) => Visible { slot: Slot::Physical(i + shift), ..v.clone() },
        Slot::Window(_) => v.clone(),
    });
    let pair = Rel {
        physical: left_columns.chain(right_columns).collect(),
        columns: left.columns.iter().cloned().chain(moved).collect(),
        times: BTreeSet::new(),
        unit: left.unit.min(right.unit),
        pending: None,
        deferred: Vec::new(),
        attached: None,
        updating: left.updating || right.updating,
        key: None,
        ..left.clone()
    };
    let filter = conjunction(parts.conjuncts.iter().cloned()).map(|f| pair.compile(&f)).transpose()?;
    let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
    for (l, r) in &parts.on {
        let (l, mut r) = (left.compile(l)?, right.compile(r)?);
        let wanted = l.data_type(&left.schema())?;
        if r.data_type(&right.schema())? != wanted {
            r = cast(r, &right.schema(), wanted)?;
        }
        of_left.push(l);
        of_right.push(r);
    }
    let mut rel = pair;
    if one_sided {
        rel.physical.truncate(shift);
        rel.columns.truncate(left.columns.len());
    }
    let schema = rel.schema();
    let rel = rel.renamed(&node.schema)?;
    Ok(Sides {
        left: JoinSide { schema: left.schema(), keys: of_left, time: times.0, unit: left.unit },
        right: JoinSide { schema: right.schema(), keys: of_right, time: times.1, unit: right.unit },
        filter,
        schema: Arc::new(Schema::new(schema.fields().iter().cloned().collect::<Vec<FieldRef>>())),
        rel,
        padded,
        shift,
    })
}

fn window<'a>(lowering: &mut Lowering<'a>, parts: Parts, mut left: Rel<'a>, mut right: Rel<'a>, node: &Join) -> Result<Rel<'a>> {
    let (Some(l), Some(r)) = (left.attached, right.attached) else { return Err(Unsupported::JOIN_KIND.at(lowering.join_place())) };
    if left.updating || right.updating {
        return Err(Unsupported::WINDOW_UPDATING.at(lowering.join_place()));
    }
    let Sides { mut rel, left: a, right: b, filter, schema, padded, shift } = sides(&parts, &left, &right, (l.end, r.end), node)?;
    let plan = WindowJoin { kind: parts.kind, left: a, right: b, filter, schema: schema.clone() };
    let inputs = vec![lowering.behind(&mut left, Late::Keep)?, lowering.behind(&mut right, Late::Keep)?];
    rel.at = At::Behind(lowering.step(inputs, StepKind::WindowJoin(plan), schema));
    rel.attached = match padded {
        (false, _) => Some(l),
        (true, false) => Some(Attached { start: r.start + shift, end: r.end + shift, time: r.time.map(|t| t + shift) }),
        (true, true) => None,
    };
    rel.times = rel.attached.and_then(|a| a.time).into_iter().collect();
    Ok(rel)
}

fn interval<'a>(
    lowering: &mut Lowering<'a>,
    parts: Parts,
    mut left: Rel<'a>,
    mut right: Rel<'a>,
    Near { times: (l, r), lower, upper }: Near,
    node: &Join,
) -> Result<Rel<'a>> {
    let at = lowering.join_place();
    if matches!(parts.kind, JoinKind::LeftSemi | JoinKind::LeftAnti) {
        return Err(Unsupported::SEMI_BY_TIME.at(at));
    }
    if lower > upper {
        return Err(Problem::new(at, "the bounds of time in ON can never be true together").hint("exchange the bounds"));
    }
    let Sides { mut rel, left: a, right: b, filter, schema, padded, shift } = sides(&parts, &left, &right, (l, r), node)?;
    let plan = IntervalJoin { kind: parts.kind, left: a, right: b, lower, upper, filter, schema: schema.clone() };
    let inputs = vec![lowering.behind(&mut left, Late::Row(l))?, lowering.behind(&mut right, Late::Row(r))?];
    rel.at = At::Behind(lowering.step(inputs, StepKind::IntervalJoin(plan), schema));
    // The join waits for the times that it goes by: the watermark behind it says nothing of others.
    rel.times = [(l, padded.0), (r + shift, padded.1)].into_iter().filter_map(|(time, padded)| (!padded).then_some(time)).collect();
    Ok(rel)
}

fn asof<'a>(lowering: &mut Lowering<'a>, mut parts: Parts, mut left: Rel<'a>, mut right: Rel<'a>, node: &Join) -> Result<Rel<'a>> {
    let at = lowering.join_place();
    if left.updating || right.updating || parts.kind != JoinKind::Left {
        return Err(Unsupported::ASOF.at(at));
    }
    let (marked, rest): (Vec<Expr>, Vec<Expr>) = parts.conjuncts.into_iter().partition(|c| markers::asof(c).is_some());
    let [marked] = marked.as_slice() else { return Err(Unsupported::ASOF.at(at)) };
    let Some((Expr::BinaryExpr(BinaryExpr { left: x, op, right: y }), kind)) = markers::asof(marked) else {
        return Err(Unsupported::ASOF.at(at));
    };
    let (x, y, op) = match left.covers(x) {
        true => (x, y, *op),
        false => (y, x, op.swap().unwrap_or(*op)),
    };
    let or_equal = match op {
        Operator::GtEq => true,
        Operator::Gt => false,
        _ => return Err(Unsupported::ASOF.at(at)),
    };
    let time = |rel: &Rel<'_>, e: &Expr| rel.physical_of(e).filter(|i| rel.times.contains(i));
    let (Some(l), Some(r)) = (time(&left, x), time(&right, y)) else { return Err(Unsupported::ASOF.at(at)) };
    if !rest.is_empty() || parts.on.is_empty() {
        return Err(Unsupported::ASOF.at(at));
    }
    (parts.conjuncts, parts.kind) = (rest, kind);
    let Sides { mut rel, left: a, right: b, schema, .. } = sides(&parts, &left, &right, (l, r), node)?;
    let plan = AsofJoin { kind, left: a, right: b, or_equal, within: lowering.ttl, schema: schema.clone() };
    let inputs = vec![lowering.behind(&mut left, Late::Row(l))?, lowering.behind(&mut right, Late::Row(r))?];
    rel.at = At::Behind(lowering.step(inputs, StepKind::AsofJoin(plan), schema));
    rel.times = BTreeSet::from([l]);
    Ok(rel)
}

fn regular<'a>(lowering: &mut Lowering<'a>, parts: Parts, mut left: Rel<'a>, mut right: Rel<'a>, node: &Join) -> Result<Rel<'a>> {
    let at = lowering.join_place();
    let Some(ttl) = lowering.ttl else {
        let unbounded = match parts.kind {
            JoinKind::LeftSemi | JoinKind::LeftAnti => Unsupported::SEMI_WITHOUT_TTL,
            _ => Unsupported::JOIN_WITHOUT_TTL,
        };
        return Err(unbounded.at(at));
    };
    let Sides { mut rel, left: a, right: b, filter, schema, shift, .. } = sides(&parts, &left, &right, (0, 0), node)?;
    let times = left.time().zip(right.time()).filter(|_| !left.updating && !right.updating);
    let plan = RegularJoin { kind: parts.kind, left: a, right: b, filter, times: times.map(|(l, r)| [l, r]), ttl, schema: schema.clone() };
    // A row that is late may miss partners that were forgotten.
    let [of_left, of_right] = times.map_or([Late::Keep; 2], |(l, r)| [Late::Row(l), Late::Row(r)]);
    let inputs = vec![lowering.behind(&mut left, of_left)?, lowering.behind(&mut right, of_right)?];
    rel.at = At::Behind(lowering.step(inputs, StepKind::RegularJoin(plan), schema));
    rel.updating = left.updating || right.updating || parts.kind != JoinKind::Inner && parts.kind != JoinKind::LeftSemi;
    if parts.kind == JoinKind::LeftSemi {
        rel.updating = left.updating || right.updating;
    }
    rel.key = match (parts.kind, &left.key, &right.key) {
        (JoinKind::LeftSemi | JoinKind::LeftAnti, Some(l), _) => Some(l.clone()),
        (_, Some(l), Some(r)) => Some(l.iter().copied().chain(r.iter().map(|k| k + shift)).collect()),
        _ => None,
    };
    if let (JoinKind::Inner, Some((l, r))) = (parts.kind, times) {
        newer(lowering, &mut rel, (l, r + shift))?;
    }
    Ok(rel)
}

/// Gives pairs the event time of the newer of their rows: no watermark has passed that when a pair leaves.
fn newer<'a>(lowering: &mut Lowering<'a>, rel: &mut Rel<'a>, (l, r): (usize, usize)) -> Result<()> {
    let column = |i: usize| Arc::new(Column::new(rel.physical[i].field.name(), i)) as Arc<dyn PhysicalExpr>;
    let is_newer = binary(column(l), Operator::Gt, column(r), &rel.schema())?;
    let time = case(None, vec![(is_newer, column(l))], Some(column(r)))?;
    let expressions: Vec<Arc<dyn PhysicalExpr>> = (0..rel.physical.len()).map(column).chain([time]).collect();
    let field = Arc::new(rel.physical[r].field.as_ref().clone().with_name(HIDDEN_TIME));
    rel.times = BTreeSet::from([rel.physical.len()]);
    rel.physical.push(Physical { field, unit: 1 });
    let schema = rel.schema();
    lowering.stage(rel, Stage::Project(Project { expressions, schema: schema.clone() }), schema);
    Ok(())
}
