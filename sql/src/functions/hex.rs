//! `HEX(x)`: a whole number, or the bytes of a text, in hexadecimal digits. Invariant: as in Flink the letters are large, and a number below 0
//! has the digits of its 64 bits.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::StringViewArray;
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::arguments::{integers, is_integer, is_text, result, rows, texts};

/// The function.
pub(super) fn hex() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Hex { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Hex {
    signature: Signature,
}

impl ScalarUDFImpl for Hex {
    fn name(&self) -> &str {
        "hex"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [only] if is_text(only) || is_integer(only) => Ok(types.to_vec()),
            _ => plan_err!("hex takes a whole number or a text"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let of_text = args.args.first().is_some_and(|a| is_text(&a.data_type()));
        let digits: StringViewArray = if of_text {
            let text = texts(&args, 0)?;
            (0..rows(&args)).map(|row| text.at(row).map(bytes)).collect()
        } else {
            let numbers = integers(&args, 0)?;
            (0..rows(&args)).map(|row| numbers.at(row).map(|n| format!("{n:X}"))).collect()
        };
        result(&args, Arc::new(digits))
    }
}

fn bytes(text: &str) -> String {
    text.bytes().fold(String::with_capacity(2 * text.len()), |mut digits, byte| {
        // Writing to a text does not fail.
        let _ = write!(digits, "{byte:02X}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_two_digits() {
        assert_eq!(bytes("a\nß"), "610AC39F");
        assert_eq!(bytes(""), "");
    }
}
