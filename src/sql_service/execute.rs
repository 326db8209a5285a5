//! One statement, carried out. Invariant: rights are checked before anything happens: reading needs an analyst, changing tables
//! and jobs needs an admin; what a change decides by holds until it is done.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use thalweg_devices::{Principal, Role};
use thalweg_engine::error::{Case, Error, Result};
use thalweg_engine::ids::Name;
use thalweg_sql::{SavepointWanted, Session, Settings, Statement, TableDefinition, TableKind};

use super::jobs::Prepared;
use super::problems::Occasion;
use super::{Engine, Service, lock, rows, savepoints};
use crate::server::{SqlOutcome, SqlService};
use crate::statements::{Stored, StoredKind};

#[async_trait]
impl SqlService for Service {
    async fn execute_with(&self, principal: &Principal, sql: &str, settings: &BTreeMap<String, String>) -> Result<SqlOutcome> {
        let mut settings = Settings::new(settings.iter().map(|(key, value)| (key.as_str(), value.as_str())))?;
        // Each statement is prepared where it stands, so that errors name lines and columns of the script.
        let mut statements = Session::split(sql)?;
        let Some(last) = statements.pop() else {
            return Err(Error::invalid("there is no statement").hint("write one, such as SHOW TABLES"));
        };
        let mut said = Vec::new();
        for statement in statements {
            match self.0.one(principal, &statement.in_place(), &mut settings).await? {
                SqlOutcome::Message(text) => said.push(text),
                SqlOutcome::Rows(_) => {
                    return Err(Error::invalid("only the last statement of a script may give rows").hint("run that statement alone"));
                }
            }
        }
        match self.0.one(principal, &last.in_place(), &mut settings).await? {
            SqlOutcome::Message(text) if !said.is_empty() => Ok(SqlOutcome::Message(format!("{}\n{text}", said.join("\n")))),
            outcome => Ok(outcome),
        }
    }
}

impl Engine {
    async fn one(self: &Arc<Self>, principal: &Principal, sql: &str, settings: &mut Settings) -> Result<SqlOutcome> {
        let (engine, text, hold) = (self.clone(), sql.to_owned(), settings.clone());
        let prepared = blocking(move || engine.parts.session.prepare(&text, &hold)).await?;
        allowed(principal, &prepared)?;
        match prepared {
            change if changes(&change) => {
                drop(change);
                let turn = self.turn().await;
                let (engine, text, hold) = (self.clone(), sql.to_owned(), settings.clone());
                blocking(move || {
                    let _turn = turn;
                    // Its names may mean something else by now.
                    engine.change(engine.parts.session.prepare(&text, &hold)?)
                })
                .await
            }
            Statement::Setting(change) => Ok(SqlOutcome::Message(settings.apply(&change)?.unwrap_or_default())),
            Statement::Batch(query) => {
                self.bound_spill()?;
                rows::batch(*query, self.parts.query_timeout, &self.parts.queries).await
            }
            Statement::Tail { plan, sql } => {
                let engine = self.clone();
                blocking(move || engine.tail(*plan, sql)).await
            }
            other => {
                let engine = self.clone();
                blocking(move || engine.change(other)).await
            }
        }
    }

    fn change(&self, statement: Statement) -> Result<SqlOutcome> {
        let message = |text: String| Ok(SqlOutcome::Message(text));
        match statement {
            Statement::CreateTable { definition, notices } => {
                self.create_table(&definition)?;
                let notes: String = notices.iter().map(|n| format!("\nnote: {n}")).collect();
                message(format!("{} {} is declared{notes}", if definition.is_view() { "view" } else { "table" }, definition.name))
            }
            Statement::DropTable { name } => self.drop_table(&name),
            Statement::Nothing { notice } => message(notice),
            Statement::InsertJob { name, sinks, plan, sql, settings, .. } => {
                let job = Prepared { name: &name, sinks: &sinks, sql: sql.clone(), settings: &settings };
                let resumed = self.start_job(job, *plan)?;
                self.store_job(Stored { name: name.to_string(), kind: StoredKind::Job, sql, stopped: false })?;
                message(format!("job {name} is running{}", savepoints::told(&resumed)))
            }
            Statement::Explain { text } => message(text),
            Statement::ShowJobs => rows::jobs(&self.parts.supervisor.list(), self.parts.clock.now()),
            Statement::ShowTables => {
                let (tables, lake) = (self.parts.session.tables(), &self.parts.lake);
                rows::tables(&tables, &lake.tables(), lake.damaged(), &self.table_problems())
            }
            Statement::DescribeJob { name } => self.describe_job(&name),
            Statement::Describe { rows } | Statement::List { rows } => Ok(rows::finite(rows)),
            Statement::StopJob { name, savepoint: SavepointWanted::No } => {
                let status = self.stop_job(&name)?;
                message(format!(
                    "job {name} is stopped; its last checkpoint, {}, is kept, and the same statement resumes there",
                    status.epoch
                ))
            }
            Statement::StopJob { name, savepoint } => self.stop_with_savepoint(&name, &savepoint).and_then(message),
            Statement::DropJob { name } => self.drop_job(&name).and_then(message),
            Statement::DropSavepoint { name } => self.drop_savepoint(&name).and_then(message),
            Statement::ShowSavepoints => rows::savepoints(&self.parts.supervisor.savepoints()?),
            Statement::Batch(_) | Statement::Tail { .. } | Statement::Setting(_) => {
                Err(Error::internal("a statement that changes nothing was taken for a change"))
            }
        }
    }

