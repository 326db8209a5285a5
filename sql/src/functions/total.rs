//! A sum of floating-point numbers in twice their digits. Invariant: it is rounded once, when it is asked for; what is infinite or no
//! number is what plain addition gives.
//!
//! ```text
//! value ──► sum, and what its rounding lost ──► added to the rest         asked for: sum + rest
//! ```
//!
//! Nothing at all is lost while the sizes of the numbers, added up, are less than 2^49 times the smallest of them: all of them are multiples
//! of its last digit, the rest stays near or below 2^-50 of the sum, and so both have room. Beyond that about 100 bits are right.

/// A rest that is a greater part of its sum than this goes over to the sum.
const REST_MAX: f64 = 1.0 / (1_u64 << 50) as f64;

/// The rounded sum, and exactly what the rounding lost.
#[inline]
fn added(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

/// A sum that is not rounded yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Total {
    /// As plain addition gives it, but for its last digits.
    pub(super) sum: f64,
    /// What it lacks; no number once the sum is not finite.
    pub(super) rest: f64,
    /// Values in it.
    pub(super) count: u64,
}

impl Total {
    #[inline]
    fn add(&mut self, value: f64) {
        let (sum, lost) = added(self.sum, value);
        self.sum = sum;
        self.rest += lost;
        // Not for each value: each would wait for the one before.
        if self.rest.abs() > sum.abs() * REST_MAX {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let (sum, rest) = added(self.sum, self.rest);
        if rest.is_finite() {
            (self.sum, self.rest) = (sum, rest);
        }
    }

    /// A value comes.
    #[inline]
    pub(super) fn take(&mut self, value: f64) {
        self.add(value);
        self.count += 1;
    }

    /// A value leaves.
    pub(super) fn give(&mut self, value: f64) {
        self.add(-value);
        self.count = self.count.saturating_sub(1);
        if self.count == 0 {
            *self = Self::default();
        }
    }

    /// Adds another; without values it becomes that, bit by bit.
    pub(super) fn merge(&mut self, other: Self) {
        if other.count > 0 {
            self.rest += other.rest;
            self.add(other.sum);
            self.count += other.count;
        }
    }

    /// The sum, rounded.
    pub(super) fn rounded(self) -> f64 {
        if self.rest.is_finite() { self.sum + self.rest } else { self.sum }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn total(values: &[f64]) -> Total {
        let mut total = Total::default();
        values.iter().for_each(|v| total.take(*v));
        total
    }

    /// All of it, to the last bit; one not-a-number is as good as another.
    fn shown(total: Total) -> String {
        format!("{total:?} {:?}", total.rounded())
    }

    proptest! {
        #[test]
        fn a_part_goes_on_bit_by_bit(values in prop::collection::vec(prop::num::f64::ANY, 0..100), cut in 0..100_usize) {
            let (before, after) = values.split_at(cut.min(values.len()));
            let mut resumed = Total::default();
            resumed.merge(total(before));
            after.iter().for_each(|v| resumed.take(*v));
            prop_assert_eq!(shown(resumed), shown(total(&values)));
        }
    }

    #[test]
    fn what_is_not_finite_is_what_plain_addition_gives() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        for values in [[inf, 1.0], [1.0, -inf], [inf, -inf], [nan, 1.0], [f64::MAX, f64::MAX]] {
            let mut resumed = Total::default();
            resumed.merge(total(&values));
            resumed.take(0.1);
            let plain = values[0] + values[1] + 0.1;
            assert_eq!(format!("{:?}", resumed.rounded()), format!("{plain:?}"), "{values:?}");
        }
    }

    #[test]
    fn a_great_value_takes_nothing_along_when_it_leaves() {
        let mut sum = total(&[0.1, 1e16, 0.2]);
        sum.give(1e16);
        assert_eq!((sum.rounded(), sum.count), (0.1 + 0.2, 2));
        assert_eq!(total(&[0.1; 10]).rounded(), 1.0);
        assert_eq!(total(&[1e16, 1.0, 1.0, -1e16]).rounded(), 2.0);
        sum = total(&[f64::INFINITY, 0.5]);
        sum.give(f64::INFINITY);
        sum.give(0.5);
        assert_eq!((sum.rounded(), sum.count), (0.0, 0));
    }
}
