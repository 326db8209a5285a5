//! What a worker does with the records of its partition. Invariant: a chain is synchronous and deterministic: the same records
//! after the same state give the same chunks and counters.

use arrow::array::RecordBatch;

use crate::batch::Records;
use crate::contract::{Decoded, Emission, Usage};
use crate::error::Result;
use crate::metrics::JobCounters;
use crate::time::Micros;

/// Which of a job's sinks rows go to that no step takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The first output.
    Main,
    /// Late rows.
    Late,
    /// Rejected rows of the partition's scan.
    Rejects,
}

/// What a chain hands to the driver.
#[derive(Debug)]
pub enum Chunk {
    /// Rows for a sink.
    Rows(Target, RecordBatch),
    /// What one of the plan's inputs, by index, gives.
    Emission(usize, Emission),
}

/// The work of one partition.
pub trait Chain: Send {
    /// Takes the next records and what they are decoded to; puts what comes of them into `out`. Whether any of them has an event time.
    fn push(&mut self, records: &Records, decoded: Decoded, out: &mut Vec<Chunk>) -> Result<bool>;

    /// Counts records that the log has lost.
    fn lose(&mut self, records: u64);

    /// Event time is carried along to `watermark` although this partition is idle.
    fn carry(&mut self, watermark: Micros, out: &mut Vec<Chunk>) -> Result<()>;

    /// The watermark after everything pushed.
    fn watermark(&self) -> Micros;

    /// Counts since the job was created, with the rows that are in open windows now.
    fn counters(&self) -> JobCounters;

    /// What the state takes of memory.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// State of the operators.
    fn snapshot(&mut self) -> Result<Vec<u8>>;

    /// Takes over watermark, counts and state of a checkpoint.
    fn restore(&mut self, watermark: Micros, counters: JobCounters, state: &[u8]) -> Result<()>;
}
