//! Texts in CSV. Invariant: no cell that came from outside is a formula to a spreadsheet: a text, or a name of a column, that begins
//! like one gets a `'` before it. Numbers, times and truth values are written as they are; bytes are base64, what is nested is JSON.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use thalweg_engine::error::Result;
use thalweg_engine::json;

/// What spreadsheets take for the beginning of a formula, also after a tab or a line break.
const BEGINNINGS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// The same rows, with texts that are no formulas.
pub(crate) fn without_formulas(rows: &RecordBatch) -> Result<RecordBatch> {
    let schema = rows.schema();
    let fields = schema.fields().iter().zip(rows.columns());
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = fields
        .map(|(field, column)| {
            let column = match field.data_type() {
                text if is_text(text) => harmless_column(column)?,
                other if other.is_nested() || other.is_binary() => harmless_column(&(Arc::new(json::texts(column)?) as ArrayRef))?,
                _ => column.clone(),
            };
            Ok((Field::new(harmless(field.name()), column.data_type().clone(), field.is_nullable()), column))
        })
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn harmless_column(column: &ArrayRef) -> Result<ArrayRef> {
    let texts = cast(column, &DataType::Utf8)?;
    let texts: StringArray = texts.as_string::<i32>().iter().map(|text| text.map(harmless)).collect();
    Ok(Arc::new(texts))
}

fn harmless(text: &str) -> String {
    if text.starts_with(BEGINNINGS) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Float64Array, ListArray, StringViewArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn nested_values_and_bytes_are_texts() {
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None]), None]));
        let bytes: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![Some(&[0xf8]), None]));
        let rows = without_formulas(&RecordBatch::try_from_iter([("list", list), ("raw", bytes)]).unwrap()).unwrap();
        let texts = |i: usize| rows.column(i).as_string::<i32>().iter().collect::<Vec<_>>();
        assert_eq!((texts(0), texts(1)), (vec![Some("[1,null]"), None], vec![Some("'+A=="), None]));
    }

    #[test]
    fn texts_are_defused_and_numbers_stay_numbers() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("=1+1"), Some("@x"), Some("a-b"), None, Some("")]));
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![-1.5, 2.0, -0.0, 1e300, 0.5]));
        let rows = without_formulas(&RecordBatch::try_from_iter([("+name", texts), ("x", numbers.clone())]).unwrap()).unwrap();
        let got: Vec<Option<&str>> = rows.column(0).as_string::<i32>().iter().collect();
        assert_eq!(got, [Some("'=1+1"), Some("'@x"), Some("a-b"), None, Some("")]);
        assert_eq!(rows.column(1).to_data(), numbers.to_data());
        assert_eq!(rows.schema().field(0).name(), "'+name");
    }
}
