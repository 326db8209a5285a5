//! Random choices. Invariant: the same seed and purpose give the same choices, so that a case can be repeated, and its rows can be
//! fewer without its query being another.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Dice of one purpose of one case.
pub struct Dice(StdRng);

impl Dice {
    /// For a purpose (a number of its own) of the case `seed`.
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self(StdRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(purpose)))
    }

    /// A number from 0 to before `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    /// A number of a range that is not empty.
    pub fn within(&mut self, range: Range<i64>) -> i64 {
        self.0.random_range(range)
    }

    /// True in so many of a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    /// One of them; there is at least one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Up to `most` of them, in their order, each at most once.
    pub fn some<T: Clone>(&mut self, from: &[T], most: usize) -> Vec<T> {
        let mut left: Vec<usize> = (0..from.len()).collect();
        let count = self.below(most.min(from.len()) + 1);
        let mut chosen: Vec<usize> = (0..count).map(|_| left.swap_remove(self.below(left.len()))).collect();
        chosen.sort_unstable();
        chosen.into_iter().map(|i| from[i].clone()).collect()
    }
}
