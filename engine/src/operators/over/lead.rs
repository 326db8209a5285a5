//! LEAD: rows that wait for later ones of their partition. Invariant: a row leaves at the event time of the row that completes it, or at
//! which its partition is forgotten, so that the order in which rows leave depends on the rows alone.
//!
//! ```text
//! rows with all other results ─► behind those of their partition that wait ─┬─► complete: values of later rows ─► by the time of leaving
//!                                                                          └─► the last ones wait
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array, new_null_array};
use arrow::compute::{cast, concat_batches, interleave, take_record_batch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use crate::error::{Error, Result};
use crate::operators::compact::compact;
use crate::operators::reorder::{Reorder, event_times};
use crate::plan::{self, OverFunction};
use crate::time::{Micros, timestamp_type};

/// The column of the time at which a row leaves.
const LEAVES: &str = "leaves";

/// LEAD calls of a clause.
pub struct Leads {
    calls: Vec<Lead>,
    /// Rows that a row waits for at most.
    most: usize,
    /// Index of the event time.
    time: usize,
    /// Rows with the results of all calls.
    schema: SchemaRef,
    /// Rows that leave, by the time at which they do.
    leaving: Reorder,
    /// How many partitions have their oldest row that waits at a time.
    oldest: BTreeMap<Micros, usize>,
    /// Rows that wait.
    pub held: usize,
}

struct Lead {
    /// Its column in the output.
    column: usize,
    /// The value, over the columns of the input, which are the first of the output.
    value: Arc<dyn PhysicalExpr>,
    offset: usize,
    default: Option<Arc<dyn PhysicalExpr>>,
}

/// Rows of a partition that come next.
pub struct Segment {
    /// The slot of the partition.
    pub slot: usize,
    /// Rows of the batch, in order.
    pub rows: Vec<u32>,
    /// When the partition was forgotten, if that was before them.
    pub forgotten: Option<Micros>,
}

/// Rows on their way out: where they stand, where the values of each call stand, and when they leave.
#[derive(Default)]
struct Complete {
    rows: Vec<u32>,
    values: Vec<Vec<Option<u32>>>,
    leaves: Vec<Micros>,
}

impl Leads {
    /// The LEAD calls of `plan`; none if there are none. Errors: `Internal` if rows cannot be compared.
    pub fn new(plan: &plan::Over) -> Result<Option<Self>> {
        let inputs = plan.input.fields().len();
        let lead = |(i, call): (usize, &plan::OverCall)| match &call.function {
            OverFunction::Lead { argument, offset, default } => {
                let offset = usize::try_from(*offset).unwrap_or(usize::MAX);
                Some(Lead { column: inputs + i, value: argument.clone(), offset, default: default.clone() })
            }
            _ => None,
        };
        let calls: Vec<Lead> = plan.calls.iter().enumerate().filter_map(lead).collect();
        let Some(most) = calls.iter().map(|c| c.offset).max() else { return Ok(None) };
        let fields = plan.schema.fields().iter().cloned().chain([Arc::new(Field::new(LEAVES, timestamp_type(), false))]);
        let leaving = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let leaving = Reorder::new(leaving, plan.schema.fields().len())?;
        Ok(Some(Self { calls, most, time: plan.time, schema: plan.schema.clone(), leaving, oldest: BTreeMap::new(), held: 0 }))
    }

    /// Takes rows with the results of all other calls. `waiting` gives the rows that wait in a slot, and takes those that do then.
    pub fn push(
        &mut self,
        rows: &RecordBatch,
        segments: &[Segment],
        mut waiting: impl FnMut(usize) -> Result<Option<RecordBatch>>,
        mut keep: impl FnMut(usize, Option<RecordBatch>) -> Result<()>,
    ) -> Result<()> {
        let mut pool = vec![rows.clone()];
        let mut from = rows.num_rows() as u32;
        let mut complete = Complete::new(self.calls.len());
        let mut kept: Vec<(usize, Vec<u32>)> = Vec::new();
        let mut times = event_times(rows, self.time)?.to_vec();
        for segment in segments {
            if kept.last().is_none_or(|(slot, _)| *slot != segment.slot) {
                let before = waiting(segment.slot)?;
                let count = before.as_ref().map_or(0, RecordBatch::num_rows) as u32;
                if let Some(before) = before {
                    times.extend_from_slice(event_times(&before, self.time)?);
                    self.forget_waiting(&before)?;
                    pool.push(before);
                }
                kept.push((segment.slot, (from..from + count).collect()));
                from += count;
            }
            let Some((_, all)) = kept.last_mut() else { return Err(Error::internal("a partition vanished")) };
            if let Some(time) = segment.forgotten {
                complete.add(&self.calls, all, all.len(), |_| time);
                all.clear();
            }
            all.extend_from_slice(&segment.rows);
            let done = all.len().saturating_sub(self.most);
            complete.add(&self.calls, all, done, |row| times[all[row + self.most] as usize]);
            all.drain(..done);
        }
        let pool = concat_batches(&self.schema, &pool)?;
        for (slot, rows) in kept {
            if rows.is_empty() {
                keep(slot, None)?;
                continue;
            }
            let rows = compact(&take_record_batch(&pool, &UInt32Array::from(rows))?)?;
            self.wait(&rows)?;
            keep(slot, Some(rows))?;
        }
        self.leave(&pool, complete)
    }

    /// Rows of a partition that is forgotten at `time`: no later row comes.
    pub fn end(&mut self, rows: &RecordBatch, ttl: Micros) -> Result<()> {
        let last = event_times(rows, self.time)?.last().copied();
        let time = last.ok_or_else(|| Error::internal("no rows wait in a partition"))?.saturating_add(ttl);
        self.forget_waiting(rows)?;
        let all: Vec<u32> = (0..rows.num_rows() as u32).collect();
        let mut complete = Complete::new(self.calls.len());
        complete.add(&self.calls, &all, all.len(), |_| time);
        self.leave(rows, complete)
    }

    /// Rows that leave up to `watermark`, in the order of leaving.
    pub fn release(&mut self, watermark: Micros) -> Result<Option<RecordBatch>> {
        let Some(rows) = self.leaving.release(watermark)? else { return Ok(None) };
        let columns = rows.columns()[..self.schema.fields().len()].to_vec();
        Ok(Some(RecordBatch::try_new(self.schema.clone(), columns)?))
    }

    /// The watermark of what has left: rows that wait are still to come.
    pub fn watermark(&self, watermark: Micros) -> Micros {
        self.oldest.keys().next().map_or(watermark, |oldest| watermark.min(oldest.saturating_sub(1)))
    }

    /// Rows of a partition wait from now on.
    pub fn wait(&mut self, rows: &RecordBatch) -> Result<()> {
        if let Some(&oldest) = event_times(rows, self.time)?.first() {
            *self.oldest.entry(oldest).or_default() += 1;
            self.held += rows.num_rows();
        }
        Ok(())
    }

    /// They do no longer.
    fn forget_waiting(&mut self, rows: &RecordBatch) -> Result<()> {
        let Some(&oldest) = event_times(rows, self.time)?.first() else { return Ok(()) };
        self.held -= rows.num_rows();
        if let Some(count) = self.oldest.get_mut(&oldest) {
            *count -= 1;
            if *count == 0 {
                self.oldest.remove(&oldest);
            }
        }
        Ok(())
    }

    /// Gives complete rows the values of the calls.
    fn leave(&mut self, pool: &RecordBatch, complete: Complete) -> Result<()> {
        if complete.rows.is_empty() {
            return Ok(());
        }
        let mut columns = take_record_batch(pool, &UInt32Array::from(complete.rows.clone()))?.columns().to_vec();
        let evaluate = |e: &Arc<dyn PhysicalExpr>| -> Result<ArrayRef> { Ok(e.evaluate(pool)?.into_array(pool.num_rows())?) };
        for (call, places) in self.calls.iter().zip(complete.values) {
            let wanted = self.schema.field(call.column).data_type();
            let values = evaluate(&call.value)?;
            let default = match &call.default {
                Some(default) => evaluate(default)?,
                None => new_null_array(values.data_type(), pool.num_rows()),
            };
            let default = if default.data_type() == values.data_type() { default } else { cast(&default, values.data_type())? };
            let pick = |(row, place): (&u32, Option<u32>)| place.map_or((1, *row as usize), |place| (0, place as usize));
            let picks: Vec<(usize, usize)> = complete.rows.iter().zip(places).map(pick).collect();
            let column = interleave(&[values.as_ref(), default.as_ref()], &picks)?;
            columns[call.column] = if column.data_type() == wanted { column } else { cast(&column, wanted)? };
        }
        columns.push(Arc::new(TimestampMicrosecondArray::from(complete.leaves).with_timezone("UTC")));
        let fields = self.schema.fields().iter().cloned().chain([Arc::new(Field::new(LEAVES, timestamp_type(), false))]);
        self.leaving.push(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)?)
    }
}

impl Complete {
    fn new(calls: usize) -> Self {
        Self { values: vec![Vec::new(); calls], ..Self::default() }
    }

    /// The first `count` of the rows of a partition leave, each at a time of its own.
    fn add(&mut self, calls: &[Lead], all: &[u32], count: usize, leaves: impl Fn(usize) -> Micros) {
        self.rows.extend_from_slice(&all[..count]);
        self.leaves.extend((0..count).map(leaves));
        for (call, values) in calls.iter().zip(&mut self.values) {
            values.extend((0..count).map(|row| row.checked_add(call.offset).and_then(|later| all.get(later)).copied()));
        }
    }
}
