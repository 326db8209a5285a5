//! Columns out of samples, or out of a schema. Invariant: the type of a column is the narrowest of those below that holds every sample of it;
//! where there is a schema, no sample is looked at.
//!
//! ```text
//! nothing ─► BOOLEAN ───────────────┐
//!         ─► BIGINT ─► DOUBLE ──────┼─► STRING          ARRAY and ROW are joined inside: {a 1} and {a 1.5, b x} give
//!         ─► TIMESTAMP (ISO texts) ─┤                   ROW<a DOUBLE, b STRING>; with anything else they are STRING
//!         ─► BYTES, DECIMAL, …      ┘
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ahash::RandomState;
use arrow::datatypes::{DataType, Field, TimeUnit};

use super::find;
use super::json::number;
use super::value::Value;
use crate::error::{Error, Result};
use crate::time;

/// Names that a column with the time of an event usually has.
const EVENT_TIME_NAMES: [&str; 4] = ["ts", "timestamp", "time", "event_time"];

/// What samples look like, or what a schema says.
#[derive(Debug, Clone, PartialEq)]
pub struct Inferred {
    /// Names and types in the order of the samples or of the schema. Names are as sent: not each is a name for a column.
    pub columns: Vec<(String, DataType)>,
    /// The column that looks like the time of the event: an index into `columns`.
    pub event_time: Option<usize>,
}

/// Columns of a stream whose payloads in `format`, with its options, look like these; payloads that cannot be read are left out.
/// Errors: `Invalid` if the format does not tell names and types, or no payload can be read.
pub fn infer(format: &str, options: &BTreeMap<String, String>, payloads: &[&[u8]]) -> Result<Inferred> {
    let Some(attributes) = find(format)?.attributes else {
        return Err(Error::invalid(format!("format {format} does not tell what is in a record")).hint("declare the columns"));
    };
    let (mut row, mut problem) = (Fields::default(), None);
    let mut readable = 0;
    for payload in payloads {
        match attributes(options, payload) {
            Ok(members) => {
                readable += 1;
                members.iter().for_each(|(name, value)| row.add(name, shape(value)));
            }
            Err(reason) => problem = problem.or(Some(reason)),
        }
    }
    if readable == 0 {
        let reason = problem.unwrap_or_else(|| "there are none".to_owned());
        return Err(Error::invalid(format!("no sample can be read: {reason}")).hint("declare the columns, or send a record first"));
    }
    Ok(Inferred::new(row.list.into_iter().map(|(name, shape)| (name, shape.data_type())).collect()))
}

/// Columns of a stream by the schema that the options of `format` hold; `None` if that has no schema. Errors: `Invalid` if the schema is
/// none, or has a field that no column can take.
pub fn declared(format: &str, options: &BTreeMap<String, String>) -> Result<Option<Inferred>> {
    match find(format)?.columns {
        Some(columns) => columns(options).map(|columns| Some(Inferred::new(columns))),
        None => Ok(None),
    }
}

impl Inferred {
    fn new(columns: Vec<(String, DataType)>) -> Self {
        let is_time = |(name, data_type): &(String, DataType)| {
            matches!(data_type, DataType::Timestamp(..)) && EVENT_TIME_NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
        };
        let event_time = columns.iter().position(is_time);
        Self { columns, event_time }
    }
}

/// The type of values so far.
#[derive(Debug, Clone, Default)]
enum Shape {
    /// Only NULLs.
    #[default]
    Nothing,
    Scalar(DataType),
    List(Box<Shape>),
    Row(Fields),
}

/// Fields by name, in the order in which they came up.
#[derive(Debug, Clone, Default)]
struct Fields {
    list: Vec<(String, Shape)>,
    places: HashMap<String, usize, RandomState>,
}

impl Fields {
    fn add(&mut self, name: &str, shape: Shape) {
        match self.places.get(name) {
            Some(&place) => self.list[place].1.join(shape),
            None => {
                self.places.insert(name.to_owned(), self.list.len());
                self.list.push((name.to_owned(), shape));
            }
        }
    }
}

impl Shape {
    /// Makes room for values of another shape as well.
    fn join(&mut self, other: Self) {
        use DataType::{Float64, Int64, Utf8View};
        *self = match (std::mem::take(self), other) {
            (Self::Nothing, shape) | (shape, Self::Nothing) => shape,
            (Self::Scalar(a), Self::Scalar(b)) if a == b => Self::Scalar(a),
            (Self::Scalar(Int64 | Float64), Self::Scalar(Int64 | Float64)) => Self::Scalar(Float64),
            (Self::List(mut a), Self::List(b)) => {
                a.join(*b);
                Self::List(a)
            }
            (Self::Row(mut a), Self::Row(b)) => {
                b.list.into_iter().for_each(|(name, shape)| a.add(&name, shape));
                Self::Row(a)
            }
            _ => Self::Scalar(Utf8View),
        };
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Scalar(data_type) => data_type,
            Self::List(item) => DataType::List(Arc::new(Field::new_list_field(item.data_type(), true))),
            Self::Row(fields) if !fields.list.is_empty() => {
                DataType::Struct(fields.list.into_iter().map(|(name, shape)| Field::new(name, shape.data_type(), true)).collect())
            }
            Self::Nothing | Self::Row(_) => DataType::Utf8View,
        }
    }
}