    fn create_table(&self, definition: &TableDefinition) -> Result<()> {
        self.make_table(definition, Occasion::Given)?;
        let (name, sql) = (definition.name.to_string(), definition.sql.clone());
        let stored = Stored { name, kind: StoredKind::Table, sql, stopped: false };
        let put = lock(&self.statements).put(stored);
        put.or_else(|e| {
            // It would be gone after a restart, and what was built upon it could not start.
            self.unmake_table(definition)?;
            Err(e)
        })
    }

    /// Ends what a table does and forgets it; what it stored stays.
    fn unmake_table(&self, definition: &TableDefinition) -> Result<()> {
        let name = &definition.name;
        if definition.input().is_some() {
            if let Some(task) = lock(&self.sources).remove(name) {
                task.abort();
            }
            self.parts.supervisor.stop(&super::tables::archive_name(name))?;
            self.parts.supervisor.forget(&super::tables::archive_name(name));
        }
        if lock(&self.references).remove(name).is_some() {
            self.catalog_declared_references();
        }
        self.parts.session.undeclare(name.as_str())
    }

    fn drop_table(&self, name: &Name) -> Result<SqlOutcome> {
        let definition = self.parts.session.table(name.as_str());
        let definition = definition.ok_or_else(|| Error::not_found(format!("there is no table {name}")))?;
        let what = if definition.is_view() { "view" } else { "table" };
        let forgotten = self.stopped_users_of(name)?;
        if let Some((kind, user)) = self.user_of(name)? {
            let (user, first) = match kind {
                StoredKind::Job => (format!("job {user}"), format!("STOP JOB {user} first")),
                StoredKind::Table => (format!("view {user}"), format!("DROP VIEW {user} first")),
            };
            return Err(Error::conflict(format!("{user} uses {what} {name}")).hint(first));
        }
        if let Some(other) = self.needs_archive_of(&definition) {
            return Err(Error::conflict(format!("table {name} archives its stream, and table {other} reads the same stream"))
                .hint(format!("DROP TABLE {other} first")));
        }
        for job in &forgotten {
            self.drop_job(job)?;
        }
        lock(&self.statements).remove(StoredKind::Table, name.as_str())?;
        self.unmake_table(&definition)?;
        let kept = match &definition.kind {
            TableKind::Log { input } | TableKind::Source { input, .. } => {
                format!("; the log of stream {0} and cold.{0} stay", input.stream)
            }
            TableKind::Lake { .. } => format!("; warm.{name} stays in the lake"),
            TableKind::Reference { .. } | TableKind::View { .. } => String::new(),
        };
        let jobs = if forgotten.is_empty() {
            String::new()
        } else {
            format!("; stopped jobs that used it are forgotten: {}", forgotten.join(", "))
        };
        Ok(SqlOutcome::Message(format!("{what} {name} is dropped{kept}{jobs}")))
    }

    /// Another table over the stream, if `definition` was declared first and so keeps the archive.
    fn needs_archive_of(&self, definition: &TableDefinition) -> Option<String> {
        let stream = &definition.input()?.stream;
        let over_it = |s: &&Stored| {
            let table = (s.kind == StoredKind::Table).then(|| self.parts.session.table(&s.name)).flatten();
            table.is_some_and(|t| t.input().is_some_and(|i| i.stream == *stream))
        };
        let stored = lock(&self.statements);
        let mut tables = stored.all().iter().filter(over_it);
        let first = tables.next()?;
        (first.name == definition.name.as_str()).then(|| tables.next().map(|s| s.name.clone())).flatten()
    }

    /// Stopped jobs that need the table or view of this name.
    fn stopped_users_of(&self, name: &Name) -> Result<Vec<String>> {
        let mut users = Vec::new();
        for stored in lock(&self.statements).all().iter().filter(|s| s.stopped) {
            if self.parts.session.uses(&stored.sql)?.contains(name.as_str()) {
                users.push(stored.name.clone());
            }
        }
        Ok(users)
    }

    /// The first running job or view that needs the table or view of this name.
    fn user_of(&self, name: &Name) -> Result<Option<(StoredKind, String)>> {
        let session = &self.parts.session;
        let others = |s: &&Stored| !s.stopped && (s.name != name.as_str() || s.kind == StoredKind::Job);
        for stored in lock(&self.statements).all().iter().filter(others) {
            let reads = stored.kind == StoredKind::Job || session.table(&stored.name).is_some_and(|t| t.is_view());
            if reads && session.uses(&stored.sql)?.contains(name.as_str()) {
                return Ok(Some((stored.kind, stored.name.clone())));
            }
        }
        Ok(None)
    }
}

/// Whether a statement changes tables or jobs.
fn changes(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::CreateTable { .. }
            | Statement::DropTable { .. }
            | Statement::InsertJob { .. }
            | Statement::StopJob { .. }
            | Statement::DropJob { .. }
            | Statement::DropSavepoint { .. }
    )
}

fn allowed(principal: &Principal, statement: &Statement) -> Result<()> {
    if changes(statement) && principal.role != Role::Admin {
        return Err(Error::invalid(format!("{} may read, but not change tables and jobs", principal.name))
            .of_case(Case::Forbidden)
            .hint("use an admin's token for CREATE, DROP, INSERT and STOP"));
    }
    Ok(())
}

/// Work that waits for disk or threads, away from the threads that serve the network.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("a statement failed: {e}")))?
}
