//! The first rows of each group of a window. Invariant: a window leaves once, when the watermark has passed its end; of a group no
//! more rows are held for good than may leave.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::row::{RowConverter, Rows, SortField};

use super::order::RowOrder;
use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::operators::compact::compact;
use crate::operators::keyed::Runs;
use crate::operators::keys::canonical;
use crate::operators::reorder::event_times;
use crate::operators::window::behind;
use crate::plan;
use crate::state::snapshot;
use crate::time::{Micros, ahead};

/// Rows of a window after which those that cannot leave are let go of for the first time.
const PRUNE_ROWS_MIN: usize = if cfg!(test) { 8 } else { 4 * 1024 };

/// Windows that are open.
pub struct Windowed {
    plan: plan::Rank,
    end: usize,
    order: RowOrder,
    /// For the columns to partition by; the window's end is one of them.
    partition: RowConverter,
    windows: BTreeMap<Micros, Window>,
}

/// Rows of one window.
struct Window {
    rows: Vec<RecordBatch>,
    count: usize,
    /// Count at which it is pruned.
    prune_at: usize,
}

/// Rows of a window that may leave: partition by partition, each in its order.
struct First {
    rows: RecordBatch,
    /// Place of each row, from 0.
    places: Vec<u64>,
}

impl Windowed {
    /// `end` is the column of the window's end.
    pub fn new(plan: plan::Rank, end: usize) -> Result<Self> {
        let order = RowOrder::new(&plan.input, &plan.order)?;
        let fields = plan.partition.iter().map(|&c| SortField::new(plan.input.field(c).data_type().clone()));
        let partition = RowConverter::new(fields.collect())?;
        Ok(Self { plan, end, order, partition, windows: BTreeMap::new() })
    }

    /// Takes new rows.
    pub fn push(&mut self, changes: Changes) -> Result<()> {
        if changes.kinds.is_some() {
            return Err(Error::internal("changes came where new rows were planned"));
        }
        let ends = event_times(&changes.rows, self.end)?;
        let mut windows: Vec<Micros> = ends.to_vec();
        windows.sort_unstable();
        windows.dedup();
        let slot = |end: &Micros| windows.binary_search(end).unwrap_or_default();
        let runs = Runs::new(&ends.iter().map(slot).collect::<Vec<_>>());
        let sorted = take_record_batch(&changes.rows, &runs.order)?;
        for (window, run) in runs.runs {
            self.add(windows[window], compact(&sorted.slice(run.start, run.len()))?)?;
        }
        Ok(())
    }

    fn add(&mut self, end: Micros, rows: RecordBatch) -> Result<()> {
        let window = self.windows.entry(end).or_insert_with(|| Window { rows: Vec::new(), count: 0, prune_at: PRUNE_ROWS_MIN });
        window.count += rows.num_rows();
        window.rows.push(rows);
        if window.count < window.prune_at { Ok(()) } else { self.prune(end).map(drop) }
    }

    /// Lets go of the rows of a window that cannot leave; gives the others.
    fn prune(&mut self, end: Micros) -> Result<RecordBatch> {
        let rows = self.windows.get(&end).map_or(&[][..], |w| &w.rows);
        let rows = compact(&self.first(rows)?.rows)?;
        let count = rows.num_rows();
        self.windows.insert(end, Window { rows: vec![rows.clone()], count, prune_at: PRUNE_ROWS_MIN.max(2 * count) });
        Ok(rows)
    }

    /// Lets windows go that no row can come to any more. Returns the watermark of what leaves: that of later windows is ahead of it.
    pub fn close(&mut self, watermark: Micros, out: &mut Vec<Changes>) -> Result<Micros> {
        let over = ahead(watermark, self.plan.unit);
        while let Some(entry) = self.windows.first_entry() {
            if *entry.key() > over {
                break;
            }
            let window = entry.remove();
            let First { rows, places } = self.first(&window.rows)?;
            let leaves: Vec<u32> = (0..rows.num_rows() as u32).filter(|&i| places[i as usize] >= self.plan.offset).collect();
            if leaves.is_empty() {
                continue;
            }
            let leaves = UInt32Array::from(leaves);
            let mut columns = take_record_batch(&rows, &leaves)?.columns().to_vec();
            if self.plan.place {
                let place = |i: &u32| places[*i as usize] as i64 + 1;
                columns.push(Arc::new(Int64Array::from_iter_values(leaves.values().iter().map(place))) as ArrayRef);
            }
            out.push(Changes::inserts(RecordBatch::try_new(self.plan.schema.clone(), columns)?));
        }
        Ok(if watermark == Micros::MAX { watermark } else { behind(over, watermark) })
    }

    /// The rows up to the last place that leaves.
    fn first(&self, rows: &[RecordBatch]) -> Result<First> {
        let rows = concat_batches(&self.plan.input, rows)?;
        let by: Vec<ArrayRef> = self.plan.partition.iter().map(|&c| rows.column(c).clone()).collect();
        let (groups, order): (Rows, Rows) = (self.partition.convert_columns(&canonical(&by))?, self.order.encode(&rows)?);
        let key = |i: u32| (groups.row(i as usize), order.row(i as usize));
        let mut sorted: Vec<u32> = (0..rows.num_rows() as u32).collect();
        sorted.sort_unstable_by(|&a, &b| key(a).cmp(&key(b)));
        let last = self.plan.offset.saturating_add(self.plan.limit);
        let (mut chosen, mut places) = (Vec::new(), Vec::new());
        for group in sorted.chunk_by(|&a, &b| groups.row(a as usize) == groups.row(b as usize)) {
            let kept = (0..last).zip(group);
            kept.for_each(|(place, &row)| {
                places.push(place);
                chosen.push(row);
            });
        }
        Ok(First { rows: take_record_batch(&rows, &UInt32Array::from(chosen))?, places })
    }

    /// Rows that it holds.
    pub fn held(&self) -> u64 {
        self.windows.values().map(|w| w.count as u64).sum()
    }

    /// Appends its state: ends of the windows, and the rows of each.
    pub fn encode(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let ends: Vec<Micros> = self.windows.keys().copied().collect();
        let batches = ends.iter().map(|&end| self.prune(end)).collect::<Result<Vec<_>>>()?;
        snapshot::encode(bytes, &ends, &self.plan.input, &batches)
    }

    /// Takes over state from `encode`.
    pub fn decode(&mut self, state: &[u8]) -> Result<()> {
        let (ends, batches) = snapshot::decode::<Vec<Micros>>(state)?;
        if ends.len() != batches.len() {
            return Err(Error::corrupt(format!("state of a ranking has {} windows and {} batches", ends.len(), batches.len())));
        }
        ends.into_iter().zip(batches).try_for_each(|(end, rows)| self.add(end, rows))
    }
}
