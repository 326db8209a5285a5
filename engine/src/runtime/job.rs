//! What a job is and how it is doing. Invariant: a `JobSpec` can be run any number of times: everything that changes is in its
//! checkpoints, its sinks and `Shared`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use arrow::array::RecordBatch;
use serde::Serialize;
use std::sync::Mutex;
use tokio::sync::broadcast;

use crate::contract::{LogStore, Sink};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset, Partition};
use crate::limits::LIVE_BATCHES_MAX;
use crate::metrics::JobCounters;
use crate::plan::{JobPlan, Scan};
use crate::reference::ReferenceTable;
use crate::time::Micros;

/// What a job does.
pub enum JobKind {
    /// Runs a plan; `references` holds a table for each of its lookups, by name.
    Query {
        /// What it does.
        plan: JobPlan,
        /// Tables that it looks up, in any order.
        references: Vec<Arc<ReferenceTable>>,
    },
    /// Copies every record of a stream to its cold table and its rejects to the dead-letter table.
    Archive {
        /// All declared columns.
        scan: Scan,
    },
}

/// Where a job without a checkpoint begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// The oldest record that the log keeps.
    Earliest,
    /// Records that arrive from now on.
    Latest,
}

/// The sinks of one run of a job.
#[derive(Default)]
pub struct Sinks {
    /// The result.
    pub main: Option<Box<dyn Sink>>,
    /// Late rows.
    pub late: Option<Box<dyn Sink>>,
    /// Rejected rows.
    pub rejects: Option<Box<dyn Sink>>,
}

impl Sinks {
    /// Those that are there, in a fixed order.
    pub fn each(&mut self) -> impl Iterator<Item = &mut Box<dyn Sink>> {
        [&mut self.main, &mut self.late, &mut self.rejects].into_iter().flatten()
    }
}

/// Opens the sinks of a job anew for each run.
pub type OpenSinks = Box<dyn Fn() -> Result<Sinks> + Send + Sync>;

/// A job, ready to run.
pub struct JobSpec {
    /// Unique name.
    pub name: String,
    /// The statement that made it, for people and for the restart.
    pub sql: String,
    /// What it does.
    pub kind: JobKind,
    /// The log of its stream.
    pub log: Arc<dyn LogStore>,
    /// Its sinks.
    pub sinks: OpenSinks,
    /// Where it begins.
    pub start: StartAt,
}

impl JobSpec {
    /// The scan of its stream.
    pub fn scan(&self) -> &Scan {
        match &self.kind {
            JobKind::Query { plan, .. } => &plan.scan,
            JobKind::Archive { scan } => scan,
        }
    }

    /// State of another fingerprint does not fit this job.
    pub fn fingerprint(&self) -> String {
        match &self.kind {
            JobKind::Query { plan, .. } => plan.fingerprint(),
            JobKind::Archive { scan } => format!("archive:{}", scan.stream),
        }
    }
}

impl fmt::Debug for JobSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {}", self.name)
    }
}

/// Life of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
pub enum JobState {
    /// Being set up, or set up again from its last checkpoint.
    Starting,
    /// Reading.
    Running,
    /// Failed, and will be started again; says why.
    Restarting(String),
    /// Ended on request, with a last checkpoint.
    Stopped,
    /// Failed for good; says why.
    Failed(String),
}

/// How a job is doing.
#[derive(Debug, Clone, Serialize)]
pub struct JobStatus {
    /// Its name.
    pub name: String,
    /// Its statement.
    pub sql: String,
    /// Its life.
    #[serde(flatten)]
    pub life: JobState,
    /// Last complete checkpoint; 0 if none.
    pub epoch: Epoch,
    /// When that was taken, in microseconds since the Unix epoch.
    pub checkpoint_at: Option<Micros>,
    /// Least watermark of its partitions in microseconds; `None` before the first record.
    pub watermark: Option<Micros>,
    /// Records of the log that it has not read yet.
    pub lag: u64,
    /// Counts now; parts of it may be a batch apart.
    pub counters: JobCounters,
    /// Counts at the last checkpoint, where they balance exactly.
    pub committed: JobCounters,
}

