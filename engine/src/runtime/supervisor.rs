//! Keeps jobs running. Invariant: a job that failed for a passing reason is started again from its last checkpoint, with growing
//! pauses; one that failed for good stays visible with its reason. From the moment that a job is known, the log keeps what it has not read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::sync::broadcast;

use super::attempt::{Durable, hold_log, run};
use super::bells::Bells;
use super::budget::Budget;
use super::job::{JobSpec, JobState, JobStatus, Shared};
use super::scan::SharedScans;
use super::spawn::{join, spawn};
use super::status::is_transient;
use crate::contract::{CheckpointStore, Clock, Disk, PreCommit};
use crate::error::{Error, Result};
use crate::locks::lock;
use crate::metrics::JobCounters;
use crate::state::{Checkpoint, CheckpointFiles};
use crate::time::Micros;

const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
const PAUSE_STEP: Duration = Duration::from_millis(50);
/// Problems of checkpoints are kept under this and the name of the job.
const CHECKPOINTS: &str = "checkpoints of ";

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

impl Entry {
    fn is_alive(&self) -> bool {
        !matches!(self.shared.life(), JobState::Stopped | JobState::Failed(_))
    }
}

/// All jobs of this process.
pub struct Supervisor {
    pub(super) environment: Environment,
    streams: Arc<SharedStreams>,
    budget: Arc<Budget>,
    jobs: Mutex<BTreeMap<String, Entry>>,
    /// What is wrong with files that no job runs from, by what they belong to.
    problems: Mutex<BTreeMap<String, String>>,
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
        Self { environment, streams: Arc::default(), budget: Arc::default(), jobs: Mutex::default(), problems: Mutex::default() }
    }

    /// With so many bytes for the state of all jobs together.
    #[must_use]
    pub fn with_state_memory(self, bytes: u64) -> Self {
        Self { budget: Arc::new(Budget::new(bytes)), ..self }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        lock(&self.jobs)
    }

    /// Starts a job that survives restarts. Errors: `Conflict` if one of its name is running.
    pub fn start(&self, spec: JobSpec) -> Result<()> {
        let mut jobs = self.lock();
        if jobs.get(&spec.name).is_some_and(Entry::is_alive) {
            return Err(running(&spec.name));
        }
        let spec = Arc::new(spec);
        // All of it, until its checkpoint has been read and says from where: that may take long, or fail.
        hold_log(&spec, &spec.places(), None);
        let shared = Arc::new(Shared::new(spec.places().len(), self.budget.clone()));
        let (s, h, e, t) = (spec.clone(), shared.clone(), self.environment.clone(), self.streams.clone());
        let thread = spawn(&spec.name, move || keep_running(&s, &h, &e, &t))?;
        jobs.insert(spec.name.clone(), Entry { spec, shared, thread: Some(thread) });
        Ok(())
    }

    /// Lists a job that was stopped before this process began. It keeps what it has not read, as a job that is stopped now does; all of
    /// its streams if its checkpoint cannot be read: then it has failed.
    pub fn enlist(&self, spec: JobSpec) {
        let spec = Arc::new(spec);
        let shared = Arc::new(Shared::new(spec.places().len(), self.budget.clone()));
        let (checkpoint, life) = match self.newest_checkpoint(&spec.name) {
            Ok(checkpoint) => (checkpoint, JobState::Stopped),
            Err(error) => {
                tracing::error!(job = %spec.name, %error, "the checkpoint of a stopped job cannot be read");
                (None, JobState::Failed(error.to_string()))
            }
        };
        let offsets = hold_log(&spec, &spec.places(), checkpoint.as_ref());
        for (place, offset) in offsets.into_iter().enumerate() {
            let stood = checkpoint.as_ref().and_then(|c| c.partitions.get(place));
            let (watermark, counters) = stood.map_or((Micros::MIN, JobCounters::default()), |p| (p.watermark, p.counters.clone()));
            shared.progress(place, offset, watermark, counters);
        }
        if let Some(checkpoint) = &checkpoint {
            shared.committed(checkpoint.epoch, Some(checkpoint.at), checkpoint.counters());
            shared.merged(&checkpoint.merged);
        }
        shared.set_life(life);
        self.lock().insert(spec.name.clone(), Entry { spec, shared, thread: None });
    }

    /// The newest checkpoint of a job, whether it is known or not.
    pub(super) fn newest_checkpoint(&self, job: &str) -> Result<Option<Checkpoint>> {
        let store = CheckpointFiles::open(self.environment.disk.clone(), &self.environment.directory.join(job))?;
        store.load()?.map(|(_, bytes)| Checkpoint::decode(&bytes)).transpose()
    }

    /// Whether a job of this name is doing something. Errors: `Conflict` if it is.
    pub(super) fn check_idle(&self, name: &str) -> Result<()> {
        if self.lock().get(name).is_some_and(Entry::is_alive) { Err(running(name)) } else { Ok(()) }
    }

    /// Runs a query for one watcher, without checkpoints.
    pub fn tail(&self, spec: JobSpec) -> Result<Tail> {
        let spec = Arc::new(spec);
        let shared = Arc::new(Shared::new(spec.places().len(), self.budget.clone()));
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
        self.end(name, false)
    }

    /// The same; `always` takes a checkpoint even if nothing has happened since the last one, or there is none.
    pub(super) fn end(&self, name: &str, always: bool) -> Result<JobStatus> {
        let (spec, shared, thread) = {
            let mut jobs = self.lock();
            let entry = jobs.get_mut(name).ok_or_else(|| no_job(name))?;
            entry.shared.savepoint.store(always, Ordering::Release);
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

    /// Forgets a job that has ended, and keeps nothing for it any more; its checkpoints stay.
    pub fn forget(&self, name: &str) {
        let mut jobs = self.lock();
        if jobs.get(name).is_some_and(|e| !e.is_alive())
            && let Some(entry) = jobs.remove(name)
        {
            entry.spec.unpin();
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

    /// What the stored checkpoints may still commit, also those of jobs that do not run. Errors: one of them is damaged; if its job does
    /// not run, and will not replace it by itself, that is a problem.
    pub fn prepared(&self) -> Result<Vec<PreCommit>> {
        let Environment { disk, directory, .. } = &self.environment;
        let paths = if disk.exists(directory) { disk.list(directory)? } else { Vec::new() };
        let (mut prepared, mut problems, mut failed) = (Vec::new(), Vec::new(), None);
        for path in paths {
            let Some(job) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let error = match CheckpointFiles::at(disk.clone(), &path).prepared() {
                Ok(found) => {
                    prepared.extend(found);
                    continue;
                }
                Err(error) => error,
            };
            if self.check_idle(job).is_ok() {
                let problem = error
                    .clone()
                    .context(format!("a checkpoint of job {job}, which does not run, cannot be read; files that were never committed stay"))
                    .hint(format!("restore it from a backup, or move {} away if nobody will go on with the job", path.display()));
                problems.push((format!("{CHECKPOINTS}{job}"), problem.to_string()));
            }
            failed = Some(error);
        }
        self.change_problems(|all| {
            all.retain(|of, _| !of.starts_with(CHECKPOINTS));
            all.extend(problems);
        });
        failed.map_or(Ok(prepared), Err)
    }

    /// What is wrong with checkpoints and savepoints that no job runs from, a sentence each.
    pub fn problems(&self) -> Vec<String> {
        lock(&self.problems).values().cloned().collect()
    }

    /// Changes what is told by `problems`.
    pub(super) fn change_problems(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) {
        change(&mut lock(&self.problems));
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
        shared.gauges.restart(environment.clock.now().saturating_add(i64::try_from(pause.as_micros()).unwrap_or(0)));
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
