//! Warnings that a stranger can cause. Invariant: at most one a second is written, and none is forgotten: the next says how
//! many were left out.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use thalweg_engine::locks::lock;
use tokio::time::Instant;

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

/// How many warnings were left out before one that is written. Shows itself at the end of that one, if there were any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftOut(u64);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(" (1 warning before it was left out)"),
            n => write!(f, " ({n} warnings before it were left out)"),
        }
    }
}

impl Throttle {
    /// `Some` if the warning may be written now, with how many were left out before it.
    pub(crate) fn admit(&self) -> Option<LeftOut> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<LeftOut> {
        let mut state = lock(&self.state);
        if state.next.is_some_and(|next| now < next) {
            state.left_out += 1;
            return None;
        }
        state.next = Some(now + INTERVAL);
        Some(LeftOut(std::mem::take(&mut state.left_out)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_and_the_rest_is_counted() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(throttle.admit_at(now).unwrap().to_string(), "");
        assert_eq!((throttle.admit_at(now), throttle.admit_at(now + INTERVAL / 2)), (None, None));
        assert_eq!(throttle.admit_at(now + INTERVAL).unwrap().to_string(), " (2 warnings before it were left out)");
    }
}
