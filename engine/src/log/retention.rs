//! Which segments may go. Invariant: whole sealed segments only, oldest first, none that a reader still needs unless an operator has set a
//! hard limit, and none that is young, whatever the wall clock says.
//!
//! How old a segment is that took records since the start is told by monotonic time alone. Of what was there at the start only
//! the wall clock tells, and it may have jumped. Receive times cannot bound what to believe of it: every jump ahead is in them,
//! and the time of a stop may not be. Offsets and monotonic time can:
//!
//! ```text
//! found at the start   |▓▓▓▓▓▓▓▓▓▓▓▓░░░░░░░░░░░░░░░░░░░░░░░|   the wall clock may call ▓ old: the share of it that the time since
//!                                  └─► retention / 2          the start has of half the retention; by then, all of it
//! ```

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::ids::Offset;
use crate::locks::write;
use crate::time::Micros;

use super::live::Segment;
use super::partition::Partition;
use super::segment::with_suffix;
use super::start;

/// What a pass of retention removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Segments.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Records that a reader had still to come to: only past the hard limit.
    pub unread: u64,
}

impl Retained {
    /// Adds what another partition removed.
    pub(super) fn add(&mut self, other: &Self) {
        self.segments += other.segments;
        self.records += other.records;
        self.bytes += other.bytes;
        self.unread += other.unread;
    }
}

/// What is known of one segment.
#[derive(Debug, Clone)]
pub(super) struct SegmentFacts {
    /// Its records.
    pub(super) offsets: Range<Offset>,
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
    /// Bytes to keep at most.
    pub(super) bytes_max: Option<u64>,
    /// Bytes to keep at most whatever readers need: what is more than that is lost to them.
    pub(super) bytes_hard: Option<u64>,
    /// Offset from which on readers need records.
    pub(super) pinned_from: Offset,
}

/// Bytes that each partition of a stream may keep, so that all keep `bytes` at most; `sizes` are what they have. One that has less than
/// its part leaves the rest to the others: the devices of a stream may all be in one partition.
pub(super) fn share(sizes: &[u64], bytes: u64) -> u64 {
    let (mut sizes, mut left) = (sizes.to_vec(), bytes);
    sizes.sort_unstable();
    for (at, size) in sizes.iter().enumerate() {
        let share = left / (sizes.len() - at) as u64;
        if *size > share {
            return share;
        }
        left -= size;
    }
    u64::MAX
}

/// How many of the oldest segments go. `segments` are all of a partition, oldest first; the newest always stays. `found` was
/// there at the start.
pub(super) fn decide(segments: &[SegmentFacts], found: &Range<Offset>, policy: &Policy) -> usize {
    let Some((_, candidates)) = segments.split_last() else { return 0 };
    let mut bytes: u64 = segments.iter().map(|s| s.bytes).sum();
    for (at, segment) in candidates.iter().enumerate() {
        let unneeded = segment.offsets.end <= policy.pinned_from;
        let expired = policy.age.is_some_and(|(age, keep_from)| match segment.age {
            Age::Known(own) => own >= age,
            Age::AtLeast(own) => own >= age || (segment.received_last < keep_from && is_due(segment, found, own, age)),
        });
        let too_much = policy.bytes_max.is_some_and(|max| bytes > max);
        let forced = policy.bytes_hard.is_some_and(|max| bytes > max);
        if !(forced || unneeded && (too_much || expired)) {
            return at;
        }
        bytes -= segment.bytes;
    }
    candidates.len()
}

/// Whether the wall clock may be believed of a segment that was found at a start `since` ago. The oldest may go at once, so that
/// starts in a row do not stall retention.
fn is_due(segment: &SegmentFacts, found: &Range<Offset>, since: Duration, age: Duration) -> bool {
    let before = u128::from(segment.offsets.start.saturating_sub(found.start));
    let all = u128::from(found.end.saturating_sub(found.start));
    before * age.as_millis() <= all * since.as_millis() * 2
}

