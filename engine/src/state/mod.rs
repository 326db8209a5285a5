//! State that outlives a process. Invariant: everything here is written whole or not at all, carries a version and a
//! checksum, and is refused with a reason when it does not fit.

mod checkpoint;
mod files;
mod savepoints;
pub(crate) mod snapshot;

pub use checkpoint::{Checkpoint, PartitionState, ReferencePin};
pub use files::CheckpointFiles;
pub use savepoints::{Savepoint, SavepointFiles};
