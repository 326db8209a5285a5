//! `LOCATE(part, text [, from])`: where a part begins in a text, counted from 1, at a place or behind it. Invariant: 0 where it is not there,
//! NULL of NULL alone.

use std::sync::Arc;

use arrow::array::Int32Array;
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::arguments::{integers, is_integer, is_text, result, rows, texts};

/// The function.
pub(super) fn locate() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Locate { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Locate {
    signature: Signature,
}

impl ScalarUDFImpl for Locate {
    fn name(&self) -> &str {
        "locate"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [part, text] if is_text(part) && is_text(text) => Ok(types.to_vec()),
            [part, text, from] if is_text(part) && is_text(text) && is_integer(from) => Ok(types.to_vec()),
            _ => plan_err!("locate takes a part, a text, and a place that counts from 1"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (part, text) = (texts(&args, 0)?, texts(&args, 1)?);
        let from = if args.args.len() > 2 { Some(integers(&args, 2)?) } else { None };
        let place = |row| {
            let from = from.as_ref().map_or(Some(1), |f| f.at(row))?;
            Some(place(part.at(row)?, text.at(row)?, from))
        };
        result(&args, Arc::new((0..rows(&args)).map(place).collect::<Int32Array>()))
    }
}

/// A place before the first counts as the first.
fn place(part: &str, text: &str, from: i64) -> i32 {
    let skipped = usize::try_from(from.saturating_sub(1)).unwrap_or(0);
    let found = match text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(skipped) {
        Some(start) => text[start..].find(part).map(|at| text[..start + at].chars().count() + 1),
        None => None,
    };
    found.and_then(|place| i32::try_from(place).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        assert_eq!([place("b", "äbcb", 1), place("b", "äbcb", 2), place("b", "äbcb", 3), place("b", "äbcb", 5)], [2, 2, 4, 0]);
        assert_eq!([place("x", "abc", 1), place("", "abc", 1), place("", "", 1), place("a", "", 9)], [0, 1, 1, 0]);
        assert_eq!([place("a", "aa", 0), place("a", "aa", i64::MIN), place("a", "aa", i64::MAX)], [1, 1, 0]);
    }
}
