//! Receive times of a partition. Invariant: they never go back, and go on as time does: by the wall clock, and by monotonic time while that
//! is far behind the last of them.
//!
//! ```text
//! wall clock      10 11 12 13 │ a jump back: 2 3 4 5   │ put right: 17 18
//! receive times   10 11 12 13 │             13 14 15 16 │            17 18
//! ```
//!
//! Times that stood still would make rows of devices whose clocks are right look as if they came from the future. After a start the
//! last time in the log is where they go on from: how long the stop was, nobody knows.

use std::time::Duration;

use crate::contract::Clock;
use crate::time::{Micros, SECOND};

/// The wall clock may be behind by so much before monotonic time takes its place: a little goes by itself.
const BEHIND_MAX: Micros = SECOND;
/// Time by the wall clock after which it is compared with monotonic time anew: rarely enough to cost nothing.
const COMPARED_AFTER: Micros = SECOND;

/// Hands out the receive times of one partition.
#[derive(Debug)]
pub(super) struct ReceiveTime {
    last: Micros,
    /// A receive time by the wall clock, or at a start the last one in the log, and the monotonic time at that moment.
    compared: (Micros, Duration),
}

impl ReceiveTime {
    /// Goes on after `last`, which is what the log holds at monotonic time `monotonic`.
    pub(super) fn new(last: Micros, monotonic: Duration) -> Self {
        Self { last, compared: (last, monotonic) }
    }

    /// The receive time of a record that came at `now` by the wall clock.
    pub(super) fn next(&mut self, now: Micros, clock: &dyn Clock) -> Micros {
        if now >= self.last {
            self.last = now;
            if now.saturating_sub(self.compared.0) >= COMPARED_AFTER {
                self.compared = (now, clock.monotonic());
            }
        } else if self.last.saturating_sub(now) > BEHIND_MAX {
            let (from, at) = self.compared;
            let since = clock.monotonic().saturating_sub(at).as_micros();
            let gone_on = from.saturating_add(Micros::try_from(since).unwrap_or(Micros::MAX));
            self.last = self.last.max(gone_on);
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::sim::SimClock;

    const HOUR: Micros = 3_600 * SECOND;

    /// The receive time after so many milliseconds, when the wall clock shows `wall`.
    fn after(times: &mut ReceiveTime, clock: &SimClock, ms: u64, wall: Micros) -> Micros {
        clock.pass(Duration::from_millis(ms));
        clock.set(wall);
        times.next(clock.now(), clock)
    }

    #[test]
    fn they_follow_the_wall_clock_and_go_on_while_it_is_behind() {
        let clock = SimClock::default();
        let mut times = ReceiveTime::new(Micros::MIN, clock.monotonic());
        let steps = [
            (0, 5 * HOUR, 5 * HOUR),
            // An hour back: it goes on from the last, ten minutes and a little more.
            (0, 4 * HOUR, 5 * HOUR),
            (600_000, 4 * HOUR + 600 * SECOND, 5 * HOUR + 600 * SECOND),
            (1, 4 * HOUR + 600 * SECOND, 5 * HOUR + 600 * SECOND + 1_000),
            // A century back, and by no other pace.
            (1_000, -100 * HOUR, 5 * HOUR + 601 * SECOND + 1_000),
            // It has caught up.
            (0, 6 * HOUR, 6 * HOUR),
            (10_000, 6 * HOUR + 10 * SECOND, 6 * HOUR + 10 * SECOND),
            // A little behind is waited for.
            (500, 6 * HOUR + 9 * SECOND, 6 * HOUR + 10 * SECOND),
            (500, 6 * HOUR + 9 * SECOND + SECOND / 2, 6 * HOUR + 10 * SECOND),
            (500, 6 * HOUR + 10 * SECOND + 1, 6 * HOUR + 10 * SECOND + 1),
            // Far ahead and right again: it goes on from there.
            (0, 90 * HOUR, 90 * HOUR),
            (2_000, 7 * HOUR, 90 * HOUR + 2 * SECOND),
        ];
        for (step, (ms, wall, want)) in steps.into_iter().enumerate() {
            assert_eq!(after(&mut times, &clock, ms, wall), want, "step {step}");
        }
    }

    #[test]
    fn however_many_records_come_the_pace_is_that_of_time() {
        let clock = SimClock::default();
        let mut times = ReceiveTime::new(Micros::MIN, clock.monotonic());
        after(&mut times, &clock, 0, HOUR);
        for _ in 0..5_000 {
            after(&mut times, &clock, 1, 0);
            times.next(0, &clock);
        }
        assert_eq!(times.next(0, &clock), HOUR + 5 * SECOND);
    }

    #[test]
    fn after_a_start_they_go_on_from_the_last_in_the_log() {
        let clock = SimClock::default();
        clock.pass(Duration::from_secs(50));
        let mut times = ReceiveTime::new(HOUR, clock.monotonic());
        assert_eq!(after(&mut times, &clock, 7_000, 0), HOUR + 7 * SECOND);
        assert_eq!(after(&mut times, &clock, 1_000, 8 * SECOND), HOUR + 8 * SECOND);
        let mut none = ReceiveTime::new(Micros::MIN, clock.monotonic());
        assert_eq!(after(&mut none, &clock, 0, -9), -9, "an empty log has nothing to be behind of");
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        let clock = SimClock::default();
        let mut times = ReceiveTime::new(Micros::MAX - 1, clock.monotonic());
        assert_eq!(after(&mut times, &clock, 10_000, Micros::MIN), Micros::MAX);
        assert_eq!(after(&mut times, &clock, 10_000, Micros::MIN), Micros::MAX);
    }
}
