//! The last step: the items of SELECT in order, with the names and types of where they go. Invariant: a value reaches a column
//! only if every value of its type fits there exactly; of times, digits beyond the column's are cut off.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::logical_expr::Expr;
use sqlparser::tokenizer::Location;
use thalweg_engine::plan::{Column, Project};
use thalweg_engine::time::timestamp_type;

use super::literals;
use super::precision::cut;
use super::rel::Rel;
use crate::diagnostics::{Problem, Result};
use crate::tables::TableDefinition;
use crate::types;

/// Where the output goes, and where the query says what goes there.
pub(super) struct Target<'a> {
    /// The table; none for a query that is only watched.
    pub(super) sink: Option<&'a TableDefinition>,
    /// Where each item stands, if known.
    pub(super) items: &'a [Location],
    /// Where SELECT stands.
    pub(super) at: Location,
}

/// Lowers the items of SELECT over `rel`.
pub(super) fn output(items: &[(Expr, String)], rel: &Rel<'_>, target: &Target<'_>) -> Result<Project> {
    if let Some(sink) = target.sink
        && sink.columns.len() != items.len()
    {
        let names: Vec<&str> = sink.columns.iter().map(|c| c.field.name().as_str()).collect();
        return Err(Problem::new(target.at, format!("'{}' has {} columns, the query gives {}", sink.name, names.len(), items.len()))
            .hint(format!("select {}, in this order", names.join(", "))));
    }
    let mut expressions = Vec::new();
    let mut fields: Vec<FieldRef> = Vec::new();
    for (i, (expression, name)) in items.iter().enumerate() {
        let at = target.items.get(i).copied().filter(|l| l.line > 0).unwrap_or(target.at);
        let planned = rel.compile(expression)?.data_type(&rel.schema())?;
        let carried = types::carried(&planned).ok_or_else(|| cannot_carry(at, name, &planned))?;
        let wanted = match target.sink {
            Some(sink) => sink.columns[i].field.data_type().clone(),
            None => carried.clone(),
        };
        let mut compiled = rel.compile_as(expression, &wanted)?;
        let unit = target.sink.map_or(1, |sink| sink.columns[i].time_unit);
        if rel.unit_of(expression) % unit != 0 && wanted == timestamp_type() {
            compiled = cut(compiled, unit);
        }
        let nullable = compiled.nullable(&rel.schema())?;
        let field = match target.sink {
            None => Arc::new(Field::new(unique(name, &fields), wanted, nullable)),
            Some(sink) => {
                let column = &sink.columns[i].field;
                let place = format!("column {} of '{}', '{}',", i + 1, sink.name, column.name());
                if !types::widens(&carried, &wanted) && !literals::fit(expression, &wanted, rel) {
                    let (to, from) = (types::name(&wanted), types::name(&carried));
                    return Err(Problem::new(at, format!("{place} is {to}, the query gives {from} ('{name}')"))
                        .hint(format!("write CAST(… AS {to}), or declare the column as {from}")));
                }
                if nullable && !column.is_nullable() {
                    let is_key = sink.primary_key.contains(column.name());
                    let otherwise = if is_key { "declare what it comes from NOT NULL" } else { "declare the column without NOT NULL" };
                    return Err(Problem::new(at, format!("{place} is NOT NULL, the query may give NULL ('{name}')"))
                        .hint(format!("write COALESCE(…, value), or {otherwise}")));
                }
                column.clone()
            }
        };
        if let Some(twice) = fields.iter().find(|f| f.name() == field.name()) {
            return Err(
                Problem::new(at, format!("two columns are called '{}'", twice.name())).hint("give one of them another name with AS")
            );
        }
        expressions.push(compiled);
        fields.push(field);
    }
    Ok(Project { expressions, schema: Arc::new(Schema::new(fields)) })
}

/// The columns of a table that would tell the rows of `rel` apart, those of its primary key first; `None` if nothing does.
pub(super) fn telling<'s>(items: &[(Expr, String)], rel: &Rel<'_>, sink: &'s TableDefinition) -> Option<Vec<&'s str>> {
    let carries = |column: usize, item: &Expr, to: &Column| {
        let is_whole = *to.field.data_type() != timestamp_type() || rel.unit_of(item) % to.time_unit == 0;
        rel.physical_of(item) == Some(column) && is_whole
    };
    let name = |&column: &usize| {
        let found = items.iter().zip(&sink.columns).filter(|((item, _), to)| carries(column, item, to));
        let mut names = found.map(|(_, to)| to.field.name());
        names.clone().find(|name| sink.primary_key.contains(name)).or_else(|| names.next()).map(String::as_str)
    };
    rel.key.as_ref()?.iter().map(name).collect()
}

/// The name, or with a number behind it if it is taken: rows that are only watched need no names of their own.
fn unique(name: &str, taken: &[FieldRef]) -> String {
    let is_free = |n: &String| taken.iter().all(|f| f.name() != n);
    let numbered = (0..=taken.len()).map(|i| format!("{name}{i}"));
    std::iter::once(name.to_owned()).chain(numbered).find(is_free).unwrap_or_default()
}

/// The refusal of a type that no stream carries.
pub(super) fn cannot_carry(at: Location, name: &str, data_type: &arrow::datatypes::DataType) -> Problem {
    Problem::new(at, format!("'{name}' is {}, which a stream does not carry", types::name(data_type)))
        .hint("CAST it to STRING, BOOLEAN, INT, BIGINT, FLOAT, DOUBLE or TIMESTAMP")
}
