//! `REGEXP_EXTRACT(text, pattern [, group])`: what the first match of a pattern has in a group; 0 is the whole match. Invariant: where
//! nothing matches, or there is no such group, there is NULL; a literal that is no pattern is refused before anything runs.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::StringViewBuilder;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, plan_datafusion_err, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use regex::Regex;

use super::arguments::{integers, is_integer, is_text, result, rows, texts};

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
    /// The pattern, once it is known to be a literal: it is compiled once and not with every batch.
    literal: Option<Pattern>,
}

/// A pattern that is told from others by its text.
#[derive(Debug, Clone)]
struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
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
        if let Some(Some(pattern)) = args.scalar_arguments.get(1).map(|p| p.and_then(|p| p.try_as_str().flatten())) {
            compiled(pattern)?;
        }
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8View, true)))
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match (&self.literal, args.get(1)) {
            (None, Some(Expr::Literal(pattern, _))) if pattern.try_as_str().flatten().is_some() => {
                let literal = pattern.try_as_str().flatten().map(compiled).transpose()?.map(Pattern);
                Ok(ExprSimplifyResult::Simplified(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(with(literal)), args))))
            }
            _ => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (text, pattern) = (texts(&args, 0)?, texts(&args, 1)?);
        let group = if args.args.len() > 2 { Some(integers(&args, 2)?) } else { None };
        let mut values = StringViewBuilder::with_capacity(rows(&args));
        let mut last: Option<(&str, Regex)> = self.literal.as_ref().map(|p| (p.0.as_str(), p.0.clone()));
        for row in 0..rows(&args) {
            let number = group.as_ref().map_or(Some(0), |g| g.at(row));
            let (Some(text), Some(pattern), Some(number)) = (text.at(row), pattern.at(row), number) else {
                values.append_null();
                continue;
            };
            let regex = match last.take() {
                Some((of, regex)) if of == pattern => regex,
                _ => compiled(pattern)?,
            };
            values.append_option(extract(&regex, text, number));
            last = Some((pattern, regex));
        }
        result(&args, Arc::new(values.finish()))
    }
}

fn compiled(pattern: &str) -> Result<Regex, DataFusionError> {
    Regex::new(pattern).map_err(|e| plan_datafusion_err!("'{pattern}' is no regular expression: {e}"))
}

fn extract<'a>(regex: &Regex, text: &'a str, group: i64) -> Option<&'a str> {
    Some(regex.captures(text)?.get(usize::try_from(group).ok()?)?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_their_numbers() {
        let regex = compiled("(a)|(b)(c)?").unwrap();
        assert_eq!(extract(&regex, "xbc", 0), Some("bc"));
        assert_eq!(extract(&regex, "xbc", 1), None);
        assert_eq!(extract(&regex, "xbc", 2), Some("b"));
        assert_eq!(extract(&regex, "xb", 3), None);
        for group in [4, -1, i64::MAX] {
            assert_eq!(extract(&regex, "xbc", group), None, "{group}");
        }
        assert!(compiled("(").is_err());
    }
}
