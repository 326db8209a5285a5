//! Keeps jobs running. Invariant: a job that failed for a passing reason is started again from its last checkpoint, with growing
//! pauses; one that failed for good stays visible with its reason.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::sync::broadcast;

use super::attempt::{Durable, run};
use super::bells::Bells;
use super::job::{JobSpec, JobState, JobStatus, Shared, is_transient};
use super::scan::SharedScans;
use super::spawn::{join, spawn};
use crate::contract::{CheckpointStore, Clock, Disk};
use crate::error::{Error, Result};
use crate::state::{Checkpoint, CheckpointFiles};

const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
const PAUSE_STEP: Duration = Duration::from_millis(50);

/// What jobs need beside their specs.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Where checkpoints go; jobs wait when it has no room for them.
    pub disk: Arc<dyn Disk>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Directory of the checkpoints: one below it a job.
    pub directory: PathBuf,
    /// Time between checkpoints.
    pub checkpoint_interval: Duration,
}

/// Streams as the jobs of this process read them together.
#[derive(Default)]
pub(super) struct SharedStreams {
    pub(super) scans: SharedScans,
    pub(super) bells: Bells,
}

struct Entry {
    spec: Arc<JobSpec>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// All jobs of this process.
pub struct Supervisor {
    environment: Environment,
    streams: Arc<SharedStreams>,
    jobs: Mutex<BTreeMap<String, Entry>>,
}

/// Results of a query that nobody keeps. Ends when it is dropped.
pub struct Tail {
    /// Results as they come.
    pub results: broadcast::Receiver<RecordBatch>,
    spec: Arc<JobSpec>,
    shared: Arc<Shared>,
}

impl Tail {
    /// How it is doing.
    pub fn status(&self) -> JobStatus {
        self.shared.status(&self.spec)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.shared.ask_stop();
    }
}

impl Supervisor {
    /// Without jobs yet.
    pub fn new(environment: Environment) -> Self {
        Self { environment, streams: Arc::default(), jobs: Mutex::new(BTreeMap::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a job that survives restarts. Errors: `Conflict` if one of its name is running.
    pub fn start(&self, spec: JobSpec) -> Result<()> {
        let mut jobs = self.lock();
        if let Some(entry) = jobs.get(&spec.name)
            && !matches!(entry.shared.life(), JobState::Stopped | JobState::Failed(_))
        {
            return Err(running(&spec.name));
        }
        let spec = Arc::new(spec);
        let shared = Arc::new(Shared::new(spec.places().len()));
        let (s, h, e, t) = (spec.clone(), shared.clone(), self.environment.clone(), self.streams.clone());
        let thread = spawn(&spec.name, move || keep_running(&s, &h, &e, &t))?;
        jobs.insert(spec.name.clone(), Entry { spec, shared, thread: Some(thread) });
        Ok(())
    }

    /// Whether a job of this name may be started with this statement. Errors: `Conflict` if one is running, or if the newest
    /// checkpoint of an earlier one belongs to another statement.
    pub fn check_statement(&self, name: &str, sql: &str) -> Result<()> {
        if self.lock().get(name).is_some_and(|e| !matches!(e.shared.life(), JobState::Stopped | JobState::Failed(_))) {
            return Err(running(name));
        }
        let store = CheckpointFiles::open(self.environment.disk.clone(), &self.environment.directory.join(name))?;
        match store.load()?.map(|(_, bytes)| Checkpoint::decode(&bytes)).transpose()? {
            Some(c) if c.sql != sql => Err(Error::conflict(format!("checkpoint {} of job {name} belongs to another statement", c.epoch))
                .hint("submit the statement that was stopped to resume it, or write the changed one into a new table")),
            _ => Ok(()),
        }
    }

    /// Runs a query for one watcher, without checkpoints.
    pub fn tail(&self, spec: JobSpec) -> Result<Tail> {
        let spec = Arc::new(spec);
        let shared = Arc::new(Shared::new(spec.places().len()));
        let results = shared.live();
        let (s, h, e, t) = (spec.clone(), shared.clone(), self.environment.clone(), self.streams.clone());
        spawn(&spec.name, move || match run(&s, &h, &e, &t, Durable::No) {
            Ok(()) => h.set_life(JobState::Stopped),
            Err(error) => h.set_life(JobState::Failed(error.to_string())),
        })?;
        Ok(Tail { results, spec, shared })
    }

    /// Ends a job after a last checkpoint. Errors: `NotFound`.
    pub fn stop(&self, name: &str) -> Result<JobStatus> {
        let (spec, shared, thread) = {
            let mut jobs = self.lock();
            let entry = jobs.get_mut(name).ok_or_else(|| no_job(name))?;
            entry.shared.ask_stop();
            (entry.spec.clone(), entry.shared.clone(), entry.thread.take())
        };
        if let Some(thread) = thread {
            join(thread)?;
        }
        Ok(shared.status(&spec))
    }

    /// Ends all jobs, each after a last checkpoint.
    pub fn stop_all(&self) {
        let names: Vec<String> = self.lock().iter().map(|(n, e)| (n.clone(), e.shared.ask_stop()).0).collect();
        for name in names {
            if let Err(error) = self.stop(&name) {
                tracing::error!(job = %name, %error, "a job did not end well");
            }
        }
    }

    /// Forgets a job that has ended.
    pub fn forget(&self, name: &str) {
        let mut jobs = self.lock();
        if jobs.get(name).is_some_and(|e| matches!(e.shared.life(), JobState::Stopped | JobState::Failed(_))) {
            jobs.remove(name);
        }
    }

    /// All jobs by name.
    pub fn list(&self) -> Vec<JobStatus> {
        self.lock().values().map(|e| e.shared.status(&e.spec)).collect()
    }

    /// One job. Errors: `NotFound`.
    pub fn status(&self, name: &str) -> Result<JobStatus> {
        self.lock().get(name).map(|e| e.shared.status(&e.spec)).ok_or_else(|| no_job(name))
    }

    /// Results of a job as they come. Errors: `NotFound`.
    pub fn live(&self, name: &str) -> Result<broadcast::Receiver<RecordBatch>> {
        self.lock().get(name).map(|e| e.shared.live()).ok_or_else(|| no_job(name))
    }

    /// Asks every job for a checkpoint now.
    pub fn checkpoint_all(&self) {
        for entry in self.lock().values() {
            entry.shared.ask_checkpoint();
        }
    }
}

fn running(name: &str) -> Error {
    Error::conflict(format!("job {name} is running")).hint(format!("STOP JOB {name} first"))
}

fn no_job(name: &str) -> Error {
    Error::not_found(format!("there is no job {name}")).hint("SHOW JOBS lists them")
}

fn keep_running(spec: &JobSpec, shared: &Arc<Shared>, environment: &Environment, streams: &SharedStreams) {
    let mut pause = PAUSE_MIN;
    loop {
        let began = environment.clock.monotonic();
        let error = match run(spec, shared, environment, streams, Durable::Yes) {
            Ok(()) => return shared.set_life(JobState::Stopped),
            Err(error) => error,
        };
        if !is_transient(&error) {
            tracing::error!(job = %spec.name, %error, "job failed");
            return shared.set_life(JobState::Failed(error.to_string()));
        }
        if environment.clock.monotonic().saturating_sub(began) > PAUSE_MAX {
            pause = PAUSE_MIN;
        }
        tracing::warn!(job = %spec.name, %error, pause_ms = pause.as_millis() as u64, "job failed; it is started again from its last checkpoint");
        shared.set_life(JobState::Restarting(error.to_string()));
        let until = environment.clock.monotonic() + pause;
        while environment.clock.monotonic() < until {
            if shared.stop.load(Ordering::Acquire) {
                return shared.set_life(JobState::Stopped);
            }
            std::thread::sleep(PAUSE_STEP);
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
