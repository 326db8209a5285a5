//! `TO_TIMESTAMP_LTZ(number, precision)`: seconds (0) or milliseconds (3) since 1970 as a time. Invariant: every number within the
//! years 1 to 9999 gives exactly one time, cut to milliseconds; any other number is an error, never another time.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use thalweg_engine::time::{MILLISECOND, Micros, SECOND, timestamp_type};

use super::units::{TIMES, no_time};

/// The function.
pub(super) fn to_timestamp_ltz() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(ToTimestampLtz { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToTimestampLtz {
    signature: Signature,
}

impl ScalarUDFImpl for ToTimestampLtz {
    fn name(&self) -> &str {
        "to_timestamp_ltz"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let number = match types.first() {
            Some(t) if t.is_integer() || t.is_null() => DataType::Int64,
            Some(t) if t.is_floating() => DataType::Float64,
            _ => return plan_err!("to_timestamp_ltz takes a number, and 0 for seconds or 3 for milliseconds"),
        };
        match types {
            [_] => Ok(vec![number]),
            [_, precision] if precision.is_integer() => Ok(vec![number, DataType::Int64]),
            _ => plan_err!("to_timestamp_ltz takes a number, and 0 for seconds or 3 for milliseconds"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(timestamp_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.scalar_arguments.get(1) {
            None | Some(Some(ScalarValue::Int64(Some(0 | 3)))) => Ok(Arc::new(Field::new(self.name(), timestamp_type(), true))),
            Some(_) => plan_err!("the precision of TO_TIMESTAMP_LTZ is 0 (seconds) or 3 (milliseconds)"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let unit = match args.args.get(1) {
            None | Some(ColumnarValue::Scalar(ScalarValue::Int64(Some(3)))) => MILLISECOND,
            Some(ColumnarValue::Scalar(ScalarValue::Int64(Some(0)))) => SECOND,
            Some(other) => return internal_err!("to_timestamp_ltz with the precision {other}"),
        };
        match args.args.first() {
            Some(ColumnarValue::Array(numbers)) => Ok(ColumnarValue::Array(times(numbers, unit)?)),
            Some(ColumnarValue::Scalar(number)) => {
                let time = times(&number.to_array()?, unit)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&time, 0)?))
            }
            None => internal_err!("to_timestamp_ltz without an argument"),
        }
    }
}

fn times(numbers: &ArrayRef, unit: Micros) -> Result<ArrayRef> {
    let times = match numbers.data_type() {
        DataType::Int64 => numbers.as_primitive::<Int64Type>().try_unary::<_, TimestampMicrosecondType, _>(|n| whole(n, unit))?,
        DataType::Float64 => numbers.as_primitive::<Float64Type>().try_unary::<_, TimestampMicrosecondType, _>(|n| fraction(n, unit))?,
        other => return internal_err!("to_timestamp_ltz of {other}"),
    };
    Ok(Arc::new(times.with_data_type(timestamp_type())))
}

fn whole(number: i64, unit: Micros) -> Result<Micros, ArrowError> {
    number.checked_mul(unit).filter(|t| TIMES.contains(t)).ok_or_else(|| no_time(&number))
}

/// A fraction of a millisecond is cut off, towards the past.
fn fraction(number: f64, unit: Micros) -> Result<Micros, ArrowError> {
    let milliseconds = (number * (unit / MILLISECOND) as f64).floor();
    let within = (TIMES.start / MILLISECOND) as f64..(TIMES.end / MILLISECOND) as f64;
    match within.contains(&milliseconds) {
        // Whole and far below 2^53: the conversion is exact.
        true => Ok(milliseconds as i64 * MILLISECOND),
        false => Err(no_time(&number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_seconds_or_milliseconds_and_nothing_wraps_around() {
        assert_eq!(whole(1_767_225_600, SECOND).unwrap(), 1_767_225_600_000_000);
        assert_eq!(whole(-1, MILLISECOND).unwrap(), -1_000);
        for wrong in [i64::MAX, i64::MIN, 253_402_300_800, -62_135_596_801] {
            assert!(whole(wrong, SECOND).is_err(), "{wrong}");
        }
        assert_eq!(fraction(1.2345, SECOND).unwrap(), 1_234_000);
        assert_eq!(fraction(-0.5, MILLISECOND).unwrap(), -1_000);
        for wrong in [f64::NAN, f64::INFINITY, -1e300, 253_402_300_800.0] {
            assert!(fraction(wrong, SECOND).is_err(), "{wrong}");
        }
    }
}
