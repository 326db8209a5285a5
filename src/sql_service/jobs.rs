//! Jobs made of queries. Invariant: a job's sinks are named after the job, so that a restart finds its own commits.

use std::sync::Arc;

use async_trait::async_trait;
use thalweg_devices::Principal;
use thalweg_engine::contract::LogStore;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::plan::{JobPlan, Stage};
use thalweg_engine::reference::ReferenceTable;
use thalweg_engine::runtime::{JobKind, JobSpec, JobStatus, Sinks, StartAt};

use super::problems::Occasion;
use super::{Engine, Service, execute::blocking, lock, rows};
use crate::server::{JobService, JobState, JobView, SqlOutcome};
use crate::statements::StoredKind;

impl Engine {
    /// Starts the job of an `INSERT`.
    pub(super) fn make_job(&self, name: &Name, sink: &Name, plan: JobPlan, sql: String, occasion: Occasion) -> Result<()> {
        let definition = self.parts.session.table(sink.as_str());
        let definition = definition.ok_or_else(|| Error::not_found(format!("there is no table {sink}")))?;
        let tables = || Ok((self.lake_table(&definition)?, self.late_table(name)?, self.dlq_table(&plan.scan.table)?));
        let tables = occasion.settle(tables())?;
        let app = name.clone();
        let sinks = move || -> Result<Sinks> {
            let (main, late, rejects) = tables.as_ref().map_err(Error::clone)?;
            Ok(Sinks {
                main: Some(main.sink(&format!("{app}/main"))?),
                late: Some(late.sink(&format!("{app}/late"))?),
                rejects: Some(rejects.sink(&format!("{app}/rejects"))?),
            })
        };
        self.parts.supervisor.start(self.query(name.to_string(), plan, sql, Box::new(sinks), StartAt::Earliest)?)
    }

    /// `DESCRIBE JOB`.
    pub(super) fn describe_job(&self, name: &str) -> Result<SqlOutcome> {
        rows::job(&self.parts.supervisor.status(name)?)
    }

    /// Runs a query for whoever reads its rows.
    pub(super) fn tail(&self, plan: JobPlan, sql: String) -> Result<SqlOutcome> {
        let schema = plan.output.clone();
        let sinks = Box::new(|| Ok(Sinks::default()));
        let tail = self.parts.supervisor.tail(self.query("tail".to_owned(), plan, sql, sinks, StartAt::Latest)?)?;
        Ok(rows::live(schema, tail))
    }

    fn query(
        &self,
        name: String,
        plan: JobPlan,
        sql: String,
        sinks: thalweg_engine::runtime::job::OpenSinks,
        start: StartAt,
    ) -> Result<JobSpec> {
        let log: Arc<dyn LogStore> = self.parts.logs.stream(&plan.scan.stream)?;
        let references = self.references_of(&plan)?;
        Ok(JobSpec { name, sql, kind: JobKind::Query { plan, references }, log, sinks, start })
    }

    fn references_of(&self, plan: &JobPlan) -> Result<Vec<Arc<ReferenceTable>>> {
        let loaded = lock(&self.references);
        let table = |stage: &Stage| match stage {
            Stage::Lookup(l) => {
                let found = loaded.get(&l.table).map(|r| r.store.table());
                Some(found.ok_or_else(|| Error::not_found(format!("reference table {} is not loaded", l.table))))
            }
            Stage::Filter(_) | Stage::Project(_) => None,
        };
        plan.before.iter().filter_map(table).collect()
    }

    /// Stops a job for good: it does not come back with the next start.
    pub(super) fn stop_job(&self, name: &str) -> Result<JobStatus> {
        if name.starts_with("archive.") {
            return Err(Error::invalid(format!("{name} keeps the history of a stream")).hint("DROP TABLE ends it"));
        }
        let status = self.parts.supervisor.stop(name)?;
        lock(&self.statements).remove(StoredKind::Job, name)?;
        Ok(status)
    }
}

#[async_trait]
impl JobService for Service {
    async fn list(&self) -> Result<Vec<JobView>> {
        Ok(self.0.parts.supervisor.list().into_iter().map(view).collect())
    }

    async fn get(&self, name: &str) -> Result<JobView> {
        self.0.parts.supervisor.status(name).map(view)
    }

    async fn stop(&self, _principal: &Principal, name: &str) -> Result<JobView> {
        let (engine, name) = (self.0.clone(), name.to_owned());
        blocking(move || engine.stop_job(&name)).await.map(view)
    }
}

fn view(status: JobStatus) -> JobView {
    use thalweg_engine::runtime::JobState as Life;
    let (state, error) = match status.life {
        Life::Starting => (JobState::Starting, None),
        Life::Running => (JobState::Running, None),
        Life::Restarting(why) => (JobState::Restarting, Some(why)),
        Life::Stopped => (JobState::Stopped, None),
        Life::Failed(why) => (JobState::Failed, Some(why)),
    };
    JobView {
        name: status.name,
        state,
        sql: status.sql,
        counters: status.counters,
        committed: status.committed,
        lag: status.lag,
        watermark: status.watermark,
        epoch: status.epoch,
        checkpoint_at: status.checkpoint_at,
        error,
    }
}
