//! `TIMESTAMPADD(unit, n, t)`: the time so many units after another. Invariant: a date stays one if the unit is made of days; what is
//! outside of the years 1 to 9999 is an error, never another time.

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use thalweg_engine::time::{format, timestamp_type};

use super::arguments::{integers, is_integer, is_text, literal, nullable, result, rows, scalar, times};
use super::units::{Unit, no_time};

/// The function.
pub(super) fn timestampadd() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(TimestampAdd { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimestampAdd {
    signature: Signature,
}

impl ScalarUDFImpl for TimestampAdd {
    fn name(&self) -> &str {
        "timestampadd"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [unit, n, DataType::Date32] if is_text(unit) && is_integer(n) => Ok(vec![unit.clone(), DataType::Int64, DataType::Date32]),
            [unit, n, DataType::Timestamp(..) | DataType::Null] if is_text(unit) && is_integer(n) => {
                Ok(vec![unit.clone(), DataType::Int64, timestamp_type()])
            }
            _ => plan_err!("timestampadd takes a unit, a whole number and a time"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(timestamp_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let unit = Unit::of(literal(&args, 0))?;
        let is_date = args.arg_fields.get(2).is_some_and(|f| *f.data_type() == DataType::Date32);
        let data_type = if is_date && unit.is_of_days() { DataType::Date32 } else { timestamp_type() };
        Ok(Arc::new(Field::new(self.name(), data_type, nullable(&args))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let unit = Unit::of(scalar(&args, 0))?;
        let (numbers, times) = (integers(&args, 1)?, times(&args, 2)?);
        let moved = |row| match (numbers.at(row), times.at(row)) {
            (Some(n), Some(time)) => match unit.after(time, n) {
                Some(moved) => Ok(Some(moved)),
                None => Err(no_time(&format_args!("TIMESTAMPADD of {n} to {}", format(time)))),
            },
            _ => Ok(None),
        };
        let moved = (0..rows(&args)).map(moved).collect::<Result<TimestampMicrosecondArray, _>>()?;
        let moved: ArrayRef = Arc::new(moved.with_data_type(timestamp_type()));
        result(&args, cast(&moved, args.return_field.data_type())?)
    }
}
