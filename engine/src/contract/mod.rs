//! The laws. Invariant: one law a file: a trait, and the plain data that it speaks of; nothing that implements one is here. The tests
//! beside the implementors check what a law says.

pub mod checkpoint_store;
pub mod clock;
pub mod codec;
pub mod connector;
pub mod device;
pub mod disk;
pub mod log_store;
pub mod operator;
pub mod sink;
pub mod source;
pub mod stateful;
pub mod usage;

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
