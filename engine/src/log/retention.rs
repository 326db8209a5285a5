//! Which segments may go. Invariant: whole sealed segments only, oldest first, none that a reader still needs, and none that is
//! young, whatever the wall clock says.
//!
//! How old a segment is that took records since the start is told by monotonic time alone. Of older ones only the wall clock
//! tells, and it may have jumped: one pass believes it for no more than that pass is worth. Receive times never go back, so
//! after a clock that was ahead they stand still; what was there at the start is old when that is long enough ago.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::ids::Offset;
use crate::time::Micros;

use super::live::Segment;
use super::partition::Partition;
use super::segment::with_suffix;

/// What a pass of retention removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Segments.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

impl Retained {
    /// Adds what another partition removed.
    pub(super) fn add(&mut self, other: &Self) {
        self.segments += other.segments;
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// What is known of one segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentFacts {
    /// Offset after its last record.
    pub(super) end: Offset,
    /// Bytes on disk.
    pub(super) bytes: u64,
    /// Receive time of its last record.
    pub(super) received_last: Micros,
    /// Time since its last record, by monotonic time; if that came before the start, the time since then.
    pub(super) age: Age,
}

/// What monotonic time knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Just so old.
    Known(Duration),
    /// At least so old.
    AtLeast(Duration),
}

/// What is to be kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// Records older than this may go; the time that was so long ago by the wall clock, in microseconds.
    pub(super) age: Option<(Duration, Micros)>,
    /// Receive time that one pass may delete by age, in microseconds. One segment may always go, so that nothing stalls.
    pub(super) span_max: Micros,
    /// Bytes to keep at most.
    pub(super) bytes_max: Option<u64>,
    /// Offset from which on readers need records.
    pub(super) pinned_from: Offset,
}

/// How many of the oldest segments go. `segments` are all of a partition, oldest first; the newest always stays.
pub(super) fn decide(segments: &[SegmentFacts], policy: &Policy) -> usize {
    let Some((_, candidates)) = segments.split_last() else { return 0 };
    let mut bytes: u64 = segments.iter().map(|s| s.bytes).sum();
    let Some(oldest) = candidates.first() else { return 0 };
    for (at, segment) in candidates.iter().enumerate() {
        let unneeded = segment.end <= policy.pinned_from;
        // Times that stand still tell nothing: one segment a pass.
        let span = segment.received_last.saturating_sub(oldest.received_last);
        let in_span = at == 0 || (span > 0 && span <= policy.span_max);
        let expired = policy.age.is_some_and(|(age, keep_from)| match segment.age {
            Age::Known(own) => own >= age,
            Age::AtLeast(own) => own >= age || (segment.received_last < keep_from && in_span),
        });
        let too_much = policy.bytes_max.is_some_and(|max| bytes > max);
        if !(unneeded && (too_much || expired)) {
            return at;
        }
        bytes -= segment.bytes;
    }
    candidates.len()
}

impl Partition {
    /// Removes what the policy lets go. Readers lose it first, then its names, then its bytes.
    pub(super) fn retain(&self, policy: &Policy) -> Result<Retained> {
        let mut retained = Retained::default();
        let mut gone = VecDeque::from(self.take_oldest(policy));
        while let Some(segment) = gone.pop_front() {
            let to = with_suffix(&segment.path, "deleted");
            if let Err(e) = self.disk.rename(&segment.path, &to) {
                let e = segment.error(e);
                gone.push_front(segment);
                self.put_back(gone);
                return Err(e);
            }
            // One after the other: a crash that kept an older one and took a newer one would look like damage.
            let dir = segment.path.parent().unwrap_or(&segment.path);
            let removed = self.disk.sync_dir(dir).and_then(|()| self.disk.remove(&to));
            if let Err(e) = removed {
                self.put_back(gone);
                return Err(Error::from(e).context(to.display()));
            }
            retained.add(&Retained { segments: 1, records: segment.end() - segment.header.base, bytes: segment.bytes() });
        }
        Ok(retained)
    }

    /// Segments that could not be removed: none may go before them.
    fn put_back(&self, segments: VecDeque<Arc<Segment>>) {
        let mut all = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.into_iter().rev().for_each(|segment| all.push_front(segment));
    }

