//! The rows of `DESCRIBE`. Invariant: one row a column, in the order of the table.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::FieldRef;
use thalweg_engine::error::Result;
use thalweg_engine::plan::{ColumnSource, Metadata};
use thalweg_engine::time::{Micros, SECOND};

use super::definition::{TableDefinition, TableKind};
use super::lake::LakeTable;
use crate::types;

/// What is said of the key of a table whose rows replace each other.
const UPSERT: &str = "UPSERT";

/// A column as it is shown.
struct Row {
    name: String,
    sql_type: String,
    nullable: bool,
    key: String,
    extras: Vec<String>,
    watermark: String,
}

impl Row {
    fn new(field: &FieldRef, sql_type: String) -> Self {
        let (key, extras, watermark) = (String::new(), Vec::new(), String::new());
        Self { name: field.name().clone(), sql_type, nullable: field.is_nullable(), key, extras, watermark }
    }

    /// Notes whether it is in the key of a table, whose rows replace each other if it is in the lake.
    fn keyed(mut self, key: &[String], is_lake: bool) -> Self {
        if key.contains(&self.name) {
            self.key = format!("PRI({})", key.join(", "));
            self.extras.extend(is_lake.then(|| UPSERT.to_owned()));
        }
        self
    }
}

/// Columns of a declared table, as Flink shows them: name, type, null, key, extras, watermark.
pub(crate) fn describe_declared(definition: &TableDefinition) -> Result<RecordBatch> {
    let is_lake = matches!(definition.kind, TableKind::Lake { .. });
    let rows = definition.columns.iter().enumerate().map(|(i, column)| {
        let row = Row::new(&column.field, types::declared_name(column.field.data_type(), column.time_unit));
        let mut row = row.keyed(&definition.primary_key, is_lake);
        row.extras.extend(definition.partitioned_by.contains(&row.name).then(|| "PARTITIONED BY".to_owned()));
        match &column.source {
            ColumnSource::Payload => {}
            ColumnSource::Metadata(m) => {
                let from = Metadata::KEYS.iter().find(|(_, k)| k == m).map_or("", |(k, _)| k);
                row.extras.push(format!("METADATA FROM '{from}'"));
            }
            ColumnSource::Computed(computed) => row.extras.push(format!("AS {}", computed.text)),
        }
        if let Some(time) = definition.watermark.filter(|w| w.column == i) {
            row.sql_type.push_str(" *ROWTIME*");
            row.watermark = match &definition.watermark_expression {
                Some(expression) => expression.text.clone(),
                None => delayed(&row.name, time.delay),
            };
        }
        row
    });
    let now = |name: &String| Row {
        name: name.clone(),
        sql_type: "TIMESTAMP_LTZ(3) *PROCTIME*".to_owned(),
        nullable: false,
        key: String::new(),
        extras: vec!["AS PROCTIME()".to_owned()],
        watermark: String::new(),
    };
    batch(&rows.chain(definition.processing_time.iter().map(now)).collect::<Vec<_>>())
}

/// A watermark that stays behind a column by a length of time.
fn delayed(column: &str, delay: Micros) -> String {
    let (whole, fraction) = (delay / SECOND, delay % SECOND);
    match (whole, fraction) {
        (0, 0) => column.to_owned(),
        (whole, 0) => format!("{column} - INTERVAL '{whole}' SECOND"),
        (whole, fraction) => format!("{column} - INTERVAL '{whole}.{}' SECOND", format!("{fraction:06}").trim_end_matches('0')),
    }
}

/// Columns of a table that is only known to the lake.
pub(crate) fn describe_lake(table: &LakeTable) -> Result<RecordBatch> {
    let row = |field: &FieldRef| Row::new(field, types::name(field.data_type())).keyed(table.primary_key(), true);
    batch(&table.schema().fields().iter().map(row).collect::<Vec<_>>())
}

/// Columns of a table of which nothing else is known.
pub(crate) fn describe_columns(fields: impl IntoIterator<Item = FieldRef>) -> Result<RecordBatch> {
    batch(&fields.into_iter().map(|f| Row::new(&f, types::name(f.data_type()))).collect::<Vec<_>>())
}

/// Rows of text under these names.
pub(crate) fn list<const N: usize>(names: [&str; N], rows: &[[String; N]]) -> Result<RecordBatch> {
    let column = |i: usize| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row[i].as_str()))) };
    Ok(RecordBatch::try_from_iter(names.into_iter().enumerate().map(|(i, name)| (name, column(i))))?)
}

fn batch(rows: &[Row]) -> Result<RecordBatch> {
    let text = |value: &dyn Fn(&Row) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(value))) };
    Ok(RecordBatch::try_from_iter([
        ("name", text(&|r| r.name.clone())),
        ("type", text(&|r| r.sql_type.clone())),
        ("null", text(&|r| if r.nullable { "TRUE" } else { "FALSE" }.to_owned())),
        ("key", text(&|r| r.key.clone())),
        ("extras", text(&|r| r.extras.join(", "))),
        ("watermark", text(&|r| r.watermark.clone())),
    ])?)
}
