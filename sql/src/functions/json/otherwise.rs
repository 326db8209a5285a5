//! `JSON_VALUE(text, path … ON EMPTY … ON ERROR)`: what is given where there is no value. Invariant: as in Flink a path that begins with `lax`
//! finds nothing where it leads nowhere (ON EMPTY); any other path is strict, for which that is an error (ON ERROR), and so is what is no JSON
//! and no scalar. The null of JSON is empty for both; NULL gives NULL.

use std::sync::Arc;

use arrow::array::StringViewBuilder;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use serde_json::Value;

use super::super::arguments::{is_text, literal, result, rows, scalar, texts};
use super::{DEFAULT, Gives, Json, Place, VALUE, VALUE_ELSE};

/// The function.
pub(super) fn otherwise() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    let json = Json { name: VALUE, gives: Gives::Scalar, signature };
    Arc::new(ScalarUDF::new_from_impl(Otherwise { json }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Otherwise {
    json: Json,
}

/// What a call says of rows without a value.
struct Clauses<'a> {
    lax: bool,
    empty: Option<&'a str>,
    error: Option<&'a str>,
}

impl Otherwise {
    fn value(&self, text: &str, place: &Place, clauses: &Clauses<'_>) -> Result<Option<String>> {
        let parsed = serde_json::from_str::<Value>(text).ok();
        let found = parsed.as_ref().and_then(|value| self.json.value(text, value, place));
        if found.is_some() {
            return Ok(found);
        }
        let is_null = || parsed.as_ref().and_then(|value| place.find(value)).is_some_and(|(found, _)| found.is_null());
        let clause = if clauses.lax || is_null() { clauses.empty } else { clauses.error };
        match clause {
            None => Ok(None),
            Some(clause) => match clause.strip_prefix(DEFAULT) {
                Some(text) => Ok(Some(text.to_owned())),
                None => exec_err!("JSON_VALUE finds no value at its path"),
            },
        }
    }
}

impl ScalarUDFImpl for Otherwise {
    fn name(&self) -> &str {
        VALUE_ELSE
    }

    fn signature(&self) -> &Signature {
        &self.json.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text, path, clauses @ ..] if is_text(text) && path.is_string() && clauses.len() == 2 && clauses.iter().all(is_text) => {
                Ok(types.to_vec())
            }
            _ => plan_err!("{VALUE} takes a STRING and a path such as '$.a[0]'"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match literal(&args, 1) {
            Some(path) => self.json.place(path)?,
            None => return plan_err!("the path of {VALUE} is a literal"),
        };
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8View, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let text_of = |index: usize| scalar(&args, index).and_then(ScalarValue::try_as_str).flatten();
        let Some(path) = scalar(&args, 1) else { return exec_err!("the path of {VALUE} is a literal") };
        let place = self.json.place(path)?;
        let lax = text_of(1).is_some_and(|path| path.starts_with("lax "));
        let clauses = Clauses { lax, empty: text_of(2), error: text_of(3) };
        let text = texts(&args, 0)?;
        let mut values = StringViewBuilder::with_capacity(rows(&args));
        for row in 0..rows(&args) {
            values.append_option(match (text.at(row), &place) {
                (Some(text), Some(place)) => self.value(text, place, &clauses)?,
                _ => None,
            });
        }
        result(&args, Arc::new(values.finish()))
    }
}
