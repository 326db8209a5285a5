//! Which segments may go. Invariant: whole sealed segments only, oldest first, none that a reader still needs; a clock that
//! jumps forward deletes no more in one pass than that pass is worth.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

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
}

/// What is to be kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// Records received before this may go, in microseconds.
    pub(super) keep_from: Option<Micros>,
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
        let expired = policy.keep_from.is_some_and(|t| segment.received_last < t);
        let in_span = at == 0 || segment.received_last.saturating_sub(oldest.received_last) <= policy.span_max;
        let too_much = policy.bytes_max.is_some_and(|max| bytes > max);
        if !(unneeded && (too_much || expired && in_span)) {
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
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let facts: Vec<_> = segments
            .iter()
            .map(|s| SegmentFacts { end: s.end(), bytes: s.bytes(), received_last: s.received_last().unwrap_or(Micros::MAX) })
            .collect();
        if let (Some(newest), Some(keep_from)) = (facts.last(), policy.keep_from)
            && newest.received_last < keep_from
        {
            self.request_roll();
        }
        segments.drain(..decide(&facts, policy)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Policy = Policy { keep_from: None, span_max: Micros::MAX, bytes_max: None, pinned_from: Offset::MAX };

    fn five() -> Vec<SegmentFacts> {
        (1..=5).map(|i| SegmentFacts { end: i * 10, bytes: 100, received_last: i.cast_signed() * 1_000 }).collect()
    }

    #[test]
    fn nothing_goes_without_a_policy() {
        assert_eq!(decide(&five(), &FREE), 0);
        assert_eq!(decide(&[], &FREE), 0);
    }

    #[test]
    fn age_and_bytes_take_the_oldest_but_never_the_newest() {
        assert_eq!(decide(&five(), &Policy { keep_from: Some(3_000), ..FREE }), 2);
        assert_eq!(decide(&five(), &Policy { keep_from: Some(99_000), ..FREE }), 4);
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
    fn a_jump_of_the_clock_does_not_empty_the_log() {
        let jumped = Policy { keep_from: Some(Micros::MAX), span_max: 1_500, ..FREE };
        assert_eq!(decide(&five(), &jumped), 2);
        assert_eq!(decide(&five(), &Policy { span_max: 0, ..jumped }), 1);
        assert_eq!(decide(&five(), &Policy { keep_from: Some(Micros::MIN), ..jumped }), 0);
    }
}
