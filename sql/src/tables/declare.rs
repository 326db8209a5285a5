//! From `CREATE TABLE` to a definition. Invariant: a definition that comes out of here can be scanned, joined or written
//! as its kind says; everything else is refused with its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use sqlparser::ast::{BinaryOperator, Expr, Ident};
use sqlparser::tokenizer::Location;
use thalweg_engine::contract::{ConnectorSpec, Role};
use thalweg_engine::decode;
use thalweg_engine::ids::Name;
use thalweg_engine::plan::{Column, ColumnSource, Metadata, RowTime};
use thalweg_engine::runtime::query::decode_schema;

use super::definition::{TableDefinition, TableKind};
use super::options::{Defaults, table_kind};
use crate::diagnostics::{Problem, Result, suggestion};
use crate::parser::{ColumnDeclaration, CreateTable, micros};
use crate::types;

/// Longest name of a column, in bytes.
const COLUMN_NAME_BYTES_MAX: usize = 255;
/// Characters that Delta and Parquet readers do not take in a column's name.
const COLUMN_NAME_REFUSED: &str = " ,;{}()\n\t=\"`";

/// Checks a table; `sql` is its text. Returns the definition and what was assumed.
pub(crate) fn declare(
    table: &CreateTable,
    sql: &str,
    connectors: &'static [&'static ConnectorSpec],
    defaults: Defaults<'_>,
) -> Result<(TableDefinition, Vec<String>)> {
    let name = table_name(&table.name)?;
    let connector = connector(table, connectors)?;
    let columns = columns(table, connector.role)?;
    let mut notices = Vec::new();
    let pairs: BTreeMap<String, String> =
        table.options.iter().filter(|(k, ..)| k != "connector").map(|(k, v, _)| (k.clone(), v.clone())).collect();
    let kind = table_kind(connector, &name, pairs, defaults, &mut notices)
        .map_err(|e| option_place(table, Problem::from(e.clone()), e.message()))?;
    let primary_key = primary_key(table, &columns, connector.role)?;
    let watermark = watermark(table, &columns, connector.role)?;
    if let (TableKind::Lake { .. }, Some(c)) = (&kind, table.columns.iter().find(|c| c.metadata.is_some())) {
        return Err(Problem::new(c.name.span.start, "METADATA columns belong to streams").hint("leave METADATA out"));
    }
    let definition = TableDefinition { name, sql: sql.trim().to_owned(), columns, primary_key, watermark, kind };
    check_format(table, &definition)?;
    Ok((definition, notices))
}

/// Errors: the format does not fit its options or the columns.
fn check_format(table: &CreateTable, definition: &TableDefinition) -> Result<()> {
    let Some(scan) = definition.scan() else { return Ok(()) };
    let opened = decode::open(&scan.format, decode_schema(&scan));
    opened.map(|_| ()).map_err(|e| option_place(table, Problem::from(e.clone()), e.message()))
}

/// The name of a table, job or stream. Unquoted names are lower-cased, as names in a query are.
pub(crate) fn table_name(ident: &Ident) -> Result<Name> {
    let text = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
    Name::new(&text).map_err(|e| Problem::from(e).or_at(ident.span.start))
}

fn connector(table: &CreateTable, connectors: &'static [&'static ConnectorSpec]) -> Result<&'static ConnectorSpec> {
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

/// Puts an option's error where the option stands; the message names it in quotes.
fn option_place(table: &CreateTable, problem: Problem, message: &str) -> Problem {
    let named = table.options.iter().find(|(k, ..)| message.contains(&format!("'{k}'")));
    problem.or_at(named.map_or(table.options_at, |(.., at)| *at))
}

fn columns(table: &CreateTable, role: Role) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::new();
    for declared in &table.columns {
        let name = &declared.name.value;
        let at = declared.name.span.start;
        check_column_name(name, role, at)?;
        if columns.iter().any(|c| c.field.name().to_lowercase() == name.to_lowercase()) {
            return Err(Problem::new(at, format!("column '{name}' is declared twice"))
                .hint("names that differ only in upper and lower case count as the same"));
        }
        let column = column(declared)?;
        check_type(column.field.data_type(), role, declared.type_at)?;
        columns.push(column);
    }
    if columns.is_empty() {
        return Err(Problem::new(table.name.span.start, "the table has no columns").hint("declare at least one column"));
    }
    Ok(columns)
}

fn check_name(name: &str, at: Location) -> Result<()> {
    if name.is_empty() || name.len() > COLUMN_NAME_BYTES_MAX || name.chars().any(|c| COLUMN_NAME_REFUSED.contains(c) || c.is_control()) {
        return Err(Problem::new(at, "this is not a name for a column").hint("use letters, digits and '_'"));
    }
    Ok(())
}

fn check_column_name(name: &str, role: Role, at: Location) -> Result<()> {
    check_name(name, at)?;
    let reserved = name.eq_ignore_ascii_case("date") || name.starts_with('_');
    if reserved && !matches!(role, Role::Reference) {
        return Err(Problem::new(at, format!("column name '{name}' is reserved"))
            .hint("the lake adds a column 'date', and names that begin with '_' are its own: choose another name"));
    }
    Ok(())
}

