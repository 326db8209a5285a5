//! Arguments and results of functions over rows. Invariant: a literal stays one value, whatever the number of rows; a call of literals
//! gives a literal.

use arrow::array::{Array, ArrayAccessor, ArrayRef, AsArray, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs};
use thalweg_engine::json::values as values_as_json;
use thalweg_engine::time::timestamp_type;

/// The values of one argument.
pub(super) struct Argument<A> {
    values: A,
    single: bool,
}

impl<A: Array> Argument<A> {
    /// Its value in a row; `None` if it is NULL.
    pub(super) fn at<'a>(&'a self, row: usize) -> Option<<&'a A as ArrayAccessor>::Item>
    where
        &'a A: ArrayAccessor,
    {
        let row = if self.single { 0 } else { row };
        self.values.is_valid(row).then(|| (&self.values).value(row))
    }
}

/// A text argument.
pub(super) fn texts(args: &ScalarFunctionArgs, index: usize) -> Result<Argument<StringViewArray>> {
    let (values, single) = array(args, index)?;
    Ok(Argument { values: cast(&values, &DataType::Utf8View)?.as_string_view().clone(), single })
}

/// An argument of whole numbers.
pub(super) fn integers(args: &ScalarFunctionArgs, index: usize) -> Result<Argument<Int64Array>> {
    let (values, single) = array(args, index)?;
    Ok(Argument { values: cast(&values, &DataType::Int64)?.as_primitive::<Int64Type>().clone(), single })
}

/// An argument of times; a date is its midnight.
pub(super) fn times(args: &ScalarFunctionArgs, index: usize) -> Result<Argument<TimestampMicrosecondArray>> {
    let (values, single) = array(args, index)?;
    Ok(Argument { values: cast(&values, &timestamp_type())?.as_primitive::<TimestampMicrosecondType>().clone(), single })
}

/// Any argument, as JSON text.
pub(super) fn json(args: &ScalarFunctionArgs, index: usize) -> Result<Argument<StringViewArray>> {
    let (values, single) = array(args, index)?;
    let texts = values_as_json(&values).map_err(|e| DataFusionError::Execution(e.to_string()))?;
    Ok(Argument { values: cast(&texts, &DataType::Utf8View)?.as_string_view().clone(), single })
}

/// What an argument is in every row.
pub(super) fn scalar(args: &ScalarFunctionArgs, index: usize) -> Option<&ScalarValue> {
    match args.args.get(index) {
        Some(ColumnarValue::Scalar(value)) => Some(value),
        _ => None,
    }
}

fn array(args: &ScalarFunctionArgs, index: usize) -> Result<(ArrayRef, bool)> {
    match args.args.get(index) {
        Some(ColumnarValue::Array(array)) => Ok((array.clone(), false)),
        Some(ColumnarValue::Scalar(value)) => Ok((value.to_array()?, true)),
        None => internal_err!("a function without argument {index}"),
    }
}

/// How many rows a call is to compute.
pub(super) fn rows(args: &ScalarFunctionArgs) -> usize {
    if is_literal(args) { 1 } else { args.number_rows }
}

/// The values of `rows(args)` rows as a result.
pub(super) fn result(args: &ScalarFunctionArgs, values: ArrayRef) -> Result<ColumnarValue> {
    match is_literal(args) {
        true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
        false => Ok(ColumnarValue::Array(values)),
    }
}

fn is_literal(args: &ScalarFunctionArgs) -> bool {
    args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)))
}

/// What an argument is in every row, when a call is planned.
pub(super) fn literal<'a>(args: &ReturnFieldArgs<'a>, index: usize) -> Option<&'a ScalarValue> {
    args.scalar_arguments.get(index).copied().flatten()
}

/// Whether a function may give NULL that does so where an argument is NULL.
pub(super) fn nullable(args: &ReturnFieldArgs<'_>) -> bool {
    args.arg_fields.iter().any(|f| f.is_nullable())
}

/// Whether a value of this type is a text; NULL is one.
pub(super) fn is_text(data_type: &DataType) -> bool {
    data_type.is_string() || data_type.is_null()
}

/// Whether a value of this type is a whole number; NULL is one.
pub(super) fn is_integer(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_null()
}