/// Bytes that readers keep from retention, which lets `gone` of the oldest segments go and would let `unpinned` go; 0 if they are not worth
/// telling: a segment more than retention wants, or a quarter more, is what every reader keeps that lags a little.
fn held(segments: &[SegmentFacts], gone: usize, unpinned: usize) -> u64 {
    let bytes = |of: &[SegmentFacts]| of.iter().map(|s| s.bytes).sum::<u64>();
    let (held, kept) = (bytes(&segments[gone..unpinned]), bytes(&segments[unpinned..]));
    if unpinned - gone > 1 && held > kept / 4 { held } else { 0 }
}

impl Partition {
    /// Removes what the policy lets go. Readers lose it first, then its names, then its bytes.
    pub(super) fn retain(&self, policy: &Policy) -> Result<Retained> {
        let mut retained = Retained::default();
        if self.names_in_doubt.load(Ordering::Relaxed) {
            // An older segment may be there again at the next start: none after it may go.
            return Ok(retained);
        }
        let mut gone = VecDeque::from(self.take_oldest(policy));
        if let Err(e) = self.note_start(&gone) {
            self.put_back(gone);
            return Err(e);
        }
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
            let synced = self.disk.sync_dir(dir);
            if let Err(e) = &synced {
                self.names_in_doubt.store(true, Ordering::Relaxed);
                self.give_up(&format!("sync {}: {e}", dir.display()));
            }
            if let Err(e) = synced.and_then(|()| self.disk.remove(&to)) {
                self.put_back(gone);
                return Err(Error::from(e).context(to.display()));
            }
            let (base, end) = (segment.header.base, segment.end());
            let unread = end.saturating_sub(base.max(policy.pinned_from));
            retained.add(&Retained { segments: 1, records: end - base, bytes: segment.bytes(), unread });
        }
        Ok(retained)
    }

    /// Makes it durable that these segments go; nothing is in doubt if that fails, and the next pass writes it again.
    fn note_start(&self, gone: &VecDeque<Arc<Segment>>) -> Result<()> {
        let Some(last) = gone.back() else { return Ok(()) };
        let dir = last.path.parent().unwrap_or(&last.path);
        let written = start::write(&*self.disk, dir, last.end());
        let synced = written.and_then(|file| file.map_or(Ok(()), |file| file.sync_data()));
        synced.map_err(|e| Error::from(e).context(format!("where {} begins", self.label)))
    }

    /// Segments that could not be removed: none may go before them.
    fn put_back(&self, segments: VecDeque<Arc<Segment>>) {
        let mut all = write(&self.segments);
        segments.into_iter().rev().for_each(|segment| all.push_front(segment));
    }

    /// Takes the segments that may go out of sight of the readers. An idle segment that is old as a whole is closed, so that
    /// the next pass can take it.
    fn take_oldest(&self, policy: &Policy) -> Vec<Arc<Segment>> {
        let now = self.clock.monotonic();
        let mut segments = write(&self.segments);
        let facts: Vec<_> = segments
            .iter()
            .map(|s| SegmentFacts {
                offsets: s.header.base..s.end(),
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
        let gone = decide(&facts, &self.found, policy);
        let unpinned = decide(&facts, &self.found, &Policy { pinned_from: Offset::MAX, ..*policy });
        let waits_for = facts[gone..unpinned].last().map_or(0, |last| last.offsets.end);
        self.overdue.store(waits_for, Ordering::Relaxed);
        self.held.store(held(&facts, gone, unpinned), Ordering::Relaxed);
        segments.drain(..gone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Policy = Policy { age: None, bytes_max: None, bytes_hard: None, pinned_from: Offset::MAX };

    const HOUR: Duration = Duration::from_secs(3_600);

    const ALL: Range<Offset> = 0..50;

    /// Five segments of ten records, by their age.
    fn aged(age: impl Fn(u32) -> Age) -> Vec<SegmentFacts> {
        let facts = |i: u32| {
            let start = u64::from(i) * 10;
            SegmentFacts { offsets: start..start + 10, bytes: 100, received_last: i64::from(i + 1) * 1_000, age: age(i) }
        };
        (0..5).map(facts).collect()
    }

    /// From before the start, so long ago.
    fn found(since: Duration) -> Vec<SegmentFacts> {
        aged(|_| Age::AtLeast(since))
    }

    fn by_age(keep_from: Micros) -> Policy {
        Policy { age: Some((HOUR, keep_from)), ..FREE }
    }

    fn check(segments: &[SegmentFacts], policy: &Policy, gone: usize) {
        assert_eq!(decide(segments, &ALL, policy), gone, "{policy:?}");
    }

    #[test]
    fn what_one_partition_does_not_take_is_left_to_the_others() {
        for (sizes, bytes, want) in [
            (vec![], 5, u64::MAX),
            (vec![100, 100], 200, u64::MAX),
            (vec![500, 500], 600, 300),
            (vec![900, 50, 50], 1_000, u64::MAX),
            (vec![900, 50, 50], 400, 300),
            (vec![50, 900, 900], 450, 200),
            (vec![7, 7], 0, 0),
        ] {
            assert_eq!(share(&sizes, bytes), want, "{sizes:?}");
        }
    }

    #[test]
    fn nothing_goes_without_a_policy() {
        check(&found(HOUR), &FREE, 0);
        check(&[], &FREE, 0);
    }

    #[test]
    fn age_and_bytes_take_the_oldest_but_never_the_newest() {
        check(&found(HOUR / 2), &by_age(3_000), 2);
        check(&found(HOUR / 2), &by_age(99_000), 4);
        check(&found(HOUR), &Policy { bytes_max: Some(250), ..FREE }, 3);
        check(&found(HOUR), &Policy { bytes_max: Some(0), ..FREE }, 4);
    }

    #[test]
    fn a_pin_holds_its_segment_and_all_after_it() {
        let all = Policy { bytes_max: Some(0), ..FREE };
        check(&found(HOUR), &Policy { pinned_from: 20, ..all }, 2);
        check(&found(HOUR), &Policy { pinned_from: 19, ..all }, 1);
        check(&found(HOUR), &Policy { pinned_from: 19, bytes_hard: Some(250), ..all }, 3);
        check(&found(HOUR), &Policy { pinned_from: 0, bytes_hard: Some(0), ..FREE }, 4);
        check(&found(HOUR), &Policy { pinned_from: 0, ..all }, 0);
    }

    #[test]
    fn a_jump_of_the_clock_takes_no_more_of_what_was_found_than_its_share() {
        let jumped = by_age(Micros::MAX);
        for (minutes, gone) in [(0, 1), (5, 1), (6, 2), (11, 2), (12, 3), (18, 4), (60, 4)] {
            check(&found(Duration::from_secs(minutes * 60)), &jumped, gone);
        }
        check(&found(HOUR / 2), &by_age(Micros::MIN), 0);
    }

    #[test]
    fn times_that_stood_still_tell_nothing() {
        let still = |since| found(since).into_iter().map(|facts| SegmentFacts { received_last: 7, ..facts }).collect::<Vec<_>>();
        check(&still(Duration::ZERO), &by_age(Micros::MAX), 1);
        check(&still(HOUR / 8), &by_age(Micros::MAX), 2);
        check(&still(HOUR), &by_age(Micros::MIN), 4);
    }

    #[test]
    fn what_came_since_the_start_is_as_old_as_monotonic_time_says() {
        let young = aged(|i| Age::Known(HOUR.saturating_sub(Duration::from_secs(1 + u64::from(i)))));
        check(&young, &by_age(Micros::MAX), 0);
        let old = aged(|i| Age::Known(HOUR * (5 - i) / 3));
        check(&old, &by_age(Micros::MIN), 3);
    }
}
