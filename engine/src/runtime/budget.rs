//! How much memory the state of jobs may take. Invariant: all jobs together stay below one bound, and each below its own; who passes it
//! is stopped with its reason, and no other job suffers for it.
//!
//! ```text
//! 0 ──────────── soft ─────────────────────────── bound
//!   goes on       partitions that are ahead wait    the job stops; of several, the one whose state is largest
//! ```

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits::{STATE_MEMORY_BYTES_DEFAULT, STATE_MEMORY_PARTS, STATE_SOFT_PERCENT};

/// What all jobs of a process share.
#[derive(Debug)]
pub struct Budget {
    total: u64,
    jobs: Mutex<BTreeMap<usize, u64>>,
}

/// What a job has to do about its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// Nothing.
    Low,
    /// Let partitions wait that are ahead.
    High,
    /// Stop: this many bytes are its bound.
    OverOwn(u64),
    /// Stop: all jobs together have passed this many bytes, and its state is the largest.
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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, u64>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of `job`, told apart by any number, takes `bytes`, and may take `own`.
    pub fn report(&self, job: usize, bytes: u64, own: Option<u64>) -> Pressure {
        let mut jobs = self.lock();
        jobs.insert(job, bytes);
        let others = jobs.iter().filter(|(other, _)| **other != job).map(|(_, bytes)| *bytes);
        decide(bytes, own, others, self.total)
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

fn decide(bytes: u64, own: Option<u64>, others: impl Iterator<Item = u64>, total: u64) -> Pressure {
    let (sum, largest) = others.fold((bytes, 0), |(sum, largest): (u64, u64), b| (sum.saturating_add(b), largest.max(b)));
    let soft = |bound: u64| bound / 100 * STATE_SOFT_PERCENT + bound % 100 * STATE_SOFT_PERCENT / 100;
    match own {
        Some(own) if bytes > own => Pressure::OverOwn(own),
        _ if sum > total && bytes >= largest => Pressure::OverTotal(total),
        Some(own) if bytes > soft(own) => Pressure::High,
        _ if sum > soft(total) => Pressure::High,
        _ => Pressure::Low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_stops_when_all_together_are_too_large_and_nobody_else() {
        for (bytes, own, others, want) in [
            (10, None, vec![], Pressure::Low),
            (51, None, vec![], Pressure::High),
            (10, None, vec![45], Pressure::High),
            (101, None, vec![], Pressure::OverTotal(100)),
            (60, None, vec![50], Pressure::OverTotal(100)),
            (50, None, vec![60], Pressure::High),
            (21, Some(20), vec![], Pressure::OverOwn(20)),
            (15, Some(20), vec![], Pressure::High),
            (10, Some(20), vec![], Pressure::Low),
            (150, Some(200), vec![], Pressure::OverTotal(100)),
            (u64::MAX, None, vec![u64::MAX], Pressure::OverTotal(100)),
        ] {
            assert_eq!(decide(bytes, own, others.clone().into_iter(), 100), want, "{bytes} of {own:?} beside {others:?}");
        }
    }

    #[test]
    fn a_job_that_is_gone_takes_nothing() {
        let budget = Budget::new(100);
        assert_eq!(budget.report(1, 90, None), Pressure::High);
        assert_eq!(budget.report(2, 20, None), Pressure::High);
        budget.forget(1);
        assert_eq!(budget.report(2, 20, None), Pressure::Low);
    }
}
