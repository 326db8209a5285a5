//! The laws. Invariant: one law a file: a trait, and the plain data that it speaks of; nothing that implements one is here. The tests
//! beside the implementors check what a law says.

mod checkpoint_store;
mod clock;
mod codec;
pub mod connector;
mod device;
mod disk;
mod log_store;
pub(crate) mod operator;
mod sink;
mod source;
mod stateful;
mod usage;

pub use checkpoint_store::CheckpointStore;
pub use clock::Clock;
pub use codec::{Decoded, Decoder};
pub use connector::{ConnectorSpec, OptionSpec, Options, Role};
pub use device::{DeviceAuthority, Identity, Revocation};
pub use disk::{Disk, DiskFile, OpenMode};
pub use log_store::{Arrival, LogStore, Progress, Streams, Ticket};
pub use operator::{Emission, Operator, Output};
pub use sink::{PreCommit, Sink, StagedFile};
pub use source::{Source, SourceRecord};
pub use stateful::Stateful;
pub use usage::Usage;
