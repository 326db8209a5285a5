//! Windows behind the exchange, over rows of all partitions at once. Invariant: rows are aggregated in the order of event time, those of
//! equal time in the order of their content, so that neither batches nor partitions show in sums of floats.
//!
//! ```text
//! Time       rows ─► in order (Reorder) ─► WindowOperator ─► WindowMerge ─► result        one partition, nothing is late
//! Attached   rows ─► in order of the ends of their windows, then of event time, complete ones only ─► a pane each ─► result
//! ```

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::inputs::{WindowInputs, times};
use super::merge::{WindowMerge, behind};
use super::operator::WindowOperator;
use super::panes::Pane;
use crate::batch::{Batch, FailedRow};
use crate::changes::Changes;
use crate::contract::{Operator, Output, Stateful, Usage};
use crate::error::{Error, Result};
use crate::limits::{BATCH_ROWS_MAX, HELD_ROW_BYTES};
use crate::operators::reorder::Reorder;
use crate::operators::salvage::salvage;
use crate::plan::{self, WindowSource};
use crate::state::snapshot;
use crate::time::{Micros, ahead};

/// An aggregation over windows with one input, of appended rows. Gives rows of `plan::Window::schema` as inserts, in the order of the
/// ends and starts of their windows.
pub struct WindowStep {
    window: plan::Window,
    unit: Micros,
    inputs: WindowInputs,
    /// Columns of `inputs` that are times: keys and arguments follow them.
    times: usize,
    waiting: Reorder,
    /// `None` if windows are attached.
    timed: Option<(WindowOperator, WindowMerge)>,
    failed: Vec<FailedRow>,
}

/// Lengths of the parts of a snapshot, which follow one another.
#[derive(Serialize, Deserialize)]
struct Parts {
    waiting: usize,
    operator: usize,
    merge: usize,
}

impl WindowStep {
    /// `unit` is the smallest step of event time, or of the ends of windows that are attached, in microseconds. Errors: `Invalid` for
    /// parameters that the kind does not take.
    pub fn new(window: plan::Window, source: WindowSource, input: SchemaRef, unit: Micros) -> Result<Self> {
        let (times, timed) = match source {
            WindowSource::Time => {
                (vec![window.time], Some((WindowOperator::new(window.clone(), unit)?, WindowMerge::new(window.clone(), unit)?)))
            }
            // The end comes first: rows are ordered by it, then by the start.
            WindowSource::Attached { start, end, order } => ([end, start].into_iter().chain(order).collect(), None),
        };
        let (count, inputs) = (times.len(), WindowInputs::with_times(&window, &input, times)?);
        let waiting = Reorder::new(inputs.schema(), 0)?;
        Ok(Self { window, unit, inputs, times: count, waiting, timed, failed: Vec::new() })
    }

    /// The windows that are attached and end by `over`.
    fn close_attached(&mut self, over: Micros) -> Result<Vec<RecordBatch>> {
        let Some(rows) = self.waiting.release(over)? else { return Ok(Vec::new()) };
        let (ends, starts) = (times(rows.column(0))?, times(rows.column(1))?);
        let mut results = Vec::new();
        let mut from = 0;
        while from < rows.num_rows() {
            let (end, start) = (ends[from], starts[from]);
            let count = (from..rows.num_rows()).take_while(|&i| (ends[i], starts[i]) == (end, start)).count();
            let columns: Vec<_> = rows.columns()[self.times..].iter().map(|c| c.slice(from, count)).collect();
            let mut pane = Pane::new(&self.window)?;
            pane.update(&self.window, &columns, count)?;
            results.push(pane.finish(&self.window, start, end)?);
            from += count;
        }
        Ok(results)
    }
}

/// Pushes rows that are in the order of time. Windows that are over before the next piece leave before it comes: few are open, however far
/// event time has gone on.
fn push_in_pieces(operator: &mut WindowOperator, rows: &RecordBatch, unit: Micros, given: &mut Output) -> Result<()> {
    let times = times(rows.column(0))?;
    for from in (0..rows.num_rows()).step_by(BATCH_ROWS_MAX) {
        if from > 0 {
            operator.advance(times[from].saturating_sub(unit), given)?;
        }
        let count = BATCH_ROWS_MAX.min(rows.num_rows() - from);
        let offsets = vec![0; count].into();
        operator.push(Batch { rows: rows.slice(from, count), offsets, watermarks: None }, given)?;
    }
    Ok(())
}

