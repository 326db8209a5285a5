//! JSON in text: `JSON_VALUE`, `JSON_QUERY`, `JSON_EXISTS`, what `->` and `->>` stand for, and what writes JSON. Invariant: text that is no JSON, and a
//! path that leads nowhere, to several places or to the wrong kind of value, is NULL (`JSON_EXISTS`: false), or what the call says; never an
//! error on a row unless the call asks for it.

mod constructor;
mod otherwise;
mod predicate;
mod written;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use serde_json::Value;
use serde_json_path::{JsonPath, PathElement};
use written::written;

/// `a -> 'key'`, also of an array: `a -> 0`.
pub(crate) const GET: &str = "json_get";
/// `a ->> 'key'`.
pub(crate) const GET_TEXT: &str = "json_get_text";
/// Its `RETURNING type` is a cast.
pub(crate) const VALUE: &str = "json_value";
/// The same with ON EMPTY and ON ERROR: NULL, `ERROR`, or `DEFAULT` and a text.
pub(crate) const VALUE_ELSE: &str = "$json_value";
/// The row is an error.
pub(crate) const ERROR: &str = "error";
/// What stands before a default.
pub(crate) const DEFAULT: &str = "default ";
/// `a IS JSON OBJECT`: (text, kind).
pub(crate) const PREDICATE: &str = "$is_json";
/// `JSON_OBJECT(KEY 'a' VALUE x)`: (letters, key, value, key, value, …).
pub(crate) const OBJECT: &str = "json_object";
/// `JSON_ARRAY(x, y)`: (letters, value, value, …).
pub(crate) const ARRAY: &str = "json_array";
/// First letter of a constructor: NULL is null.
pub(crate) const NULL_ON_NULL: char = 'n';
/// First letter of a constructor: NULL is left out.
pub(crate) const ABSENT_ON_NULL: char = 'a';
/// Letter of a value.
pub(crate) const ANY_VALUE: char = 'v';
/// Letter of a value that another constructor wrote.
pub(crate) const WRITTEN_VALUE: char = 'j';

/// What a function gives of the value that it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Gives {
    /// Text of a scalar.
    Scalar,
    /// JSON text of an array or object.
    Structure,
    /// Whether there is one.
    Existence,
    /// JSON text of anything.
    Json,
    /// Text of a scalar, JSON text of anything else.
    Text,
}

/// The functions of this file, by name.
const FUNCTIONS: [(&str, Gives); 5] = [
    ("json_exists", Gives::Existence),
    (GET, Gives::Json),
    (GET_TEXT, Gives::Text),
    ("json_query", Gives::Structure),
    (VALUE, Gives::Scalar),
];

/// All of them.
pub(super) fn functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let signature = || Signature::user_defined(Volatility::Immutable);
    let readers = FUNCTIONS.into_iter().map(move |(name, gives)| ScalarUDF::new_from_impl(Json { name, gives, signature: signature() }));
    readers.map(Arc::new).chain(constructor::constructors())
}

