//! OVER (PARTITION BY … ORDER BY event time). Invariant: a row leaves once, when the watermark has passed it, in the order of event
//! time, with results that depend only on the rows of its partition up to its own time; with LEAD, when it has passed those that the
//! row looks at, and in the order of these.
//!
//! ```text
//! event-time order ─► partition: past rows that later ones look at, totals, places ─► input columns and results ─► LEAD, if asked
//! ```

mod calls;
mod frames;
mod lead;
mod partition;
mod results;
mod state;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::take;
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use super::keyed::{Keyed, Runs};
use super::reorder::{Reorder, event_times};
use crate::changes::Changes;
use crate::contract::Stateful;
use crate::error::{Error, Result};
use crate::plan;
use crate::time::Micros;
use calls::Calls;
use lead::{Leads, Segment};
use partition::{NewRows, Partition};
use results::Results;

/// Computes OVER calls of one clause.
pub struct OverOperator {
    plan: plan::Over,
    calls: Calls,
    /// Those that look at later rows.
    leads: Option<Leads>,
    reorder: Reorder,
    partitions: Keyed<Partition>,
    /// Time after which a partition is forgotten.
    ttl: Option<Micros>,
    /// Rows in partitions.
    past: usize,
}

/// What a step applies.
struct Step {
    times: Vec<Micros>,
    /// Rows of each partition together.
    runs: Runs,
    /// Values that calls look at, in the order of `runs`.
    values: Vec<ArrayRef>,
    /// What partitions get, if later rows are looked at.
    segments: Vec<Segment>,
}

impl OverOperator {
    /// An operator for `plan`. Errors: `Internal` if rows or keys cannot be compared.
    pub fn new(plan: plan::Over) -> Result<Self> {
        let calls = Calls::new(&plan)?;
        let reorder = Reorder::new(plan.input.clone(), plan.time)?;
        let types = plan.partition.iter().map(|e| Ok(e.data_type(&plan.input)?)).collect::<Result<Vec<_>>>()?;
        // What no later row can see is as good as forgotten.
        let ttl = plan.ttl.into_iter().chain(calls.sight()).min();
        let partitions = Keyed::new(types, ttl)?;
        Ok(Self { leads: Leads::new(&plan)?, plan, calls, reorder, partitions, ttl, past: 0 })
    }

    /// Rows of all partitions, in the order of event time.
    fn apply(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let evaluate = |e: &Arc<dyn PhysicalExpr>| -> Result<ArrayRef> { Ok(e.evaluate(rows)?.into_array(count)?) };
        let keys = self.plan.partition.iter().map(evaluate).collect::<Result<Vec<_>>>()?;
        let calls = &self.calls;
        let slots = self.partitions.locate(&keys, count, || Partition::new(calls))?;
        let runs = Runs::new(&slots);
        let values = calls.expressions.iter().map(|e| Ok(take(&evaluate(e)?, &runs.order, None)?)).collect::<Result<_>>()?;
        let mut step = Step { times: event_times(rows, self.plan.time)?.to_vec(), runs, values, segments: Vec::new() };
        let mut results: Vec<Results> = calls.calls.iter().map(|c| Results::new(c, count)).collect();
        for (slot, run) in step.runs.runs.clone() {
            self.apply_run(&mut step, slot, run, &mut results)?;
        }
        let mut columns = rows.columns().to_vec();
        for (results, call) in results.into_iter().zip(&self.calls.calls) {
            columns.push(results.finish(call.result.data_type())?);
        }
        let rows = RecordBatch::try_new(self.plan.schema.clone(), columns)?;
        self.complete(&rows, &step.segments)?;
        Ok(rows)
    }

    /// Puts rows to those that wait for later ones.
    fn complete(&mut self, rows: &RecordBatch, segments: &[Segment]) -> Result<()> {
        let Some(leads) = &mut self.leads else { return Ok(()) };
        let partitions = std::cell::RefCell::new(&mut self.partitions);
        let waiting = |slot: usize| -> Result<Option<RecordBatch>> { Ok(partitions.borrow_mut().at(slot)?.state.waiting.take()) };
        let keep = |slot: usize, rows: Option<RecordBatch>| -> Result<()> {
            partitions.borrow_mut().at(slot)?.state.waiting = rows;
            Ok(())
        };
        leads.push(rows, segments, waiting, keep)
    }

    /// Applies the rows of one partition.
    fn apply_run(&mut self, step: &mut Step, slot: usize, run: Range<usize>, results: &mut [Results]) -> Result<()> {
        let order = step.runs.order.values().clone();
        let times: Vec<Micros> = order[run.clone()].iter().map(|&row| step.times[row as usize]).collect();
        let mut last = self.partitions.at(slot)?.last;
        let mut from = 0;
        while from < times.len() {
            let forgotten = self.partitions.forgotten(last, times[from]);
            if forgotten {
                let partition = &mut self.partitions.at(slot)?.state;
                self.past -= partition.past();
                // Rows that wait leave with what comes.
                *partition = Partition { waiting: partition.waiting.take(), ..Partition::new(&self.calls)? };
            }
            // To where the partition is forgotten before its next row.
            let mut to = from + 1;
            while to < times.len() && !self.partitions.forgotten(times[to - 1], times[to]) {
                to += 1;
            }
            let values = step.values.iter().map(|v| v.slice(run.start + from, to - from)).collect();
            let rows = NewRows { times: &times[from..to], values, places: &order[run.start + from..run.start + to] };
            let partition = &mut self.partitions.at(slot)?.state;
            self.past -= partition.past();
            partition.apply(&self.calls, &rows, results)?;
            self.past += partition.past();
            if self.leads.is_some() {
                let forgotten = self.ttl.filter(|_| forgotten).map(|ttl| last.saturating_add(ttl));
                step.segments.push(Segment { slot, rows: order[run.start + from..run.start + to].to_vec(), forgotten });
            }
            last = times[to - 1];
            from = to;
        }
        self.partitions.at(slot)?.touch(last);
        Ok(())
    }
}

impl Stateful for OverOperator {
    fn push(&mut self, _input: usize, changes: Changes, _out: &mut Vec<Changes>) -> Result<()> {
        if changes.kinds.is_some() {
            return Err(Error::internal("changes came where new rows were planned"));
        }
        self.reorder.push(changes.rows)
    }

    fn advance(&mut self, watermark: Micros, out: &mut Vec<Changes>) -> Result<Micros> {
        let rows = match self.reorder.release(watermark)? {
            Some(rows) => Some(self.apply(&rows)?),
            None => None,
        };
        let (past, mut ended) = (&mut self.past, Vec::new());
        self.partitions.forget(watermark, |partition| {
            *past -= partition.past();
            ended.extend(partition.waiting);
        });
        match (&mut self.leads, self.ttl) {
            (None, _) => {
                out.extend(rows.map(Changes::inserts));
                Ok(watermark)
            }
            (Some(leads), ttl) => {
                ended.iter().try_for_each(|rows| leads.end(rows, ttl.unwrap_or_default()))?;
                out.extend(leads.release(watermark)?.map(Changes::inserts));
                Ok(leads.watermark(watermark))
            }
        }
    }

    fn held(&self) -> u64 {
        (self.reorder.len() + self.past + self.leads.as_ref().map_or(0, |l| l.held)) as u64
    }

    fn keys(&self) -> Option<u64> {
        Some(self.partitions.len() as u64)
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
