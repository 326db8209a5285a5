//! `SPLIT_INDEX(text, separator, index)`: a part of a text, counted from 0. Invariant: where the text has no such part, there is NULL.

use std::sync::Arc;

use arrow::array::StringViewArray;
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::arguments::{integers, is_integer, is_text, result, rows, texts};

/// The function.
pub(super) fn split_index() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(SplitIndex { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SplitIndex {
    signature: Signature,
}

impl ScalarUDFImpl for SplitIndex {
    fn name(&self) -> &str {
        "split_index"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text, separator, index] if is_text(text) && is_text(separator) && is_integer(index) => Ok(types.to_vec()),
            _ => plan_err!("split_index takes a text, a separator and a number that counts from 0"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (text, separator, index) = (texts(&args, 0)?, texts(&args, 1)?, integers(&args, 2)?);
        let part = |row| part(text.at(row)?, separator.at(row)?, index.at(row)?);
        result(&args, Arc::new((0..rows(&args)).map(part).collect::<StringViewArray>()))
    }
}

/// As Flink has it: an empty text has no parts, an empty separator is any white space.
fn part<'a>(text: &'a str, separator: &str, index: i64) -> Option<&'a str> {
    let index = usize::try_from(index).ok()?;
    match (text.is_empty(), separator.is_empty()) {
        (true, _) => None,
        (false, true) => text.split(char::is_whitespace).nth(index),
        (false, false) => text.split(separator).nth(index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_count_from_zero_and_empty_ones_count() {
        assert_eq!(part("a/b//c", "/", 0), Some("a"));
        assert_eq!(part("a/b//c", "/", 2), Some(""));
        assert_eq!(part("a/b//c", "/", 3), Some("c"));
        assert_eq!(part("a/b//c", "//", 1), Some("c"));
        assert_eq!(part("a b\tc", "", 2), Some("c"));
        for (text, index) in [("a/b", 2), ("a/b", -1), ("", 0), ("a/b", i64::MIN)] {
            assert_eq!(part(text, "/", index), None, "{text} {index}");
        }
    }
}
