//! GROUP BY without a window: one row a group, changed by the rows that come. Invariant: the result after each step is the
//! aggregate of the rows that are in, and each step says of a group once how its row changed, or nothing.
//!
//! ```text
//! appended rows ─► event-time order ─┐                       early results of windows: each event time by itself
//! changes ───────────────────────────┴─► group ─► totals ─► +I, -U +U, -D
//! ```

mod state;

use std::cmp::Reverse;
use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use datafusion_common::ScalarValue;

use super::accumulate::{Call, Inputs, Leaving, Total};
use super::keyed::{Keyed, Runs};
use super::keys::canonical;
use super::reorder::{Reorder, event_times};
use crate::changes::{Changes, RowKind};
use crate::contract::Stateful;
use crate::error::{Error, Result};
use crate::plan::{self, Told};
use crate::time::Micros;

/// Aggregates rows by key, without windows.
pub struct GroupOperator {
    plan: plan::Group,
    calls: Vec<Call>,
    /// Holds appended rows until the watermark passes them; none if the input is updating.
    reorder: Option<Reorder>,
    groups: Keyed<GroupState>,
    /// The watermark: the time of changes, which have none of their own.
    now: Micros,
}

/// State of one group.
struct GroupState {
    /// Rows that are in.
    rows: u64,
    totals: Vec<Total>,
    /// Results as they were last told.
    results: Vec<ScalarValue>,
}

/// A change of a group's row.
struct Change {
    /// The row of the input that made it, with its keys; those that come first are told first.
    row: u32,
    kind: RowKind,
    results: Vec<ScalarValue>,
}

/// What a step applies: rows, what they do and when.
struct Step<'a> {
    changes: &'a Changes,
    /// Event times; none for changes, which happen now.
    times: Option<&'a [Micros]>,
    keys: Vec<ArrayRef>,
    /// Rows of each group together.
    runs: Runs,
    /// For each call, in the order of `runs`.
    inputs: Vec<Inputs>,
}

impl GroupOperator {
    /// An operator for `plan`. Errors: `Internal` if keys or values of a type cannot be compared.
    pub fn new(plan: plan::Group) -> Result<Self> {
        let leaving = if plan.time.is_some() { Leaving::Never } else { Leaving::Any };
        let calls = plan.aggregates.iter().map(|a| Call::new(a.clone(), &plan.input, leaving)).collect::<Result<_>>()?;
        let first = match plan.told {
            Told::Together => None,
            Told::EachTime { order } => Some(order),
        };
        let reorder = plan.time.map(|time| Reorder::by(plan.input.clone(), time, first)).transpose()?;
        let groups = Keyed::new(plan.keys.iter().map(|(_, field)| field.data_type().clone()), plan.ttl)?;
        Ok(Self { plan, calls, reorder, groups, now: Micros::MIN })
    }

    fn apply(&mut self, changes: &Changes, times: Option<&[Micros]>, out: &mut Vec<Changes>) -> Result<()> {
        let rows = changes.len();
        let key = |(e, _): &(std::sync::Arc<dyn datafusion_physical_expr_common::physical_expr::PhysicalExpr>, _)| -> Result<ArrayRef> {
            Ok(e.evaluate(&changes.rows)?.into_array(rows)?)
        };
        let keys = self.plan.keys.iter().map(key).collect::<Result<Vec<_>>>()?;
        // Which of its rows tells of a group must not show in what is told.
        let keys = canonical(&keys).into_owned();
        let calls = &self.calls;
        let slots = self.groups.locate(&keys, rows, || GroupState::new(calls))?;
        let mut runs = Runs::new(&slots);
        if self.plan.ttl.is_none() && changes.kinds.is_some() {
            // Without a time to live no row leaves that is not there, so the order of changes is of no account.
            let mut order = runs.order.values().to_vec();
            runs.runs.iter().for_each(|(_, run)| order[run.clone()].sort_by_key(|&i| Reverse(changes.kind(i as usize).adds())));
            runs.order = UInt32Array::from(order);
        }
        let inputs = calls.iter().map(|c| c.inputs(&changes.rows)?.take(&runs.order)).collect::<Result<_>>()?;
        let step = Step { changes, times, keys, runs, inputs };
        let mut told = Vec::new();
        for (slot, run) in &step.runs.runs {
            self.apply_run(&step, *slot, run.clone(), &mut told)?;
        }
        self.tell(&step, told, out)
    }

    /// Applies rows of each time by themselves.
    fn apply_each_time(&mut self, rows: &RecordBatch, times: &[Micros], out: &mut Vec<Changes>) -> Result<()> {
        let mut from = 0;
        for same in times.chunk_by(|a, b| a == b) {
            self.apply(&Changes::inserts(rows.slice(from, same.len())), Some(same), out)?;
            from += same.len();
        }
        Ok(())
    }

    /// Applies the rows of one group, and keeps in `told` what becomes of it.
    fn apply_run(&mut self, step: &Step<'_>, slot: usize, run: Range<usize>, told: &mut Vec<Change>) -> Result<()> {
        let order = step.runs.order.values();
        let time = |place: usize| step.times.map_or(self.now, |t| t[order[place] as usize]);
        let mut last = self.groups.at(slot)?.last;
        let mut from = run.start;
        while from < run.end {
            if self.groups.forgotten(last, time(from)) {
                self.groups.at(slot)?.state = GroupState::new(&self.calls)?;
            }
            // To where the group is forgotten before its next row.
            let mut to = from + 1;
            last = last.max(time(from));
            while to < run.end && !self.groups.forgotten(last, time(to)) {
                last = last.max(time(to));
                to += 1;
            }
            let state = &mut self.groups.at(slot)?.state;
            let before = state.rows;
            state.apply(&self.calls, step, from..to, self.plan.ttl.is_some())?;
            // Where rows that come one by one tell of it last: without calls only the first row of a group changes anything.
            let rows = order[from..to].iter().copied();
            let row = if self.calls.is_empty() && before == 0 { rows.min() } else { rows.max() };
            state.tell(&self.calls, row.unwrap_or(order[from]), before, told)?;
            from = to;
        }
        let held = self.groups.at(slot)?;
        held.touch(last);
        if held.state.rows == 0 {
            self.groups.remove(slot);
        }
        Ok(())
    }

