//! Waiting after failed logins. Invariant: memory is bounded whatever is tried, and what one address does to a device does not
//! hinder that device elsewhere.
//!
//! ```text
//! failures   1..4    5    6    7   ...          then a minute each; forgotten after a quarter of an hour of peace
//! wait       none   1 s  2 s  4 s
//! ```
//!
//! Entries live in two generations: when the young one is full it becomes the old one, and the old one is dropped.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::Duration;

use thalweg_engine::error::{Case, Error, Result};
use thalweg_engine::limits::{LOGIN_DELAY_S_MAX, LOGIN_ENTRIES_MAX, LOGIN_FAILURES_MAX, LOGIN_MEMORY_S};
use thalweg_engine::locks::lock;

use crate::keys::Purpose;

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Duration,
}

impl Failures {
    fn blocked_until(self) -> Duration {
        if self.count < LOGIN_FAILURES_MAX {
            return Duration::ZERO;
        }
        let delay_s = 1_u64.checked_shl(self.count - LOGIN_FAILURES_MAX).unwrap_or(u64::MAX).min(LOGIN_DELAY_S_MAX);
        self.last + Duration::from_secs(delay_s)
    }
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u64, Failures>,
    old: HashMap<u64, Failures>,
}

/// Who tries, hashed under a key of this process, so that long names cost nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt(u64);

/// Remembers failed logins.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    hasher: RandomState,
    failures: Mutex<Generations>,
}

impl Throttle {
    /// An attempt on `owner`'s secret from `peer`; addresses of one IPv6 /64 count as one.
    pub fn attempt(&self, purpose: Purpose, owner: &str, peer: Option<IpAddr>) -> Attempt {
        let network = peer.map(|p| match p.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 => v4,
        });
        Attempt(self.hasher.hash_one((purpose, owner, network)))
    }

    /// Whether the attempt may be looked at. Errors: `Unavailable` with the time to wait.
    pub fn check(&self, attempt: Attempt, now: Duration) -> Result<()> {
        let failures = lock(&self.failures);
        let Some(entry) = failures.young.get(&attempt.0).or_else(|| failures.old.get(&attempt.0)) else { return Ok(()) };
        match entry.blocked_until().checked_sub(now) {
            Some(wait) if !wait.is_zero() => {
                let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(LOGIN_DELAY_S_MAX);
                let error = Error::unavailable("too many failed logins").of_case(Case::Wait(seconds));
                Err(error.hint(format!("wait {seconds} s, then try again")))
            }
            _ => Ok(()),
        }
    }

    /// Notes a failure; returns how many there were in a row.
    pub fn failed(&self, attempt: Attempt, now: Duration) -> u32 {
        let mut failures = lock(&self.failures);
        let before = failures.young.get(&attempt.0).or_else(|| failures.old.get(&attempt.0)).copied();
        let count = match before {
            Some(b) if now.saturating_sub(b.last) < Duration::from_secs(LOGIN_MEMORY_S) => b.count.saturating_add(1),
            _ => 1,
        };
        if failures.young.len() >= LOGIN_ENTRIES_MAX / 2 {
            failures.old = std::mem::take(&mut failures.young);
        }
        failures.young.insert(attempt.0, Failures { count, last: now });
        count
    }

    /// Forgets the failures of an attempt that succeeded.
    pub fn succeeded(&self, attempt: Attempt) {
        let mut failures = lock(&self.failures);
        failures.young.remove(&attempt.0);
        failures.old.remove(&attempt.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_failure_starts_a_wait_that_doubles_and_ends() {
        let throttle = Throttle::default();
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let attempt = throttle.attempt(Purpose::Device, "pump-1", Some(peer));
        let second = Duration::from_secs(1);
        for _ in 0..LOGIN_FAILURES_MAX {
            throttle.check(attempt, second).unwrap();
            throttle.failed(attempt, second);
        }
        let refused = throttle.check(attempt, second).unwrap_err();
        assert_eq!((refused.hint_text(), refused.case()), (Some("wait 1 s, then try again"), Some(Case::Wait(1))));
        throttle.check(attempt, second * 2).unwrap();
        throttle.failed(attempt, second * 2);
        assert!(throttle.check(attempt, second * 3).is_err());
        for _ in 0..100 {
            throttle.failed(attempt, second * 4);
        }
        assert!(throttle.check(attempt, second * 63).is_err());
        throttle.check(attempt, second * 64).unwrap();
        for other in ["10.0.0.2", "::ffff:10.0.0.2"] {
            throttle.check(throttle.attempt(Purpose::Device, "pump-1", other.parse().ok()), second * 4).unwrap();
        }
        assert!(throttle.check(throttle.attempt(Purpose::Device, "pump-1", "::ffff:10.0.0.1".parse().ok()), second * 4).is_err());
        assert_eq!(throttle.failed(attempt, second * 10_000), 1, "peace for long enough is forgotten");
        throttle.succeeded(attempt);
        assert_eq!(throttle.failed(attempt, second * 10_000), 1);
    }

    #[test]
    fn memory_is_bounded_and_a_network_counts_as_one() {
        let throttle = Throttle::default();
        for n in 0..LOGIN_ENTRIES_MAX * 2 {
            throttle.failed(throttle.attempt(Purpose::Device, &n.to_string(), None), Duration::ZERO);
        }
        let failures = lock(&throttle.failures);
        assert!(failures.young.len() + failures.old.len() <= LOGIN_ENTRIES_MAX);
        drop(failures);
        for n in 1..=3 {
            let peer = format!("2001:db8::{n}").parse().ok();
            assert_eq!(throttle.failed(throttle.attempt(Purpose::Device, "v6", peer), Duration::ZERO), n);
        }
    }
}