fn shape(value: &Value<'_>) -> Shape {
    Shape::Scalar(match value {
        Value::Null => return Shape::Nothing,
        Value::List { items, .. } => {
            let mut joined = Shape::Nothing;
            items.iter().for_each(|item| joined.join(shape(item)));
            return Shape::List(Box::new(joined));
        }
        Value::Map { members, .. } => {
            let mut fields = Fields::default();
            members.iter().for_each(|(name, member)| fields.add(name, shape(member)));
            return Shape::Row(fields);
        }
        Value::Boolean(_) => DataType::Boolean,
        Value::Integer(n) => {
            if i64::try_from(*n).is_ok() {
                DataType::Int64
            } else {
                DataType::Float64
            }
        }
        Value::Double(_) => DataType::Float64,
        Value::Number(text) => of_number(text),
        Value::Text(text) => of_text(text),
        Value::Cell(text) if value.to_boolean().is_some() || text.is_empty() => {
            if text.is_empty() {
                DataType::Utf8View
            } else {
                DataType::Boolean
            }
        }
        Value::Cell(text) if number::parse(text.as_bytes()).is_some() => of_number(text),
        Value::Cell(text) => of_text(text),
        Value::Bytes(_) => DataType::Binary,
        Value::Decimal { .. } => DataType::Float64,
        Value::Date(_) => DataType::Date32,
        Value::Time(_) => DataType::Time64(TimeUnit::Microsecond),
        Value::Timestamp(_) => time::timestamp_type(),
    })
}

/// A number with a point or an exponent is a DOUBLE, even if it is whole: the next one may not be.
fn of_number(text: &str) -> DataType {
    let whole = !text.contains(['.', 'e', 'E']) && number::parse(text.as_bytes()).is_some_and(|n| n.to_i64().is_some());
    if whole { DataType::Int64 } else { DataType::Float64 }
}

fn of_text(text: &str) -> DataType {
    if time::parse(text.as_bytes()).is_some() { time::timestamp_type() } else { DataType::Utf8View }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::type_name;

    fn of(format: &str, payloads: &[&str]) -> Result<Vec<String>> {
        let bytes: Vec<&[u8]> = payloads.iter().map(|p| p.as_bytes()).collect();
        let inferred = infer(format, &BTreeMap::new(), &bytes)?;
        let time = |i: usize| if inferred.event_time == Some(i) { " event time" } else { "" };
        Ok(inferred.columns.iter().enumerate().map(|(i, (name, t))| format!("{name} {}{}", type_name(t), time(i))).collect())
    }

    #[test]
    fn the_narrowest_type_that_holds_all_samples_is_taken() {
        let columns = of(
            "json",
            &[
                r#"{"id":"pump-1","n":1,"x":1,"flag":true,"when":"2026-01-02T03:04:05Z","nothing":null,"mixed":1}"#,
                r#"{"n":-2,"x":2.0,"flag":null,"time":"2026-01-02 03:04:05.678","mixed":"a","big":9223372036854775808,"ts":17}"#,
                "broken",
                r#"{"list":[],"row":{"a":1},"rows":[{"a":1},{"a":1.5,"b":[true]}],"empty":{},"event_time":"2026-01-02T03:04:05Z"}"#,
                r#"{"list":[null,[1]],"row":{"a":null,"b":"x"},"when":"2026-01-02T03:04:05Z","odd":[1,{"a":1}],"odd2":{"a":1}}"#,
                r#"{"odd2":1}"#,
            ],
        );
        assert_eq!(
            columns.unwrap(),
            [
                "id STRING",
                "n BIGINT",
                "x DOUBLE",
                "flag BOOLEAN",
                "when TIMESTAMP",
                "nothing STRING",
                "mixed STRING",
                "time TIMESTAMP event time",
                "big DOUBLE",
                "ts BIGINT",
                "list ARRAY<ARRAY<BIGINT>>",
                "row ROW<a BIGINT, b STRING>",
                "rows ARRAY<ROW<a DOUBLE, b ARRAY<BOOLEAN>>>",
                "empty STRING",
                "event_time TIMESTAMP",
                "odd ARRAY<STRING>",
                "odd2 STRING",
            ]
        );
    }

    #[test]
    fn csv_has_columns_by_position() {
        let columns = of("csv", &["pump-1,21.5,7,2026-01-02T03:04:05Z,true,007", "pump-2,20,,2026-01-02T03:04:06Z,FALSE,1,more"]);
        assert_eq!(columns.unwrap(), ["c1 STRING", "c2 DOUBLE", "c3 BIGINT", "c4 TIMESTAMP", "c5 BOOLEAN", "c6 STRING", "c7 STRING"]);
    }

    #[test]
    fn what_tells_nothing_is_an_error() {
        assert!(of("json", &["[1]", "x"]).unwrap_err().message().starts_with("no sample can be read: broken JSON at byte 0"));
        assert!(of("json", &[]).unwrap_err().message().contains("there are none"));
        assert!(of("raw", &["x"]).unwrap_err().message().contains("does not tell"));
    }
}
