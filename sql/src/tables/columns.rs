//! The columns of `CREATE TABLE`: typed ones, computed ones, and event time. Invariant: a computed column reads typed columns and
//! nothing else, so that the same record gives the same value whenever it is read.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::physical_expr::PhysicalExpr;
use sqlparser::ast::{BinaryOperator, Expr, Ident, visit_expressions, visit_expressions_mut};
use sqlparser::tokenizer::Location;
use thalweg_engine::contract::Role;
use thalweg_engine::plan::{Column, ColumnSource, Computed, Metadata, RowTime};
use thalweg_engine::time::Micros;

use crate::diagnostics::{Problem, Result, suggestion};
use crate::parser::{ColumnDeclaration, ColumnKind, CreateTable, TypeName, WatermarkDeclaration, micros};
use crate::types;

/// Longest name of a column, in bytes.
const COLUMN_NAME_BYTES_MAX: usize = 255;
/// Characters that Delta and Parquet readers do not take in a column's name.
const COLUMN_NAME_REFUSED: &str = " ,;{}()\n\t=\"`";

/// Compiles an expression over typed columns.
pub(crate) type Compile<'a> = dyn Fn(&[Column], &Expr) -> Result<Compiled> + 'a;

/// A compiled expression.
pub(crate) struct Compiled {
    /// Columns that it reads, indexes into those it was compiled over.
    pub(crate) inputs: Vec<usize>,
    /// Over a batch of exactly these.
    pub(crate) expression: Arc<dyn PhysicalExpr>,
    pub(crate) data_type: DataType,
    pub(crate) nullable: bool,
}

/// What the columns of a table are.
pub(super) struct Columns {
    pub(super) columns: Vec<Column>,
    /// Those that are `PROCTIME()`, which are no columns.
    pub(super) processing_time: Vec<String>,
}

/// Event time.
pub(super) struct Watermark {
    pub(super) time: RowTime,
    pub(super) expression: Option<Computed>,
}

/// Checks every column of a table.
pub(super) fn columns(table: &CreateTable, role: Role, compile: &Compile<'_>) -> Result<Columns> {
    let mut names: Vec<&str> = Vec::new();
    for declared in &table.columns {
        let (name, at) = (declared.name.value.as_str(), declared.name.span.start);
        check_name(name, role).map_err(|(message, hint)| Problem::new(at, message).hint(hint))?;
        if names.iter().any(|n| n.to_lowercase() == name.to_lowercase()) {
            return Err(Problem::new(at, format!("column '{name}' is declared twice"))
                .hint("names that differ only in upper and lower case count as the same"));
        }
        names.push(name);
        if matches!((&declared.kind, role), (ColumnKind::Computed { .. }, Role::Reference | Role::Lake)) {
            return Err(Problem::new(declared.at, "computed columns belong to streams").hint("compute it in the SELECT"));
        }
    }
    let (now, real): (Vec<&ColumnDeclaration>, Vec<&ColumnDeclaration>) = table.columns.iter().partition(|c| c.is_processing_time());
    let typed = real.iter().enumerate().filter_map(|(i, c)| Some(typed(c, role)?.map(|column| (i, column))));
    let typed = Typed::new(typed.collect::<Result<_>>()?, &table.columns);
    let mut columns = Vec::new();
    for (i, declared) in real.iter().enumerate() {
        columns.push(match (&declared.kind, typed.columns.get(&i)) {
            (ColumnKind::Computed { expression, text }, _) => typed.computed(&declared.name, expression, text, compile)?,
            (_, Some(column)) => column.clone(),
            (_, None) => continue,
        });
    }
    if columns.is_empty() {
        return Err(Problem::new(table.name.span.start, "the table has no columns").hint("declare at least one column"));
    }
    Ok(Columns { columns, processing_time: now.iter().map(|c| c.name.value.clone()).collect() })
}

