//! Early results of windows. Invariant: what a window tells at a time is the result over the rows of it before that time, whatever was read
//! together; so its last word is its final result.
//!
//! ```text
//! rows ─► Assign: window, and the first result that the row counts in ─► Group by window and keys, told at each of those times
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use sqlparser::tokenizer::Location;
use thalweg_engine::limits::WINDOWS_PER_ROW_ASSIGNED_MAX;
use thalweg_engine::plan::{Assign, Group, Stage, StepKind, Told};
use thalweg_engine::time::{MILLISECOND, Micros, timestamp_type};

use super::aggregate::retractable;
use super::check::place;
use super::lowering::Lowering;
use super::reject::Unsupported;
use super::rel::{At, Late, Physical, Rel};
use super::window::{Keys, check_partition, parameters};
use crate::bind::{WINDOW_COLUMNS, WindowSpec};
use crate::diagnostics::Result;

/// The column of the first result that a row counts in.
const RESULT_TIME: &str = "result_time";

/// Aggregation over windows that tell what they have `every` so often. Its rows are start, end, keys, results; visible columns are not set
/// yet.
pub(super) fn early<'a>(
    lowering: &mut Lowering<'a>,
    mut rel: Rel<'a>,
    (keys, key_columns): Keys,
    calls: &[Expr],
    (every, at): (Micros, Location),
) -> Result<Rel<'a>> {
    let Some(pending) = rel.pending.take() else { return Err(Unsupported::EARLY_ATTACHED.at(at)) };
    let spec = &lowering.windows[pending.number];
    check(spec)?;
    check_partition(spec, &rel, &key_columns)?;
    if let Some(call) = calls.iter().find(|call| rel.mentions_window(call)) {
        return Err(Unsupported::WINDOW_COLUMN.at(place(call)));
    }
    let aggregates = calls.iter().map(|c| retractable(c, &rel, false)).collect::<Result<Vec<_>>>()?;
    // In its partition Assign tells what is late; behind the exchange nothing does.
    if let At::Behind(from) = rel.at {
        lowering.on_time(from, pending.time);
    }
    let units: Vec<Micros> = key_columns.iter().map(|c| c.map_or(1, |c| rel.physical[c].unit)).collect();
    let first = rel.physical.len();
    for name in WINDOW_COLUMNS.into_iter().chain([RESULT_TIME]) {
        rel.physical.push(Physical { field: Arc::new(Field::new(name, timestamp_type(), false)), unit: MILLISECOND });
    }
    let input = rel.schema();
    let assign = Assign { parameters: parameters(spec), time: pending.time, unit: rel.unit, early: Some(every), schema: input.clone() };
    let size = spec.sizes.iter().copied().max().unwrap_or_default();
    lowering.stage(&mut rel, Stage::Assign(assign), input.clone());
    let from = lowering.behind(&mut rel, Late::Keep)?;

    let end = |part: usize| -> (Arc<dyn PhysicalExpr>, FieldRef) {
        let name = WINDOW_COLUMNS[part];
        (Arc::new(Column::new(name, first + part)), Arc::new(Field::new(name, timestamp_type(), false)))
    };
    let keys: Vec<_> = [end(0), end(1)].into_iter().chain(keys).collect();
    let fields: Vec<FieldRef> = keys.iter().map(|(_, f)| f.clone()).chain(aggregates.iter().map(|a| a.result.clone())).collect();
    let schema = Arc::new(Schema::new(fields));
    let count = keys.len();
    let told = Told::EachTime { order: pending.time };
    // The first row of a window is not before its start: a size after that the window is over.
    let group = Group { input, keys, aggregates, time: Some(first + 3), told, ttl: Some(size), schema: schema.clone() };
    let step = lowering.step(vec![from], StepKind::Group(group), schema.clone());
    let units = [MILLISECOND, MILLISECOND].into_iter().chain(units).chain(std::iter::repeat(1));
    let physical = schema.fields().iter().zip(units).map(|(f, unit)| Physical { field: f.clone(), unit });
    Ok(Rel {
        state: rel.state,
        at: At::Behind(step),
        physical: physical.collect(),
        columns: Vec::new(),
        times: BTreeSet::new(),
        unit: MILLISECOND,
        pending: None,
        deferred: std::mem::take(&mut rel.deferred),
        attached: None,
        updating: true,
        key: Some((0..count).collect()),
    })
}

/// Errors: windows of this kind and size tell no early results.
fn check(spec: &WindowSpec) -> Result<()> {
    if spec.kind == "session" {
        return Err(Unsupported::EARLY_SESSION.at(spec.at));
    }
    match spec.sizes.as_slice() {
        [step, size, ..] if size / (*step).max(1) >= WINDOWS_PER_ROW_ASSIGNED_MAX => Err(Unsupported::EARLY_MANY.at(spec.at)),
        _ => Ok(()),
    }
}
