//! Law of `Stateful`: synchronous, behind the exchange, where all partitions of its inputs meet. Its output is a function of the rows
//! and of the order of their event times alone: neither batches nor the order in which partitions are read show in it. `restore(snapshot())` on a
//! fresh operator of the same plan changes nothing about what follows.

use crate::batch::FailedRow;
use crate::changes::Changes;
use crate::contract::Usage;
use crate::error::Result;
use crate::time::Micros;

/// One step with one or two inputs.
pub trait Stateful: Send {
    /// Takes rows of an input. Appended rows never lie at or behind the watermark that was reached when they come; rows of an updating
    /// input come in the order of their changes.
    fn push(&mut self, input: usize, changes: Changes, out: &mut Vec<Changes>) -> Result<()>;

    /// All inputs have reached `watermark`: lets go of what is complete. Rows that leave later have event times behind the watermark
    /// that is returned, which is at most `watermark` and never decreases.
    fn advance(&mut self, watermark: Micros, out: &mut Vec<Changes>) -> Result<Micros>;

    /// Rows that it could not compute since it was asked last, in the order in which it met them. They are gone: nothing else it gives
    /// has a part of them.
    fn failed(&mut self) -> Vec<FailedRow> {
        Vec::new()
    }

    /// Rows that it holds, for SHOW JOBS.
    fn held(&self) -> u64;

    /// Keys that it holds state of, if it has state by key. A key may have state without any row.
    fn keys(&self) -> Option<u64> {
        None
    }

    /// What it takes of memory, if it can tell without looking at each row; otherwise it is estimated from `held`, `keys` and the last
    /// snapshot.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Appends its state to `bytes`.
    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()>;

    /// State as bytes.
    fn snapshot(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.snapshot_into(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes over state from `snapshot`. Errors: `Corrupt`.
    fn restore(&mut self, state: &[u8]) -> Result<()>;
}