impl Stateful for WindowStep {
    fn push(&mut self, input: usize, changes: Changes, _out: &mut Vec<Changes>) -> Result<()> {
        if input > 0 || changes.kinds.is_some() {
            return Err(Error::internal("a window has one input, of appended rows"));
        }
        let Self { inputs, waiting, failed, .. } = self;
        let mut computed = Vec::new();
        let mut compute = |changes: Changes| Ok(Changes::inserts(inputs.compute(&changes.rows)?));
        salvage(changes, &mut compute, &mut computed, failed);
        computed.into_iter().try_for_each(|changes| waiting.push(changes.rows))
    }

    fn advance(&mut self, watermark: Micros, out: &mut Vec<Changes>) -> Result<Micros> {
        let over = ahead(watermark, self.unit);
        let (results, reached) = match &mut self.timed {
            None => (self.close_attached(over)?, behind(over, watermark)),
            Some((operator, merge)) => {
                let mut given = Output::default();
                if let Some(rows) = self.waiting.release(watermark)? {
                    push_in_pieces(operator, &rows, self.unit, &mut given)?;
                }
                operator.advance(watermark, &mut given)?;
                given.emissions.into_iter().try_for_each(|emission| merge.add(0, emission))?;
                (merge.close(watermark)?.into_iter().map(|c| c.result).collect(), merge.watermark(watermark))
            }
        };
        if !results.is_empty() {
            out.push(Changes::inserts(concat_batches(&self.window.schema(), &results)?));
        }
        Ok(reached)
    }

    fn failed(&mut self) -> Vec<FailedRow> {
        std::mem::take(&mut self.failed)
    }

    fn held(&self) -> u64 {
        let timed = self.timed.as_ref().map_or(0, |(operator, merge)| operator.open_rows() + merge.open_rows());
        self.waiting.len() as u64 + timed
    }

    fn usage(&self) -> Option<Usage> {
        let (operator, merge) = self.timed.as_ref()?;
        let waiting = self.waiting.len() as u64;
        let rows = Usage { bytes: waiting * HELD_ROW_BYTES, groups: waiting };
        Some([rows, operator.usage(), merge.usage()].into_iter().sum())
    }

    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let start = bytes.len();
        snapshot::encode(bytes, &(), &self.inputs.schema(), &[self.waiting.snapshot()?])?;
        let waiting = bytes.len() - start;
        let (mut operator, mut merge) = (0, 0);
        if let Some((of_operator, of_merge)) = &mut self.timed {
            of_operator.snapshot_into(bytes)?;
            operator = bytes.len() - start - waiting;
            of_merge.snapshot_into(bytes)?;
            merge = bytes.len() - start - waiting - operator;
        }
        let head = serde_json::to_vec(&Parts { waiting, operator, merge }).map_err(|e| Error::internal(e.to_string()))?;
        let length = u32::try_from(head.len()).map_err(|_| Error::internal("state head is too long"))?;
        bytes.splice(start..start, length.to_le_bytes().into_iter().chain(head));
        Ok(())
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let short = || Error::corrupt("the state of a window is cut short");
        let (length, rest) = state.split_first_chunk::<4>().ok_or_else(short)?;
        let (head, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(short)?;
        let parts: Parts = serde_json::from_slice(head)?;
        let (waiting, rest) = rest.split_at_checked(parts.waiting).ok_or_else(short)?;
        let (operator_state, rest) = rest.split_at_checked(parts.operator).ok_or_else(short)?;
        let (merge_state, _) = rest.split_at_checked(parts.merge).ok_or_else(short)?;
        let ((), batches) = snapshot::decode(waiting)?;
        batches.into_iter().try_for_each(|rows| self.waiting.restore(rows))?;
        if let Some((operator, merge)) = &mut self.timed {
            operator.restore(operator_state)?;
            merge.restore(merge_state)?;
        }
        Ok(())
    }
}
