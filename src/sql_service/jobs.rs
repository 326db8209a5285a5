//! Jobs made of queries. Invariant: a job's sinks are named after the job, so that a restart finds its own commits.

use std::sync::Arc;

use async_trait::async_trait;
use thalweg_engine::contract::{LogStore, Sink};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::lake::LakeTable;
use thalweg_engine::plan::{JobPlan, Scan, Stage};
use thalweg_engine::reference::ReferenceTable;
use thalweg_engine::runtime::{Admission, JobKind, JobSpec, JobStatus, Resumed, Sinks, StartAt, Unclaimed};
use thalweg_engine::time::Micros;
use thalweg_sql::{JobSettings, without_secrets, without_settings};

use super::problems::Occasion;
use super::{Engine, Service, execute::blocking, lock, rows};
use crate::server::{JobService, JobState, JobView, SqlOutcome};
use crate::statements::{Stored, StoredKind};

impl Engine {
    /// Starts the job of an `INSERT`, with the state that it goes on from.
    pub(super) fn start_job(&self, job: Prepared<'_>, plan: JobPlan) -> Result<Resumed> {
        let admission = job.admission();
        if let Some(before) = self.parts.supervisor.statement_of(job.name.as_str())? {
            self.check_written(&job, &before)?;
        }
        let resumed = self.parts.supervisor.check(job.name.as_str(), &job.sql, &plan, &admission)?;
        self.check_sinks(job.name, job.sinks)?;
        let spec = self.job(job, plan, Occasion::Given)?;
        self.parts.supervisor.admit(&spec, &admission)?;
        self.parts.supervisor.start(spec)?;
        Ok(resumed)
    }

    /// Stores the statement of a job that was started. Errors: it cannot be; then the job is ended again: it would not come back with a
    /// restart.
    pub(super) fn store_job(&self, job: Stored) -> Result<()> {
        let name = job.name.clone();
        let stored = lock(&self.statements).put(job);
        if stored.is_err() {
            if let Err(error) = self.parts.supervisor.stop(&name) {
                tracing::error!(job = %name, %error, "a job whose statement could not be stored did not end well");
            }
            // One that was stopped before stays listed as such.
            if !lock(&self.statements).all().iter().any(|s| s.kind == StoredKind::Job && s.name == name) {
                self.parts.supervisor.forget(&name);
            }
        }
        stored
    }

    /// The tables of a job stay, in their order; there may be more of them. Errors: `Conflict`.
    fn check_written(&self, job: &Prepared<'_>, before: &str) -> Result<()> {
        let before = self.parts.session.writes(before)?;
        let now: Vec<&str> = job.sinks.iter().map(Name::as_str).collect();
        if before.iter().map(String::as_str).eq(now.iter().copied().take(before.len())) {
            return Ok(());
        }
        Err(Error::conflict(format!("job {} writes {}, and would write {}", job.name, before.join(", "), now.join(", "))).hint(format!(
            "stop it WITH SAVEPOINT, give the new job a name, SET 'pipeline.name' = '…', and let it start from there, \
             SET 'execution.state-recovery.path' = '{}-…'",
            job.name
        )))
    }

    /// The job of an `INSERT`, ready to run.
    pub(super) fn job(&self, job: Prepared<'_>, plan: JobPlan, occasion: Occasion) -> Result<JobSpec> {
        let Prepared { name, sinks, sql, settings } = job;
        let definition = |sink: &Name| {
            let declared = self.parts.session.table(sink.as_str());
            declared.ok_or_else(|| Error::not_found(format!("there is no table {sink}")))
        };
        let definitions = sinks.iter().map(definition).collect::<Result<Vec<_>>>()?;
        let tables = || {
            let main = definitions.iter().map(|d| self.lake_table(d)).collect::<Result<Vec<_>>>()?;
            let rejects = plan.scans.iter().map(|s| self.dlq_table(&s.table)).collect::<Result<Vec<_>>>()?;
            Ok((main, self.late_table(name)?, rejects))
        };
        let tables = occasion.settle(tables())?;
        let app = name.clone();
        let sinks = move || -> Result<Sinks> {
            let (main, late, rejects) = tables.as_ref().map_err(Error::clone)?;
            Ok(Sinks {
                main: numbered(main, &main_of(&app))?,
                late: Some(late.sink(&format!("{app}/late"))?),
                rejects: numbered(rejects, &format!("{app}/rejects"))?,
            })
        };
        let spec = self.query(name.to_string(), plan, sql, Box::new(sinks), StartAt::Earliest)?;
        Ok(JobSpec { state_memory: settings.state_memory, ..spec })
    }

