//! What each device of a partition sent last, so that a record sent twice is stored once. Invariant: what this says follows
//! from the records of the log alone; a snapshot only spares reading all of them again.
//!
//! ```text
//! sequences of one (device, epoch):      … 57  58  59 [60]          60 = the last, `seen` has a bit for each of the 64 before
//!   61        new                        63    new, after a gap: devices lose records, and the log does not refuse those it gets
//!   58        known or not: `seen` tells  ≤ -5  older than the window: known
//! ```
//!
//! An epoch that is not among the device's last few begins a count of its own.

use ahash::RandomState;
use hashbrown::HashMap;

use crate::batch::ProducerSequence;
use crate::contract::Arrival;
use crate::ids::Offset;
use crate::limits::{PRODUCER_EPOCHS_MAX, PRODUCERS_MAX};

use super::little_endian::{u32_at, u64_at};

/// Sequences before the last that are told apart one by one.
const WINDOW: u64 = u64::BITS as u64;
/// What most devices take in a snapshot, in bytes, with a name of up to 18.
const ENCODED_BYTES: usize = 48;
/// What all devices take at most, each with the longest name that the format has and as many epochs as are remembered.
pub(super) const ENCODED_BYTES_MAX: usize = 4 + PRODUCERS_MAX * (10 + u8::MAX as usize + PRODUCER_EPOCHS_MAX * 20);

const _: () = assert!(PRODUCERS_MAX <= u32::MAX as usize, "a snapshot counts them in 32 bits");

/// The devices of a partition that number their records.
#[derive(Debug, Clone, Default)]
pub(super) struct Producers {
    by_device: HashMap<Box<str>, Producer, RandomState>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    /// Offset of its last record: who sent nothing for long is forgotten first.
    offset: Offset,
    /// Its newest epoch; most devices have no other.
    newest: Count,
    older: Option<Box<Older>>,
}

/// Earlier epochs of a device, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Older(Vec<Count>);

/// How far one epoch has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    epoch: u32,
    last: u64,
    /// Bit n: sequence `last - 1 - n` was taken.
    seen: u64,
}

impl Count {
    fn admit(&mut self, sequence: u64) -> Arrival {
        if sequence > self.last {
            let step = sequence - self.last;
            // The last becomes bit `step - 1`; what was seen moves up by `step`.
            self.seen = match step {
                1..WINDOW => self.seen << step | 1 << (step - 1),
                WINDOW => 1 << (WINDOW - 1),
                _ => 0,
            };
            self.last = sequence;
            return if step == 1 { Arrival::New } else { Arrival::AfterGap };
        }
        let Some(bit) = (self.last - sequence).checked_sub(1).filter(|bit| *bit < WINDOW) else { return Arrival::Duplicate };
        if self.seen >> bit & 1 == 1 {
            return Arrival::Duplicate;
        }
        self.seen |= 1 << bit;
        Arrival::New
    }
}

impl Producer {
    /// How far an epoch has counted, if it is among the last.
    fn count(&mut self, epoch: u32) -> Option<&mut Count> {
        if self.newest.epoch == epoch {
            return Some(&mut self.newest);
        }
        self.older.as_mut()?.0.iter_mut().find(|count| count.epoch == epoch)
    }

    /// An epoch begins; the oldest of too many is forgotten.
    fn begin(&mut self, count: Count) {
        let before = std::mem::replace(&mut self.newest, count);
        let Older(older) = &mut **self.older.get_or_insert_default();
        older.truncate(PRODUCER_EPOCHS_MAX - 2);
        older.insert(0, before);
    }

    /// Its epochs, the newest first.
    fn counts(&self) -> impl Iterator<Item = &Count> {
        std::iter::once(&self.newest).chain(self.older.iter().flat_map(|older| &older.0))
    }
}

