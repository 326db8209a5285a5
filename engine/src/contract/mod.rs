//! The laws. Invariant: traits and plain data only, one law a file, no implementation; each law is checked over every
//! implementor by the tests named in its file.

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
