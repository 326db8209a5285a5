//! `TO_BASE64(text)` and `FROM_BASE64(text)`: the bytes of a text in base 64, and back. Invariant: NULL of NULL; what is not base 64, or means no
//! text, is an error.

use std::sync::Arc;

use arrow::array::StringViewBuilder;
use arrow::datatypes::DataType;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use datafusion::common::{Result, exec_datafusion_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::arguments::{is_text, result, rows, texts};

/// As Java's decoder, which Flink asks: what fills up the end may be missing, and bits that are left over are ignored.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    From,
    To,
}

/// The functions.
pub(super) fn both() -> impl Iterator<Item = Arc<ScalarUDF>> {
    [Way::From, Way::To].into_iter().map(|way| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Base64 { way, signature }))
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Base64 {
    way: Way,
    signature: Signature,
}

impl ScalarUDFImpl for Base64 {
    fn name(&self) -> &str {
        match self.way {
            Way::From => "from_base64",
            Way::To => "to_base64",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text] if is_text(text) => Ok(types.to_vec()),
            _ => plan_err!("{} takes a text", self.name()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let text = texts(&args, 0)?;
        let mut values = StringViewBuilder::with_capacity(rows(&args));
        for row in 0..rows(&args) {
            values.append_option(match (text.at(row), self.way) {
                (Some(text), Way::To) => Some(STANDARD.encode(text)),
                (Some(text), Way::From) => Some(decoded(text)?),
                (None, _) => None,
            });
        }
        result(&args, Arc::new(values.finish()))
    }
}

fn decoded(text: &str) -> Result<String> {
    let bytes = LENIENT.decode(text).ok();
    let decoded = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.ok_or_else(|| exec_datafusion_err!("{text:?} is no text in base 64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_and_others_are_errors() {
        assert_eq!(decoded("aGVsbG8gd29ybGQ=").unwrap(), "hello world");
        assert_eq!(decoded("aGVsbG8").unwrap(), "hello", "nothing fills it up");
        assert!(decoded("aGVsbG8?").is_err(), "no digit");
        assert!(decoded("/w==").is_err(), "no text");
    }
}
