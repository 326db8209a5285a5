//! `JSON_OBJECT(KEY 'a' VALUE x, …)` and `JSON_ARRAY(x, …)`: values as JSON text. Invariant: as in Flink a value is what format `json` writes of
//! it, what another constructor wrote is taken as it is, and keys are in order; the result is never NULL.
//!
//! ```text
//! JSON_OBJECT(KEY 'a' VALUE x, KEY 'b' VALUE JSON_ARRAY(y) ABSENT ON NULL)   ->   json_object('avj', 'a', x, 'b', json_array('av', y))
//! ```

use std::sync::Arc;

use arrow::array::{StringViewArray, StringViewBuilder};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use serde_json::Value;

use super::super::arguments::{Argument, json, result, rows, scalar, texts};
use super::{ARRAY, NULL_ON_NULL, OBJECT, WRITTEN_VALUE};

/// Both functions.
pub(super) fn constructors() -> [Arc<ScalarUDF>; 2] {
    [Kind::Array, Kind::Object].map(|kind| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Constructor { kind, signature }))
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Array,
    Object,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Constructor {
    kind: Kind,
    signature: Signature,
}

/// A value of each row.
struct Member {
    /// Its key; empty in an array.
    key: String,
    /// What stands before it: the key as JSON, and a colon.
    name: String,
    values: Argument<StringViewArray>,
}

impl Constructor {
    fn members(&self, args: &ScalarFunctionArgs, letters: &str) -> Result<Vec<Member>> {
        let member = |(i, letter): (usize, char)| -> Result<Member> {
            let (key, name, index) = match self.kind {
                Kind::Array => (String::new(), String::new(), i),
                Kind::Object => {
                    let key = literal(args, 2 * i - 1)?;
                    (key.to_owned(), format!("{}:", Value::from(key)), 2 * i)
                }
            };
            let values = if letter == WRITTEN_VALUE { texts(args, index) } else { json(args, index) };
            Ok(Member { key, name, values: values? })
        };
        let mut members = letters.chars().enumerate().skip(1).map(member).collect::<Result<Vec<_>>>()?;
        // As Flink has them; values of an array have no keys, and stay where they are.
        members.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(members)
    }
}

impl ScalarUDFImpl for Constructor {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Array => ARRAY,
            Kind::Object => OBJECT,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [letters, ..] if letters.is_string() => {
                Ok(types.iter().map(|t| if t.is_null() { DataType::Utf8View } else { t.clone() }).collect())
            }
            _ => plan_err!("{} takes values", self.name()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8View, false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let letters = literal(&args, 0)?;
        let members = self.members(&args, letters)?;
        let null = letters.starts_with(NULL_ON_NULL).then_some("null");
        let (open, close) = match self.kind {
            Kind::Array => ('[', ']'),
            Kind::Object => ('{', '}'),
        };
        let mut out = StringViewBuilder::with_capacity(rows(&args));
        let mut text = String::new();
        for row in 0..rows(&args) {
            text.clear();
            text.push(open);
            for Member { name, values, .. } in &members {
                let Some(value) = values.at(row).or(null) else { continue };
                if text.len() > 1 {
                    text.push(',');
                }
                text.push_str(name);
                text.push_str(value);
            }
            text.push(close);
            out.append_value(&text);
        }
        result(&args, Arc::new(out.finish()))
    }
}

/// A text that the parser has put there.
fn literal(args: &ScalarFunctionArgs, index: usize) -> Result<&str> {
    match scalar(args, index).and_then(ScalarValue::try_as_str).flatten() {
        Some(text) => Ok(text),
        None => exec_err!("argument {index} of a constructor of JSON is a literal"),
    }
}
