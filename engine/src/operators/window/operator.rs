//! The window of one partition. Invariant: a row is late exactly if its window had closed under the watermark that stood
//! before it in this partition; otherwise it is in its pane. Input columns are those that `WindowInputs` gives:
//! time, keys, then each aggregate's arguments and filter, so that nothing here evaluates an expression.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::{filter, take};
use arrow::datatypes::TimestampMicrosecondType;
use serde::{Deserialize, Serialize};

use super::panes::Pane;
use super::slices::Slices;
use crate::batch::Batch;
use crate::contract::operator::LateRows;
use crate::contract::{Emission, Operator, Output};
use crate::error::{Error, Result};
use crate::limits::PANES_OPEN_MAX;
use crate::operators::filter::keep;
use crate::plan;
use crate::state::snapshot;
use crate::time::Micros;

/// Aggregates rows into panes and gives their partial results when the watermark passes their ends.
pub struct WindowOperator {
    window: plan::Window,
    slices: Slices,
    /// A window ending at `end` is over when the watermark reaches `end - unit`: no later time lies before `end`.
    unit: Micros,
    panes: BTreeMap<Micros, Pane>,
}

#[derive(Serialize, Deserialize)]
struct PaneState {
    start: Micros,
    rows: u64,
}

impl WindowOperator {
    /// `unit` is the smallest step of event time in microseconds.
    pub fn new(window: plan::Window, unit: Micros) -> Result<Self> {
        let kind = super::kind(&window.parameters.kind)
            .ok_or_else(|| Error::internal(format!("window kind {} is not registered", window.parameters.kind)))?;
        let slices = (kind.open)(&window.parameters.sizes)?;
        Ok(Self { window, slices, unit, panes: BTreeMap::new() })
    }

    /// Rows in windows that are still open.
    pub fn open_rows(&self) -> u64 {
        self.panes.values().map(|p| p.rows).sum()
    }

    fn add(&mut self, start: Micros, columns: &[ArrayRef], rows: usize) -> Result<()> {
        if !self.panes.contains_key(&start) {
            if self.panes.len() >= PANES_OPEN_MAX {
                return Err(Error::unavailable(format!("more than {PANES_OPEN_MAX} windows are open in one partition"))
                    .hint("a shorter watermark delay or longer windows keep fewer of them open"));
            }
            self.panes.insert(start, Pane::new(&self.window)?);
        }
        let pane = self.panes.get_mut(&start).ok_or_else(|| Error::internal("a pane vanished"))?;
        pane.update(&self.window, columns, rows)
    }

    /// Takes out the rows whose window has closed.
    fn split_late(&self, batch: Batch, out: &mut Output) -> Result<Option<Batch>> {
        let Some(watermarks) = &batch.watermarks else { return Ok(Some(batch)) };
        let times = times(&batch.rows.columns()[0])?;
        let is_late = |i: usize| self.slices.end(self.slices.start(times[i])) - self.unit <= watermarks.value(i);
        let late: BooleanArray = (0..times.len()).map(|i| Some(is_late(i))).collect();
        let count = late.true_count();
        if count == 0 {
            return Ok(Some(batch));
        }
        out.counters.late += count as u64;
        let chosen = |values: &[Micros]| (0..values.len()).filter(|&i| late.value(i)).map(|i| values[i]).collect();
        out.late.push(LateRows {
            offsets: filter(&batch.offsets, &late)?.as_primitive().clone(),
            times: chosen(times),
            watermarks: chosen(watermarks.values()),
        });
        if count == times.len() {
            return Ok(None);
        }
        keep(&batch, &arrow::compute::not(&late)?).map(Some)
    }
}

fn times(column: &ArrayRef) -> Result<&[Micros]> {
    if column.null_count() > 0 {
        return Err(Error::internal("a NULL event time reached a window"));
    }
    Ok(column.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| Error::internal("event time is not a timestamp"))?.values())
}

impl Operator for WindowOperator {
    fn push(&mut self, batch: Batch, out: &mut Output) -> Result<Option<Batch>> {
        let Some(batch) = self.split_late(batch, out)? else { return Ok(None) };
        let columns = batch.rows.columns();
        let times = times(&columns[0])?;
        let rows = times.len();
        out.counters.aggregated += rows as u64;
        let (least, greatest) = times.iter().fold((Micros::MAX, Micros::MIN), |(l, g), &t| (l.min(t), g.max(t)));
        let first = self.slices.start(least);
        if greatest < self.slices.end(first) {
            self.add(first, &columns[1..], rows)?;
            return Ok(None);
        }
        // Rows of one slice next to each other, in their order: then each pane gets a slice of every column.
        let mut order: Vec<u32> = (0..rows as u32).collect();
        let starts: Vec<Micros> = times.iter().map(|&t| self.slices.start(t)).collect();
        order.sort_by_key(|&i| starts[i as usize]);
        let indices = UInt32Array::from(order);
        let sorted = columns[1..].iter().map(|c| take(c, &indices, None)).collect::<std::result::Result<Vec<_>, _>>()?;
        let order = indices.values();
        let mut from = 0;
        while from < rows {
            let start = starts[order[from] as usize];
            let count = order[from..].iter().take_while(|&&i| starts[i as usize] == start).count();
            let part: Vec<ArrayRef> = sorted.iter().map(|c| c.slice(from, count)).collect();
            self.add(start, &part, count)?;
            from += count;
        }
        Ok(None)
    }

    fn advance(&mut self, watermark: Micros, out: &mut Output) -> Result<()> {
        while let Some(entry) = self.panes.first_entry() {
            let (start, end) = (*entry.key(), self.slices.end(*entry.key()));
            if end - self.unit > watermark {
                break;
            }
            let mut pane = entry.remove();
            let partial = pane.take_partial(&self.window)?;
            out.emissions.push(Emission::Pane { start, end, partial, rows: pane.rows });
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        let heads: Vec<PaneState> = self.panes.iter().map(|(&start, p)| PaneState { start, rows: p.rows }).collect();
        let partials = self.panes.values_mut().map(|p| p.partial(&self.window)).collect::<Result<Vec<_>>>()?;
        snapshot::encode(&heads, &self.window.partial_schema(), &partials)
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let (heads, partials) = snapshot::decode::<Vec<PaneState>>(state)?;
        if heads.len() != partials.len() {
            return Err(Error::corrupt(format!("window state has {} panes and {} batches", heads.len(), partials.len())));
        }
        for (head, partial) in heads.iter().zip(&partials) {
            let mut pane = Pane::new(&self.window)?;
            pane.merge(&self.window, partial, head.rows)?;
            self.panes.insert(head.start, pane);
        }
        Ok(())
    }
}