/// What worker threads, the driver and those who watch share.
#[derive(Debug)]
pub(super) struct Shared {
    /// The barrier that workers should place.
    pub(super) epoch_asked: AtomicU64,
    /// Watermark that idle partitions are carried along to.
    pub(super) input_watermark: AtomicI64,
    /// Someone asked the job to end, with a last checkpoint.
    pub(super) stop: AtomicBool,
    /// Someone asked for a checkpoint now.
    pub(super) checkpoint: AtomicBool,
    /// The driver is gone: workers end.
    pub(super) exit: AtomicBool,
    live: broadcast::Sender<RecordBatch>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    life: JobState,
    epoch: Epoch,
    checkpoint_at: Option<Micros>,
    partitions: Vec<(Offset, Micros, JobCounters)>,
    merged: JobCounters,
    committed: JobCounters,
}

impl Shared {
    pub(super) fn new(partitions: u32) -> Self {
        let partitions = vec![(0, Micros::MIN, JobCounters::default()); partitions as usize];
        Self {
            epoch_asked: AtomicU64::new(0),
            input_watermark: AtomicI64::new(Micros::MIN),
            stop: AtomicBool::new(false),
            checkpoint: AtomicBool::new(false),
            exit: AtomicBool::new(false),
            live: broadcast::Sender::new(LIVE_BATCHES_MAX),
            inner: Mutex::new(Inner {
                life: JobState::Starting,
                epoch: 0,
                checkpoint_at: None,
                partitions,
                merged: JobCounters::default(),
                committed: JobCounters::default(),
            }),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn life(&self) -> JobState {
        self.lock().life.clone()
    }

    pub(super) fn set_life(&self, life: JobState) {
        self.lock().life = life;
    }

    pub(super) fn progress(&self, partition: Partition, position: Offset, watermark: Micros, counters: JobCounters) {
        if let Some(slot) = self.lock().partitions.get_mut(partition as usize) {
            *slot = (position, watermark, counters);
        }
    }

    pub(super) fn merged(&self, counters: &JobCounters) {
        self.lock().merged = counters.clone();
    }

    pub(super) fn committed(&self, epoch: Epoch, at: Option<Micros>, counters: JobCounters) {
        let mut inner = self.lock();
        inner.epoch = epoch;
        inner.checkpoint_at = at;
        inner.committed = counters;
    }

    /// Results as they come; a slow reader loses the oldest.
    pub(super) fn live(&self) -> broadcast::Receiver<RecordBatch> {
        self.live.subscribe()
    }

    pub(super) fn show(&self, rows: &RecordBatch) {
        // No reader is no error.
        let _ = self.live.send(rows.clone());
    }

    pub(super) fn ask_stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    pub(super) fn status(&self, spec: &JobSpec) -> JobStatus {
        let inner = self.lock();
        let mut counters = inner.merged.clone();
        let mut lag = 0;
        for (partition, (position, _, part)) in inner.partitions.iter().enumerate() {
            counters.add(part);
            lag += spec.log.bounds(partition as u32).end.saturating_sub(*position);
        }
        let watermark = inner.partitions.iter().map(|p| p.1).filter(|&w| w > Micros::MIN).min();
        JobStatus {
            name: spec.name.clone(),
            sql: spec.sql.clone(),
            life: inner.life.clone(),
            epoch: inner.epoch,
            checkpoint_at: inner.checkpoint_at,
            watermark,
            lag,
            counters,
            committed: inner.committed.clone(),
        }
    }
}

/// Whether another try may succeed.
pub(super) fn is_transient(error: &Error) -> bool {
    use crate::error::ErrorKind;
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Internal)
}
