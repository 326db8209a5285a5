//! The door to SQL. Invariant: preparing a statement changes nothing; only `declare` and `undeclare` change what names mean.

mod names;
mod queries;
mod statement;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use sqlparser::ast::Ident;
use thalweg_engine::contract::ConnectorSpec;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;

use crate::batch::Sandbox;
use crate::diagnostics;
use crate::functions::Functions;
use crate::parser::{self, Parsed, ScriptStatement};
use crate::settings::{Settings, without_settings};
use crate::stack::with_room;
use crate::tables::{self, Catalog, LakeCatalog, StreamSampler, TableDefinition, list, named_tables, written_tables};
pub use statement::Statement;

/// What a session is made with.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Connectors that `CREATE TABLE` may name.
    pub connectors: &'static [&'static ConnectorSpec],
    /// Owner of tables whose statement names none.
    pub default_owner: String,
    /// Description of tables whose statement has none.
    pub default_description: String,
    /// Where the lake lies.
    pub lake_root: PathBuf,
    /// Memory that all queries over the lake may hold together, in bytes.
    pub memory_limit_bytes: usize,
    /// Directory for what does not fit into memory, which must exist; none keeps queries off the disk.
    pub spill: Option<PathBuf>,
}

/// Declared tables, and what it takes to plan over them. Cheap to share behind an `Arc`.
pub struct Session {
    config: SessionConfig,
    catalog: Catalog,
    functions: Functions,
    sandbox: Sandbox,
    sampler: Option<Arc<dyn StreamSampler>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("tables", &self.tables().len()).finish_non_exhaustive()
    }
}

impl Session {
    /// Without declared tables.
    pub fn new(config: SessionConfig, lake: Arc<dyn LakeCatalog>) -> Result<Self> {
        let functions = Functions::new();
        let sandbox = Sandbox::new(config.lake_root.clone(), config.memory_limit_bytes, config.spill.as_deref(), &functions)?;
        let catalog = Catalog::new(lake, config.lake_root.clone());
        Ok(Self { config, catalog, functions, sandbox, sampler: None })
    }

    /// With somebody to ask for the columns of a table that is declared without any.
    #[must_use]
    pub fn with_sampler(self, sampler: Arc<dyn StreamSampler>) -> Self {
        Self { sampler: Some(sampler), ..self }
    }

    /// What the session was made with.
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// Lets batch queries put aside on disk so many bytes more than they have now.
    pub fn bound_spill(&self, room: u64) -> Result<()> {
        self.sandbox.bound_spill(room)
    }

