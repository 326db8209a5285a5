//! Warnings that a stranger can cause. Invariant: at most one a second is written, and none is forgotten: the next says how
//! many were left out.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::shared::lock;

/// Time between two warnings.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lets one warning through each second.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: Option<Instant>,
    left_out: u64,
}

impl Throttle {
    /// `Some(n)` if the warning may be written now, `n` being how many were left out before it.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut state = lock(&self.state);
        if state.next.is_some_and(|next| now < next) {
            state.left_out += 1;
            return None;
        }
        state.next = Some(now + INTERVAL);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_and_the_rest_is_counted() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(throttle.admit_at(now), Some(0));
        assert_eq!((throttle.admit_at(now), throttle.admit_at(now + INTERVAL / 2)), (None, None));
        assert_eq!(throttle.admit_at(now + INTERVAL), Some(2));
    }
}
