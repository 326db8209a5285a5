//! From `CREATE TABLE` to a definition. Invariant: a definition that comes out of here can be scanned, joined or written
//! as its kind says; everything else is refused with its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use sqlparser::ast::Ident;
use thalweg_engine::contract::{ConnectorSpec, Role};
use thalweg_engine::decode;
use thalweg_engine::ids::Name;
use thalweg_engine::plan::{Column, ColumnSource};
use thalweg_engine::runtime::query::decode_schema;

use super::columns::{Columns, Compile, Watermark, columns, find, watermark};
use super::definition::{TableDefinition, TableKind, Tier};
use super::options::{Defaults, table_kind};
use crate::diagnostics::{Problem, Result, suggestion};
use crate::parser::CreateTable;
use crate::types;

/// Checks a table; `sql` is its text. Returns the definition and what was assumed.
pub(crate) fn declare(
    table: &CreateTable,
    sql: &str,
    connectors: &'static [&'static ConnectorSpec],
    defaults: Defaults<'_>,
    compile: &Compile<'_>,
) -> Result<(TableDefinition, Vec<String>)> {
    let name = table_name(&table.name)?;
    let connector = connector(table, connectors)?;
    let Columns { mut columns, processing_time } = columns(table, connector.role, compile)?;
    let mut notices = Vec::new();
    let pairs: BTreeMap<String, String> =
        table.options.iter().filter(|(k, ..)| k != "connector").map(|(k, v, _)| (k.clone(), v.clone())).collect();
    let kind = table_kind(connector, &name, pairs, defaults, &mut notices)
        .map_err(|e| option_place(table, Problem::from(e.clone()), e.message()))?;
    let primary_key = primary_key(table, &columns, connector.role)?;
    let partitioned_by = partitioned_by(table, &columns, connector.role)?;
    if let TableKind::Lake { tier, .. } = &kind {
        check_tier(table, *tier)?;
        for column in columns.iter_mut().filter(|c| primary_key.contains(c.field.name())) {
            column.field = Arc::new(column.field.as_ref().clone().with_nullable(false));
        }
    }
    let (watermark, watermark_expression) = match watermark(table, &columns, connector.role, compile)? {
        Some(Watermark { time, expression }) => (Some(time), expression),
        None => (None, None),
    };
    if let (TableKind::Lake { .. }, Some(c)) = (&kind, columns.iter().position(|c| matches!(c.source, ColumnSource::Metadata(_)))) {
        return Err(Problem::new(table.columns[c].name.span.start, "METADATA columns belong to streams").hint("leave METADATA out"));
    }
    let sql = sql.trim().to_owned();
    let definition =
        TableDefinition { name, sql, columns, processing_time, primary_key, partitioned_by, watermark, watermark_expression, kind };
    check_format(table, &definition)?;
    Ok((definition, notices))
}

/// Errors: the format does not fit its options or the columns.
fn check_format(table: &CreateTable, definition: &TableDefinition) -> Result<()> {
    let Some(scan) = definition.scan() else { return Ok(()) };
    let opened = decode::open(&scan.format, decode_schema(&scan));
    opened.map(|_| ()).map_err(|e| option_place(table, Problem::from(e.clone()), e.message()))
}

/// The connector that a table names.
pub(crate) fn connector(table: &CreateTable, connectors: &'static [&'static ConnectorSpec]) -> Result<&'static ConnectorSpec> {
    let names = || connectors.iter().map(|c| c.name).collect::<Vec<_>>();
    let Some((_, value, at)) = table.options.iter().find(|(k, ..)| k == "connector") else {
        return Err(Problem::new(table.options_at, "option 'connector' is missing")
            .hint(format!("add WITH ('connector' = '…'), one of {}", names().join(", "))));
    };
    connectors.iter().find(|c| c.name == value).copied().ok_or_else(|| {
        let hint = suggestion(value, names()).unwrap_or_else(|| format!("connectors: {}", names().join(", ")));
        Problem::new(*at, format!("connector '{value}' is not known")).hint(hint)
    })
}

/// The name of a table, job or stream. Unquoted names are lower-cased, as names in a query are.
pub(crate) fn table_name(ident: &Ident) -> Result<Name> {
    let text = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
    Name::new(&text).map_err(|e| Problem::from(e).or_at(ident.span.start))
}

/// Puts an option's error where the option stands; the message names it in quotes.
pub(crate) fn option_place(table: &CreateTable, problem: Problem, message: &str) -> Problem {
    let named = table.options.iter().find(|(k, ..)| message.contains(&format!("'{k}'")));
    problem.or_at(named.map_or(table.options_at, |(.., at)| *at))
}

fn primary_key(table: &CreateTable, columns: &[Column], role: Role) -> Result<Vec<String>> {
    match (&table.primary_key, role) {
        (None, Role::Reference) => Err(Problem::new(table.name.span.start, "a reference table needs a PRIMARY KEY")
            .hint("add PRIMARY KEY (column) NOT ENFORCED: rows of a stream are joined by it")),
        (None, _) => Ok(Vec::new()),
        (Some(key), _) => {
            let mut names = Vec::new();
            for ident in key {
                let field = &columns[find(columns, ident)?].field;
                let name = field.name().clone();
                if field.data_type().is_nested() {
                    return Err(Problem::new(ident.span.start, format!("'{name}' cannot be in a key: it has values inside"))
                        .hint("make a key of columns with one value each"));
                }
                if names.contains(&name) {
                    return Err(Problem::new(ident.span.start, format!("column '{name}' is in the key twice")).hint("name it once"));
                }
                names.push(name);
            }
            Ok(names)
        }
    }
}

/// The columns that rows of the lake lie by. Errors: the table is elsewhere, its rows lie by a key, or a column cannot be one of them.
fn partitioned_by(table: &CreateTable, columns: &[Column], role: Role) -> Result<Vec<String>> {
    let Some(idents @ [first, ..]) = table.partitioned_by.as_deref() else { return Ok(Vec::new()) };
    let at = first.span.start;
    if !matches!(role, Role::Lake) {
        return Err(Problem::new(at, "PARTITIONED BY belongs to tables of the lake")
            .hint("leave it out: a stream is distributed by device, reference data are not divided"));
    }
    if table.primary_key.is_some() {
        return Err(Problem::new(at, "a table with a primary key has no PARTITIONED BY").hint("leave it out: its rows lie by the key"));
    }
    let mut names = Vec::new();
    for ident in idents {
        let field = &columns[find(columns, ident)?].field;
        let (name, at) = (field.name().clone(), ident.span.start);
        let whole = field.data_type().is_signed_integer();
        if !whole && !matches!(field.data_type(), DataType::Utf8View | DataType::Date32 | DataType::Boolean) {
            return Err(Problem::new(at, format!("'{name}' is {}: tables are not PARTITIONED BY it", types::name(field.data_type())))
                .hint("name columns of text, whole numbers, DATE or BOOLEAN; rows with the same values lie by device and time anyway"));
        }
        if names.contains(&name) {
            return Err(Problem::new(at, format!("column '{name}' is named twice")).hint("name it once"));
        }
        names.push(name);
    }
    Ok(names)
}

/// Rows of an archive are never replaced.
fn check_tier(table: &CreateTable, tier: Tier) -> Result<()> {
    match table.primary_key.as_deref() {
        Some([first, ..]) if tier == Tier::Cold => Err(Problem::new(first.span.start, "a cold table has no PRIMARY KEY")
            .hint("its rows are only added: leave the key out, or use 'tier' = 'warm'")),
        _ => Ok(()),
    }
}