impl Producers {
    /// Judges a record of `device` that would get `offset`, and remembers it unless it is known.
    pub(super) fn admit(&mut self, device: &str, producer: ProducerSequence, offset: Offset) -> Arrival {
        let ProducerSequence { epoch, sequence } = producer;
        let begin = Count { epoch, last: sequence, seen: 0 };
        let Some(known) = self.by_device.get_mut(device) else {
            self.make_room();
            self.by_device.insert(device.into(), Producer { offset, newest: begin, older: None });
            return Arrival::New;
        };
        let arrival = match known.count(epoch) {
            Some(count) => count.admit(sequence),
            None => {
                known.begin(begin);
                Arrival::New
            }
        };
        if arrival != Arrival::Duplicate {
            known.offset = offset;
        }
        arrival
    }

    /// Forgets the half of the devices that sent nothing for longest, when there are too many.
    fn make_room(&mut self) {
        if self.by_device.len() < PRODUCERS_MAX {
            return;
        }
        let mut offsets: Vec<Offset> = self.by_device.values().map(|p| p.offset).collect();
        let (_, middle, _) = offsets.select_nth_unstable(PRODUCERS_MAX / 2);
        let middle = *middle;
        self.by_device.retain(|_, producer| producer.offset > middle);
    }

    /// Appends them as bytes, in no order.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        // Producers wait meanwhile: the buffer does not grow step by step.
        bytes.reserve(4 + self.by_device.len() * ENCODED_BYTES);
        bytes.extend_from_slice(&(self.by_device.len() as u32).to_le_bytes());
        for (device, producer) in &self.by_device {
            bytes.push(device.len() as u8);
            bytes.push(producer.counts().count() as u8);
            bytes.extend_from_slice(&producer.offset.to_le_bytes());
            bytes.extend_from_slice(device.as_bytes());
            for count in producer.counts() {
                bytes.extend_from_slice(&count.epoch.to_le_bytes());
                bytes.extend_from_slice(&count.last.to_le_bytes());
                bytes.extend_from_slice(&count.seen.to_le_bytes());
            }
        }
    }

    /// From bytes that `encode` wrote; `None` if they are anything else.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let count = u32::from_le_bytes(*take(&mut bytes)?);
        let mut producers = Self::default();
        for _ in 0..count {
            let head: &[u8; 10] = take(&mut bytes)?;
            let (device_bytes, epochs) = (usize::from(head[0]), usize::from(head[1]));
            let (device, rest) = bytes.split_at_checked(device_bytes)?;
            bytes = rest;
            let newest = take_count(&mut bytes)?;
            let older = (1..epochs).map(|_| take_count(&mut bytes)).collect::<Option<Vec<Count>>>()?;
            let older = (!older.is_empty()).then(|| Box::new(Older(older)));
            let producer = Producer { offset: u64_at(head, 2), newest, older };
            producers.by_device.insert(std::str::from_utf8(device).ok()?.into(), producer);
        }
        bytes.is_empty().then_some(producers)
    }
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(head)
}

