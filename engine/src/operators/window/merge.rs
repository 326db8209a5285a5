//! Where the partial results of a window's partitions meet, for any kind. Invariant: what comes out, and in which order, depends on the
//! rows alone, not on when partial results arrive.

use arrow::array::RecordBatch;

use super::compose::SliceMerge;
use super::kind::Shape;
use super::sessions::SessionMerge;
use crate::contract::{Emission, Usage};
use crate::error::{Error, Result};
use crate::ids::Partition;
use crate::plan;
use crate::time::{MILLISECOND, Micros, ahead};

/// Closed windows.
#[derive(Debug)]
pub struct Closed {
    /// `window_start`, `window_end`, keys, aggregates; at least one row.
    pub result: RecordBatch,
    /// Rows that left the state with it: all their windows have closed.
    pub rows: u64,
    /// Distinct ends of windows in it; none of them is in another result.
    pub windows: u64,
}

/// Collects partial results and gives final ones.
pub struct WindowMerge {
    unit: Micros,
    merge: Merge,
}

enum Merge {
    Slices(SliceMerge),
    Sessions(Box<SessionMerge>),
}

impl WindowMerge {
    /// `unit` is the smallest step of event time in microseconds.
    pub fn new(window: plan::Window, unit: Micros) -> Result<Self> {
        let merge = match window.parameters.shape()? {
            Shape::Sliced(slices) => Merge::Slices(SliceMerge::new(window, slices, unit)),
            Shape::Session { gap } => Merge::Sessions(Box::new(SessionMerge::new(window, gap, unit)?)),
        };
        Ok(Self { unit, merge })
    }

    /// Takes what the window of a partition gave. Errors: `Internal` for what no window gives.
    pub fn add(&mut self, partition: Partition, emission: Emission) -> Result<()> {
        match (&mut self.merge, emission) {
            (Merge::Slices(m), Emission::Pane { start, from, partial, rows }) => m.add(partition, (start, from), partial, rows),
            (Merge::Sessions(m), Emission::Sessions { opened, closed }) => m.add(partition, &opened, &closed),
            _ => Err(Error::internal("a window gave the partial result of another kind")),
        }
    }

    /// Windows that are over at `watermark`, which every partition has reached, in order of their ends.
    pub fn close(&mut self, watermark: Micros) -> Result<Vec<Closed>> {
        match &mut self.merge {
            Merge::Slices(m) => m.close(watermark),
            Merge::Sessions(m) => Ok(m.close(watermark)?.into_iter().collect()),
        }
    }

    /// The watermark of the results once `close(watermark)` has given them: what comes later has its end and its `window_time`, a
    /// millisecond before that, ahead of it.
    pub fn watermark(&self, watermark: Micros) -> Micros {
        let over = ahead(watermark, self.unit);
        match self.merge {
            Merge::Slices(_) => behind(over, watermark),
            Merge::Sessions(_) => behind(over.saturating_sub(1), watermark),
        }
    }

    /// Rows in parts that are still needed.
    pub fn open_rows(&self) -> u64 {
        match &self.merge {
            Merge::Slices(m) => m.open_rows(),
            Merge::Sessions(m) => m.open_rows(),
        }
    }

    /// What it takes of memory.
    pub fn usage(&self) -> Usage {
        match &self.merge {
            Merge::Slices(m) => m.usage(),
            Merge::Sessions(m) => m.usage(),
        }
    }

    /// Appends its state to `bytes`.
    pub fn snapshot_into(&self, bytes: &mut Vec<u8>) -> Result<()> {
        match &self.merge {
            Merge::Slices(m) => m.snapshot_into(bytes),
            Merge::Sessions(m) => m.snapshot_into(bytes),
        }
    }

    /// Takes over state from `snapshot_into`. Errors: `Corrupt`.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        match &mut self.merge {
            Merge::Slices(m) => m.restore(state),
            Merge::Sessions(m) => m.restore(state),
        }
    }
}

/// The watermark of results at `watermark`, if all windows that end by `over` have left. An end is a millisecond after its `window_time`.
pub(in crate::operators) fn behind(over: Micros, watermark: Micros) -> Micros {
    over.saturating_sub(MILLISECOND).min(watermark)
}