/// Whether a column may have this name in a table of this role. Errors: what is wrong, and what to do.
pub(crate) fn check_name(name: &str, role: Role) -> Result<(), (String, &'static str)> {
    if name.is_empty() || name.len() > COLUMN_NAME_BYTES_MAX || name.chars().any(|c| COLUMN_NAME_REFUSED.contains(c) || c.is_control()) {
        return Err(("this is not a name for a column".to_owned(), "use letters, digits and '_'"));
    }
    let reserved = name.eq_ignore_ascii_case("date") || name.starts_with('_');
    if reserved && !matches!(role, Role::Reference) {
        let hint = "the lake adds a column 'date', and names that begin with '_' are its own: choose another name";
        return Err((format!("column name '{name}' is reserved"), hint));
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
                check_name(field.name(), Role::Reference).map_err(|(message, hint)| Problem::new(at, message).hint(hint))?;
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

/// A column with a type; `None` if it is computed.
fn typed(declared: &ColumnDeclaration, role: Role) -> Option<Result<Column>> {
    let ColumnKind::Typed { data_type, not_null, metadata, .. } = &declared.kind else { return None };
    let (name, at) = (&declared.name.value, declared.at);
    let column = || {
        let sql_type = types::column_type(data_type)
            .map_err(|hint| Problem::new(at, format!("column '{name}': type {data_type} is not supported")).hint(hint))?;
        check_type(&sql_type.data_type, role, at)?;
        let source = match metadata {
            None => ColumnSource::Payload,
            Some((key, key_at)) => {
                let key = key.as_deref().unwrap_or(name);
                let Some((_, metadata)) = Metadata::KEYS.iter().find(|(k, _)| *k == key) else {
                    let keys = Metadata::KEYS.map(|(k, _)| k);
                    let hint = suggestion(key, keys).unwrap_or_else(|| format!("keys: {}", keys.join(", ")));
                    return Err(Problem::new(*key_at, format!("metadata key '{key}' is not known")).hint(hint));
                };
                if metadata.data_type() != sql_type.data_type {
                    return Err(Problem::new(at, format!("metadata '{key}' cannot be {data_type}"))
                        .hint(format!("declare it as {}", types::name(&metadata.data_type()))));
                }
                ColumnSource::Metadata(*metadata)
            }
        };
        let field = Arc::new(Field::new(name, sql_type.data_type, !not_null));
        Ok(Column { field, source, time_unit: sql_type.time_unit })
    };
    Some(column())
}

/// The typed columns of a table by their index among all, and what else it declares.
struct Typed<'a> {
    columns: BTreeMap<usize, Column>,
    declared: &'a [ColumnDeclaration],
}

impl<'a> Typed<'a> {
    fn new(columns: BTreeMap<usize, Column>, declared: &'a [ColumnDeclaration]) -> Self {
        Self { columns, declared }
    }

    fn computed(&self, name: &Ident, expression: &Expr, text: &str, compile: &Compile<'_>) -> Result<Column> {
        let refused = visit_expressions(expression, |e| match e {
            Expr::Identifier(i) if self.expression_of(i).is_some() => ControlFlow::Break(i.clone()),
            _ => ControlFlow::Continue(()),
        });
        if let ControlFlow::Break(other) = refused {
            return Err(Problem::new(other.span.start, format!("'{}' is computed itself", other.value))
                .hint("a computed column reads columns that have a type; write the other expression in its place"));
        }
        let (computed, data_type, nullable) = self.compile(expression, text, compile)?;
        let field = Arc::new(Field::new(&name.value, data_type, nullable));
        Ok(Column { field, source: ColumnSource::Computed(computed), time_unit: unit(expression) })
    }

    fn compile(&self, expression: &Expr, text: &str, compile: &Compile<'_>) -> Result<(Computed, DataType, bool)> {
        let (indexes, columns): (Vec<usize>, Vec<Column>) = self.columns.iter().map(|(i, c)| (*i, c.clone())).unzip();
        let Compiled { inputs, expression, data_type, nullable } = compile(&columns, expression)?;
        let inputs = inputs.into_iter().map(|i| indexes[i]).collect();
        Ok((Computed { inputs, expression, text: text.to_owned() }, data_type, nullable))
    }

    /// The expression of the computed column that a name means.
    fn expression_of(&self, name: &Ident) -> Option<&Expr> {
        self.declared.iter().find_map(|c| match &c.kind {
            ColumnKind::Computed { expression, .. } if is(&c.name.value, name) => Some(expression.as_ref()),
            _ => None,
        })
    }
}

/// What all values of an expression are whole multiples of, in microseconds; 1 if that is not known.
fn unit(expression: &Expr) -> Micros {
    match expression {
        Expr::Nested(inner) => unit(inner),
        Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case("to_timestamp_ltz") => thalweg_engine::time::MILLISECOND,
        Expr::Cast { data_type, .. } => types::column_type(&TypeName::Plain(data_type.clone())).map_or(1, |t| t.time_unit),
        _ => 1,
    }
}

/// Whether a name in the text means a column.
fn is(column: &str, ident: &Ident) -> bool {
    match ident.quote_style {
        Some(_) => column == ident.value,
        None => column.eq_ignore_ascii_case(&ident.value),
    }
}

/// The column that a name in the text means.
pub(super) fn find(columns: &[Column], ident: &Ident) -> Result<usize> {
    columns.iter().position(|c| is(c.field.name(), ident)).ok_or_else(|| {
        let names: Vec<&str> = columns.iter().map(|c| c.field.name().as_str()).collect();
        let hint = suggestion(&ident.value, names.iter().copied()).unwrap_or_else(|| format!("columns: {}", names.join(", ")));
        Problem::new(ident.span.start, format!("column '{}' is not declared", ident.value)).hint(hint)
    })
}

/// `WATERMARK FOR`, checked.
pub(super) fn watermark(table: &CreateTable, columns: &[Column], role: Role, compile: &Compile<'_>) -> Result<Option<Watermark>> {
    let Some(WatermarkDeclaration { column: ident, expression, text, at }) = &table.watermark else { return Ok(None) };
    if matches!(role, Role::Reference | Role::Lake) {
        return Err(Problem::new(*at, "WATERMARK FOR belongs to streams").hint("leave it out"));
    }
    if table.columns.iter().any(|c| c.is_processing_time() && is(&c.name.value, ident)) {
        return Err(Problem::new(ident.span.start, format!("'{}' is a processing time: it has no watermark", ident.value))
            .hint("declare WATERMARK FOR the event time, or leave it out"));
    }
    let column = find(columns, ident)?;
    if !matches!(columns[column].field.data_type(), DataType::Timestamp(..)) {
        return Err(Problem::new(ident.span.start, format!("WATERMARK FOR {}: the column is not a TIMESTAMP", ident.value))
            .hint("declare it as TIMESTAMP(3)"));
    }
    let same = |e: &Expr| matches!(e, Expr::Identifier(i) if find(columns, i).is_ok_and(|found| found == column));
    let delayed = |delay| Ok(Some(Watermark { time: RowTime { column, delay }, expression: None }));
    match expression.as_ref() {
        e if same(e) => delayed(0),
        Expr::BinaryOp { left, op: BinaryOperator::Minus, right } if same(left) && matches!(right.as_ref(), Expr::Interval(_)) => {
            delayed(micros(right, *at)?)
        }
        other => {
            let expression = Some(of_columns(table, columns, other, text, *at, compile)?);
            Ok(Some(Watermark { time: RowTime { column, delay: 0 }, expression }))
        }
    }
}

/// A watermark that is no delay: any expression that gives a time.
fn of_columns(
    table: &CreateTable,
    columns: &[Column],
    expression: &Expr,
    text: &str,
    at: Location,
    compile: &Compile<'_>,
) -> Result<Computed> {
    let is_typed = |c: &&Column| c.computed().is_none();
    let typed: BTreeMap<usize, Column> = columns.iter().enumerate().filter(|(_, c)| is_typed(c)).map(|(i, c)| (i, c.clone())).collect();
    let typed = Typed::new(typed, &table.columns);
    // What it reads of computed columns is computed again, from typed ones.
    let mut inlined = expression.clone();
    let _: ControlFlow<()> = visit_expressions_mut(&mut inlined, |e| {
        if let Expr::Identifier(i) = e
            && let Some(inner) = typed.expression_of(i)
        {
            *e = Expr::Nested(Box::new(inner.clone()));
        }
        ControlFlow::Continue(())
    });
    let (computed, data_type, _) = typed.compile(&inlined, text, compile).map_err(|p| p.or_at(at))?;
    if !matches!(data_type, DataType::Timestamp(..)) {
        return Err(Problem::new(at, format!("the watermark is {}, not a TIMESTAMP", types::name(&data_type)))
            .hint("write WATERMARK FOR ts AS ts - INTERVAL '2' SECOND, or another expression that gives a time"));
    }
    Ok(computed)
}
