//! Law of `LogStore`: a record is durable when `Progress::durable` has passed its offset, and never before. Offsets of a
//! partition are dense and strictly increasing, also across restarts. `read` never returns a record that is torn or not
//! durable. A record whose producer's number is known is not stored again. `log/conformance.rs` checks it over
//! every implementor.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::batch::{Record, Records};
use crate::error::Result;
use crate::ids::{Name, Offset, Partition};
use crate::time::Micros;

/// A place in the log that a record was given. It is durable when the partition's `Progress::durable` exceeds `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Partition of the record.
    pub partition: Partition,
    /// Offset of the record; of a duplicate that of the partition's last record, at or after the one it repeats.
    pub offset: Offset,
    /// How it relates to what its producer sent before.
    pub arrival: Arrival,
}

/// How a record relates to what its producer sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Stored. Records without a producer's number are always new.
    New,
    /// Stored, and the numbers between it and the last one are missing: its device lost them, or sends them later.
    AfterGap,
    /// Not stored: its (device, epoch, sequence) is in the log already. Its sender is told that it is durable, when it is.
    Duplicate,
}

/// How far a partition has become durable.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Every offset below this one is durable.
    pub durable: Offset,
    /// Set once and for ever when the partition failed (it is poisoned): no further offset will become durable.
    pub failed: Option<Arc<str>>,
}

/// The partitioned, append-only log of one stream.
pub trait LogStore: Send + Sync + 'static {
    /// How many partitions there are; fixed when the stream was made.
    fn partitions(&self) -> u32;

    /// Takes a record for the next group commit of its device's partition, and says which offset it will have. Does not
    /// wait. Errors: `Invalid` (too large), `Unavailable` (too much is waiting, or the disk is full), `Internal` (poisoned).
    fn append(&self, record: &Record<'_>) -> Result<Ticket>;

    /// Whether space runs short: records that nothing was promised for should not be appended then.
    fn is_scarce(&self, _partition: Partition) -> bool {
        false
    }

    /// Follows how far `partition` has become durable.
    fn progress(&self, partition: Partition) -> watch::Receiver<Progress>;

    /// Offsets that can be read: from the oldest kept to the first that is not durable.
    fn bounds(&self, partition: Partition) -> Range<Offset>;

    /// Reads durable records from `from` on, up to the limits of a batch; `None` if there are none yet. Errors: `Invalid` if
    /// `from` lies below the oldest kept (never a silent jump), `Corrupt` if stored bytes are damaged.
    fn read(&self, partition: Partition, from: Offset) -> Result<Option<Records>>;

    /// Blocks until `read(partition, from)` would return records, or `timeout` passed. For threads, not for async tasks.
    fn wait(&self, partition: Partition, from: Offset, timeout: Duration) -> bool;

    /// The first offset whose receive time is at or after `time`; the end if there is none.
    fn offset_at(&self, partition: Partition, time: Micros) -> Result<Offset>;

    /// Receive time of the newest record that can be read; `None` if there is none, or nobody knows.
    fn received_last(&self, _partition: Partition) -> Option<Micros> {
        None
    }

    /// Keeps records from `offset` on for the reader `name` until it pins a later one or `unpin`s: retention stops there.
    fn pin(&self, name: &str, partition: Partition, offset: Offset);

    /// Retention would delete what lies below this offset, had no reader pinned it; 0 if it waits for nobody.
    fn overdue(&self, _partition: Partition) -> Offset {
        0
    }

    /// Forgets the pins of a reader.
    fn unpin(&self, name: &str);
}

/// The logs of all streams, by name.
pub trait Streams: Send + Sync + 'static {
    /// The log of a stream. Errors: `NotFound` if there is no such stream.
    fn stream(&self, name: &Name) -> Result<Arc<dyn LogStore>>;
}
