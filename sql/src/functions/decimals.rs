//! What aggregates of decimals share. Invariant: a sum is kept in the widest decimals, which no number of rows makes too small, and is
//! NULL where it does not fit the type of the result.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, DecimalType, Field, i256};
use datafusion::common::Result;

/// The widest type with so many digits behind the point.
pub(super) fn wide(scale: i8) -> DataType {
    DataType::Decimal256(DECIMAL256_MAX_PRECISION, scale)
}

/// Decimals, or lists of them, as the widest ones; others stay. States of older checkpoints come through here too.
pub(super) fn widened(values: &ArrayRef) -> Result<ArrayRef> {
    let to = match values.data_type() {
        DataType::Decimal128(_, scale) => wide(*scale),
        DataType::List(item) => match item.data_type() {
            DataType::Decimal128(_, scale) => DataType::List(Arc::new(Field::new_list_field(wide(*scale), true))),
            _ => return Ok(values.clone()),
        },
        _ => return Ok(values.clone()),
    };
    Ok(cast(values, &to)?)
}

/// A number, unless it has more digits than that.
pub(super) fn fitting(number: i256, precision: u8) -> Option<i128> {
    number.to_i128().filter(|n| Decimal128Type::is_valid_decimal_precision(*n, precision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_too_many_digits_does_not_fit() {
        assert_eq!(fitting(i256::from_i128(999), 3), Some(999));
        assert_eq!(fitting(i256::from_i128(-1_000), 3), None);
        assert_eq!(fitting(i256::from_i128(i128::MAX), 38), None);
        assert_eq!(fitting(i256::MAX, 38), None);
    }
}
