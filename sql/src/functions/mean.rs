//! `AVG` of decimals, made of the count and the sum that DataFusion's keeps. Invariant: it is the exact mean, half a last digit rounded away
//! from zero, and NULL where it does not fit its type; it is never an error.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Decimal256Array};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal256Type, UInt64Type, i256};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::decimals::{fitting, widened};

/// Digits behind the point that are dear enough to give up one before it: as many as Flink keeps.
const SCALE_KEPT: i8 = 6;

/// The type of the mean of decimals: four more digits behind the point, as far as there is room.
pub(super) fn mean_type(precision: u8, scale: i8) -> DataType {
    match precision.saturating_add(4) {
        digits if digits <= DECIMAL128_MAX_PRECISION => DataType::Decimal128(digits, scale + 4),
        _ => DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale.max(SCALE_KEPT).min(scale.saturating_add(4))),
    }
}

/// The digits of a mean, and what its numbers lack of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digits {
    precision: u8,
    scale: i8,
    /// 1 with so many zeros as the mean has digits more behind the point than its numbers.
    unit: i256,
}

impl Digits {
    /// Of a call; `None` if it is no mean of decimals.
    pub(super) fn of(args: &AccumulatorArgs) -> Option<Self> {
        match (args.expr_fields.first()?.data_type(), args.return_field.data_type()) {
            (DataType::Decimal128(_, from), DataType::Decimal128(precision, scale)) => {
                let more = u32::try_from(scale.checked_sub(*from)?).ok()?;
                Some(Self { precision: *precision, scale: *scale, unit: i256::from_i128(10).checked_pow(more)? })
            }
            _ => None,
        }
    }

    fn mean(self, sum: i256, count: u64) -> Option<i128> {
        let count = i256::from_i128(i128::from(count));
        let sum = sum.checked_mul(self.unit)?;
        let (mean, rest) = (sum.checked_div(count)?, sum.checked_rem(count)?.wrapping_abs());
        let rounded = if rest.wrapping_add(rest) < count { mean } else { mean.checked_add(sum.signum())? };
        fitting(rounded, self.precision)
    }
}

/// A mean of decimals with the count and the sum of another.
#[derive(Debug)]
pub(super) struct Mean<A> {
    pub(super) inner: A,
    pub(super) digits: Digits,
}

fn wide_values(values: &ArrayRef) -> Result<Decimal256Array> {
    match widened(values)?.as_primitive_opt::<Decimal256Type>() {
        Some(values) => Ok(values.clone()),
        None => internal_err!("a mean of decimals is made of {}", values.data_type()),
    }
}

impl Accumulator for Mean<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let state = self.inner.state()?;
        let (sum, count) = match state.as_slice() {
            [ScalarValue::UInt64(count), ScalarValue::Decimal128(sum, ..)] => (sum.map(i256::from_i128), count.unwrap_or(0)),
            [ScalarValue::UInt64(count), ScalarValue::Decimal256(sum, ..)] => (*sum, count.unwrap_or(0)),
            [ScalarValue::List(distinct)] => {
                let values = wide_values(&distinct.value(0))?;
                let count = values.len() - values.null_count();
                (values.iter().flatten().reduce(i256::wrapping_add), count as u64)
            }
            _ => return internal_err!("the state of a mean is neither a count and a sum nor a list"),
        };
        let mean = sum.and_then(|sum| self.digits.mean(sum, count));
        Ok(ScalarValue::Decimal128(mean, self.digits.precision, self.digits.scale))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}

impl GroupsAccumulator for Mean<Box<dyn GroupsAccumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.inner.update_batch(values, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let state = self.inner.state(emit_to)?;
        let [counts, sums] = state.as_slice() else { return internal_err!("the state of a mean is no count and sum") };
        let (counts, sums) = (counts.as_primitive::<UInt64Type>(), wide_values(sums)?);
        let means: Decimal128Array = sums.iter().zip(counts.iter()).map(|(sum, count)| self.digits.mean(sum?, count?)).collect();
        Ok(Arc::new(means.with_precision_and_scale(self.digits.precision, self.digits.scale)?))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.inner.merge_batch(values, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_last_digit_is_rounded_away_from_zero_and_what_does_not_fit_is_null() {
        let digits = Digits { precision: 5, scale: 2, unit: i256::from_i128(10) };
        let mean = |sum: i128, count| digits.mean(i256::from_i128(sum), count);
        assert_eq!([mean(2, 3), mean(-2, 3), mean(1, 3), mean(-1, 3)], [Some(7), Some(-7), Some(3), Some(-3)]);
        assert_eq!([mean(1, 20), mean(-1, 20), mean(1, 21)], [Some(1), Some(-1), Some(0)]);
        assert_eq!([mean(9_999, 1), mean(10_000, 1), mean(7, 0)], [Some(99_990), None, None]);
        assert_eq!(digits.mean(i256::MAX, 1), None);
    }

    #[test]
    fn a_mean_keeps_the_digits_before_the_point() {
        assert_eq!(mean_type(10, 2), DataType::Decimal128(14, 6));
        assert_eq!(mean_type(34, 10), DataType::Decimal128(38, 14));
        assert_eq!(mean_type(38, 10), DataType::Decimal128(38, 10));
        assert_eq!(mean_type(38, 0), DataType::Decimal128(38, 4));
        assert_eq!(mean_type(38, 38), DataType::Decimal128(38, 38));
    }
}