    /// The statements of a script. Errors: `Invalid` (an open quote, too long, too many).
    pub fn split(script: &str) -> Result<Vec<ScriptStatement<'_>>> {
        parser::split(script).map_err(|p| p.into_error(script))
    }

    /// Parses and plans one statement. Errors: `Invalid`, `NotFound` or `Conflict`, with the place in `sql`.
    pub fn prepare(&self, sql: &str, settings: &Settings) -> Result<Statement> {
        self.prepared(sql, settings, Origin::Given)
    }

    /// Prepares a stored text again: settings, and one statement. Errors: as `prepare`.
    pub fn prepare_stored(&self, text: &str) -> Result<Statement> {
        let mut settings = Settings::default();
        let mut statements = Self::split(text)?;
        let last = statements.pop().ok_or_else(|| Error::corrupt("a stored statement is empty"))?;
        for statement in statements {
            match self.prepared(statement.text(), &settings, Origin::Stored)? {
                Statement::Setting(change) => settings.apply(&change).map(drop)?,
                other => return Err(Error::corrupt(format!("a stored statement has {other:?} before it"))),
            }
        }
        self.prepared(last.text(), &settings, Origin::Stored)
    }

    fn prepared(&self, sql: &str, settings: &Settings, origin: Origin) -> Result<Statement> {
        with_room(|| {
            let statement = parser::parse(sql).and_then(|parsed| self.statement(parsed, sql, settings, origin));
            statement.map_err(|p| p.into_error(sql))
        })
    }

    /// Names of declared tables and views that a stored text reads or writes, those included that its views read. Errors: `Invalid` if
    /// it is no statement any more.
    pub fn uses(&self, text: &str) -> Result<BTreeSet<String>> {
        let statement = without_settings(text).1;
        let mut left: Vec<String> = with_room(|| {
            let parsed = parser::parse(statement).map_err(|p| p.into_error(statement))?;
            Ok(named_tables(&parsed).into_iter().collect())
        })?;
        let mut used = BTreeSet::new();
        while let Some(name) = left.pop() {
            if let Some(view) = self.catalog.declared(&name).filter(|d| d.is_view() && !used.contains(&name)) {
                left.extend(self.uses(&view.sql)?);
            }
            used.insert(name);
        }
        Ok(used)
    }

    /// Names of the tables that a stored text writes, in its order. Errors: `Invalid` if it is no statement any more.
    pub fn writes(&self, text: &str) -> Result<Vec<String>> {
        let statement = without_settings(text).1;
        with_room(|| Ok(written_tables(&parser::parse(statement).map_err(|p| p.into_error(statement))?)))
    }

    /// Makes a prepared table known. Errors: `Conflict` if the name is taken.
    pub fn declare(&self, definition: TableDefinition) -> Result<()> {
        self.catalog.declare(definition)
    }

    /// Forgets a table. Errors: `NotFound`.
    pub fn undeclare(&self, name: &str) -> Result<()> {
        self.catalog.undeclare(name)
    }

    /// The declared tables and views by name.
    pub fn tables(&self) -> Vec<Arc<TableDefinition>> {
        self.catalog.all()
    }

    /// A declared table or view.
    pub fn table(&self, name: &str) -> Option<Arc<TableDefinition>> {
        self.catalog.declared(name)
    }

    fn statement(&self, parsed: Parsed, sql: &str, settings: &Settings, origin: Origin) -> diagnostics::Result<Statement> {
        match parsed {
            Parsed::CreateTable(table) => self.create_table(*table, sql),
            Parsed::CreateView(view) => self.create_view(*view, sql, origin),
            Parsed::Drop(drop) => self.drop_name(&drop),
            Parsed::Insert(insert) => self.insert(vec![insert], sql, settings),
            Parsed::StatementSet(inserts) => self.insert(inserts, sql, settings),
            Parsed::Query(query) => self.query(query, sql, settings),
            Parsed::Explain(inner) => self.explain(*inner, sql, settings),
            Parsed::ShowJobs => Ok(Statement::ShowJobs),
            Parsed::ShowSavepoints => Ok(Statement::ShowSavepoints),
            Parsed::ShowTables => Ok(Statement::ShowTables),
            Parsed::ShowViews => self.show_views(),
            Parsed::ShowFunctions => Ok(Statement::List { rows: list(["function", "kind"], &self.functions.list())? }),
            Parsed::ShowCreate(name) => self.show_create(&name),
            Parsed::Describe(name) => self.describe(&name),
            Parsed::DescribeJob(name) => Ok(Statement::DescribeJob { name: job_name(&name)? }),
            Parsed::StopJob(stop) => Ok(Statement::StopJob { name: job_name(&stop.name)?, savepoint: stop.savepoint }),
            Parsed::DropJob(name) => Ok(Statement::DropJob { name: job_name(&name)? }),
            Parsed::DropSavepoint(name) => Ok(Statement::DropSavepoint { name }),
            Parsed::Setting(setting) => self.setting(setting, settings),
        }
    }
}

/// Where a statement comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Somebody gives it.
    Given,
    /// It was given and found good before.
    Stored,
}

/// The name of a job as `SHOW JOBS` prints it: one name, or two and a dot for the archive of a stream.
fn job_name(parts: &[Ident]) -> diagnostics::Result<String> {
    let names = parts.iter().map(tables::table_name).collect::<diagnostics::Result<Vec<Name>>>()?;
    Ok(names.iter().map(Name::as_str).collect::<Vec<_>>().join("."))
}

const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Session>();
};
