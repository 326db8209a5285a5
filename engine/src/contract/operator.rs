//! Law of `Operator`: synchronous, and its output depends only on what it was pushed so far, not on how rows were cut into
//! batches. `restore(snapshot())` on a fresh operator of the same plan changes nothing about what follows.

use arrow::array::{RecordBatch, UInt64Array};

use crate::batch::{Batch, Reject};
use crate::error::Result;
use crate::metrics::JobCounters;
use crate::time::Micros;

/// What leaves the end of a partition's chain.
#[derive(Debug, Clone)]
pub enum Emission {
    /// Rows of a job without windows.
    Rows(RecordBatch),
    /// The partial result of one pane: key columns, then the states of the accumulators, one row a group. No other pane of the
    /// partition has the same `start` and `from`.
    Pane {
        /// Start of the slice of event time that the rows lie in, in microseconds.
        start: Micros,
        /// They count in the windows over this slice that end here or later, in microseconds.
        from: Micros,
        /// Keys and states.
        partial: RecordBatch,
        /// Rows that went in.
        rows: u64,
    },
    /// Sessions of one partition. Each is closed once; it may have been announced as open before, with the same first row.
    Sessions {
        /// Sessions that have begun and are still open: time of the first row, keys. Those of another partition that end later than
        /// this have to wait for them.
        opened: RecordBatch,
        /// Sessions that no row of this partition can reach any more: times of the first and the last row, number of rows, keys, states.
        closed: RecordBatch,
    },
}

/// Rows that came too late: their windows had all closed.
#[derive(Debug, Clone)]
pub struct LateRows {
    /// Offsets of the rows.
    pub offsets: UInt64Array,
    /// Event time of each, in microseconds.
    pub times: Vec<Micros>,
    /// Watermark that each met, in microseconds.
    pub watermarks: Vec<Micros>,
}

/// Where operators put what is not a batch for the next one.
#[derive(Debug, Default)]
pub struct Output {
    /// Results, in order.
    pub emissions: Vec<Emission>,
    /// Late rows.
    pub late: Vec<LateRows>,
    /// Rows whose evaluation failed.
    pub rejects: Vec<Reject>,
    /// Counts of this push.
    pub counters: JobCounters,
}

/// One step of a partition's chain.
pub trait Operator: Send {
    /// Takes a batch; returns what the next operator gets, if anything.
    fn push(&mut self, batch: Batch, out: &mut Output) -> Result<Option<Batch>>;

    /// Event time has reached `watermark`: closes what can be closed. Called after every push, and when an idle partition
    /// is carried along.
    fn advance(&mut self, watermark: Micros, out: &mut Output) -> Result<()> {
        let _ = (watermark, out);
        Ok(())
    }

    /// Appends its state to `bytes`, if there is any. Takes `&mut self` because accumulators give their state away and must take
    /// it back.
    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let _ = bytes;
        Ok(())
    }

    /// State as bytes; empty if there is none.
    fn snapshot(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.snapshot_into(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes over state from `snapshot`.
    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let _ = state;
        Ok(())
    }
}
