//! `TIMESTAMPDIFF(unit, from, to)`: how many whole units lie between two times. Invariant: it is negative exactly if `to` is earlier by a
//! unit or more; a number that is no `INT` is an error, never another number.

use std::sync::Arc;

use arrow::array::Int32Array;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, exec_datafusion_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use thalweg_engine::time::timestamp_type;

use super::arguments::{is_text, literal, nullable, result, rows, scalar, times};
use super::units::Unit;

/// The function.
pub(super) fn timestampdiff() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(TimestampDiff { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimestampDiff {
    signature: Signature,
}

impl ScalarUDFImpl for TimestampDiff {
    fn name(&self) -> &str {
        "timestampdiff"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_time = |t: &DataType| matches!(t, DataType::Timestamp(..) | DataType::Date32 | DataType::Null);
        match types {
            [unit, from, to] if is_text(unit) && is_time(from) && is_time(to) => Ok(vec![unit.clone(), timestamp_type(), timestamp_type()]),
            _ => plan_err!("timestampdiff takes a unit and two times"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Unit::of(literal(&args, 0))?;
        Ok(Arc::new(Field::new(self.name(), DataType::Int32, nullable(&args))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let unit = Unit::of(scalar(&args, 0))?;
        let (from, to) = (times(&args, 1)?, times(&args, 2)?);
        let count = |row| match (from.at(row), to.at(row)) {
            (Some(from), Some(to)) => {
                let count = unit.between(from, to).and_then(|n| i32::try_from(n).ok());
                count.map(Some).ok_or_else(|| exec_datafusion_err!("the two times of TIMESTAMPDIFF are too far apart for an INT"))
            }
            _ => Ok(None),
        };
        result(&args, Arc::new((0..rows(&args)).map(count).collect::<Result<Int32Array>>()?))
    }
}
