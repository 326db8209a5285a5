//! JSON: an array of objects, or an object a line. Invariant: attributes are matched by the columns' names; a missing one is
//! NULL.

use std::borrow::Cow;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use serde_json::{Map, Value};

use super::cell::{self, Cell};
use super::{ReferenceFormat, without_mark};
use crate::error::{Error, Result};

/// The format.
pub(super) static FORMAT: ReferenceFormat =
    ReferenceFormat { name: "json", about: "An array of objects, or one object a line; a missing attribute is NULL.", load };

type Row = Map<String, Value>;

fn load(bytes: &[u8], schema: &SchemaRef) -> Result<RecordBatch> {
    let bytes = without_mark(bytes);
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        let rows: Vec<Row> = serde_json::from_slice(bytes).map_err(|e| Error::invalid(e.to_string()))?;
        return batch(&rows, schema, &|row| format!("item {}", row + 1));
    }
    let mut rows = Vec::new();
    let mut lines = Vec::new();
    for (i, line) in bytes.split(|&b| b == b'\n').enumerate().filter(|(_, l)| !l.trim_ascii().is_empty()) {
        let row: Row = serde_json::from_slice(line).map_err(|e| {
            let place = format!("line {}, column {}", i + 1, e.column());
            let text = e.to_string();
            Error::invalid(format!("{place}: {}", text.split(" at line ").next().unwrap_or(&text)))
        })?;
        rows.push(row);
        lines.push(i + 1);
    }
    batch(&rows, schema, &|row| format!("line {}", lines[row]))
}

fn batch(rows: &[Row], schema: &SchemaRef, place: &dyn Fn(usize) -> String) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| cell::column(field, rows.iter().map(|row| text(row.get(field.name()))), place));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<Vec<_>>>()?, &options)?)
}

fn text(value: Option<&Value>) -> Cell<'_> {
    match value {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(Cow::Borrowed(text)),
        Some(other) => Some(Cow::Owned(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Field, Float64Type, Schema};

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8View, false), Field::new("limit", DataType::Float64, true)]))
    }

    #[test]
    fn arrays_and_lines_give_the_same_rows() {
        let array = load(br#"[{"id":"a","limit":1.5,"x":{}}, {"limit":null,"id":7}]"#, &schema()).unwrap();
        let lines = load(b"{\"id\":\"a\",\"limit\":1.5}\r\n\n {\"id\":\"7\"}\n", &schema()).unwrap();
        assert_eq!(array, lines);
        assert_eq!(array.column(0).as_string_view().iter().flatten().collect::<Vec<_>>(), ["a", "7"]);
        assert_eq!(array.column(1).as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(1.5), None]);
    }

    #[test]
    fn errors_name_the_place() {
        let message = |file: &str| load(file.as_bytes(), &schema()).unwrap_err().to_string();
        assert_eq!(message("{\"id\":\"a\"}\n\n{\"id\":\"b\",\"limit\":\"hot\"}"), "line 3, column limit: expected DOUBLE, found \"hot\"");
        assert_eq!(message("[{\"id\":\"a\"},{}]"), "item 2, column id: declared NOT NULL, but has no value");
        assert!(message("{\"id\":\"a\"}\n{\"id\":").starts_with("line 2, column 6: EOF"), "{}", message("{\"id\":\"a\"}\n{\"id\":"));
        assert!(message("[{\"id\":\"a\"}").contains("at line 1"));
    }
}
