//! Law of `CheckpointStore`: a checkpoint is visible whole or not at all, also after a power cut; the newest that is whole
//! is found even if a newer one is damaged.

use crate::error::Result;
use crate::ids::Epoch;

/// Keeps the checkpoints of one job.
pub trait CheckpointStore: Send {
    /// Makes a checkpoint durable; older ones beyond those kept are removed.
    fn save(&mut self, epoch: Epoch, bytes: &[u8]) -> Result<()>;

    /// The newest whole checkpoint. Errors: `Corrupt` if checkpoints exist but none is whole.
    fn load(&self) -> Result<Option<(Epoch, Vec<u8>)>>;
}
