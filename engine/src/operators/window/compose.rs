//! The merge of the partitions' panes. Invariant: a window is made of the panes whose slices lie in it and whose first window end is not
//! after its own, and is emitted once, after every partition's watermark has passed its end. Panes are merged in the order of slices and
//! partitions, so that sums of floats do not depend on thread timing.
//!
//! ```text
//! panes (slice, first end, partition) ─wait─► at that end: one settled partial a slice ─► every window over the slice ─► dropped
//! ```
//!
//! Cumulative windows share their start, so that all slices so far settle into one partial.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::merge::Closed;
use super::panes::Pane;
use super::slices::Slices;
use crate::contract::Usage;
use crate::error::{Error, Result};
use crate::ids::Partition;
use crate::plan;
use crate::state::snapshot;
use crate::time::{Micros, ahead};

/// A partial result: keys and states.
struct Part {
    rows: u64,
    partial: RecordBatch,
}

/// What the windows that come share.
struct Settled {
    part: Part,
    /// End of the next window over it.
    next: Micros,
}

/// Collects panes and gives windows.
pub struct SliceMerge {
    window: plan::Window,
    slices: Slices,
    unit: Micros,
    /// By first window end, start of the slice and partition.
    waiting: BTreeMap<(Micros, Micros, Partition), Part>,
    /// By representative of the slices.
    settled: BTreeMap<Micros, Settled>,
}

/// A part in a snapshot. States of version 0.1 have waiting parts only, with the name `end`.
#[derive(Serialize, Deserialize)]
struct PartState {
    start: Micros,
    /// Of a settled part, the next window end.
    #[serde(alias = "end")]
    from: Micros,
    partition: Partition,
    rows: u64,
    #[serde(default)]
    settled: bool,
}

impl SliceMerge {
    /// `unit` is the smallest step of event time in microseconds.
    pub fn new(window: plan::Window, slices: Slices, unit: Micros) -> Self {
        Self { window, slices, unit, waiting: BTreeMap::new(), settled: BTreeMap::new() }
    }

    /// Takes a pane of a partition. Errors: `Internal`, if it came before.
    pub fn add(&mut self, partition: Partition, (start, from): (Micros, Micros), partial: RecordBatch, rows: u64) -> Result<()> {
        match self.waiting.insert((from, start, partition), Part { rows, partial }) {
            None => Ok(()),
            Some(_) => Err(Error::internal(format!("partition {partition} gave a pane twice"))),
        }
    }

    /// Windows that are over at `watermark`, which every partition has reached, in order of their ends.
    pub fn close(&mut self, watermark: Micros) -> Result<Vec<Closed>> {
        let ahead = ahead(watermark, self.unit);
        let mut closed = Vec::new();
        while let Some(end) = self.next_end().filter(|&end| end <= ahead) {
            closed.push(self.compose(end)?);
        }
        Ok(closed)
    }

    fn next_end(&self) -> Option<Micros> {
        let waiting = self.waiting.keys().next().map(|k| k.0);
        waiting.into_iter().chain(self.settled.values().map(|s| s.next)).min()
    }

    /// The window that ends at `end`; every window that ends earlier has closed.
    fn compose(&mut self, end: Micros) -> Result<Closed> {
        let start = self.slices.window_start(end);
        let mut parts: BTreeMap<Micros, Vec<Part>> = BTreeMap::new();
        while let Some(entry) = self.waiting.first_entry().filter(|e| e.key().0 == end) {
            let representative = self.slices.representative(entry.key().1);
            parts.entry(representative).or_default().push(entry.remove());
        }
        for (&representative, _) in self.settled.range(start..end) {
            parts.entry(representative).or_default();
        }
        let alone = parts.len() == 1;
        let (mut pane, mut released) = (Pane::new(&self.window)?, 0);
        for (representative, mut parts) in parts {
            parts.splice(0..0, self.settled.remove(&representative).map(|s| s.part));
            let rows: u64 = parts.iter().map(|p| p.rows).sum();
            if self.slices.last_end(representative) == Some(end) {
                released += rows;
                parts.iter().try_for_each(|p| pane.merge(&self.window, &p.partial, p.rows))?;
                continue;
            }
            let partial = match parts.as_slice() {
                [one] => {
                    pane.merge(&self.window, &one.partial, rows)?;
                    one.partial.clone()
                }
                several => {
                    let mut settling = Pane::new(&self.window)?;
                    several.iter().try_for_each(|p| settling.merge(&self.window, &p.partial, p.rows))?;
                    let partial = settling.partial(&self.window)?;
                    if alone {
                        pane = settling;
                    } else {
                        pane.merge(&self.window, &partial, rows)?;
                    }
                    partial
                }
            };
            self.settled.insert(representative, Settled { part: Part { rows, partial }, next: self.slices.next_end(end) });
        }
        Ok(Closed { result: pane.finish(&self.window, start, end)?, rows: released, windows: 1 })
    }

    /// Rows in parts that are still needed.
    pub fn open_rows(&self) -> u64 {
        self.waiting.values().chain(self.settled.values().map(|s| &s.part)).map(|p| p.rows).sum()
    }

    /// What its parts take of memory.
    pub fn usage(&self) -> Usage {
        let parts = self.waiting.values().chain(self.settled.values().map(|s| &s.part));
        parts.map(|p| Usage { bytes: p.partial.get_array_memory_size() as u64, groups: p.partial.num_rows() as u64 }).sum()
    }

    /// Appends its state to `bytes`.
    pub fn snapshot_into(&self, bytes: &mut Vec<u8>) -> Result<()> {
        let waiting = self.waiting.iter().map(|(&(from, start, partition), part)| {
            (PartState { start, from, partition, rows: part.rows, settled: false }, part.partial.clone())
        });
        let settled = self
            .settled
            .iter()
            .map(|(&start, s)| (PartState { start, from: s.next, partition: 0, rows: s.part.rows, settled: true }, s.part.partial.clone()));
        let (heads, partials): (Vec<PartState>, Vec<RecordBatch>) = waiting.chain(settled).unzip();
        snapshot::encode(bytes, &heads, &self.window.partial_schema(), &partials)
    }

    /// Takes over state from `snapshot_into`.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        let (heads, partials) = snapshot::decode::<Vec<PartState>>(state)?;
        if heads.len() != partials.len() {
            return Err(Error::corrupt(format!("merge state has {} parts and {} batches", heads.len(), partials.len())));
        }
        let schema = self.window.partial_schema();
        for (head, partial) in heads.into_iter().zip(partials) {
            let partial = plan::widened(partial, &schema)?;
            if head.settled {
                self.settled.insert(head.start, Settled { part: Part { rows: head.rows, partial }, next: head.from });
            } else {
                self.add(head.partition, (head.start, head.from), partial, head.rows)?;
            }
        }
        Ok(())
    }
}
