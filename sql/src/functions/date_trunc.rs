//! `DATE_TRUNC(unit, time)`, which is also `FLOOR(time TO unit)` and what casts to fewer digits cut with; DataFusion's function for
//! anything but a UTC time in microseconds. Invariant: every time has its begin of a unit, not only those that nanoseconds can count;
//! digits are cut off towards the past, as a literal and in a column.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use thalweg_engine::time::{MILLISECOND, timestamp_type};

use super::arguments::scalar;
use super::units::{Unit, no_time};

/// The function, over DataFusion's.
pub(super) fn date_trunc(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(DateTrunc { inner }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(input)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let times = args.args.get(1).filter(|t| t.data_type() == timestamp_type());
        let (Some(unit), Some(times)) = (scalar(&args, 0).and_then(unit), times) else {
            return self.inner.invoke_with_args(args);
        };
        match times {
            ColumnarValue::Array(times) => Ok(ColumnarValue::Array(begins(times, unit)?)),
            ColumnarValue::Scalar(time) => {
                let begin = begins(&time.to_array()?, unit)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&begin, 0)?))
            }
        }
    }
}

/// The unit of a name, as DataFusion knows it.
fn unit(name: &ScalarValue) -> Option<Unit> {
    let name = name.try_as_str().flatten()?;
    match name.to_lowercase().as_str() {
        "microsecond" => Some(Unit::Fixed(1)),
        "millisecond" => Some(Unit::Fixed(MILLISECOND)),
        other => Unit::named(other),
    }
}

fn begins(times: &ArrayRef, unit: Unit) -> Result<ArrayRef> {
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let begins = times.try_unary::<_, TimestampMicrosecondType, _>(|t| unit.begin(t).ok_or_else(|| no_time(&t)))?;
    Ok(Arc::new(begins.with_data_type(timestamp_type())))
}
