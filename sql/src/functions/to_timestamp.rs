//! `TO_TIMESTAMP(text, pattern)` with a pattern of Java's letters, such as `yyyy-MM-dd HH:mm:ss`; DataFusion's function otherwise.
//! Invariant: a pattern is Java's exactly if it is a literal without `%`; a text that does not fit it is NULL, never an error.

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use thalweg_engine::time::timestamp_type;

use super::arguments::{is_text, literal, result, rows, scalar, texts};
use super::pattern::{Pattern, Use};

/// The function, over DataFusion's.
pub(super) fn to_timestamp(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(ToTimestamp { inner }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToTimestamp {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for ToTimestamp {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let is_text = args.arg_fields.first().is_some_and(|f| is_text(f.data_type()));
        match java(literal(&args, 1), args.arg_fields.len()) {
            Some(pattern) if is_text => Pattern::new(pattern, self.name(), Use::Read)?,
            _ => return self.inner.return_field_from_args(args),
        };
        Ok(Arc::new(Field::new(self.name(), timestamp_type(), true)))
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = Arc::new(self.inner.inner().with_updated_config(config)?);
        Some(ScalarUDF::new_from_impl(Self { inner }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // What was said when it was planned holds.
        let pattern = java(scalar(&args, 1), args.args.len()).filter(|_| *args.return_field.data_type() == timestamp_type());
        let Some(pattern) = pattern else { return self.inner.invoke_with_args(args) };
        let pattern = Pattern::new(pattern, self.name(), Use::Read)?;
        let text = texts(&args, 0)?;
        let times: TimestampMicrosecondArray = (0..rows(&args)).map(|row| pattern.read(text.at(row)?)).collect();
        let times: ArrayRef = Arc::new(times.with_data_type(timestamp_type()));
        result(&args, times)
    }
}

/// The pattern of a call with so many arguments, if it is one of Java.
fn java(pattern: Option<&ScalarValue>, arguments: usize) -> Option<&str> {
    pattern.and_then(|p| p.try_as_str().flatten()).filter(|p| arguments == 2 && !p.contains('%'))
}
