//! `LPAD(text, length, filling)` and `RPAD`: a text of so many characters, cut, or filled up where it begins or ends. Invariant: as in Flink a
//! length below 0 and an empty filling give NULL; no call makes more characters than `CHARS_MAX`.

use std::sync::Arc;

use arrow::array::StringViewBuilder;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::arguments::{integers, is_integer, is_text, result, rows, texts};

/// Most characters of a text that is made longer than what it is made of: a few letters in a query are not to fill the memory.
pub(super) const CHARS_MAX: usize = 4_096;

/// Where a text is filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Begin,
    End,
}

/// The functions.
pub(super) fn pads() -> impl Iterator<Item = Arc<ScalarUDF>> {
    [Side::Begin, Side::End].into_iter().map(|side| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Pad { side, signature }))
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Pad {
    side: Side,
    signature: Signature,
}

impl ScalarUDFImpl for Pad {
    fn name(&self) -> &str {
        match self.side {
            Side::Begin => "lpad",
            Side::End => "rpad",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text, length, filling] if is_text(text) && is_integer(length) && is_text(filling) => Ok(types.to_vec()),
            _ => plan_err!("{} takes a text, a number of characters and a text to fill up with", self.name()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (text, length, filling) = (texts(&args, 0)?, integers(&args, 1)?, texts(&args, 2)?);
        let mut values = StringViewBuilder::with_capacity(rows(&args));
        for row in 0..rows(&args) {
            match (text.at(row), length.at(row).map(usize::try_from), filling.at(row)) {
                (Some(_), Some(Ok(length)), Some(_)) if length > CHARS_MAX => {
                    return exec_err!("{} makes at most {CHARS_MAX} characters, not {length}", self.name());
                }
                (Some(text), Some(Ok(length)), Some(filling)) if !filling.is_empty() => {
                    values.append_value(padded(text, length, filling, self.side));
                }
                _ => values.append_null(),
            }
        }
        result(&args, Arc::new(values.finish()))
    }
}

fn padded(text: &str, length: usize, filling: &str, side: Side) -> String {
    let lacking = length.saturating_sub(text.chars().count());
    let (text, filling) = (text.chars().take(length), filling.chars().cycle().take(lacking));
    match side {
        Side::Begin => filling.chain(text).collect(),
        Side::End => text.chain(filling).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_or_filled_up() {
        let both = |text, length, filling| (padded(text, length, filling, Side::Begin), padded(text, length, filling, Side::End));
        let is = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(both("hi", 4, "??"), is("??hi", "hi??"));
        assert_eq!(both("hi", 1, "??"), is("h", "h"));
        assert_eq!(both("", 5, "äb"), is("äbäbä", "äbäbä"));
        assert_eq!(both("hi", 0, "x"), is("", ""));
    }
}
