//! The merge of the partitions' panes. Invariant: a window is emitted once, after every partition's watermark has passed its
//! end, and its panes are merged in the order of partitions, so that sums of floats do not depend on thread timing.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::panes::Pane;
use crate::error::{Error, Result};
use crate::ids::Partition;
use crate::plan;
use crate::state::snapshot;
use crate::time::Micros;

/// A partition's part of a window.
struct Part {
    partition: Partition,
    rows: u64,
    partial: RecordBatch,
}

/// A closed window.
#[derive(Debug)]
pub struct Closed {
    /// `window_start`, `window_end`, keys, aggregates.
    pub result: RecordBatch,
    /// Rows that went in.
    pub rows: u64,
    /// End of the window in microseconds, exclusive.
    pub end: Micros,
}

/// Collects partial results and gives final ones.
pub struct WindowMerge {
    window: plan::Window,
    unit: Micros,
    /// By (end, start).
    waiting: BTreeMap<(Micros, Micros), Vec<Part>>,
}

#[derive(Serialize, Deserialize)]
struct PartState {
    start: Micros,
    end: Micros,
    partition: Partition,
    rows: u64,
}

impl WindowMerge {
    /// `unit` is the smallest step of event time in microseconds.
    pub fn new(window: plan::Window, unit: Micros) -> Self {
        Self { window, unit, waiting: BTreeMap::new() }
    }

    /// Takes a partition's part of the window `[start, end)`.
    pub fn add(&mut self, partition: Partition, (start, end): (Micros, Micros), partial: RecordBatch, rows: u64) {
        self.waiting.entry((end, start)).or_default().push(Part { partition, rows, partial });
    }

    /// Windows that end by `watermark`, which every partition has reached, in order of their ends.
    pub fn close(&mut self, watermark: Micros) -> Result<Vec<Closed>> {
        let mut closed = Vec::new();
        while let Some(entry) = self.waiting.first_entry() {
            let (end, start) = *entry.key();
            if end - self.unit > watermark {
                break;
            }
            let mut parts = entry.remove();
            parts.sort_by_key(|p| p.partition);
            let mut pane = Pane::new(&self.window)?;
            for part in &parts {
                pane.merge(&self.window, &part.partial, part.rows)?;
            }
            closed.push(Closed { result: pane.finish(&self.window, start, end)?, rows: pane.rows, end });
        }
        Ok(closed)
    }

    /// Rows in parts that wait for other partitions.
    pub fn open_rows(&self) -> u64 {
        self.waiting.values().flatten().map(|p| p.rows).sum()
    }

    /// State as bytes.
    pub fn snapshot(&self) -> Result<Vec<u8>> {
        let parts = || self.waiting.iter().flat_map(|(key, parts)| parts.iter().map(move |p| (*key, p)));
        let heads: Vec<PartState> =
            parts().map(|((end, start), p)| PartState { start, end, partition: p.partition, rows: p.rows }).collect();
        let partials: Vec<RecordBatch> = parts().map(|(_, p)| p.partial.clone()).collect();
        snapshot::encode(&heads, &self.window.partial_schema(), &partials)
    }

    /// Takes over state from `snapshot`.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        let (heads, partials) = snapshot::decode::<Vec<PartState>>(state)?;
        if heads.len() != partials.len() {
            return Err(Error::corrupt(format!("merge state has {} parts and {} batches", heads.len(), partials.len())));
        }
        for (head, partial) in heads.into_iter().zip(partials) {
            self.add(head.partition, (head.start, head.end), partial, head.rows);
        }
        Ok(())
    }
}