fn take_count(bytes: &mut &[u8]) -> Option<Count> {
    let count: &[u8; 20] = take(bytes)?;
    Some(Count { epoch: u32_at(count, 0), last: u64_at(count, 4), seen: u64_at(count, 12) })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn admit(producers: &mut Producers, epoch: u32, sequence: u64) -> Arrival {
        producers.admit("pump-1", ProducerSequence { epoch, sequence }, sequence)
    }

    proptest! {
        /// Within the window nothing is stored twice and nothing is dropped that was not stored.
        #[test]
        fn each_number_is_new_once(steps in prop::collection::vec(-60i64..70, 1..200)) {
            let (mut producers, mut stored, mut at, mut last) = (Producers::default(), HashSet::new(), 1_000i64, i64::MIN);
            for step in steps {
                at = (at + step).max(last.saturating_sub(64)).max(0);
                let arrival = admit(&mut producers, 1, at.cast_unsigned());
                prop_assert_eq!(arrival == Arrival::Duplicate, !stored.insert(at), "{} after {}", at, last);
                prop_assert_eq!(arrival == Arrival::AfterGap, last != i64::MIN && at > last + 1);
                last = last.max(at);
            }
        }

        #[test]
        fn bytes_give_back_the_same_or_nothing(numbers in prop::collection::vec((0u8..9, 0u32..3, 0u64..200), 0..60), cut in 0usize..400) {
            let mut producers = Producers::default();
            for (offset, (device, epoch, sequence)) in (0u64..).zip(numbers) {
                producers.admit(&format!("d{device}"), ProducerSequence { epoch, sequence }, offset);
            }
            let mut bytes = Vec::new();
            producers.encode(&mut bytes);
            let again = Producers::decode(&bytes).unwrap();
            prop_assert_eq!(&again.by_device, &producers.by_device);
            if cut < bytes.len() {
                prop_assert!(Producers::decode(&bytes[..cut]).is_none());
            }
        }
    }

    #[test]
    fn bytes_are_those_of_the_format_and_a_device_takes_few() {
        let mut producers = Producers::default();
        for (offset, epoch, sequence) in [(3, 1, 7), (4, 2, 0), (5, 2, 1)] {
            producers.admit("ab", ProducerSequence { epoch, sequence }, offset);
        }
        let mut bytes = Vec::new();
        producers.encode(&mut bytes);
        let count = |epoch: u32, last: u64, seen: u64| [&epoch.to_le_bytes()[..], &last.to_le_bytes(), &seen.to_le_bytes()].concat();
        let want = [&1u32.to_le_bytes()[..], &[2, 2], &5u64.to_le_bytes(), b"ab", &count(2, 1, 1), &count(1, 7, 0)].concat();
        assert_eq!(bytes, want);
        assert!(size_of::<(Box<str>, Producer)>() <= 56);
    }

    #[test]
    fn far_older_is_known_and_the_edges_of_the_window_hold() {
        let mut producers = Producers::default();
        assert_eq!(admit(&mut producers, 1, 100), Arrival::New);
        assert_eq!(admit(&mut producers, 1, 164), Arrival::AfterGap);
        assert_eq!(admit(&mut producers, 1, 100), Arrival::Duplicate);
        assert_eq!(admit(&mut producers, 1, 101), Arrival::New);
        assert_eq!(admit(&mut producers, 1, 99), Arrival::Duplicate);
        assert_eq!(admit(&mut producers, 1, 300), Arrival::AfterGap);
        assert_eq!(admit(&mut producers, 1, 299), Arrival::New);
        assert_eq!(admit(&mut producers, 1, u64::MAX), Arrival::AfterGap);
        assert_eq!(admit(&mut producers, 1, u64::MAX), Arrival::Duplicate);
    }

    #[test]
    fn a_new_epoch_counts_anew_and_an_old_one_is_remembered_for_a_while() {
        let mut producers = Producers::default();
        assert_eq!(admit(&mut producers, 1, 7), Arrival::New);
        for epoch in (2..).take(PRODUCER_EPOCHS_MAX - 1) {
            assert_eq!(admit(&mut producers, epoch, 0), Arrival::New);
            assert_eq!(admit(&mut producers, 1, 7), Arrival::Duplicate, "epoch {epoch}");
        }
        assert_eq!(admit(&mut producers, 99, 0), Arrival::New);
        assert_eq!(admit(&mut producers, 1, 7), Arrival::New);
    }

    #[test]
    fn the_longest_silent_are_forgotten_first() {
        let mut producers = Producers::default();
        for n in 0..=PRODUCERS_MAX as u64 {
            producers.admit(&format!("d{n}"), ProducerSequence { epoch: 1, sequence: 5 }, n);
        }
        assert!(producers.by_device.len() <= PRODUCERS_MAX / 2 + 1);
        let last = ProducerSequence { epoch: 1, sequence: 5 };
        assert_eq!(producers.admit(&format!("d{PRODUCERS_MAX}"), last, 0), Arrival::Duplicate);
        assert_eq!(producers.admit("d0", last, 0), Arrival::New);
    }
}
