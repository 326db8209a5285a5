//! How much memory the state of jobs may take. Invariant: all jobs together stay below one bound, and each below its own; who passes its
//! own is stopped with its reason. Past the common one a live query ends before any job stops, and of several the one whose state is
//! largest.
//!
//! ```text
//! 0 ──────────── soft ─────────────────────────── bound
//!   goes on       partitions that are ahead wait    the largest live query ends; without one, the largest job stops
//! ```

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use super::attempt::Durable;
use crate::limits::{STATE_MEMORY_BYTES_DEFAULT, STATE_MEMORY_PARTS, STATE_SOFT_PERCENT};
use crate::locks::lock;

/// What all jobs of a process share.
#[derive(Debug)]
pub struct Budget {
    total: u64,
    jobs: Mutex<BTreeMap<usize, Held>>,
}

/// Bytes of the state of a run, and whether it outlives the run.
type Held = (u64, Durable);

/// What a job has to do about its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// Nothing.
    Low,
    /// Let partitions wait that are ahead.
    High,
    /// Stop: this many bytes are its bound.
    OverOwn(u64),
    /// Stop: all jobs together have passed this many bytes, and it is its turn.
    OverTotal(u64),
}

impl Budget {
    /// So many bytes for all jobs together.
    pub fn new(total: u64) -> Self {
        Self { total, jobs: Mutex::new(BTreeMap::new()) }
    }

    /// The bound of all jobs.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Held>> {
        lock(&self.jobs)
    }

    /// The state of `job`, told apart by any number, takes the bytes of `held`, and may take `own`.
    pub fn report(&self, job: usize, held: (u64, Durable), own: u64) -> Pressure {
        let mut jobs = self.lock();
        jobs.insert(job, held);
        let others = jobs.iter().filter(|(other, _)| **other != job).map(|(_, held)| *held);
        decide(held, own, others, self.total)
    }

    /// The job runs no more.
    pub fn forget(&self, job: usize) {
        self.lock().remove(&job);
    }
}

impl Default for Budget {
    /// A share of the machine's memory.
    fn default() -> Self {
        Self::new(crate::system::memory_bytes().map_or(STATE_MEMORY_BYTES_DEFAULT, |bytes| bytes / STATE_MEMORY_PARTS))
    }
}

fn decide(held: Held, own: u64, others: impl Iterator<Item = Held>, total: u64) -> Pressure {
    // Who comes first in this order stops: one that nobody has to compute again, if its end gives anything back.
    let turn = |(bytes, durable): Held| (durable == Durable::No && bytes > 0, bytes);
    let add = |(sum, first): (u64, (bool, u64)), other: Held| (sum.saturating_add(other.0), first.max(turn(other)));
    let (sum, first) = others.fold((held.0, (false, 0)), add);
    let soft = |bound: u64| bound / 100 * STATE_SOFT_PERCENT + bound % 100 * STATE_SOFT_PERCENT / 100;
    if held.0 > own {
        Pressure::OverOwn(own)
    } else if sum > total && turn(held) >= first {
        Pressure::OverTotal(total)
    } else if held.0 > soft(own) || sum > soft(total) {
        Pressure::High
    } else {
        Pressure::Low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: u64 = u64::MAX;

    fn held(durable: Durable, bytes: &[u64]) -> Vec<Held> {
        bytes.iter().map(|b| (*b, durable)).collect()
    }

    #[test]
    fn the_largest_stops_when_all_together_are_too_large_and_nobody_else() {
        for (bytes, own, others, want) in [
            (10, ANY, vec![], Pressure::Low),
            (51, ANY, vec![], Pressure::High),
            (10, ANY, vec![45], Pressure::High),
            (101, ANY, vec![], Pressure::OverTotal(100)),
            (60, ANY, vec![50], Pressure::OverTotal(100)),
            (50, ANY, vec![60], Pressure::High),
            (21, 20, vec![], Pressure::OverOwn(20)),
            (15, 20, vec![], Pressure::High),
            (10, 20, vec![], Pressure::Low),
            (150, 200, vec![], Pressure::OverTotal(100)),
            (u64::MAX, ANY, vec![u64::MAX], Pressure::OverTotal(100)),
        ] {
            for durable in [Durable::Yes, Durable::No] {
                let others = held(durable, &others);
                assert_eq!(decide((bytes, durable), own, others.iter().copied(), 100), want, "{bytes} of {own} beside {others:?}");
            }
        }
    }

    #[test]
    fn live_queries_end_before_any_job_stops() {
        let beside = |own: Held, live: &[u64], jobs: &[u64]| {
            let others = [held(Durable::No, live), held(Durable::Yes, jobs)].concat();
            decide(own, ANY, others.into_iter(), 100)
        };
        assert_eq!(beside((90, Durable::Yes), &[20], &[10]), Pressure::High);
        assert_eq!(beside((20, Durable::No), &[], &[90, 10]), Pressure::OverTotal(100));
        assert_eq!(beside((20, Durable::No), &[30], &[90]), Pressure::High, "the largest of them first");
        assert_eq!(beside((90, Durable::Yes), &[0], &[20]), Pressure::OverTotal(100), "its end would give nothing back");
        assert_eq!(beside((0, Durable::No), &[], &[90, 20]), Pressure::High);
    }

    #[test]
    fn a_job_that_is_gone_takes_nothing() {
        let budget = Budget::new(100);
        assert_eq!(budget.report(1, (90, Durable::Yes), ANY), Pressure::High);
        assert_eq!(budget.report(2, (20, Durable::Yes), ANY), Pressure::High);
        budget.forget(1);
        assert_eq!(budget.report(2, (20, Durable::Yes), ANY), Pressure::Low);
    }
}
