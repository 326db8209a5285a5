//! `REPEAT(text, count)`: a text so many times. Invariant: none or fewer give the empty text; no call makes more characters than `CHARS_MAX`.

use std::sync::Arc;

use arrow::array::StringViewBuilder;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::arguments::{integers, is_integer, is_text, result, rows, texts};
use super::pad::CHARS_MAX;

/// The function.
pub(super) fn repeat() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Repeat { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Repeat {
    signature: Signature,
}

impl ScalarUDFImpl for Repeat {
    fn name(&self) -> &str {
        "repeat"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text, count] if is_text(text) && is_integer(count) => Ok(types.to_vec()),
            _ => plan_err!("repeat takes a text and a number"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (text, count) = (texts(&args, 0)?, integers(&args, 1)?);
        let mut values = StringViewBuilder::with_capacity(rows(&args));
        for row in 0..rows(&args) {
            match (text.at(row), count.at(row)) {
                (Some(text), Some(count)) => match repeated(text, count) {
                    Some(text) => values.append_value(text),
                    None => return exec_err!("repeat makes at most {CHARS_MAX} characters"),
                },
                _ => values.append_null(),
            }
        }
        result(&args, Arc::new(values.finish()))
    }
}

/// `None` if it is too long.
fn repeated(text: &str, count: i64) -> Option<String> {
    if count <= 0 || text.is_empty() {
        return Some(String::new());
    }
    let count = usize::try_from(count).ok()?;
    let length = text.chars().count().checked_mul(count)?;
    (length <= CHARS_MAX).then(|| text.repeat(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_repeated_within_bounds() {
        assert_eq!(repeated("ab", 3).as_deref(), Some("ababab"));
        assert_eq!(repeated("ab", -1).as_deref(), Some(""));
        assert_eq!(repeated("", i64::MAX).as_deref(), Some(""));
        assert_eq!(repeated("ä", 4_096).map(|t| t.len()), Some(8_192));
        assert_eq!(repeated("ä", 4_097), None);
        assert_eq!(repeated("ab", i64::MAX), None);
    }
}