    /// Puts changes into the order of the rows that made them.
    fn tell(&self, step: &Step<'_>, mut told: Vec<Change>, out: &mut Vec<Changes>) -> Result<()> {
        if told.is_empty() {
            return Ok(());
        }
        told.sort_by_key(|c| c.row);
        let rows = UInt32Array::from_iter_values(told.iter().map(|c| c.row));
        let mut columns = step.keys.iter().map(|k| take(k, &rows, None)).collect::<std::result::Result<Vec<_>, _>>()?;
        let kinds: Vec<RowKind> = told.iter().map(|c| c.kind).collect();
        let mut results: Vec<Vec<ScalarValue>> = self.calls.iter().map(|_| Vec::with_capacity(told.len())).collect();
        for change in told {
            results.iter_mut().zip(change.results).for_each(|(column, value)| column.push(value));
        }
        for values in results {
            columns.push(ScalarValue::iter_to_array(values)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(kinds.len()));
        let rows = RecordBatch::try_new_with_options(self.plan.schema.clone(), columns, &options)?;
        out.push(Changes::new(rows, kinds));
        Ok(())
    }
}

impl GroupState {
    fn new(calls: &[Call]) -> Result<Self> {
        let totals = calls.iter().map(Call::total).collect::<Result<_>>()?;
        Ok(Self { rows: 0, totals, results: vec![ScalarValue::Null; calls.len()] })
    }

    /// Adds and takes back the rows at `places` of the step.
    fn apply(&mut self, calls: &[Call], step: &Step<'_>, places: Range<usize>, forgetful: bool) -> Result<()> {
        let adds = |place: usize| step.changes.kind(step.runs.order.value(place) as usize).adds();
        let mut from = places.start;
        while from < places.end {
            let add = adds(from);
            let to = (from..places.end).find(|&place| adds(place) != add).unwrap_or(places.end);
            let mut count = (to - from) as u64;
            if !add && count > self.rows {
                if !forgetful {
                    return Err(Error::internal("a row left a group that it was not in"));
                }
                // These came before the group was forgotten.
                count = self.rows;
            }
            for ((call, total), inputs) in calls.iter().zip(&mut self.totals).zip(&step.inputs) {
                let arguments = inputs.part(from, to)?;
                if add { call.add(total, &arguments)? } else { call.remove(total, &arguments)? }
            }
            self.rows = if add { self.rows + count } else { self.rows - count };
            from = to;
        }
        Ok(())
    }

    /// Keeps in `told` how the group changed since it was told last, when it had `before` rows; `row` is one of its rows.
    fn tell(&mut self, calls: &[Call], row: u32, before: u64, told: &mut Vec<Change>) -> Result<()> {
        let mut tell = |kind, results| told.push(Change { row, kind, results });
        if self.rows == 0 {
            let gone = std::mem::replace(self, Self::new(calls)?);
            if before > 0 {
                tell(RowKind::Delete, gone.results);
            }
            return Ok(());
        }
        let mut after = Vec::with_capacity(calls.len());
        for ((call, total), result) in calls.iter().zip(&mut self.totals).zip(&self.results) {
            after.push(call.changed(total)?.unwrap_or_else(|| result.clone()));
        }
        if before > 0 && after == self.results {
            return Ok(());
        }
        let old = std::mem::replace(&mut self.results, after.clone());
        if before > 0 {
            tell(RowKind::UpdateBefore, old);
            tell(RowKind::UpdateAfter, after);
        } else {
            tell(RowKind::Insert, after);
        }
        Ok(())
    }
}

impl Stateful for GroupOperator {
    fn push(&mut self, _input: usize, changes: Changes, out: &mut Vec<Changes>) -> Result<()> {
        match &mut self.reorder {
            Some(_) if changes.kinds.is_some() => Err(Error::internal("changes came where new rows were planned")),
            Some(reorder) => reorder.push(changes.rows),
            None if changes.is_empty() => Ok(()),
            None => self.apply(&changes, None, out),
        }
    }

    fn advance(&mut self, watermark: Micros, out: &mut Vec<Changes>) -> Result<Micros> {
        if let (Some(reorder), Some(time)) = (&mut self.reorder, self.plan.time)
            && let Some(rows) = reorder.release(watermark)?
        {
            match self.plan.told {
                Told::Together => self.apply(&Changes::inserts(rows.clone()), Some(event_times(&rows, time)?), out)?,
                Told::EachTime { .. } => self.apply_each_time(&rows, event_times(&rows, time)?, out)?,
            }
        }
        self.now = watermark;
        self.groups.forget(watermark, drop);
        Ok(watermark)
    }

    fn held(&self) -> u64 {
        (self.reorder.as_ref().map_or(0, Reorder::len) + self.groups.len()) as u64
    }

    fn keys(&self) -> Option<u64> {
        Some(self.groups.len() as u64)
    }

    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        self.encode(bytes)
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        self.decode(state)
    }
}

#[cfg(test)]
mod tests;