    /// A table holds the results of one job. Errors: `Conflict` if another job writes one of these tables, or has written it.
    pub(super) fn check_sinks(&self, name: &Name, sinks: &[Name]) -> Result<()> {
        let sole = |sink: &Name, writer: &str, hint: String| {
            Err(Error::conflict(format!("table {sink} holds the results of {writer}, not of job {name}")).hint(hint))
        };
        let others = |s: &&Stored| s.kind == StoredKind::Job && !s.stopped && s.name != name.as_str();
        for stored in lock(&self.statements).all().iter().filter(others) {
            let uses = self.parts.session.uses(&stored.sql)?;
            if let Some(sink) = sinks.iter().find(|s| uses.contains(s.as_str())) {
                return sole(sink, &format!("job {}", stored.name), "write into another table".to_owned());
            }
        }
        for (number, sink) in sinks.iter().enumerate() {
            let Some(definition) = self.parts.session.table(sink.as_str()) else { continue };
            let table = self.lake_table(&definition)?;
            if table.snapshot()?.rows > 0 && !table.has_commits_of(&numbered_id(&main_of(name), number))? {
                let hint = "write into another table, or give the job the name that it had: SET 'pipeline.name' = '…'";
                return sole(sink, "another job", hint.to_owned());
            }
        }
        Ok(())
    }

    /// `DESCRIBE JOB`.
    pub(super) fn describe_job(&self, name: &str) -> Result<SqlOutcome> {
        rows::job(&self.parts.supervisor.status(name)?)
    }

    /// Runs a query for whoever reads its rows.
    pub(super) fn tail(&self, plan: JobPlan, sql: String) -> Result<SqlOutcome> {
        let output = plan.outputs.first().ok_or_else(|| Error::internal("a query gives nothing"))?;
        let schema = output.shown();
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
        let log = |scan: &Scan| -> Result<Arc<dyn LogStore>> { Ok(self.parts.logs.stream(&scan.stream)?) };
        let logs = plan.scans.iter().map(log).collect::<Result<Vec<_>>>()?;
        let references = self.references_of(&plan)?;
        Ok(JobSpec { name, sql, kind: JobKind::Query { plan, references }, logs, sinks, start, state_memory: None })
    }

    fn references_of(&self, plan: &JobPlan) -> Result<Vec<Arc<ReferenceTable>>> {
        let loaded = lock(&self.references);
        let table = |stage: &Stage| match stage {
            Stage::Lookup(l) => {
                let found = loaded.get(&l.table).map(|r| r.store.table());
                Some(found.ok_or_else(|| Error::not_found(format!("reference table {} is not loaded", l.table))))
            }
            _ => None,
        };
        plan.stages().filter_map(table).collect()
    }

    /// Stops a job: it stays listed and keeps its place, and does not run again by itself.
    pub(super) fn stop_job(&self, name: &str) -> Result<JobStatus> {
        check_may_end(name)?;
        let status = self.parts.supervisor.stop(name)?;
        lock(&self.statements).stop(name)?;
        Ok(status)
    }
}

/// Errors: `Invalid` for the archive of a stream.
pub(super) fn check_may_end(job: &str) -> Result<()> {
    if job.starts_with("archive.") {
        return Err(Error::invalid(format!("{job} keeps the history of a stream")).hint("DROP TABLE ends it"));
    }
    Ok(())
}

/// A job as it was stated.
pub(super) struct Prepared<'a> {
    pub(super) name: &'a Name,
    /// The tables of the plan's outputs.
    pub(super) sinks: &'a [Name],
    /// Its text.
    pub(super) sql: String,
    pub(super) settings: &'a JobSettings,
}

impl Prepared<'_> {
    fn admission(&self) -> Admission {
        let unclaimed = if self.settings.ignore_unclaimed { Unclaimed::Ignore } else { Unclaimed::Refuse };
        Admission { savepoint: self.settings.savepoint.clone(), unclaimed }
    }
}

/// A sink for each table, the first under the name `app`, the others with their number behind it.
fn numbered(tables: &[Arc<LakeTable>], app: &str) -> Result<Vec<Box<dyn Sink>>> {
    tables.iter().enumerate().map(|(i, table)| table.sink(&numbered_id(app, i))).collect()
}

fn numbered_id(app: &str, number: usize) -> String {
    if number == 0 { app.to_owned() } else { format!("{app}/{number}") }
}

/// What a job is called where it writes its results.
fn main_of(job: &Name) -> String {
    format!("{job}/main")
}

#[async_trait]
impl JobService for Service {
    async fn list(&self) -> Result<Vec<JobView>> {
        Ok(self.0.parts.supervisor.list().into_iter().map(view).collect())
    }

    async fn get(&self, name: &str) -> Result<JobView> {
        self.0.parts.supervisor.status(name).map(view)
    }

    async fn stop(&self, name: &str) -> Result<JobView> {
        let (engine, name, turn) = (self.0.clone(), name.to_owned(), self.0.turn().await);
        let stop = move || {
            let _turn = turn;
            engine.stop_job(&name)
        };
        blocking(stop).await.map(view)
    }
}

/// Whole seconds, rounded up: a lag of a moment is not none.
pub(super) fn seconds(time: Micros) -> u64 {
    u64::try_from(time).unwrap_or(0).div_ceil(1_000_000)
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
        sql: without_secrets(without_settings(&status.sql).1),
        counters: status.counters,
        committed: status.committed,
        lag: status.lag,
        lag_s: status.lag_time.map(seconds),
        rate: status.rate,
        state_bytes: status.usage.bytes,
        state_groups: status.usage.groups,
        watermark: status.watermark,
        epoch: status.epoch,
        checkpoint_at: status.checkpoint_at,
        checkpoint_ms: status.checkpoint_took.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
        restarts: status.restarts,
        next_attempt: status.next_attempt,
        error,
    }
}
