//! How long to wait before the next try. Invariant: the pause doubles up to a bound and is spread by up to half, so that
//! many devices that lost one server do not return at the same moment.

use std::time::Duration;

use rand::Rng;

/// First pause.
const FIRST: Duration = Duration::from_millis(50);
/// Longest pause before it is spread.
const LONGEST: Duration = Duration::from_secs(5);

/// Pauses between tries of one thing.
#[derive(Debug)]
pub(crate) struct Backoff {
    pause: Duration,
}

impl Backoff {
    /// Starts with the shortest pause.
    pub(crate) fn new() -> Self {
        Self { pause: FIRST }
    }

    /// The pause before the next try.
    pub(crate) fn next(&mut self, random: &mut impl Rng) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST);
        pause.mul_f64(random.random_range(0.5..1.0))
    }

    /// The thing worked: begin with the shortest pause again.
    pub(crate) fn reset(&mut self) {
        self.pause = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_start_over() {
        let (mut backoff, mut random) = (Backoff::new(), StdRng::seed_from_u64(1));
        let pauses: Vec<Duration> = (0..12).map(|_| backoff.next(&mut random)).collect();
        assert!(pauses[0] >= FIRST / 2 && pauses[0] < FIRST, "{pauses:?}");
        assert!(pauses[11] >= LONGEST / 2 && pauses[11] < LONGEST, "{pauses:?}");
        backoff.reset();
        assert!(backoff.next(&mut random) < FIRST);
    }
}