/// Errors: a type that tables of this role cannot hold, or a name in it that is none.
fn check_type(data_type: &DataType, role: Role, at: Location) -> Result<()> {
    let refuse = |what: &str, hint: &str| Err(Problem::new(at, format!("type {} {what}", types::name(data_type))).hint(hint));
    match (data_type, role) {
        (DataType::Time64(_), Role::Lake) => refuse("cannot be stored in the lake", "declare it as STRING, and write CAST(… AS STRING)"),
        (DataType::List(_) | DataType::Map(..) | DataType::Struct(_), Role::Reference) => {
            refuse("cannot be in a reference table", "declare a column for each value")
        }
        (DataType::List(item), _) => check_type(item.data_type(), role, at),
        (DataType::Map(entries, _), _) => check_type(entries.data_type(), role, at),
        (DataType::Struct(fields), _) => {
            for (i, field) in fields.iter().enumerate() {
                check_name(field.name(), at)?;
                if fields[..i].iter().any(|f| f.name().to_lowercase() == field.name().to_lowercase()) {
                    return refuse(&format!("has '{}' twice", field.name()), "upper and lower case count as the same");
                }
                check_type(field.data_type(), role, at)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn column(declared: &ColumnDeclaration) -> Result<Column> {
    let name = &declared.name.value;
    let sql_type = types::column_type(&declared.data_type).map_err(|hint| {
        Problem::new(declared.type_at, format!("column '{name}': type {} is not supported", declared.data_type)).hint(hint)
    })?;
    let source = match &declared.metadata {
        None => ColumnSource::Payload,
        Some((key, at)) => {
            let key = key.as_deref().unwrap_or(name);
            let Some((_, metadata)) = Metadata::KEYS.iter().find(|(k, _)| *k == key) else {
                let keys = Metadata::KEYS.map(|(k, _)| k);
                let hint = suggestion(key, keys).unwrap_or_else(|| format!("keys: {}", keys.join(", ")));
                return Err(Problem::new(*at, format!("metadata key '{key}' is not known")).hint(hint));
            };
            if metadata.data_type() != sql_type.data_type {
                return Err(Problem::new(declared.type_at, format!("metadata '{key}' cannot be {}", declared.data_type))
                    .hint(format!("declare it as {}", types::name(&metadata.data_type()))));
            }
            ColumnSource::Metadata(*metadata)
        }
    };
    let field = Arc::new(Field::new(name, sql_type.data_type, !declared.not_null));
    Ok(Column { field, source, time_unit: sql_type.time_unit })
}

fn find(columns: &[Column], ident: &Ident) -> Result<usize> {
    let same = |c: &Column| match ident.quote_style {
        Some(_) => *c.field.name() == ident.value,
        None => c.field.name().eq_ignore_ascii_case(&ident.value),
    };
    columns.iter().position(same).ok_or_else(|| {
        let names: Vec<&str> = columns.iter().map(|c| c.field.name().as_str()).collect();
        let hint = suggestion(&ident.value, names.iter().copied()).unwrap_or_else(|| format!("columns: {}", names.join(", ")));
        Problem::new(ident.span.start, format!("column '{}' is not declared", ident.value)).hint(hint)
    })
}

fn primary_key(table: &CreateTable, columns: &[Column], role: Role) -> Result<Vec<String>> {
    match (&table.primary_key, role) {
        (None, Role::Reference) => Err(Problem::new(table.name.span.start, "a reference table needs a PRIMARY KEY")
            .hint("add PRIMARY KEY (column) NOT ENFORCED: rows of a stream are joined by it")),
        (None, _) => Ok(Vec::new()),
        (Some(key), Role::Lake) => Err(Problem::new(key[0].span.start, "a PRIMARY KEY on a lake table is not supported yet")
            .hint("leave it out: a job appends final results, each once")),
        (Some(key), _) => {
            let mut names = Vec::new();
            for ident in key {
                let name = columns[find(columns, ident)?].field.name().clone();
                if names.contains(&name) {
                    return Err(Problem::new(ident.span.start, format!("column '{name}' is in the key twice")).hint("name it once"));
                }
                names.push(name);
            }
            Ok(names)
        }
    }
}

fn watermark(table: &CreateTable, columns: &[Column], role: Role) -> Result<Option<RowTime>> {
    let Some((ident, expression, at)) = &table.watermark else { return Ok(None) };
    if matches!(role, Role::Reference | Role::Lake) {
        return Err(Problem::new(*at, "WATERMARK FOR belongs to streams").hint("leave it out"));
    }
    let column = find(columns, ident)?;
    if !matches!(columns[column].field.data_type(), DataType::Timestamp(..)) {
        return Err(Problem::new(ident.span.start, format!("WATERMARK FOR {}: the column is not a TIMESTAMP", ident.value))
            .hint("declare it as TIMESTAMP(3)"));
    }
    let same = |e: &Expr| matches!(e, Expr::Identifier(i) if find(columns, i).is_ok_and(|found| found == column));
    let delay = match expression {
        e if same(e) => 0,
        Expr::BinaryOp { left, op: BinaryOperator::Minus, right } if same(left) => micros(right, *at)?,
        _ => {
            return Err(Problem::new(*at, "this WATERMARK expression is not supported")
                .hint(format!("write WATERMARK FOR {0} AS {0} - INTERVAL '2' SECOND", ident.value)));
        }
    };
    Ok(Some(RowTime { column, delay }))
}
