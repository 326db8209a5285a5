//! What a simulated log should hold. Invariant: it learns only what producers learn (offsets, acknowledgements) and what
//! consumers read; whatever was acknowledged must be read, once, at its offset, until retention takes it.

use std::collections::BTreeMap;

use crate::contract::Arrival;
use crate::error::ErrorKind;
use crate::ids::Offset;

use super::super::partition::Partition;

/// A record as it was sent. The payload is unlike that of any other record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sent {
    /// Device.
    pub(super) device: String,
    /// Epoch and sequence, if it is numbered.
    pub(super) number: Option<(u32, u64)>,
    /// Payload.
    pub(super) payload: Vec<u8>,
}

/// What was told to producers so far.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// Every record that got an offset and may still be there.
    by_offset: BTreeMap<Offset, Sent>,
    /// Where each payload was stored last.
    payloads: BTreeMap<Vec<u8>, Offset>,
    /// Where the groups end that were acknowledged and are there, ascending.
    groups: Vec<Offset>,
    /// The oldest offset that is kept.
    start: Offset,
}

impl Oracle {
    /// Every offset below was acknowledged.
    pub(super) fn acknowledged(&self) -> Offset {
        self.groups.last().copied().unwrap_or_default()
    }

    /// The same before the last group: that one cannot be told from a torn tail if it is damaged.
    fn acknowledged_before(&self) -> Offset {
        self.groups.iter().rev().nth(1).copied().unwrap_or_default()
    }

    /// A record was taken. Errors: the log says something that cannot be.
    pub(super) fn taken(&mut self, sent: &Sent, offset: Offset, arrival: Arrival) -> Result<(), String> {
        match (arrival, self.payloads.get(&sent.payload)) {
            (Arrival::Duplicate, Some(_)) => return Ok(()),
            (Arrival::Duplicate, None) => return Err(format!("{sent:?} was taken for a repetition, but it is not in the log")),
            // What retention took may be forgotten.
            (_, Some(first)) if *first >= self.start => {
                return Err(format!("{sent:?} is stored twice, at offsets {first} and {offset}"));
            }
            _ => {}
        }
        if let Some(other) = self.by_offset.insert(offset, sent.clone()) {
            return Err(format!("offset {offset} was given to {other:?} and to {sent:?}"));
        }
        self.payloads.insert(sent.payload.clone(), offset);
        Ok(())
    }

    /// Retention took what lies before `start`.
    pub(super) fn retained_from(&mut self, start: Offset) {
        self.start = start;
    }

    /// Every offset below `durable` is acknowledged.
    pub(super) fn acknowledge(&mut self, durable: Offset) {
        if durable > self.acknowledged() {
            self.groups.push(durable);
        }
    }

    /// Reads everything that a log holds after a start, and forgets what was never acknowledged and is not there. `damage` says
    /// whether bits were flipped: then the log may say so instead. Returns whether it did.
    pub(super) fn check(&mut self, partition: &Partition, damage: Damage) -> Result<Found, String> {
        let (start, end) = (partition.start(), partition.durable());
        let least = if damage == Damage::Done { self.acknowledged_before() } else { self.acknowledged() };
        if end < least {
            return Err(format!("offsets {end} to {least} were acknowledged and are gone"));
        }
        // A crash may bring back what retention had not durably removed.
        self.start = start;
        let found = self.read(partition, start, end);
        match found {
            Ok(()) => {}
            Err(Mismatch::Reported(_)) if damage == Damage::Done => return Ok(Found::Damage),
            Err(Mismatch::Reported(what) | Mismatch::Silent(what)) => return Err(what),
        }
        for (_, lost) in self.by_offset.split_off(&end) {
            self.payloads.remove(&lost.payload);
        }
        // Where the last one is gone, the one before it is the last from now on.
        self.groups.retain(|group| *group <= end);
        Ok(Found::Everything)
    }

    /// Compares what is read from `from` on.
    pub(super) fn read(&self, partition: &Partition, mut from: Offset, end: Offset) -> Result<(), Mismatch> {
        while from < end {
            let records = match partition.read(from) {
                Ok(Some(records)) => records,
                Ok(None) => return Err(Mismatch::Silent(format!("offset {from} is not handed out, although {end} is the end"))),
                Err(e) if e.kind() == ErrorKind::Corrupt => return Err(Mismatch::Reported(e.to_string())),
                Err(e) => return Err(Mismatch::Silent(format!("offset {from} cannot be read: {e}"))),
            };
            for entry in &records.entries {
                let read = Sent {
                    device: records.text(&entry.device).to_owned(),
                    number: entry.producer.map(|p| (p.epoch, p.sequence)),
                    payload: records.slice(&entry.payload).to_vec(),
                };
                if entry.offset != from || self.by_offset.get(&from) != Some(&read) {
                    let sent = self.by_offset.get(&from);
                    return Err(Mismatch::Silent(format!("offset {from} holds {read:?} at {}, sent was {sent:?}", entry.offset)));
                }
                from += 1;
            }
        }
        Ok(())
    }
}

/// Why what was read is not what was sent.
#[derive(Debug)]
pub(super) enum Mismatch {
    /// The log says that it is damaged.
    Reported(String),
    /// The log says nothing.
    Silent(String),
}

/// Whether bits were flipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// Some were.
    Done,
    /// None were.
    None,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// All that has to be there.
    Everything,
    /// The log reports damage, and there is some.
    Damage,
}
