//! `UNIX_TIMESTAMP(text [, pattern])`: the seconds since 1970 of a time that is written by a pattern of Java's letters, in UTC if it names
//! no other zone. Invariant: as in Flink a text that does not fit gives the least number there is; the clock is never asked.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use thalweg_engine::time::SECOND;

use super::arguments::{is_text, literal, nullable, result, rows, texts};
use super::pattern::{Pattern, Use};

/// The pattern where none is given.
const PATTERN: &str = "yyyy-MM-dd HH:mm:ss";

/// The function.
pub(super) fn unix_timestamp() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(UnixTimestamp { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct UnixTimestamp {
    signature: Signature,
}

impl ScalarUDFImpl for UnixTimestamp {
    fn name(&self) -> &str {
        "unix_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text] if is_text(text) => Ok(types.to_vec()),
            [text, pattern] if is_text(text) && is_text(pattern) => Ok(types.to_vec()),
            _ => plan_err!("unix_timestamp takes a text, and a pattern such as 'yyyy-MM-dd HH:mm:ss'"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match (args.arg_fields.len(), literal(&args, 1).and_then(|p| p.try_as_str())) {
            (1, _) => {}
            (_, Some(pattern)) => drop(Pattern::new(pattern.unwrap_or_default(), self.name(), Use::Read)?),
            (_, None) => {
                return plan_err!("the pattern of 'unix_timestamp' is to be a literal\nhint: write UNIX_TIMESTAMP(text, '{PATTERN}')");
            }
        }
        Ok(Arc::new(Field::new(self.name(), DataType::Int64, nullable(&args))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let text = texts(&args, 0)?;
        let pattern = match args.args.len() {
            1 => Some(Pattern::new(PATTERN, self.name(), Use::Read)?),
            _ => texts(&args, 1)?.at(0).map(|p| Pattern::new(p, self.name(), Use::Read)).transpose()?,
        };
        let seconds = |row| {
            let (text, pattern) = (text.at(row)?, pattern.as_ref()?);
            Some(pattern.read(text).map_or(i64::MIN, |time| time / SECOND))
        };
        result(&args, Arc::new((0..rows(&args)).map(seconds).collect::<Int64Array>()))
    }
}
