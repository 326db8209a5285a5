//! `REGEXP_EXTRACT(text, pattern [, group])`: what the first match of a pattern has in a group; 0 is the whole match. Invariant: where
//! nothing matches, or there is no such group, there is NULL; a literal that is no pattern is refused before anything runs.

use std::sync::Arc;

use arrow::array::StringViewBuilder;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use regex::Regex;

use super::arguments::{integers, is_integer, is_text, result, rows, texts};
use super::regular::{Pattern, Patterns, check, simplified};

/// The function.
pub(super) fn regexp_extract() -> Arc<ScalarUDF> {
    Arc::new(with(None))
}

fn with(literal: Option<Pattern>) -> ScalarUDF {
    ScalarUDF::new_from_impl(RegexpExtract { signature: Signature::user_defined(Volatility::Immutable), literal })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RegexpExtract {
    signature: Signature,
    /// The pattern, once it is known to be a literal.
    literal: Option<Pattern>,
}

impl ScalarUDFImpl for RegexpExtract {
    fn name(&self) -> &str {
        "regexp_extract"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text, pattern] if is_text(text) && is_text(pattern) => Ok(types.to_vec()),
            [text, pattern, group] if is_text(text) && is_text(pattern) && is_integer(group) => Ok(types.to_vec()),
            _ => plan_err!("regexp_extract takes a text, a pattern, and the number of a group"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        check(&args, self.name())?;
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8View, true)))
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        simplified(self.literal.as_ref(), args, with)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (text, pattern) = (texts(&args, 0)?, texts(&args, 1)?);
        let group = if args.args.len() > 2 { Some(integers(&args, 2)?) } else { None };
        let mut patterns = Patterns::new(self.literal.as_ref());
        let mut values = StringViewBuilder::with_capacity(rows(&args));
        for row in 0..rows(&args) {
            let number = group.as_ref().map_or(Some(0), |g| g.at(row));
            match (text.at(row), pattern.at(row), number) {
                (Some(text), Some(pattern), Some(number)) => values.append_option(extract(patterns.get(pattern)?, text, number)),
                _ => values.append_null(),
            }
        }
        result(&args, Arc::new(values.finish()))
    }
}

fn extract<'a>(regex: &Regex, text: &'a str, group: i64) -> Option<&'a str> {
    Some(regex.captures(text)?.get(usize::try_from(group).ok()?)?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_their_numbers() {
        let regex = Regex::new("(a)|(b)(c)?").unwrap();
        assert_eq!(extract(&regex, "xbc", 0), Some("bc"));
        assert_eq!(extract(&regex, "xbc", 1), None);
        assert_eq!(extract(&regex, "xbc", 2), Some("b"));
        assert_eq!(extract(&regex, "xb", 3), None);
        for group in [4, -1, i64::MAX] {
            assert_eq!(extract(&regex, "xbc", group), None, "{group}");
        }
    }
}
