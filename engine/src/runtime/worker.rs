//! The work on one partition, step by step: read, push, hand on. Invariant: a barrier is placed between two batches, and everything
//! before it has been handed on before it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::bells::Listening;
use super::chain::{Chain, Chunk};
use super::job::{Place, Shared};
use super::pressure::is_held_back;
use super::scan::{Read, ScanReader};
use crate::contract::Clock;
use crate::error::Result;
use crate::ids::{Epoch, Offset};
use crate::limits::APART_ROWS_MIN;
use crate::state::PartitionState;
use crate::time::Micros;

/// How often a partition looks for what nobody tells it: a barrier, while it has a thread of its own, or that it need not wait any more.
pub const TICK: Duration = Duration::from_millis(20);

/// What a worker hands to the driver.
pub enum Item {
    /// Results of some records, and the watermark after them.
    Data { chunks: Vec<Chunk>, watermark: Micros, idle: Idle },
    /// The state at a barrier.
    Barrier(Epoch, Box<PartitionState>),
    /// It needs no thread of its own any more.
    Home(Box<Worker>),
}

/// Whether a partition holds the watermark of the job back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// It had records with an event time within the idle timeout.
    No,
    /// It had none; it is carried along.
    Yes,
}

/// One partition of one scan of a job.
pub struct Worker {
    pub(super) place: Place,
    /// Its index among all partitions of the job.
    pub index: usize,
    pub reader: ScanReader,
    pub chain: Box<dyn Chain>,
    pub position: Offset,
    pub shared: Arc<Shared>,
    pub clock: Arc<dyn Clock>,
    pub idle_timeout: Duration,
    /// The epoch that the job continues from.
    pub epoch: Epoch,
    /// Up to where there is something to read, as it last looked or heard.
    pub seen: Offset,
    pub listening: Arc<Listening>,
    /// When it last had records, by the monotonic clock.
    pub heard: Duration,
    /// When it last had some with an event time: those that are rejected do not move its watermark, and must not hold back that of all.
    pub timed: Duration,
    /// For how long records gather before it reads again, unless it is behind.
    pub rest: Duration,
    pub idle: Idle,
}

impl Worker {
    /// What is to be handed on now: a barrier that was asked for, results of what it has seen, or that it is idle.
    pub fn step(&mut self) -> Result<Option<Item>> {
        if let Some(barrier) = self.barrier()? {
            return Ok(Some(barrier));
        }
        if self.is_held_back() {
            // It is not idle: others have to come after it.
            self.timed = self.clock.monotonic();
            return Ok(None);
        }
        if self.is_resting() {
            return Ok(None);
        }
        if self.position < self.seen { self.batch() } else { self.carry_along() }
    }

    /// Looks how far it can read. False if there is nothing.
    pub fn look(&mut self) -> bool {
        self.seen = self.reader.end();
        self.position < self.seen
    }

    /// Hears how far it should read.
    pub fn hear(&mut self) {
        self.seen = self.seen.max(self.listening.end(self.place.partition));
    }

    /// Whether it has so much before it that it should not hold others up.
    pub fn is_behind(&self) -> bool {
        self.seen.saturating_sub(self.position) >= APART_ROWS_MIN
    }

    /// Whether it waits for partitions that are behind in event time.
    pub fn is_held_back(&self) -> bool {
        is_held_back(&self.shared, self.index, self.chain.watermark())
    }

    /// Whether what it has before it may wait for more.
    fn is_resting(&self) -> bool {
        let may_rest = !self.rest.is_zero() && self.position < self.seen && !self.is_behind();
        may_rest && self.clock.monotonic() < self.rested_at()
    }

    fn rested_at(&self) -> Duration {
        self.heard.saturating_add(self.rest)
    }

    /// When it may have something to hand on though nothing comes.
    pub fn due(&self) -> Option<Duration> {
        if self.is_held_back() {
            Some(self.clock.monotonic() + TICK)
        } else if self.position < self.seen {
            Some(self.rested_at())
        } else {
            self.idle_at()
        }
    }

    /// When it becomes idle if nothing with an event time comes; `None` if it is.
    fn idle_at(&self) -> Option<Duration> {
        (self.idle == Idle::No).then(|| self.timed.saturating_add(self.idle_timeout))
    }

    /// Reads and pushes once.
    fn batch(&mut self) -> Result<Option<Item>> {
        let (mut chunks, mut is_timed) = (Vec::new(), false);
        match self.reader.next(self.position)? {
            None => {
                self.seen = self.position;
                return Ok(None);
            }
            Some(Read::Lost(lost)) => {
                let Place { partition, .. } = self.place;
                tracing::error!(partition, from = lost.start, to = lost.end, "records that the log has lost are left out");
                self.chain.lose(lost.end - lost.start);
                self.position = lost.end;
            }
            Some(Read::Rows(records, decoded)) => {
                is_timed = self.chain.push(&records, *decoded, &mut chunks)?;
                self.position = records.end();
                if let Some(last) = records.entries.last() {
                    self.shared.gauges.read(self.index, last.received);
                }
            }
        }
        self.heard = self.clock.monotonic();
        if is_timed {
            (self.timed, self.idle) = (self.heard, Idle::No);
        }
        self.publish();
        Ok(Some(Item::Data { chunks, watermark: self.chain.watermark(), idle: self.idle }))
    }

    /// Lets an idle partition follow the others, so that windows close. None is idle while the log has something for it.
    fn carry_along(&mut self) -> Result<Option<Item>> {
        let target = self.shared.input_watermarks[self.index].load(Ordering::Acquire);
        let is_due = match self.idle_at() {
            Some(at) => self.clock.monotonic() >= at,
            None => target > self.chain.watermark(),
        };
        if !is_due {
            return Ok(None);
        }
        // What came while nobody looked, because the driver or this thread was busy, is not late.
        if self.look() {
            return self.batch();
        }
        self.idle = Idle::Yes;
        let mut chunks = Vec::new();
        if target > self.chain.watermark() {
            self.chain.carry(target, &mut chunks)?;
            self.publish();
        }
        Ok(Some(Item::Data { chunks, watermark: self.chain.watermark(), idle: Idle::Yes }))
    }

    /// Places a barrier if one is asked for.
    fn barrier(&mut self) -> Result<Option<Item>> {
        let asked = self.shared.epoch_asked.load(Ordering::Acquire);
        if asked <= self.epoch {
            return Ok(None);
        }
        self.epoch = asked;
        let state = PartitionState {
            scan: self.place.scan,
            partition: self.place.partition,
            offset: self.position,
            watermark: self.chain.watermark(),
            counters: self.chain.counters(),
            state: self.chain.snapshot()?,
        };
        Ok(Some(Item::Barrier(asked, Box::new(state))))
    }

    pub fn publish(&self) {
        self.shared.gauges.holds(self.index, self.chain.usage());
        self.shared.progress(self.index, self.position, self.chain.watermark(), self.chain.counters());
    }
}
