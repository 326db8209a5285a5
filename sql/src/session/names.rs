//! Statements about what names mean: CREATE, DROP, DESCRIBE, SHOW. Invariant: a definition's text makes the same definition again, on
//! its own: what it is like, and what was taken from records, is written out in it.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use sqlparser::ast::{Expr, Ident};
use sqlparser::tokenizer::Location;
use thalweg_engine::contract::Role;
use thalweg_engine::error::Error;
use thalweg_engine::plan::Column;

use super::{Origin, Session, SessionConfig, Statement};
use crate::bind::{bind, bind_expression};
use crate::diagnostics::{Problem, Result};
use crate::lower::{self, Planner};
use crate::parser::{CreateTable, CreateView, DropStatement, Dropped, Parsed, parse_at, without_secrets};
use crate::tables::{self, Compiled, Defaults, Found, TableDefinition, TableKind, list, what};

impl Session {
    pub(super) fn create_table(&self, table: CreateTable, sql: &str) -> Result<Statement> {
        if let Some(done) = self.taken(&table.name, sql, table.if_not_exists)? {
            return Ok(done);
        }
        let mut notices = Vec::new();
        let is_whole = table.like.is_none() && !table.columns.is_empty();
        let table = self.whole(table, &mut notices)?;
        let text = if is_whole { sql.to_owned() } else { table.to_string() };
        let SessionConfig { connectors, default_owner, default_description, .. } = &self.config;
        let defaults = Defaults { owner: default_owner, description: default_description };
        let compile = |columns: &[Column], expression: &Expr| self.compile(&table, columns, expression);
        let (definition, assumed) = tables::declare(&table, &text, connectors, defaults, &compile)?;
        notices.extend(assumed);
        Ok(Statement::CreateTable { definition: Box::new(definition), notices })
    }

    /// A table with everything that it takes from another one or from records of its stream.
    fn whole(&self, mut table: CreateTable, notices: &mut Vec<String>) -> Result<CreateTable> {
        if let Some(like) = table.like.take() {
            let name = tables::table_name(&like.source)?;
            let Some(source) = self.catalog.declared(name.as_str()) else {
                return Err(self.catalog.unknown(name.as_str(), &like.source));
            };
            let at = like.source.span.start;
            if source.is_view() {
                return Err(Problem::new(at, format!("'{name}' is a view")).hint("LIKE takes a table; declare the columns"));
            }
            let Parsed::CreateTable(source) = parse_at(&source.sql, at)? else {
                return Err(Error::corrupt(format!("the text of table '{name}' is none any more")).into());
            };
            table = tables::merged(table, &like, *source)?;
        }
        if table.columns.is_empty()
            && let Role::Log | Role::Source(_) = tables::connector(&table, self.config.connectors)?.role
        {
            return self.with_columns(table, notices);
        }
        Ok(table)
    }

    /// A table with the columns that its schema or its stream has, if there is somebody to ask.
    fn with_columns(&self, table: CreateTable, notices: &mut Vec<String>) -> Result<CreateTable> {
        let place = |e: Error| Problem::from(e).or_at(table.name.span.start);
        let (stream, format) = tables::stream_of(&tables::table_name(&table.name)?, &table.options).map_err(place)?;
        let of_schema = tables::of_schema(&format).map_err(|e| tables::option_place(&table, Problem::from(e.clone()), e.message()))?;
        match (of_schema, &self.sampler) {
            (Some(sample), _) => tables::inferred(table, tables::Origin::Schema, sample, notices),
            (None, Some(sampler)) => {
                let sample = sampler.sample(&stream, &format).map_err(place)?;
                tables::inferred(table, tables::Origin::Records(&stream), sample, notices)
            }
            (None, None) => Ok(table),
        }
    }

    /// Compiles an expression over columns of a table that is being declared.
    fn compile(&self, table: &CreateTable, columns: &[Column], expression: &Expr) -> Result<Compiled> {
        let definition = TableDefinition::of_columns(tables::table_name(&table.name)?, columns.to_vec());
        let bound = bind_expression(expression, Arc::new(definition), &table.tokens, &self.functions)?;
        let relations = bound.relations.clone();
        lower::computed(&Planner::new(self.sandbox.state(), &relations)?, bound, columns)
    }

    /// What to say if a name has a meaning already. Errors: `Conflict`, unless that does not matter.
    fn taken(&self, name: &Ident, sql: &str, if_not_exists: bool) -> Result<Option<Statement>> {
        match self.catalog.declared(tables::table_name(name)?.as_str()) {
            None => Ok(None),
            Some(existing) if if_not_exists => {
                let notice = format!("{} '{}' exists already: nothing was done", what(&existing), existing.name);
                Ok(Some(Statement::Nothing { notice }))
            }
            Some(existing) => Err(Problem::from(tables::conflict(&existing, sql)).or_at(name.span.start)),
        }
    }

