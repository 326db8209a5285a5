//! A partition as producers, readers and its writer thread share it. Invariant: an offset is published as durable after the
//! sync that covers it, in order, and never after a failure.
//!
//! ```text
//! append ─► intake: gate, group, next offset        (short lock; encodes straight into the group)
//!              │ swapped by the writer thread
//!              ▼
//!           frame ─► write ─► sync ─► segment summary ─► published ─► progress, readable
//! ```

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use crate::batch::Record;
use crate::contract::{Arrival, Clock, Disk, Progress};
use crate::error::{Case, Error, Result};
use crate::ids::Offset;
use crate::limits::APPEND_PENDING_BYTES_MAX;
use crate::locks::{read, write};
use crate::time::Micros;

use super::group::Group;
use super::handoff::{Handoff, Poisoned};
use super::live::Segment;
use super::pending::Pending;
use super::producers::Producers;
use super::reader::Hint;
use super::received::ReceiveTime;
use super::record;

/// One partition of an open stream.
#[derive(Debug)]
pub(super) struct Partition {
    /// `stream/partition`, for messages.
    pub(super) label: String,
    /// Index of the partition in its stream.
    pub(super) number: u32,
    /// Where its files are.
    pub(super) disk: Arc<dyn Disk>,
    /// Receive times.
    pub(super) clock: Arc<dyn Clock>,
    /// Monotonic time at which it was opened.
    pub(super) opened: Duration,
    /// Records that were there when it was opened.
    pub(super) found: Range<Offset>,
    /// What retention would have deleted, had no reader pinned it, ends here; 0 if there is nothing of the kind.
    pub(super) overdue: AtomicU64,
    /// Bytes of that, if they are worth telling.
    pub(super) held: AtomicU64,
    /// Whether the disk may not hold the names that retention left: it does nothing more then.
    pub(super) names_in_doubt: AtomicBool,
    /// Its segments, oldest first.
    pub(super) segments: RwLock<VecDeque<Arc<Segment>>>,
    /// Where sequential readers go on.
    pub(super) hints: Mutex<VecDeque<Hint>>,
    /// Sealed segments whose indexes were loaded last, the oldest first.
    pub(super) indexed: Mutex<VecDeque<Arc<Segment>>>,
    /// Between producers, the writer, and those who wait.
    pub(super) handoff: Handoff<Intake>,
    /// Memory for what waits, of all partitions.
    pub(super) pending: Pending,
    /// Whether so little space is left that records nothing was promised for should not come.
    scarce: AtomicBool,
    progress: watch::Sender<Progress>,
}

/// What producers and the writer hand to each other.
#[derive(Debug)]
pub(super) struct Intake {
    /// Records that wait.
    pub(super) group: Group,
    /// Whether more may come.
    pub(super) gate: Gate,
    /// Whether the active segment is to be sealed, so that retention can delete it.
    pub(super) roll: bool,
    /// Offset of the next record.
    pub(super) next: Offset,
    /// What devices sent last, records that wait included.
    pub(super) producers: Producers,
    received: ReceiveTime,
}

/// Whether records are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gate {
    /// Yes.
    Open,
    /// Not until there is space again.
    DiskFull,
    /// No more; what waits is still written.
    Closed,
    /// Never again.
    Failed(Arc<str>),
}

impl Partition {
    /// A partition whose records below `next` are durable.
    pub(super) fn new(
        (label, number): (String, u32),
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        segments: VecDeque<Arc<Segment>>,
        (next, received_last): (Offset, Micros),
        pending: Pending,
    ) -> Self {
        let group = Group::default();
        let producers = Producers::default();
        let opened = clock.monotonic();
        let received = ReceiveTime::new(received_last, opened);
        let intake = Intake { group, gate: Gate::Open, roll: false, next, producers, received };
        Self {
            label,
            number,
            disk,
            opened,
            found: segments.front().map_or(next, |s| s.header.base)..next,
            clock,
            overdue: AtomicU64::new(0),
            names_in_doubt: AtomicBool::new(false),
            held: AtomicU64::new(0),
            segments: RwLock::new(segments),
            hints: Mutex::new(VecDeque::new()),
            indexed: Mutex::new(VecDeque::new()),
            handoff: Handoff::new(intake, next),
            pending,
            scarce: AtomicBool::new(false),
            progress: watch::Sender::new(Progress { durable: next, failed: None }),
        }
    }

    /// What devices have sent so far, before the first `append`.
    pub(super) fn set_producers(&self, producers: Producers) {
        self.handoff.set(|intake| intake.producers = producers);
    }

    /// See `LogStore::append`.
    pub(super) fn append(&self, record: &Record<'_>) -> Result<(Offset, Arrival)> {
        record::validate(record)?;
        let now = self.clock.now();
        // A full disk refuses thousands in a second: none of them is work for the writer, and no repetition is.
        let is_work = |taken: &Result<(Offset, Arrival)>| matches!(taken, Ok((_, Arrival::New | Arrival::AfterGap)));
        match self.handoff.give_if(|intake| self.take(intake, record, now), is_work) {
            Ok(taken) => taken,
            Err(Poisoned) => {
                let e = panicked();
                self.fail(e.message());
                Err(e)
            }
        }
    }

