//! The rows of `DESCRIBE`. Invariant: one row a column, in the order of the table.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{Field, FieldRef};
use thalweg_engine::error::Result;
use thalweg_engine::plan::{ColumnSource, Metadata};

use super::definition::{TableDefinition, TableKind};
use super::lake::LakeTable;
use crate::types;

/// What is said of the key of a table whose rows replace each other.
const UPSERT: &str = "UPSERT";

/// Columns of a declared table: name, type, nullable, key, extras.
pub(crate) fn describe_declared(definition: &TableDefinition) -> Result<RecordBatch> {
    let rows = definition.columns.iter().enumerate().map(|(i, column)| {
        let name = column.field.name();
        let key = if definition.primary_key.contains(name) { "PRIMARY KEY" } else { "" };
        let mut extras = Vec::new();
        if !key.is_empty() && matches!(definition.kind, TableKind::Lake { .. }) {
            extras.push(UPSERT.to_owned());
        }
        match &column.source {
            ColumnSource::Payload => {}
            ColumnSource::Metadata(m) => {
                let from = Metadata::KEYS.iter().find(|(_, k)| k == m).map_or("", |(k, _)| k);
                extras.push(format!("METADATA FROM '{from}'"));
            }
            ColumnSource::Computed(computed) => extras.push(format!("AS {}", computed.text)),
        }
        if let Some(w) = definition.watermark.filter(|w| w.column == i) {
            extras.push(match &definition.watermark_expression {
                Some(expression) => format!("WATERMARK {}", expression.text),
                None => format!("WATERMARK {name} - {} ms", w.delay / thalweg_engine::time::MILLISECOND),
            });
        }
        (column.field.clone(), key.to_owned(), extras.join(", "))
    });
    let now = |name: &String| {
        (Arc::new(Field::new(name, thalweg_engine::time::timestamp_type(), false)), String::new(), "AS PROCTIME()".to_owned())
    };
    batch(rows.chain(definition.processing_time.iter().map(now)).collect())
}

/// Columns of a table that is only known to the lake.
pub(crate) fn describe_lake(table: &LakeTable) -> Result<RecordBatch> {
    let row = |field: &FieldRef| {
        let (key, extras) = if table.primary_key().contains(field.name()) { ("PRIMARY KEY", UPSERT) } else { ("", "") };
        (field.clone(), key.to_owned(), extras.to_owned())
    };
    batch(table.schema().fields().iter().map(row).collect())
}

/// Columns of a table of which nothing else is known.
pub(crate) fn describe_columns(fields: impl IntoIterator<Item = FieldRef>) -> Result<RecordBatch> {
    batch(fields.into_iter().map(|f| (f, String::new(), String::new())).collect())
}

/// Rows of text under these names.
pub(crate) fn list<const N: usize>(names: [&str; N], rows: &[[String; N]]) -> Result<RecordBatch> {
    let column = |i: usize| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row[i].as_str()))) };
    Ok(RecordBatch::try_from_iter(names.into_iter().enumerate().map(|(i, name)| (name, column(i))))?)
}

fn batch(rows: Vec<(FieldRef, String, String)>) -> Result<RecordBatch> {
    let text = |value: &dyn Fn(&(FieldRef, String, String)) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(value(row))).collect::<StringArray>())
    };
    Ok(RecordBatch::try_from_iter([
        ("name", text(&|r| r.0.name().clone())),
        ("type", text(&|r| types::name(r.0.data_type()))),
        ("nullable", text(&|r| if r.0.is_nullable() { "YES" } else { "NO" }.to_owned())),
        ("key", text(&|r| r.1.clone())),
        ("extras", text(&|r| r.2.clone())),
    ])?)
}