/// What only the parser calls.
pub(super) fn forms() -> [Arc<ScalarUDF>; 2] {
    [predicate::predicate(), otherwise::otherwise()]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Json {
    name: &'static str,
    gives: Gives,
    signature: Signature,
}

/// Where to look.
enum Place {
    Path(JsonPath),
    Key(String),
    Index(usize),
}

impl Json {
    fn place(&self, scalar: &ScalarValue) -> Result<Option<Place>> {
        let by_path = !matches!(self.gives, Gives::Json | Gives::Text);
        Ok(match scalar {
            ScalarValue::Utf8View(Some(text)) | ScalarValue::Utf8(Some(text)) if by_path => {
                let path = text.strip_prefix("lax ").or_else(|| text.strip_prefix("strict ")).unwrap_or(text);
                match JsonPath::parse(path) {
                    Ok(path) => Some(Place::Path(path)),
                    Err(e) => return plan_err!("'{text}' is no JSON path such as '$.a[0]': {e}"),
                }
            }
            ScalarValue::Utf8View(Some(key)) | ScalarValue::Utf8(Some(key)) => Some(Place::Key(key.clone())),
            ScalarValue::Int64(Some(index)) => usize::try_from(*index).ok().map(Place::Index),
            _ => None,
        })
    }

    /// The result for the text `json`, which was parsed to `value`.
    fn value(&self, json: &str, value: &Value, place: &Place) -> Option<String> {
        let (found, path) = place.find(value)?;
        let structure = found.is_array() || found.is_object();
        match (self.gives, found) {
            (Gives::Json, _) => written(json, &path),
            (_, Value::Null) => None,
            (Gives::Scalar | Gives::Text, Value::String(text)) => Some(text.clone()),
            (Gives::Scalar, _) if structure => None,
            (Gives::Structure, _) if !structure => None,
            _ => written(json, &path),
        }
    }

    fn apply(&self, texts: &ArrayRef, place: Option<&Place>) -> ArrayRef {
        let texts = texts.as_string_view();
        let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
        if self.gives == Gives::Existence {
            let mut out = BooleanBuilder::with_capacity(texts.len());
            for text in texts {
                out.append_option(text.map(|t| parsed(t).is_some_and(|v| place.is_some_and(|p| p.exists(&v)))));
            }
            return Arc::new(out.finish());
        }
        let mut out = StringViewBuilder::with_capacity(texts.len());
        for text in texts {
            out.append_option(text.and_then(|json| self.value(json, &parsed(json)?, place?)));
        }
        Arc::new(out.finish())
    }
}

impl Place {
    /// What is there, and the steps to it.
    fn find<'v>(&'v self, value: &'v Value) -> Option<(&'v Value, Vec<PathElement<'v>>)> {
        match self {
            Self::Path(path) => {
                let found = path.query_located(value).exactly_one().ok()?;
                Some((found.node(), found.to_location().into_iter().collect()))
            }
            Self::Key(key) => Some((value.get(key)?, vec![PathElement::Name(key)])),
            Self::Index(index) => Some((value.get(index)?, vec![PathElement::Index(*index)])),
        }
    }

    fn exists(&self, value: &Value) -> bool {
        match self {
            Self::Path(path) => !path.query(value).is_empty(),
            other => other.find(value).is_some(),
        }
    }
}

impl ScalarUDFImpl for Json {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let by_index = matches!(self.gives, Gives::Json | Gives::Text);
        match types {
            [text, path] if (text.is_string() || text.is_null()) && path.is_string() => Ok(vec![DataType::Utf8View, path.clone()]),
            [text, index] if (text.is_string() || text.is_null()) && index.is_integer() && by_index => {
                Ok(vec![DataType::Utf8View, DataType::Int64])
            }
            _ if by_index => plan_err!("{} takes a STRING, and a key or an index", self.name),
            _ => plan_err!("{} takes a STRING and a path such as '$.a[0]'", self.name),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.gives == Gives::Existence { DataType::Boolean } else { DataType::Utf8View })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.scalar_arguments.get(1) {
            Some(Some(place)) => self.place(place)?,
            _ => return plan_err!("the path of {} is a literal", self.name),
        };
        Ok(Arc::new(Field::new(self.name, self.return_type(&[])?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text, ColumnarValue::Scalar(place)] = args.args.as_slice() else {
            return exec_err!("the path of {} is a literal", self.name);
        };
        let place = self.place(place)?;
        match text {
            ColumnarValue::Array(texts) => Ok(ColumnarValue::Array(self.apply(texts, place.as_ref()))),
            ColumnarValue::Scalar(ScalarValue::Utf8View(_)) => {
                let one = self.apply(&text.to_array(1)?, place.as_ref());
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?))
            }
            ColumnarValue::Scalar(other) => internal_err!("{} of {other}", self.name),
        }
    }
}