    /// A view that is stored is not planned again: it may read what is damaged now, and be of use tomorrow.
    pub(super) fn create_view(&self, view: CreateView, sql: &str, origin: Origin) -> Result<Statement> {
        let CreateView { name, if_not_exists, temporary, columns, query, text } = view;
        if let Some(done) = self.taken(&name, sql, if_not_exists)? {
            return Ok(done);
        }
        if origin == Origin::Given {
            let fields = lower::columns(self.sandbox.state(), bind(query, &self.catalog, &self.functions)?)?;
            check_view(&name, &columns, &fields)?;
        }
        let mut notices = Vec::new();
        if temporary.is_some() {
            notices.push("TEMPORARY: no session ends here, the view stays until DROP VIEW".to_owned());
        }
        let kind = TableKind::View { query: text, columns: columns.into_iter().map(|c| c.value).collect() };
        let definition = TableDefinition::of_columns(tables::table_name(&name)?, Vec::new());
        let definition = Box::new(TableDefinition { kind, sql: sql.trim().to_owned(), ..definition });
        Ok(Statement::CreateTable { definition, notices })
    }

    pub(super) fn drop_name(&self, drop: &DropStatement) -> Result<Statement> {
        let name = tables::table_name(&drop.name)?;
        let asked = match drop.as_what {
            Dropped::Table => "table",
            Dropped::View => "view",
        };
        match self.catalog.declared(name.as_str()) {
            Some(existing) if what(&existing) == asked => Ok(Statement::DropTable { name }),
            Some(existing) => {
                let is = what(&existing);
                Err(Problem::new(drop.name.span.start, format!("'{name}' is a {is}"))
                    .hint(format!("write DROP {} {name}", is.to_uppercase())))
            }
            None if drop.if_exists => Ok(Statement::Nothing { notice: format!("{asked} '{name}' does not exist: nothing was done") }),
            None => Err(self.catalog.unknown(name.as_str(), &drop.name)),
        }
    }

    pub(super) fn describe(&self, name: &[Ident]) -> Result<Statement> {
        let only = match name {
            [only] => self.catalog.declared(&only.value.to_lowercase()),
            _ => None,
        };
        let at = name.first().map_or(Location { line: 0, column: 0 }, |n| n.span.start);
        let rows = match only {
            Some(view) if view.is_view() => tables::describe_columns(self.view_columns(&view, at)?)?,
            Some(definition) => tables::describe_declared(&definition)?,
            None => match self.catalog.find(name)? {
                Found::Lake(table) => tables::describe_lake(&table)?,
                Found::View(view) => tables::describe_columns(self.view_columns(&view, at)?)?,
                Found::Stream(definition) | Found::Reference(definition) => tables::describe_declared(&definition)?,
            },
        };
        Ok(Statement::Describe { rows })
    }

    /// Columns of a view, as a query at `at` would see them.
    fn view_columns(&self, view: &TableDefinition, at: Location) -> Result<Vec<FieldRef>> {
        let TableKind::View { query, columns } = &view.kind else { return Ok(Vec::new()) };
        let Parsed::Query(query) = parse_at(query, at)? else {
            return Err(Error::corrupt(format!("the text of view '{}' is no query any more", view.name)).into());
        };
        let fields = lower::columns(self.sandbox.state(), bind(query, &self.catalog, &self.functions)?).map_err(|p| p.or_at(at))?;
        let named = |(i, field): (usize, FieldRef)| match columns.get(i) {
            Some(name) => Arc::new(field.as_ref().clone().with_name(name)),
            None => field,
        };
        Ok(fields.into_iter().enumerate().map(named).collect())
    }

    pub(super) fn show_create(&self, name: &Ident) -> Result<Statement> {
        let folded = tables::table_name(name)?;
        match self.catalog.declared(folded.as_str()) {
            Some(definition) => Ok(Statement::List { rows: list(["statement"], &[[without_secrets(&definition.sql)]])? }),
            None => Err(self.catalog.unknown(folded.as_str(), name)),
        }
    }

    pub(super) fn show_views(&self) -> Result<Statement> {
        let row = |d: &Arc<TableDefinition>| match &d.kind {
            TableKind::View { query, .. } => Some([d.name.to_string(), query.clone()]),
            _ => None,
        };
        let rows: Vec<[String; 2]> = self.tables().iter().filter_map(row).collect();
        Ok(Statement::List { rows: list(["view", "query"], &rows)? })
    }
}

/// Whether the columns of a query can be those of a view.
fn check_view(name: &Ident, columns: &[Ident], fields: &[FieldRef]) -> Result<()> {
    if let Some(first) = columns.first()
        && columns.len() != fields.len()
    {
        return Err(Problem::new(first.span.start, format!("{} columns are named, the query gives {}", columns.len(), fields.len()))
            .hint("name all columns of the query, or none"));
    }
    let given: Vec<(&str, Location)> = match columns {
        [] => fields.iter().map(|f| (f.name().as_str(), name.span.start)).collect(),
        columns => columns.iter().map(|c| (c.value.as_str(), c.span.start)).collect(),
    };
    match (1..given.len()).find(|&i| given[..i].iter().any(|(other, _)| *other == given[i].0)) {
        None => Ok(()),
        Some(i) => {
            Err(Problem::new(given[i].1, format!("the view has two columns '{}'", given[i].0))
                .hint("give one of them another name with AS"))
        }
    }
}
