//! `YEAR(t)`, `HOUR(t)` and their like: the parts of a time that `EXTRACT` gives, by the names that Flink has for them. Invariant: each
//! is a `BIGINT`, and NULL of NULL.

use std::sync::Arc;

use arrow::compute::{DatePart, cast, date_part};
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use thalweg_engine::time::timestamp_type;

use super::arguments::result;

/// Name, part, and what is added to Arrow's number.
const PARTS: [(&str, DatePart, i64); 10] = [
    ("dayofmonth", DatePart::Day, 0),
    // Sunday is 1.
    ("dayofweek", DatePart::DayOfWeekSunday0, 1),
    ("dayofyear", DatePart::DayOfYear, 0),
    ("hour", DatePart::Hour, 0),
    ("minute", DatePart::Minute, 0),
    ("month", DatePart::Month, 0),
    ("quarter", DatePart::Quarter, 0),
    ("second", DatePart::Second, 0),
    ("week", DatePart::Week, 0),
    ("year", DatePart::Year, 0),
];

/// The functions.
pub(super) fn date_parts() -> impl Iterator<Item = Arc<ScalarUDF>> {
    (0..PARTS.len()).map(|part| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Part { part, signature }))
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Part {
    /// Index into `PARTS`.
    part: usize,
    signature: Signature,
}

impl Part {
    fn of_day(&self) -> bool {
        matches!(PARTS[self.part].1, DatePart::Hour | DatePart::Minute | DatePart::Second)
    }
}

impl ScalarUDFImpl for Part {
    fn name(&self) -> &str {
        PARTS[self.part].0
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Timestamp(..) | DataType::Null] => Ok(vec![timestamp_type()]),
            [DataType::Date32] if !self.of_day() => Ok(types.to_vec()),
            [DataType::Time64(_)] if self.of_day() => Ok(types.to_vec()),
            _ => plan_err!("{} takes a time", self.name()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (_, part, add) = PARTS[self.part];
        let times = ColumnarValue::values_to_arrays(&args.args)?;
        let [times] = times.as_slice() else { return plan_err!("{} takes a time", self.name()) };
        let numbers = cast(&date_part(times, part)?, &DataType::Int64)?;
        let numbers = match add {
            0 => numbers,
            _ => arrow::compute::kernels::numeric::add(&numbers, &arrow::array::Int64Array::new_scalar(add))?,
        };
        result(&args, numbers)
    }
}
