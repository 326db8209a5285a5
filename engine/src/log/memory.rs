//! A log in memory, for tests of everything around a log. Invariant: it keeps the law of `LogStore` except that nothing
//! survives the process; records become durable at once, or when the test says so.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use arrow::buffer::Buffer;
use tokio::sync::watch;

use crate::batch::{Entry, Record, Records};
use crate::contract::{Arrival, Clock, LogStore, Progress, Ticket};
use crate::error::{Error, Result};
use crate::ids::{Offset, Partition, partition_of};
use crate::limits::{BATCH_BYTES_MAX, BATCH_ROWS_MAX};
use crate::locks::lock;
use crate::time::Micros;

use super::producers::Producers;
use super::record;

/// When records become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// In `append`.
    AtOnce,
    /// In `MemoryLog::flush`.
    OnFlush,
}

/// A log that forgets.
#[derive(Debug)]
pub struct MemoryLog {
    clock: Arc<dyn Clock>,
    durability: Durability,
    partitions: Vec<MemoryPartition>,
    pins: Mutex<BTreeMap<(String, Partition), Offset>>,
}

#[derive(Debug)]
struct MemoryPartition {
    state: Mutex<State>,
    readable: Condvar,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct State {
    start: Offset,
    overdue: Offset,
    producers: Producers,
    records: Vec<Stored>,
    durable: Offset,
    received_last: Option<Micros>,
}

#[derive(Debug)]
struct Stored {
    entry: Entry,
    bytes: Vec<u8>,
}

impl State {
    fn next(&self) -> Offset {
        self.start + self.records.len() as Offset
    }
}

impl MemoryLog {
    /// An empty log. Panics if `partitions` is 0.
    pub fn new(partitions: u32, clock: Arc<dyn Clock>, durability: Durability) -> Self {
        assert!(partitions > 0);
        let partition =
            |_| MemoryPartition { state: Mutex::default(), readable: Condvar::new(), progress: watch::Sender::new(Progress::default()) };
        Self { clock, durability, partitions: (0..partitions).map(partition).collect(), pins: Mutex::default() }
    }

    /// Makes everything durable that was appended so far.
    pub fn flush(&self) {
        for partition in &self.partitions {
            let mut state = lock(&partition.state);
            partition.publish(&mut state);
        }
    }

    /// Poisons every partition, as a failed sync would: what is not durable never will be.
    pub fn fail(&self, reason: &str) {
        for partition in &self.partitions {
            partition.progress.send_modify(|p| {
                p.failed.get_or_insert_with(|| reason.into());
            });
        }
    }

    /// Forgets the records of a partition below `offset`, as retention would, but not those that a reader has pinned.
    pub fn retain_from(&self, partition: Partition, offset: Offset) {
        let pinned = lock(&self.pins).iter().filter(|((_, p), _)| *p == partition).map(|(_, o)| *o).min();
        let Ok(partition) = self.partition(partition) else { return };
        let mut state = lock(&partition.state);
        let to = offset.min(pinned.unwrap_or(offset)).min(state.durable);
        state.overdue = if to < offset { offset } else { 0 };
        if let Some(count) = to.checked_sub(state.start) {
            state.records.drain(..count as usize);
            state.start = to;
        }
    }

    fn partition(&self, number: Partition) -> Result<&MemoryPartition> {
        self.partitions.get(number as usize).ok_or_else(|| Error::invalid(format!("there is no partition {number}")))
    }
}

impl MemoryPartition {
    fn publish(&self, state: &mut State) {
        if self.progress.borrow().failed.is_none() {
            state.durable = state.next();
            self.progress.send_modify(|p| p.durable = state.durable);
            self.readable.notify_all();
        }
    }
}

impl LogStore for MemoryLog {
    fn partitions(&self) -> u32 {
        self.partitions.len() as u32
    }

