//! `DATE_FORMAT(t, pattern)`: a time as text, by a pattern of Java's letters such as `yyyy-MM-dd HH:mm:ss.SSS`. Invariant: what the
//! pattern means is known before anything runs.

use std::sync::Arc;

use arrow::array::StringViewBuilder;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use thalweg_engine::time::timestamp_type;

use super::arguments::{is_text, literal, result, rows, texts};
use super::pattern::{Pattern, Use};

/// The function.
pub(super) fn date_format() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(DateFormat { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateFormat {
    signature: Signature,
}

impl ScalarUDFImpl for DateFormat {
    fn name(&self) -> &str {
        "date_format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Timestamp(..) | DataType::Date32 | DataType::Null, pattern] if is_text(pattern) => {
                Ok(vec![timestamp_type(), pattern.clone()])
            }
            _ => plan_err!("date_format takes a time and a pattern"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match literal(&args, 1).and_then(|p| p.try_as_str()) {
            Some(pattern) => Pattern::new(pattern.unwrap_or_default(), self.name(), Use::Write)?,
            None => return plan_err!("the pattern of 'date_format' is to be a literal\nhint: write DATE_FORMAT(t, 'yyyy-MM-dd HH:mm')"),
        };
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8View, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let pattern = texts(&args, 1)?;
        let times = ColumnarValue::values_to_arrays(&args.args[..1])?;
        let pattern = pattern.at(0).map(|p| Pattern::new(p, self.name(), Use::Write)).transpose()?;
        let format = pattern.map(|p| p.specifiers());
        let options = FormatOptions::new().with_timestamp_tz_format(format.as_deref());
        let shown = ArrayFormatter::try_new(times[0].as_ref(), &options)?;
        let mut values = StringViewBuilder::with_capacity(rows(&args));
        for row in 0..rows(&args) {
            match times[0].is_valid(row) && format.is_some() {
                true => values.append_value(shown.value(row).try_to_string()?),
                false => values.append_null(),
            }
        }
        result(&args, Arc::new(values.finish()))
    }
}
