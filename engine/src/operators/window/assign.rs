//! Rows with their windows, for queries that do not aggregate them. Invariant: a row leaves once for each of its windows that was open
//! under the watermark before it, in the order of their ends; one without any is late, or lies between windows and is filtered.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take;

use super::inputs::times;
use super::kind::Shape;
use super::late::put_aside;
use super::slices::Slices;
use crate::batch::Batch;
use crate::contract::{Operator, Output};
use crate::error::{Error, Result};
use crate::limits::WINDOWS_PER_ROW_ASSIGNED_MAX;
use crate::plan;
use crate::time::{MILLISECOND, Micros, ahead};

/// Appends `window_start`, `window_end` and `window_time`, and for early results when the row counts in one.
pub struct AssignOperator {
    plan: plan::Assign,
    slices: Slices,
}

impl AssignOperator {
    /// Errors: `Invalid` for sessions, and for windows of which a row lies in too many.
    pub fn new(plan: plan::Assign) -> Result<Self> {
        let Shape::Sliced(slices) = plan.parameters.shape()? else {
            return Err(Error::invalid(format!("{} windows are known only once they are over", plan.parameters.kind.to_uppercase()))
                .hint("aggregate them: GROUP BY window_start, window_end and keys"));
        };
        if slices.windows_per_row() > WINDOWS_PER_ROW_ASSIGNED_MAX {
            let windows = slices.windows_per_row();
            return Err(Error::invalid(format!(
                "a row would leave for {windows} windows; at most {WINDOWS_PER_ROW_ASSIGNED_MAX} are allowed"
            ))
            .hint("aggregate first: that costs no more for many windows"));
        }
        Ok(Self { plan, slices })
    }

    /// The last event time before the first early result of a window, every so often from its start, that lies after `time`: once the
    /// watermark has reached it, all rows before that result are in.
    fn due(&self, (start, end): (Micros, Micros), every: Micros, time: Micros) -> Micros {
        let passed = time.saturating_sub(start) / every;
        let told = start.saturating_add(passed.saturating_add(1).saturating_mul(every)).min(end);
        // Between two steps of event time nothing comes.
        let unit = self.plan.unit;
        told.saturating_sub(1).saturating_sub(told.saturating_sub(1).rem_euclid(unit))
    }
}

impl Operator for AssignOperator {
    fn push(&mut self, batch: Batch, out: &mut Output) -> Result<Option<Batch>> {
        let times = times(batch.rows.column(self.plan.time))?;
        let (mut rows, mut starts, mut ends): (Vec<u32>, Vec<Micros>, Vec<Micros>) = (Vec::new(), Vec::new(), Vec::new());
        let (mut late, mut kept, mut due) = (Vec::new(), 0, Vec::new());
        for (i, &time) in (0u32..).zip(times) {
            let ahead = match batch.watermarks.as_ref().map(|w| w.value(i as usize)) {
                Some(watermark) if time <= watermark => ahead(watermark, self.plan.unit),
                _ => Micros::MIN,
            };
            let (start, _) = self.slices.slice(time);
            let Some(last) = self.slices.last_end(start) else { continue };
            let Some(first) = self.slices.first_end(start, ahead) else {
                late.push(i);
                continue;
            };
            kept += 1;
            let mut end = first;
            while end <= last {
                let start = self.slices.window_start(end);
                rows.push(i);
                starts.push(start);
                ends.push(end);
                due.extend(self.plan.early.map(|every| self.due((start, end), every, time.max(ahead))));
                end = self.slices.next_end(end);
            }
        }
        let indices = UInt32Array::from(rows);
        let timestamps = |times: Vec<Micros>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")) };
        let window_times = ends.iter().map(|end| end - MILLISECOND).collect();
        let mut columns = batch.rows.columns().iter().map(|c| take(c, &indices, None)).collect::<std::result::Result<Vec<_>, _>>()?;
        columns.extend([timestamps(starts), timestamps(ends), timestamps(window_times)]);
        columns.extend(self.plan.early.map(|_| timestamps(due)));
        let assigned = Batch {
            rows: RecordBatch::try_new(self.plan.schema.clone(), columns)?,
            offsets: indices.values().iter().map(|&i| batch.offsets.value(i as usize)).collect::<Vec<u64>>().into(),
            watermarks: batch.watermarks.as_ref().map(|w| indices.values().iter().map(|&i| w.value(i as usize)).collect::<Vec<_>>().into()),
        };
        put_aside(&batch, self.plan.time, &late, out)?;
        out.counters.filtered += (times.len() - kept - late.len()) as u64;
        out.counters.expanded += (indices.len() - kept) as u64;
        Ok((kept > 0).then_some(assigned))
    }
}
