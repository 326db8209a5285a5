//! The loop of one partition: read, push, hand on. Invariant: a barrier is placed between two batches, and everything before
//! it has been handed on before it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::Sender;

use super::chain::{Chain, Chunk};
use super::job::Shared;
use super::pressure::is_held_back;
use crate::contract::{Clock, LogStore};
use crate::error::Result;
use crate::ids::{Epoch, Offset, Partition};
use crate::state::PartitionState;
use crate::time::Micros;

const TICK: Duration = Duration::from_millis(20);

/// What a worker hands to the driver.
#[derive(Debug)]
pub enum Item {
    /// Results of some records, and the watermark after them.
    Data { chunks: Vec<Chunk>, watermark: Micros, idle: Idle },
    /// The state at a barrier.
    Barrier(Epoch, Box<PartitionState>),
}

/// Whether a partition holds the watermark of the job back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// It had records within the idle timeout.
    No,
    /// It had none; it is carried along.
    Yes,
}

/// One partition of one scan of a job.
pub struct Worker {
    pub scan: usize,
    pub partition: Partition,
    /// Its index among all partitions of the job.
    pub place: usize,
    pub log: Arc<dyn LogStore>,
    pub chain: Box<dyn Chain>,
    pub position: Offset,
    pub shared: Arc<Shared>,
    pub sender: Sender<Item>,
    pub clock: Arc<dyn Clock>,
    pub idle_timeout: Duration,
    /// The epoch that the job continues from.
    pub epoch: Epoch,
}

impl Worker {
    /// Runs until the driver goes away or an error.
    pub fn run(mut self) -> Result<()> {
        let mut heard = self.clock.monotonic();
        let mut idle = Idle::No;
        while !self.shared.exit.load(Ordering::Acquire) {
            if !self.barrier()? {
                return Ok(());
            }
            if is_held_back(&self.shared, self.chain.watermark()) {
                // It has records, and is not idle: others have to come after it.
                heard = self.clock.monotonic();
                std::thread::sleep(TICK);
            } else if self.log.wait(self.partition, self.position, TICK) {
                heard = self.clock.monotonic();
                idle = Idle::No;
                if !self.batch()? {
                    return Ok(());
                }
            } else if self.clock.monotonic().saturating_sub(heard) >= self.idle_timeout && !self.carry_along(&mut idle)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads and pushes once. False if the driver is gone.
    fn batch(&mut self) -> Result<bool> {
        let Some(records) = self.log.read(self.partition, self.position)? else { return Ok(true) };
        let mut chunks = Vec::new();
        if let Some(lost) = &records.lost {
            tracing::error!(partition = self.partition, from = lost.start, to = lost.end, "records that the log has lost are left out");
            self.chain.lose(lost.end - lost.start);
        }
        if !records.entries.is_empty() {
            self.chain.push(&records, &mut chunks)?;
        }
        self.position = records.end();
        if let Some(last) = records.entries.last() {
            self.shared.gauges.read(self.place, last.received);
        }
        self.publish();
        Ok(self.sender.send(Item::Data { chunks, watermark: self.chain.watermark(), idle: Idle::No }).is_ok())
    }

    /// Lets an idle partition follow the others, so that windows close. False if the driver is gone.
    fn carry_along(&mut self, idle: &mut Idle) -> Result<bool> {
        let target = self.shared.input_watermark.load(Ordering::Acquire);
        if *idle == Idle::Yes && target <= self.chain.watermark() {
            return Ok(true);
        }
        *idle = Idle::Yes;
        let mut chunks = Vec::new();
        if target > self.chain.watermark() {
            self.chain.carry(target, &mut chunks)?;
            self.publish();
        }
        Ok(self.sender.send(Item::Data { chunks, watermark: self.chain.watermark(), idle: Idle::Yes }).is_ok())
    }

    /// Places a barrier if one is asked for. False if the driver is gone.
    fn barrier(&mut self) -> Result<bool> {
        let asked = self.shared.epoch_asked.load(Ordering::Acquire);
        if asked <= self.epoch {
            return Ok(true);
        }
        self.epoch = asked;
        let state = PartitionState {
            scan: self.scan,
            partition: self.partition,
            offset: self.position,
            watermark: self.chain.watermark(),
            counters: self.chain.counters(),
            state: self.chain.snapshot()?,
        };
        Ok(self.sender.send(Item::Barrier(asked, Box::new(state))).is_ok())
    }

    fn publish(&self) {
        self.shared.gauges.holds(self.place, self.chain.usage());
        self.shared.progress(self.place, self.position, self.chain.watermark(), self.chain.counters());
    }
}
