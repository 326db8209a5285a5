//! A pane: the groups of a piece of event time and their accumulators. Invariant: `restore(partial())` gives a pane that continues
//! exactly as this one would, bit by bit, also for floating-point sums.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray};

use super::accumulators::Accumulators;
use crate::contract::Usage;
use crate::error::{Error, Result};
use crate::limits::PANE_GROUPS_MAX;
use crate::operators::keys::KeyInterner;
use crate::plan;
use crate::time::Micros;

/// Groups and accumulators of one piece of event time.
pub struct Pane {
    interner: KeyInterner,
    accumulators: Accumulators,
    groups: Vec<usize>,
    /// Rows that went in.
    pub rows: u64,
}

impl Pane {
    /// An empty pane.
    pub fn new(window: &plan::Window) -> Result<Self> {
        let fields: Vec<_> = window.keys.iter().map(|(_, f)| f.clone()).collect();
        Ok(Self { interner: KeyInterner::new(&fields)?, accumulators: Accumulators::new(window)?, groups: Vec::new(), rows: 0 })
    }

    /// Adds rows: key columns, then for each aggregate its arguments and, where the plan says so, its filter.
    pub fn update(&mut self, window: &plan::Window, columns: &[ArrayRef], rows: usize) -> Result<()> {
        let (keys, inputs) = columns.split_at(window.keys.len());
        let total = self.intern(keys, rows)?;
        self.accumulators.update(window, inputs, &self.groups, total)?;
        self.rows += rows as u64;
        Ok(())
    }

    /// Adds a partial result (keys, then states) that stands for `rows` rows.
    pub fn merge(&mut self, window: &plan::Window, partial: &RecordBatch, rows: u64) -> Result<()> {
        let (keys, states) = partial.columns().split_at(window.keys.len());
        let total = self.intern(keys, partial.num_rows())?;
        self.accumulators.merge(window, states, &self.groups, total)?;
        self.rows += rows;
        Ok(())
    }

    /// What it takes of memory.
    pub fn usage(&self) -> Usage {
        let bytes = self.interner.bytes() + self.accumulators.bytes() + self.groups.capacity() * size_of::<usize>();
        Usage { bytes: bytes as u64, groups: self.interner.len() as u64 }
    }

    /// Keys and states, leaving the pane as it is. Accumulators give their state away, so it is merged back.
    pub fn partial(&mut self, window: &plan::Window) -> Result<RecordBatch> {
        let partial = self.take_partial(window)?;
        let groups: Vec<usize> = (0..partial.num_rows()).collect();
        self.accumulators.merge(window, &partial.columns()[window.keys.len()..], &groups, groups.len())?;
        Ok(partial)
    }

    /// Keys and states; the pane is spent.
    pub fn take_partial(&mut self, window: &plan::Window) -> Result<RecordBatch> {
        let mut columns = self.interner.columns()?;
        columns.extend(self.accumulators.state()?);
        let options = RecordBatchOptions::new().with_row_count(Some(self.interner.len()));
        Ok(RecordBatch::try_new_with_options(window.partial_schema(), columns, &options)?)
    }

    /// The result: `window_start`, `window_end`, keys, aggregates; the pane is spent.
    pub fn finish(&mut self, window: &plan::Window, start: Micros, end: Micros) -> Result<RecordBatch> {
        let rows = self.interner.len();
        let time = |t: Micros| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from_value(t, rows).with_timezone("UTC")) };
        let mut columns = vec![time(start), time(end)];
        columns.extend(self.interner.columns()?);
        columns.extend(self.accumulators.evaluate()?);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(window.schema(), columns, &options)?)
    }

    fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> Result<usize> {
        self.groups.clear();
        self.interner.intern(keys, rows, &mut self.groups)?;
        let total = self.interner.len();
        if total > PANE_GROUPS_MAX {
            return Err(Error::invalid(format!("a window has more than {PANE_GROUPS_MAX} groups"))
                .hint("group by fewer distinct values, or use a shorter window"));
        }
        Ok(total)
    }
}