    /// Takes the segments that may go out of sight of the readers. An idle segment that is old as a whole is closed, so that
    /// the next pass can take it.
    fn take_oldest(&self, policy: &Policy) -> Vec<Arc<Segment>> {
        let now = self.clock.monotonic();
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let facts: Vec<_> = segments
            .iter()
            .map(|s| SegmentFacts {
                end: s.end(),
                bytes: s.bytes(),
                received_last: s.received_last().unwrap_or(Micros::MAX),
                age: s.touched().map_or(Age::AtLeast(now.saturating_sub(self.opened)), |t| Age::Known(now.saturating_sub(t))),
            })
            .collect();
        if let (Some(newest), Some((age, keep_from))) = (facts.last(), policy.age) {
            let is_old = match newest.age {
                Age::Known(own) => own >= age,
                Age::AtLeast(own) => own >= age || newest.received_last < keep_from,
            };
            if is_old {
                self.request_roll();
            }
        }
        segments.drain(..decide(&facts, policy)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Policy = Policy { age: None, span_max: Micros::MAX, bytes_max: None, pinned_from: Offset::MAX };

    const HOUR: Duration = Duration::from_secs(3_600);

    /// From before the start, which was just now.
    fn five() -> Vec<SegmentFacts> {
        (1..=5)
            .map(|i| SegmentFacts { end: i * 10, bytes: 100, received_last: i.cast_signed() * 1_000, age: Age::AtLeast(Duration::ZERO) })
            .collect()
    }

    fn aged(age: impl Fn(u32) -> Age) -> Vec<SegmentFacts> {
        (0..).zip(five()).map(|(i, facts)| SegmentFacts { age: age(i), ..facts }).collect()
    }

    fn by_age(keep_from: Micros) -> Policy {
        Policy { age: Some((HOUR, keep_from)), ..FREE }
    }

    #[test]
    fn nothing_goes_without_a_policy() {
        assert_eq!(decide(&five(), &FREE), 0);
        assert_eq!(decide(&[], &FREE), 0);
    }

    #[test]
    fn age_and_bytes_take_the_oldest_but_never_the_newest() {
        assert_eq!(decide(&five(), &by_age(3_000)), 2);
        assert_eq!(decide(&five(), &by_age(99_000)), 4);
        assert_eq!(decide(&five(), &Policy { bytes_max: Some(250), ..FREE }), 3);
        assert_eq!(decide(&five(), &Policy { bytes_max: Some(0), ..FREE }), 4);
    }

    #[test]
    fn a_pin_holds_its_segment_and_all_after_it() {
        assert_eq!(decide(&five(), &Policy { bytes_max: Some(0), pinned_from: 20, ..FREE }), 2);
        assert_eq!(decide(&five(), &Policy { bytes_max: Some(0), pinned_from: 19, ..FREE }), 1);
        assert_eq!(decide(&five(), &Policy { bytes_max: Some(0), pinned_from: 0, ..FREE }), 0);
    }

    #[test]
    fn a_jump_of_the_clock_does_not_empty_what_was_there_at_the_start() {
        let jumped = Policy { span_max: 1_500, ..by_age(Micros::MAX) };
        assert_eq!(decide(&five(), &jumped), 2);
        assert_eq!(decide(&five(), &Policy { span_max: 0, ..jumped }), 1);
        assert_eq!(decide(&five(), &by_age(Micros::MIN)), 0);
        let still: Vec<_> = five().into_iter().map(|facts| SegmentFacts { received_last: 7, ..facts }).collect();
        assert_eq!(decide(&still, &by_age(Micros::MAX)), 1);
    }

    #[test]
    fn what_came_since_the_start_is_as_old_as_monotonic_time_says() {
        let young = aged(|i| Age::Known(HOUR.saturating_sub(Duration::from_secs(1 + u64::from(i)))));
        assert_eq!(decide(&young, &by_age(Micros::MAX)), 0, "the wall clock jumped ahead");
        let old = aged(|i| Age::Known(HOUR * (5 - i) / 3));
        assert_eq!(decide(&old, &by_age(Micros::MIN)), 3, "the wall clock is far behind, or receive times are far ahead");
        let left = aged(|_| Age::AtLeast(HOUR));
        assert_eq!(decide(&left, &by_age(Micros::MIN)), 4, "older than the process itself");
    }
}
