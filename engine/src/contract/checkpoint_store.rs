//! Law of `CheckpointStore`: a checkpoint is visible whole or not at all, also after a power cut; the newest that is whole
//! is found even if a newer one is damaged. Of two owners that write one of the same number, one does. It has a second copy, because
//! the one before it is behind what is committed.

use crate::error::Result;
use crate::ids::Epoch;

/// Keeps the checkpoints of one job.
pub trait CheckpointStore: Send {
    /// Makes a checkpoint durable; older ones beyond those kept are removed. Errors: `Unavailable` if another process has written it.
    fn save(&mut self, epoch: Epoch, bytes: &[u8]) -> Result<()>;

    /// Keeps a second copy of the newest checkpoint, once what it prepared is committed. It need not be durable at once.
    fn copy(&mut self, epoch: Epoch, bytes: &[u8]) -> Result<()>;

    /// The newest whole checkpoint. Errors: `Corrupt` if checkpoints exist but none is whole, or the newest is of a later version.
    fn load(&self) -> Result<Option<(Epoch, Vec<u8>)>>;

    /// The newest checkpoint that there is, whole or not.
    fn newest(&self) -> Result<Option<Epoch>>;
}
