//! How far apart the groups of a partition begin. Invariant: close together only while the writer does not stand still for it.
//!
//! Where processor time has a quota, syncs in close order use it up, and then everything stands still until the next tenth of a second.
//! Nobody tells the writer that there is a quota; it sees that a group takes many times what groups take.
//!
//! ```text
//! close ── too much of five seconds stood still ──► wide, for a rest ── the rest is over ──► close
//!          soon after a rest: the next one is twice as long              (still so: it goes on)
//! ```

use std::time::Duration;

use crate::limits::{GROUP_INTERVAL_US, GROUP_INTERVAL_US_MIN};

/// A group that takes longer, with the pause after it, stood still.
const STILL: Duration = Duration::from_millis(3);
/// Time over which that is summed up: a disk has bad moments close after each other, and then none for long.
const WINDOW: Duration = Duration::from_secs(5);
/// So much of it is a hundredth: with more, what stands still is what the slowest hundredth of records waits for, and is rarer at a wide distance;
/// with less, they wait for the distance.
const STILL_MAX: Duration = Duration::from_millis(50);
/// The first rest.
const REST_MIN: Duration = Duration::from_secs(30);
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(960);

/// The distance of the groups of one partition. All times are monotonic.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the present window began.
    window: Duration,
    /// How much of it stood still.
    still: Duration,
    /// Until then groups are a wide distance apart.
    wide_until: Duration,
    /// How long the last rest was.
    rest: Duration,
}

impl Pace {
    /// Least time from the beginning of a group, `begun`, to that of the next.
    pub(super) fn distance(&self, begun: Duration) -> Duration {
        Duration::from_micros(if begun < self.wide_until { GROUP_INTERVAL_US } else { GROUP_INTERVAL_US_MIN })
    }

    /// A group was begun, written, and the pause after it is over `now`.
    pub(super) fn note(&mut self, begun: Duration, now: Duration) {
        if begun.saturating_sub(self.window) > WINDOW {
            (self.window, self.still) = (begun, Duration::ZERO);
        }
        let taken = now.saturating_sub(begun);
        if taken > STILL {
            self.still += taken;
        }
        if self.still > STILL_MAX {
            self.widen(begun, now);
        }
    }

    fn widen(&mut self, begun: Duration, now: Duration) {
        self.rest = match begun.checked_sub(self.wide_until) {
            // The distance is not why.
            None => self.rest,
            Some(close) if close >= self.rest => REST_MIN,
            Some(_) => (self.rest * 2).min(REST_MAX),
        };
        self.wide_until = now + self.rest;
        (self.window, self.still) = (now, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSE: Duration = Duration::from_micros(GROUP_INTERVAL_US_MIN);
    const WIDE: Duration = Duration::from_micros(GROUP_INTERVAL_US);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Groups without a pause for `time` from `now` on, one of ten taking `slow` and the others half a millisecond; returns when they end.
    fn groups(pace: &mut Pace, mut now: Duration, time: Duration, slow: Duration) -> Duration {
        let end = now + time;
        for number in 0.. {
            if now >= end {
                break;
            }
            let taken = if number % 10 == 9 { slow } else { ms(1) / 2 };
            pace.note(now, now + taken);
            now += taken;
        }
        now
    }

    #[test]
    fn groups_are_close_while_nothing_stands_still() {
        let mut pace = Pace::default();
        assert_eq!(pace.distance(ms(0)), CLOSE);
        let now = groups(&mut pace, ms(0), ms(60_000), ms(3));
        assert_eq!(pace.distance(now), CLOSE);
        // Every ten seconds a few bad moments of the disk.
        for number in 0..200 {
            let begun = now + ms(500) * number;
            let taken = if number % 20 < 5 { 9 } else { 1 };
            pace.note(begun, begun + ms(taken));
            assert_eq!(pace.distance(begun + ms(taken)), CLOSE);
        }
    }

    #[test]
    fn a_quota_makes_them_wide_and_trying_again_gets_rarer() {
        let mut pace = Pace::default();
        let (mut now, mut rests) = (ms(0), Vec::new());
        for _ in 0..8 {
            let tried = now;
            now = groups(&mut pace, now, ms(200), ms(15));
            assert_eq!(pace.distance(now), WIDE);
            let until = pace.wide_until;
            assert!(until - tried < pace.rest + ms(250), "it is noticed soon");
            rests.push(pace.rest.as_secs());
            // Wide, nothing stands still.
            now = groups(&mut pace, now, until - now, ms(1));
            assert_eq!(pace.distance(now), CLOSE);
        }
        assert_eq!(rests, [30, 60, 120, 240, 480, 960, 960, 960]);
        now = groups(&mut pace, now, REST_MAX, ms(1));
        groups(&mut pace, now, ms(200), ms(15));
        assert_eq!(pace.rest, REST_MIN, "they were close for long");
    }

    #[test]
    fn while_the_machine_is_busy_anyway_they_stay_wide_and_the_rest_does_not_grow() {
        let mut pace = Pace::default();
        let now = groups(&mut pace, ms(0), ms(100_000), ms(15));
        assert_eq!((pace.distance(now), pace.rest), (WIDE, REST_MIN));
        assert_eq!(pace.distance(now + REST_MIN), CLOSE);
    }

    #[test]
    fn a_clock_that_jumps_is_no_trouble() {
        let mut pace = Pace::default();
        pace.note(ms(0), Duration::from_secs(10 * 365 * 86_400));
        pace.note(Duration::MAX / 2, Duration::MAX / 2);
        assert_eq!(pace.distance(Duration::MAX / 2), CLOSE);
    }
}
