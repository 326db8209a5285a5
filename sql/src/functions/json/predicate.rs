//! `text IS JSON [VALUE | SCALAR | ARRAY | OBJECT]`. Invariant: as in Flink NULL is no JSON, so that the answer is never NULL.

use std::sync::Arc;

use arrow::array::BooleanBuilder;
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use serde_json::Value;

use super::super::arguments::{is_text, result, rows, texts};
use super::PREDICATE;

/// The function.
pub(super) fn predicate() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Predicate { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Predicate {
    signature: Signature,
}

impl ScalarUDFImpl for Predicate {
    fn name(&self) -> &str {
        PREDICATE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text, kind] if is_text(text) && kind.is_string() => Ok(types.to_vec()),
            _ => plan_err!("is_json takes a text"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (text, kind) = (texts(&args, 0)?, texts(&args, 1)?);
        let mut values = BooleanBuilder::with_capacity(rows(&args));
        for row in 0..rows(&args) {
            let kind = kind.at(row).unwrap_or_default();
            values.append_value(text.at(row).is_some_and(|text| is_json(text, kind)));
        }
        result(&args, Arc::new(values.finish()))
    }
}

fn is_json(text: &str, kind: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|value| match kind {
        "ARRAY" => value.is_array(),
        "OBJECT" => value.is_object(),
        "SCALAR" => !value.is_array() && !value.is_object(),
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart() {
        let kinds = |text| ["VALUE", "SCALAR", "ARRAY", "OBJECT"].map(|kind| is_json(text, kind));
        assert_eq!(kinds("{}"), [true, false, false, true]);
        assert_eq!(kinds("[1]"), [true, false, true, false]);
        assert_eq!(kinds("null"), [true, true, false, false]);
        assert_eq!(kinds("abc"), [false; 4]);
    }
}
