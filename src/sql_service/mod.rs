//! The effect of SQL statements. `Engine` prepares a statement in the session and carries it out: tables get their streams, lake
//! tables and archives, `INSERT` becomes a job, `SELECT` becomes rows. Invariant: a statement that is answered with success has
//! been stored, and has its effect again after a restart; of statements that change something one is carried out at a time.

mod execute;
mod jobs;
mod pool;
mod problems;
mod restore;
mod rows;
mod savepoints;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thalweg_engine::contract::{Clock, Disk};
use thalweg_engine::error::Result;
use thalweg_engine::ids::Name;
use thalweg_engine::lake::Lake;
use thalweg_engine::locks::lock;
use thalweg_engine::log::Logs;
use thalweg_engine::metrics::GatewayCounters;
use thalweg_engine::room;
use thalweg_engine::runtime::Supervisor;
use thalweg_sql::Session;
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;

use crate::data_dir::Layout;
use crate::statements::Statements;
pub(crate) use execute::blocking;
pub use pool::QueryPool;
use tables::LoadedReference;

/// What an engine is made of.
pub struct Parts {
    /// Knows declared tables.
    pub session: Session,
    /// Runs jobs.
    pub supervisor: Arc<Supervisor>,
    /// Streams.
    pub logs: Arc<Logs>,
    /// Tables on disk.
    pub lake: Arc<Lake>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where things are.
    pub layout: Layout,
    /// The data directory, which relative paths in statements start from.
    pub root: PathBuf,
    /// What came in through sources.
    pub counters: Arc<GatewayCounters>,
    /// Where source tasks run.
    pub handle: Handle,
    /// Where batch queries are computed.
    pub queries: QueryPool,
    /// Time from the beginning of a batch query to its last row.
    pub query_timeout: Duration,
}

/// Tables and jobs of one data directory.
pub struct Engine {
    parts: Parts,
    statements: Mutex<Statements>,
    /// Held by who changes tables and jobs.
    changing: Arc<tokio::sync::Mutex<()>>,
    references: Mutex<BTreeMap<Name, LoadedReference>>,
    sources: Mutex<BTreeMap<Name, tokio::task::AbortHandle>>,
}

impl Engine {
    /// Carries out every stored statement again. Errors: a stored statement cannot be carried out.
    pub fn open(parts: Parts) -> Result<Arc<Self>> {
        let statements = Statements::open(parts.disk.clone(), &parts.layout.statements)?;
        let engine = Arc::new(Self {
            parts,
            statements: Mutex::new(statements),
            changing: Arc::default(),
            references: Mutex::new(BTreeMap::new()),
            sources: Mutex::new(BTreeMap::new()),
        });
        engine.restore()?;
        Ok(engine)
    }

    /// The jobs.
    pub fn supervisor(&self) -> &Arc<Supervisor> {
        &self.parts.supervisor
    }

    /// The declared tables.
    pub fn session(&self) -> &Session {
        &self.parts.session
    }

    /// Waits until nobody else changes tables and jobs: each such statement finds what the one before has left, whole. It is handed on to
    /// where the work is done, so that a caller who goes away does not let the next one in.
    async fn turn(&self) -> OwnedMutexGuard<()> {
        self.changing.clone().lock_owned().await
    }

    /// Lets queries put aside as much as the disk has room for now.
    pub fn bound_spill(&self) -> Result<()> {
        self.parts.session.bound_spill(room::left(&*self.parts.disk, &self.parts.layout.spill))
    }

    /// Ends sources and jobs, each job after a last checkpoint.
    pub fn close(&self) {
        lock(&self.sources).values().for_each(tokio::task::AbortHandle::abort);
        self.parts.supervisor.stop_all();
    }
}

/// The engine as the server sees it.
pub struct Service(pub Arc<Engine>);