    fn take(&self, intake: &mut Intake, record: &Record<'_>, now: Micros) -> Result<(Offset, Arrival)> {
        match &intake.gate {
            Gate::Open => {}
            Gate::DiskFull => {
                return Err(Error::unavailable(format!("the disk of log {} is full", self.label))
                    .of_case(Case::DiskFull)
                    .hint("free space or shorten retention; ingestion goes on by itself"));
            }
            Gate::Closed => return Err(Error::unavailable(format!("log {} is closed", self.label))),
            Gate::Failed(reason) => return Err(Error::internal(format!("log {} has failed: {reason}", self.label))),
        }
        let waiting = intake.group.bytes() + record::encoded_bytes(record);
        if waiting > APPEND_PENDING_BYTES_MAX {
            return Err(Error::unavailable(format!("log {} has too much waiting for the disk", self.label)));
        }
        if !self.pending.reserve(&mut intake.group.reserved, waiting) {
            return Err(Error::unavailable(format!(
                "log {} cannot take more: all logs together have too much waiting for the disk",
                self.label
            )));
        }
        let offset = intake.next;
        let arrival = record.producer.map_or(Arrival::New, |p| intake.producers.admit(record.device, p, offset));
        if arrival == Arrival::Duplicate {
            // No group will be written that would give it back.
            if intake.group.is_empty() {
                self.pending.release(&mut intake.group.reserved);
            }
            // What it repeats lies somewhere before the next offset, durable or on its way.
            return Ok((offset.saturating_sub(1), arrival));
        }
        let received = intake.received.next(now, &*self.clock);
        intake.group.push(record, offset, received);
        intake.next += 1;
        Ok((offset, arrival))
    }

    /// See `LogStore::is_scarce`.
    pub(super) fn is_scarce(&self) -> bool {
        self.scarce.load(Ordering::Relaxed)
    }

    /// Whether little space is left.
    pub(super) fn set_scarce(&self, scarce: bool) {
        if self.scarce.swap(scarce, Ordering::Relaxed) != scarce && scarce {
            tracing::warn!(log = %self.label, "little space is left on the disk; records sent with QoS 0 are left out");
        }
    }

    /// Every offset below is durable.
    pub(super) fn durable(&self) -> Offset {
        self.handoff.published()
    }

    /// Offset of the oldest record that is kept.
    pub(super) fn start(&self) -> Offset {
        let segments = read(&self.segments);
        segments.front().map_or_else(|| self.durable(), |s| s.header.base)
    }

    /// See `LogStore::received_last`. The newest segment may be empty still.
    pub(super) fn received_last(&self) -> Option<Micros> {
        let segments = read(&self.segments);
        segments.iter().rev().find_map(|s| s.received_last())
    }

    /// The segments as they are now.
    pub(super) fn segments_now(&self) -> Vec<Arc<Segment>> {
        read(&self.segments).iter().cloned().collect()
    }

    /// A new segment takes the following records.
    pub(super) fn add_segment(&self, segment: Arc<Segment>) {
        write(&self.segments).push_back(segment);
    }

    /// See `LogStore::progress`.
    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// See `LogStore::wait`.
    pub(super) fn wait(&self, from: Offset, timeout: Duration) -> bool {
        self.handoff.wait(from, timeout)
    }

    /// Every offset below `durable` is durable now.
    pub(super) fn publish(&self, durable: Offset) {
        self.handoff.publish(durable, || self.progress.send_modify(|p| p.durable = durable));
    }

    /// Poisons the partition: nothing is taken or acknowledged any more.
    pub(super) fn fail(&self, reason: &str) {
        tracing::error!(log = %self.label, reason, "log partition failed; nothing more is acknowledged");
        let reason: Arc<str> = reason.into();
        self.handoff.set(|intake| intake.gate = Gate::Failed(reason.clone()));
        self.progress.send_modify(|p| {
            p.failed.get_or_insert(reason);
        });
    }

    /// Has the writer poison the partition instead of writing another group: so nothing is published after the failure.
    pub(super) fn give_up(&self, reason: &str) {
        self.handoff.set(|intake| {
            if !matches!(intake.gate, Gate::Failed(_)) {
                intake.gate = Gate::Failed(reason.into());
            }
        });
    }

    /// Why the partition failed, if it did.
    pub(super) fn failure(&self) -> Option<Arc<str>> {
        self.progress.borrow().failed.clone()
    }

    /// No more records are taken; the writer thread ends after those that wait.
    pub(super) fn close(&self) {
        self.handoff.set(|intake| {
            if !matches!(intake.gate, Gate::Failed(_)) {
                intake.gate = Gate::Closed;
            }
        });
    }

    /// Asks the writer to begin a new segment.
    pub(super) fn request_roll(&self) {
        self.handoff.set(|intake| intake.roll = true);
    }
}

/// The error for a hand-off in which a thread panicked.
pub(super) fn panicked() -> Error {
    Error::internal("a thread panicked while it appended")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{ContentType, ProducerSequence};
    use crate::log::sim::{SimClock, SimDisk};

    #[test]
    fn repetitions_keep_no_memory_from_the_other_logs() {
        let (disk, clock, pending) = (Arc::new(SimDisk::default()), Arc::new(SimClock::default()), Pending::default());
        let partition = Partition::new(("p/0".to_owned(), 0), disk, clock, VecDeque::new(), (0, Micros::MIN), pending.clone());
        let producer = Some(ProducerSequence { epoch: 1, sequence: 7 });
        let record = Record { device: "d", topic: "t", content_type: ContentType::Json, producer, payload: b"{}" };
        let reserved = || partition.handoff.set(|intake| intake.group.reserved);
        assert_eq!(partition.append(&record).unwrap().1, Arrival::New);
        assert_eq!(partition.append(&record).unwrap().1, Arrival::Duplicate);
        assert!(reserved() > 0, "the first one waits");
        partition.handoff.set(|intake| {
            pending.release(&mut intake.group.reserved);
            intake.group.clear();
        });
        assert_eq!(partition.append(&record).unwrap().1, Arrival::Duplicate);
        assert_eq!(reserved(), 0);
    }
}