    fn append(&self, record: &Record<'_>) -> Result<Ticket> {
        record::validate(record)?;
        let number = partition_of(record.device, self.partitions());
        let partition = self.partition(number)?;
        if let Some(reason) = &partition.progress.borrow().failed {
            return Err(Error::internal(format!("log has failed: {reason}")));
        }
        let mut state = lock(&partition.state);
        let next = state.next();
        let arrival = record.producer.map_or(Arrival::New, |p| state.producers.admit(record.device, p, next));
        if arrival == Arrival::Duplicate {
            return Ok(Ticket { partition: number, offset: next.saturating_sub(1), arrival });
        }
        let received = self.clock.now().max(state.received_last.unwrap_or(Micros::MIN));
        state.received_last = Some(received);
        let bytes = [record.device.as_bytes(), record.topic.as_bytes(), record.payload].concat();
        let (topic, payload) = (record.device.len() as u32, (record.device.len() + record.topic.len()) as u32);
        let entry = Entry {
            offset: next,
            received,
            device: 0..topic,
            topic: topic..payload,
            payload: payload..bytes.len() as u32,
            content_type: record.content_type,
            producer: record.producer,
        };
        let ticket = Ticket { partition: number, offset: entry.offset, arrival };
        state.records.push(Stored { entry, bytes });
        if self.durability == Durability::AtOnce {
            partition.publish(&mut state);
        }
        Ok(ticket)
    }

    fn progress(&self, partition: Partition) -> watch::Receiver<Progress> {
        match self.partition(partition) {
            Ok(partition) => partition.progress.subscribe(),
            Err(e) => watch::Sender::new(Progress { durable: 0, failed: Some(e.to_string().into()) }).subscribe(),
        }
    }

    fn bounds(&self, partition: Partition) -> Range<Offset> {
        self.partition(partition).map_or(0..0, |p| {
            let state = lock(&p.state);
            state.start..state.durable
        })
    }

    fn read(&self, partition: Partition, from: Offset) -> Result<Option<Records>> {
        let state = lock(&self.partition(partition)?.state);
        let Some(skip) = from.checked_sub(state.start) else {
            return Err(Error::invalid(format!("offset {from} is no longer kept; the oldest is {}", state.start)));
        };
        if from >= state.durable {
            return Ok(None);
        }
        let (mut bytes, mut entries) = (Vec::new(), Vec::new());
        let durable = (state.durable - from) as usize;
        for stored in state.records.iter().skip(skip as usize).take(durable.min(BATCH_ROWS_MAX)) {
            if !entries.is_empty() && bytes.len() + stored.bytes.len() > BATCH_BYTES_MAX {
                break;
            }
            let at = bytes.len() as u32;
            let shift = |range: &Range<u32>| range.start + at..range.end + at;
            let Entry { device, topic, payload, .. } = &stored.entry;
            entries.push(Entry { device: shift(device), topic: shift(topic), payload: shift(payload), ..stored.entry.clone() });
            bytes.extend_from_slice(&stored.bytes);
        }
        Ok(Some(Records { partition, bytes: Buffer::from_vec(bytes), entries, lost: None }))
    }

    fn wait(&self, partition: Partition, from: Offset, timeout: Duration) -> bool {
        let Ok(partition) = self.partition(partition) else { return false };
        let state = lock(&partition.state);
        let (state, _) =
            partition.readable.wait_timeout_while(state, timeout, |s| s.durable <= from).unwrap_or_else(PoisonError::into_inner);
        state.durable > from
    }

    fn offset_at(&self, partition: Partition, time: Micros) -> Result<Offset> {
        let state = lock(&self.partition(partition)?.state);
        let durable = &state.records[..(state.durable - state.start) as usize];
        Ok(state.start + durable.partition_point(|r| r.entry.received < time) as Offset)
    }

    fn received_last(&self, partition: Partition) -> Option<Micros> {
        let state = lock(&self.partition(partition).ok()?.state);
        let durable = (state.durable - state.start) as usize;
        state.records[..durable].last().map(|r| r.entry.received)
    }

    fn pin(&self, name: &str, partition: Partition, offset: Offset) {
        lock(&self.pins).insert((name.to_owned(), partition), offset);
    }

    fn overdue(&self, partition: Partition) -> Offset {
        self.partition(partition).map_or(0, |p| lock(&p.state).overdue)
    }

    fn unpin(&self, name: &str) {
        lock(&self.pins).retain(|(n, _), _| n != name);
    }
}
