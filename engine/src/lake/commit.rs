//! Committing to a table's log. Invariant: one commit of a table at a time, each with the transaction `(app, version)` that it
//! stands for; a commit whose outcome is unknown is looked up in the log before anything is decided.

use std::collections::HashMap;
use std::sync::MutexGuard;

use deltalake_core::kernel::Action;
use deltalake_core::kernel::Transaction;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::protocol::DeltaOperation;
use tracing::warn;

use crate::error::{Error, ErrorKind, Result};
use crate::lake::table::{LakeTable, TableState, load, metadata_with};
use crate::limits::LAKE_RELOAD_COMMITS;
use crate::time::MILLISECOND;

/// How far the committers of a table have come, as this process knows it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Newest version of each transaction asked for so far; 0 if the log holds none.
    versions: HashMap<String, i64>,
    commits_since_load: u32,
    /// A commit failed, and what the log holds has not been read since.
    is_stale: bool,
}

/// The right to commit to a table; others wait while it lives.
pub(super) struct CommitGuard<'a> {
    table: &'a LakeTable,
    progress: MutexGuard<'a, Progress>,
}

impl LakeTable {
    /// Waits until no other commit runs.
    pub(super) fn begin(&self) -> CommitGuard<'_> {
        CommitGuard { table: self, progress: self.lock_progress() }
    }
}

impl CommitGuard<'_> {
    /// The version that the log holds for `app`; 0 if it holds none.
    pub(super) fn version(&mut self, app: &str) -> Result<i64> {
        if self.progress.is_stale {
            self.reload()?;
        }
        if let Some(&version) = self.progress.versions.get(app) {
            return Ok(version);
        }
        let (state, table) = (self.table.state(), self.table);
        let found = table.environment.wait(state.delta.transaction_version(table.log_store.as_ref(), app))?;
        let version = found.unwrap_or(0);
        self.progress.versions.insert(app.to_owned(), version);
        Ok(version)
    }

    /// Commits `actions` as `(app, version)`. Errors: `Conflict` if another process committed for the same app, which is fatal.
    pub(super) fn commit(&mut self, actions: Vec<Action>, operation: DeltaOperation, app: &str, version: i64) -> Result<()> {
        let now = self.table.environment.now() / MILLISECOND;
        let transaction = Transaction::new_with_last_update(app, version, Some(now));
        let written = self.write(actions, operation, CommitProperties::default().with_application_transaction(transaction));
        if let Err(e) = written {
            let e = e.context(format!("commit {version} of {app} to {}", self.table.full_name()));
            self.progress.is_stale = true;
            if e.kind() == ErrorKind::Conflict || self.version(app)? != version {
                return Err(e);
            }
            warn!(table = self.table.full_name(), app, version, error = %e, "the commit is in the log, but what follows it failed");
        }
        self.progress.versions.insert(app.to_owned(), version);
        Ok(())
    }

    /// Changes properties of the table.
    pub(super) fn set_properties(&mut self, changed: HashMap<String, String>) -> Result<()> {
        let metadata = metadata_with(self.table.state().delta.metadata(), &changed)?;
        let operation = DeltaOperation::SetTableProperties { properties: changed };
        self.write(vec![Action::Metadata(metadata)], operation, CommitProperties::default())
    }

    pub(super) fn write(&mut self, actions: Vec<Action>, operation: DeltaOperation, properties: CommitProperties) -> Result<()> {
        let table = self.table;
        table.environment.check_fence()?;
        let state = table.state();
        let properties = properties.with_cleanup_expired_logs(Some(false));
        let builder = CommitBuilder::from(properties).with_actions(actions);
        let commit = table
            .environment
            .wait(async { builder.build(Some(&state.delta), table.log_store.clone(), operation).await.map_err(Error::from) })?;
        table.set_state(TableState::new(commit.snapshot(), table.environment.now()));
        self.progress.commits_since_load += 1;
        if self.progress.commits_since_load >= LAKE_RELOAD_COMMITS {
            // A state that grew commit by commit gets slower than a fresh one.
            self.reload()?;
        }
        Ok(())
    }

    /// Reads the newest version from the log.
    pub(super) fn reload(&mut self) -> Result<()> {
        if self.table.environment.durable.failed() {
            return Err(Error::internal("a sync to disk failed: what the log shows may not survive").hint("restart the process"));
        }
        self.progress.versions.clear();
        self.table.set_state(load(&self.table.environment, &self.table.log_store, self.table.path())?);
        self.progress.commits_since_load = 0;
        self.progress.is_stale = false;
        Ok(())
    }
}
