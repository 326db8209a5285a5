//! The rows of `DESCRIBE`. Invariant: one row a column, in the order of the table.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::FieldRef;
use thalweg_engine::error::Result;
use thalweg_engine::plan::{ColumnSource, Metadata};

use super::definition::TableDefinition;
use super::lake::LakeTable;
use crate::types;

/// Columns of a declared table: name, type, nullable, key, extras.
pub(crate) fn describe_declared(definition: &TableDefinition) -> Result<RecordBatch> {
    let rows = definition.columns.iter().enumerate().map(|(i, column)| {
        let name = column.field.name();
        let key = if definition.primary_key.contains(name) { "PRIMARY KEY" } else { "" };
        let mut extras = Vec::new();
        if let ColumnSource::Metadata(m) = column.source {
            let from = Metadata::KEYS.iter().find(|(_, k)| *k == m).map_or("", |(k, _)| k);
            extras.push(format!("METADATA FROM '{from}'"));
        }
        if let Some(w) = definition.watermark.filter(|w| w.column == i) {
            extras.push(format!("WATERMARK {name} - {} ms", w.delay / thalweg_engine::time::MILLISECOND));
        }
        (column.field.clone(), key.to_owned(), extras.join(", "))
    });
    batch(rows.collect())
}

/// Columns of a table that is only known to the lake.
pub(crate) fn describe_lake(table: &LakeTable) -> Result<RecordBatch> {
    batch(table.schema().fields().iter().map(|f| (f.clone(), String::new(), String::new())).collect())
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
