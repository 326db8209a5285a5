//! A pane: the groups of one window and their accumulators. Invariant: `restore(partial())` gives a pane that continues
//! exactly as this one would, bit by bit, also for floating-point sums.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray};
use datafusion_expr_common::groups_accumulator::{EmitTo, GroupsAccumulator};

use crate::error::{Error, Result};
use crate::limits::PANE_GROUPS_MAX;
use crate::operators::keys::KeyInterner;
use crate::plan;
use crate::time::Micros;

/// Groups and accumulators of one window.
pub struct Pane {
    interner: KeyInterner,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    groups: Vec<usize>,
    /// Rows that went in.
    pub rows: u64,
}

impl Pane {
    /// An empty pane.
    pub fn new(window: &plan::Window) -> Result<Self> {
        let fields: Vec<_> = window.keys.iter().map(|(_, f)| f.clone()).collect();
        let accumulators = window.aggregates.iter().map(|a| (a.accumulator)()).collect::<Result<Vec<_>>>()?;
        Ok(Self { interner: KeyInterner::new(&fields)?, accumulators, groups: Vec::new(), rows: 0 })
    }

    /// Adds rows: key columns, then for each aggregate its arguments and, where the plan says so, its filter.
    pub fn update(&mut self, window: &plan::Window, columns: &[ArrayRef], rows: usize) -> Result<()> {
        let (keys, mut rest) = columns.split_at(window.keys.len());
        let total = self.intern(keys, rows)?;
        for (aggregate, accumulator) in window.aggregates.iter().zip(&mut self.accumulators) {
            let (arguments, after) = rest.split_at(aggregate.arguments.len());
            let (filter, after) = match aggregate.filter {
                Some(_) => (Some(condition(&after[0])?), &after[1..]),
                None => (None, after),
            };
            accumulator.update_batch(arguments, &self.groups, filter, total)?;
            rest = after;
        }
        self.rows += rows as u64;
        Ok(())
    }

    /// Adds a partial result (keys, then states) that stands for `rows` rows.
    pub fn merge(&mut self, window: &plan::Window, partial: &RecordBatch, rows: u64) -> Result<()> {
        let (keys, mut rest) = partial.columns().split_at(window.keys.len());
        let total = self.intern(keys, partial.num_rows())?;
        for (aggregate, accumulator) in window.aggregates.iter().zip(&mut self.accumulators) {
            let (states, after) = rest.split_at(aggregate.state.len());
            accumulator.merge_batch(states, &self.groups, total)?;
            rest = after;
        }
        self.rows += rows;
        Ok(())
    }

    /// Keys and states, leaving the pane as it is. Accumulators give their state away, so it is merged back.
    pub fn partial(&mut self, window: &plan::Window) -> Result<RecordBatch> {
        let partial = self.take_partial(window)?;
        let groups: Vec<usize> = (0..partial.num_rows()).collect();
        let mut rest = &partial.columns()[window.keys.len()..];
        for (aggregate, accumulator) in window.aggregates.iter().zip(&mut self.accumulators) {
            let (states, after) = rest.split_at(aggregate.state.len());
            accumulator.merge_batch(states, &groups, groups.len())?;
            rest = after;
        }
        Ok(partial)
    }

    /// Keys and states; the pane is spent.
    pub fn take_partial(&mut self, window: &plan::Window) -> Result<RecordBatch> {
        let mut columns = self.interner.columns()?;
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.interner.len()));
        Ok(RecordBatch::try_new_with_options(window.partial_schema(), columns, &options)?)
    }

    /// The result: `window_start`, `window_end`, keys, aggregates; the pane is spent.
    pub fn finish(&mut self, window: &plan::Window, start: Micros, end: Micros) -> Result<RecordBatch> {
        let rows = self.interner.len();
        let time = |t: Micros| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from_value(t, rows).with_timezone("UTC")) };
        let mut columns = vec![time(start), time(end)];
        columns.extend(self.interner.columns()?);
        for accumulator in &mut self.accumulators {
            columns.push(accumulator.evaluate(EmitTo::All)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(window.schema(), columns, &options)?)
    }

    fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> Result<usize> {
        self.groups.clear();
        self.interner.intern(keys, rows, &mut self.groups)?;
        let total = self.interner.len();
        if total > PANE_GROUPS_MAX {
            return Err(Error::unavailable(format!("a window has more than {PANE_GROUPS_MAX} groups"))
                .hint("group by fewer distinct values, or use a shorter window"));
        }
        Ok(total)
    }
}

fn condition(column: &ArrayRef) -> Result<&BooleanArray> {
    column.as_boolean_opt().ok_or_else(|| Error::internal("the FILTER of an aggregate is not BOOLEAN"))
}
