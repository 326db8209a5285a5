//! `TRUNCATE(x [, n])`: a number with at most n digits behind the point, and none without n; a negative n makes digits before the point
//! zeros. Invariant: what is cut are the decimal digits that the number is shown with, towards zero.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::arguments::{is_integer, literal, nullable, result};

/// The function.
pub(super) fn truncate() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Truncate { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Truncate {
    signature: Signature,
}

impl ScalarUDFImpl for Truncate {
    fn name(&self) -> &str {
        "truncate"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let number = match types.first() {
            Some(t) if t.is_unsigned_integer() => DataType::Int64,
            Some(t @ (DataType::Float32 | DataType::Float64 | DataType::Decimal128(..))) => t.clone(),
            Some(t) if t.is_integer() => t.clone(),
            Some(DataType::Null) => DataType::Float64,
            _ => return plan_err!("truncate takes a number, and how many digits to keep"),
        };
        match types {
            [_] => Ok(vec![number]),
            [_, digits] if is_integer(digits) => Ok(vec![number, DataType::Int64]),
            _ => plan_err!("truncate takes a number, and how many digits to keep"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().map_or_else(|| plan_err!("truncate takes a number"), |t| Ok(t.clone()))
    }

    /// A decimal has fewer digits behind the point if it is known how many.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let number = args.arg_fields.first().map_or(&DataType::Null, |f| f.data_type());
        let digits = match args.arg_fields.len() {
            1 => Some(0),
            _ => literal(&args, 1).and_then(whole_number),
        };
        let data_type = match (number, digits) {
            (DataType::Decimal128(precision, scale), Some(digits)) if digits < i64::from(*scale) => {
                let kept = i8::try_from(digits.max(0)).unwrap_or(*scale);
                let left = i16::from(*precision) - i16::from(*scale) + i16::from(kept) + 1;
                DataType::Decimal128(u8::try_from(left).unwrap_or(*precision).clamp(1, 38), kept)
            }
            (other, _) => other.clone(),
        };
        Ok(Arc::new(Field::new(self.name(), data_type, nullable(&args))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(numbers) = arrays.first() else { return internal_err!("truncate without an argument") };
        let digits = match arrays.get(1) {
            Some(digits) => cast(digits, &DataType::Int64)?.as_primitive::<Int64Type>().clone(),
            None => Int64Array::from(vec![0; numbers.len()]),
        };
        result(&args, truncated(numbers, &digits, args.return_field.data_type())?)
    }
}

fn truncated(numbers: &ArrayRef, digits: &Int64Array, to: &DataType) -> Result<ArrayRef> {
    let cut: ArrayRef = match (numbers.data_type(), to) {
        (DataType::Decimal128(_, scale), DataType::Decimal128(precision, kept)) => {
            let numbers = numbers.as_primitive::<Decimal128Type>();
            let cut = numbers.iter().zip(digits).map(|(x, n)| Some(decimal(x?, *scale, n?, *kept)));
            Arc::new(cut.collect::<Decimal128Array>().with_precision_and_scale(*precision, *kept)?)
        }
        (DataType::Float32 | DataType::Float64, _) => {
            let numbers = cast(numbers, &DataType::Float64)?;
            let mut text = String::new();
            let cut = numbers.as_primitive::<Float64Type>().iter().zip(digits).map(|(x, n)| Some(floating(x?, n?, &mut text)));
            Arc::new(cut.collect::<Float64Array>())
        }
        _ => {
            let numbers = cast(numbers, &DataType::Int64)?;
            let cut = numbers.as_primitive::<Int64Type>().iter().zip(digits).map(|(x, n)| Some(whole(x?, n?)));
            Arc::new(cut.collect::<Int64Array>())
        }
    };
    Ok(cast(&cut, to)?)
}

fn whole_number(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(number) => number,
        _ => None,
    }
}

/// Zeros in place of the last `-digits` digits.
fn whole(number: i64, digits: i64) -> i64 {
    let power = |n: u64| u32::try_from(n).ok().and_then(|n| 10_i64.checked_pow(n));
    match digits {
        0.. => number,
        _ => power(digits.unsigned_abs()).map_or(0, |zeros| number / zeros * zeros),
    }
}

/// Of a decimal with `scale` digits behind the point, one with `kept` of them.
fn decimal(number: i128, scale: i8, digits: i64, kept: i8) -> i128 {
    let power = |n: i64| u32::try_from(n).ok().and_then(|n| 10_i128.checked_pow(n));
    let cut = match i64::from(scale).saturating_sub(digits) {
        ..=0 => number,
        away => power(away).map_or(0, |zeros| number - number % zeros),
    };
    power(i64::from(scale) - i64::from(kept)).map_or(0, |zeros| cut / zeros)
}

/// Of the shortest text that means the number, the digits that are kept; `text` is room for it.
fn floating(number: f64, digits: i64, text: &mut String) -> f64 {
    text.clear();
    if !number.is_finite() || write!(text, "{number}").is_err() {
        return number;
    }
    let point = text.find('.').unwrap_or(text.len());
    let count = usize::try_from(digits.unsigned_abs()).unwrap_or(usize::MAX);
    match digits {
        1.. => text.truncate(point.saturating_add(count).saturating_add(1).min(text.len())),
        0 => text.truncate(point),
        _ if count >= point => return 0.0,
        _ => {
            text.truncate(point - count);
            text.extend(std::iter::repeat_n('0', count));
        }
    }
    // There is no -0 among decimal numbers, and a sign alone is none.
    text.parse::<f64>().unwrap_or(0.0) + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_that_are_shown() {
        let cut = |x: f64, n| floating(x, n, &mut String::new());
        for (x, n, want) in [
            (0.29, 2, 0.29),
            (0.289_999_999_999_999_9, 2, 0.28),
            (1.005, 2, 1.0),
            (-1.999, 2, -1.99),
            (-0.5, 0, 0.0),
            (12_345.678, -2, 12_300.0),
            (-12_345.678, -4, -10_000.0),
            (-12_345.678, -5, 0.0),
            (12_345.678, -6, 0.0),
            (1e300, 2, 1e300),
            (1e-7, 6, 0.0),
            (1e-7, 7, 1e-7),
            (1.5, i64::MAX, 1.5),
            (1.5, i64::MIN, 0.0),
            (f64::INFINITY, 2, f64::INFINITY),
        ] {
            assert_eq!(cut(x, n), want, "{x} {n}");
        }
        assert!(cut(f64::NAN, 1).is_nan());
        assert!(cut(-0.5, 0).is_sign_positive());
    }

    #[test]
    fn whole_numbers_and_decimals_are_cut_exactly() {
        assert_eq!((whole(-987, -1), whole(987, 2), whole(987, -3)), (-980, 987, 0));
        assert_eq!((whole(i64::MAX, -18), whole(i64::MIN, -19), whole(5, i64::MIN)), (9_000_000_000_000_000_000, 0, 0));
        // 123.456 with three digits behind the point.
        assert_eq!(decimal(123_456, 3, 2, 2), 12_345);
        assert_eq!(decimal(123_456, 3, 2, 3), 123_450);
        assert_eq!(decimal(-123_456, 3, 0, 0), -123);
        assert_eq!(decimal(123_456, 3, -1, 0), 120);
        assert_eq!(decimal(123_456, 3, 3, 3), 123_456);
        assert_eq!((decimal(123_456, 3, i64::MIN, 0), decimal(123_456, 3, i64::MAX, 3)), (0, 123_456));
    }
}
