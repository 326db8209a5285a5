//! The door to SQL. Invariant: preparing a statement changes nothing; only `declare` and `undeclare` change what names mean.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use sqlparser::ast::Ident;
use thalweg_engine::contract::ConnectorSpec;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::plan::JobPlan;

use crate::batch::{self, BatchQuery, Sandbox};
use crate::bind::{Bound, bind};
use crate::diagnostics::{self, Problem};
use crate::functions::Functions;
use crate::lower::{self, JobQuery, Planner};
use crate::parser::{self, CreateTable, DropTable, Insert, Parsed, QueryText, ScriptStatement};
use crate::stack::with_room;
use crate::tables::{self, Catalog, Defaults, Found, LakeCatalog, TableDefinition, TableKind};

/// What a session is made with.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Connectors that `CREATE TABLE` may name.
    pub connectors: &'static [&'static ConnectorSpec],
    /// Formats that a stream may have.
    pub formats: &'static [&'static str],
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
}

/// A prepared statement. Nothing has happened yet.
#[derive(Debug)]
pub enum Statement {
    /// Declare a table: keep its text, then `Session::declare`.
    CreateTable {
        /// The table.
        definition: TableDefinition,
        /// What was assumed: `owner not given: using …`.
        notices: Vec<String>,
    },
    /// Forget a declared table: forget its text, then `Session::undeclare`.
    DropTable {
        /// The table; it is declared.
        name: Name,
    },
    /// `IF EXISTS` or `IF NOT EXISTS` left nothing to do.
    Nothing {
        /// Why.
        notice: String,
    },
    /// A job that runs until it is stopped.
    InsertJob {
        /// Its name: that of the table it writes.
        name: Name,
        /// The declared tables of the lake that it writes, one an output of the plan.
        sinks: Vec<Name>,
        /// What it does.
        plan: Box<JobPlan>,
        /// Its text.
        sql: String,
        /// Changes when the state of older checkpoints no longer fits.
        fingerprint: String,
    },
    /// A stream that is watched as long as somebody looks.
    Tail {
        /// What it does.
        plan: Box<JobPlan>,
        /// Its text.
        sql: String,
    },
    /// A query over tables of the lake.
    Batch(Box<BatchQuery>),
    /// A plan as text.
    Explain {
        /// The text, several lines.
        text: String,
    },
    /// List the jobs.
    ShowJobs,
    /// List the declared tables and those of the lake.
    ShowTables,
    /// Columns of a table.
    Describe {
        /// Name, type, nullable, key, extras.
        rows: RecordBatch,
    },
    /// Tell everything about a job.
    DescribeJob {
        /// Its name; it may not exist.
        name: String,
    },
    /// Stop a job.
    StopJob {
        /// Its name; it may not exist.
        name: String,
    },
    /// Change a setting.
    Set {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    },
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
        Ok(Self { config, catalog, functions, sandbox })
    }

    /// What the session was made with.
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// The statements of a script. Errors: `Invalid` (an open quote, too long, too many).
    pub fn split(script: &str) -> Result<Vec<ScriptStatement<'_>>> {
        parser::split(script).map_err(|p| p.into_error(script))
    }

    /// Parses and plans one statement. Errors: `Invalid`, `NotFound` or `Conflict`, with the place in `sql`.
    pub fn prepare(&self, sql: &str) -> Result<Statement> {
        with_room(|| parser::parse(sql).and_then(|parsed| self.statement(parsed, sql)).map_err(|p| p.into_error(sql)))
    }

    /// Makes a prepared table known. Errors: `Conflict` if the name is taken.
    pub fn declare(&self, definition: TableDefinition) -> Result<()> {
        self.catalog.declare(definition)
    }

    /// Forgets a table. Errors: `NotFound`.
    pub fn undeclare(&self, name: &str) -> Result<()> {
        self.catalog.undeclare(name)
    }

    /// The declared tables by name.
    pub fn tables(&self) -> Vec<Arc<TableDefinition>> {
        self.catalog.all()
    }

    /// A declared table.
    pub fn table(&self, name: &str) -> Option<Arc<TableDefinition>> {
        self.catalog.declared(name)
    }

    fn statement(&self, parsed: Parsed, sql: &str) -> diagnostics::Result<Statement> {
        match parsed {
            Parsed::CreateTable(table) => self.create_table(&table, sql),
            Parsed::DropTable(drop) => self.drop_table(&drop),
            Parsed::Insert(insert) => self.insert(insert, sql),
            Parsed::Query(query) => self.query(query, sql),
            Parsed::Explain(inner) => self.explain(*inner, sql),
            Parsed::ShowJobs => Ok(Statement::ShowJobs),
            Parsed::ShowTables => Ok(Statement::ShowTables),
            Parsed::Describe(name) => self.describe(&name),
            Parsed::DescribeJob(name) => Ok(Statement::DescribeJob { name: job_name(&name)? }),
            Parsed::StopJob(name) => Ok(Statement::StopJob { name: job_name(&name)? }),
            Parsed::Set(set) => Ok(Statement::Set { key: set.key, value: set.value }),
        }
    }

    fn create_table(&self, table: &CreateTable, sql: &str) -> diagnostics::Result<Statement> {
        let SessionConfig { connectors, formats, default_owner, default_description, .. } = &self.config;
        let defaults = Defaults { owner: default_owner, description: default_description, formats };
        let (definition, notices) = tables::declare(table, sql, connectors, defaults)?;
        match self.catalog.declared(definition.name.as_str()) {
            None => Ok(Statement::CreateTable { definition, notices }),
            Some(_) if table.if_not_exists => {
                Ok(Statement::Nothing { notice: format!("table '{}' exists already: nothing was done", definition.name) })
            }
            Some(existing) => Err(Problem::from(tables::conflict(&existing, sql)).or_at(table.name.span.start)),
        }
    }

    fn drop_table(&self, drop: &DropTable) -> diagnostics::Result<Statement> {
        let name = tables::table_name(&drop.name)?;
        match self.catalog.declared(name.as_str()) {
            Some(_) => Ok(Statement::DropTable { name }),
            None if drop.if_exists => Ok(Statement::Nothing { notice: format!("table '{name}' does not exist: nothing was done") }),
            None => Err(self.catalog.unknown(name.as_str(), &drop.name)),
        }
    }

    fn insert(&self, insert: Insert, sql: &str) -> diagnostics::Result<Statement> {
        let (sink, plan) = self.job(insert)?;
        let (name, fingerprint) = (sink.name.clone(), plan.fingerprint());
        Ok(Statement::InsertJob { name: name.clone(), sinks: vec![name], plan: Box::new(plan), sql: sql.trim().to_owned(), fingerprint })
    }

    fn job(&self, insert: Insert) -> diagnostics::Result<(Arc<TableDefinition>, JobPlan)> {
        let name = tables::table_name(&insert.sink)?;
        let Some(sink) = self.catalog.declared(name.as_str()) else {
            return Err(self.catalog.unknown(name.as_str(), &insert.sink));
        };
        if !matches!(sink.kind, TableKind::Lake { .. }) {
            return Err(Problem::new(insert.sink.span.start, format!("'{name}' is no table of the lake: a job cannot write it"))
                .hint("declare a table WITH ('connector' = 'lake', 'tier' = 'warm') and insert into that"));
        }
        match bind(insert.query, &self.catalog, &self.functions)? {
            Bound::Stream(bound) => {
                let planner = Planner::new(self.sandbox.state(), &bound.relations);
                let plan = lower::job(vec![JobQuery { planner, bound, sink: Some(&sink) }], None)?;
                Ok((sink, plan))
            }
            Bound::Batch(bound) => {
                let at = bound.relations.first().map_or_else(|| bound.tokens.find("SELECT"), |r| r.at);
                let at = if at.line > 0 { at } else { insert.sink.span.start };
                Err(Problem::new(at, "INSERT INTO takes its rows from a stream").hint("write INSERT INTO table SELECT … FROM stream"))
            }
        }
    }

    fn query(&self, query: QueryText, sql: &str) -> diagnostics::Result<Statement> {
        match bind(query, &self.catalog, &self.functions)? {
            Bound::Stream(bound) => {
                let planner = Planner::new(self.sandbox.state(), &bound.relations);
                let plan = lower::job(vec![JobQuery { planner, bound, sink: None }], None)?;
                Ok(Statement::Tail { plan: Box::new(plan), sql: sql.trim().to_owned() })
            }
            Bound::Batch(bound) => Ok(Statement::Batch(Box::new(batch::batch(&self.sandbox, bound)?))),
        }
    }

    fn explain(&self, inner: Parsed, sql: &str) -> diagnostics::Result<Statement> {
        let text = match inner {
            Parsed::Insert(insert) => {
                let (sink, plan) = self.job(insert)?;
                lower::explain(&plan, &[format!("into {}", sink.name)])
            }
            Parsed::Query(query) => match self.query(query, sql)? {
                Statement::Tail { plan, .. } => lower::explain(&plan, &["show".to_owned()]),
                Statement::Batch(query) => query.explain(),
                other => return Err(Error::internal(format!("a query became {other:?}")).into()),
            },
            other => return Err(Error::internal(format!("EXPLAIN of {other:?}")).into()),
        };
        Ok(Statement::Explain { text })
    }

    fn describe(&self, name: &[Ident]) -> diagnostics::Result<Statement> {
        if let [only] = name
            && let Some(definition) = self.catalog.declared(&only.value.to_lowercase())
        {
            return Ok(Statement::Describe { rows: tables::describe_declared(&definition)? });
        }
        match self.catalog.find(name)? {
            Found::Lake(table) => Ok(Statement::Describe { rows: tables::describe_lake(&table)? }),
            Found::Stream(definition) | Found::Reference(definition) => {
                Ok(Statement::Describe { rows: tables::describe_declared(&definition)? })
            }
        }
    }
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
