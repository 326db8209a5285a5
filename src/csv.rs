//! Texts in CSV. Invariant: no cell that came from outside is a formula to a spreadsheet: a text, or a name of a column, that begins
//! like one gets a `'` before it. Numbers, times and truth values are written as they are.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use thalweg_engine::error::Result;

/// What spreadsheets take for the beginning of a formula, also after a tab or a line break.
const BEGINNINGS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// The same rows, with texts that are no formulas.
pub(crate) fn without_formulas(rows: &RecordBatch) -> Result<RecordBatch> {
    let schema = rows.schema();
    let fields = schema.fields().iter().zip(rows.columns());
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = fields
        .map(|(field, column)| {
            let column = if is_text(field.data_type()) { harmless_column(column)? } else { column.clone() };
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
    use arrow::array::{Float64Array, StringViewArray};

    use super::*;

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
