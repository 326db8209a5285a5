//! The manifests as documents. Invariant: pure functions of the entries, so that the documents never disagree.

use serde_json::{Value, json};

use crate::error::Result;
use crate::lake::catalog::entry::{ColumnEntry, Entry};

/// Version of `catalog.json`; raised when a field changes its meaning.
const FORMAT_VERSION: u32 = 1;

/// `_catalog/catalog.json`: every data set. Paths are relative to the lake unless they are absolute.
pub(super) fn catalog(entries: &[Entry]) -> Value {
    json!({ "format_version": FORMAT_VERSION, "datasets": entries })
}

/// `<namespace>/datapackage.json`: a Data Package (version 2) with one resource a table. A resource points to the table's own
/// description; its rows are read through the Delta log, as `x-lake` says.
pub(super) fn data_package(namespace: &str, entries: &[Entry]) -> Result<Value> {
    let resources = entries.iter().filter(|e| e.namespace == namespace).map(resource).collect::<Result<Vec<_>>>()?;
    Ok(json!({
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": namespace,
        "title": format!("Lake tables of namespace {namespace}"),
        "resources": resources,
    }))
}

fn resource(entry: &Entry) -> Result<Value> {
    let mut lake = serde_json::to_value(entry)?;
    if let Value::Object(fields) = &mut lake {
        fields.insert("fields".to_owned(), entry.schema.iter().map(field).collect());
    }
    Ok(json!({
        "name": entry.name,
        "title": entry.about.description,
        "description": entry.about.description,
        "path": format!("{}/_meta/table.json", entry.name),
        "format": "json",
        "mediatype": "application/json",
        "x-lake": lake,
    }))
}

/// A column in the words of Table Schema.
fn field(column: &ColumnEntry) -> Value {
    let (field_type, format) = match column.sql_type.as_str() {
        "TIMESTAMP" => ("datetime", "default"),
        "DATE" => ("date", "default"),
        "DOUBLE" | "FLOAT" => ("number", "default"),
        "BIGINT" | "INT" | "SMALLINT" | "TINYINT" => ("integer", "default"),
        "BOOLEAN" => ("boolean", "default"),
        "BYTES" => ("string", "binary"),
        decimal if decimal.starts_with("DECIMAL") => ("number", "default"),
        list if list.starts_with("ARRAY") => ("array", "default"),
        nested if nested.starts_with("MAP") || nested.starts_with("ROW") => ("object", "default"),
        _ => ("string", "default"),
    };
    json!({ "name": column.name, "type": field_type, "format": format, "constraints": { "required": !column.nullable } })
}
