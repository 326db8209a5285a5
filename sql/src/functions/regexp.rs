//! `REGEXP(text, pattern)`: whether a part of a text fits a pattern. Invariant: NULL is given for NULL alone; as in Flink nothing fits the
//! empty pattern.

use std::sync::Arc;

use arrow::array::BooleanBuilder;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::arguments::{is_text, nullable, result, rows, texts};
use super::regular::{Pattern, Patterns, check, simplified};

/// The function.
pub(super) fn regexp() -> Arc<ScalarUDF> {
    Arc::new(with(None))
}

fn with(literal: Option<Pattern>) -> ScalarUDF {
    ScalarUDF::new_from_impl(Regexp { signature: Signature::user_defined(Volatility::Immutable), literal })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Regexp {
    signature: Signature,
    /// The pattern, once it is known to be a literal.
    literal: Option<Pattern>,
}

impl ScalarUDFImpl for Regexp {
    fn name(&self) -> &str {
        "regexp"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text, pattern] if is_text(text) && is_text(pattern) => Ok(types.to_vec()),
            _ => plan_err!("regexp takes a text and a pattern"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        check(&args, self.name())?;
        Ok(Arc::new(Field::new(self.name(), DataType::Boolean, nullable(&args))))
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        simplified(self.literal.as_ref(), args, with)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (text, pattern) = (texts(&args, 0)?, texts(&args, 1)?);
        let mut patterns = Patterns::new(self.literal.as_ref());
        let mut values = BooleanBuilder::with_capacity(rows(&args));
        for row in 0..rows(&args) {
            match (text.at(row), pattern.at(row)) {
                (Some(_), Some("")) => values.append_value(false),
                (Some(text), Some(pattern)) => values.append_value(patterns.get(pattern)?.is_match(text)),
                _ => values.append_null(),
            }
        }
        result(&args, Arc::new(values.finish()))
    }
}
