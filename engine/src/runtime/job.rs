//! What a job is and how it is doing. Invariant: a `JobSpec` can be run any number of times: everything that changes is in its
//! checkpoints, its sinks and `Shared`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use arrow::array::RecordBatch;
use serde::Serialize;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::broadcast;

use super::budget::Budget;
use super::gauges::Gauges;
use crate::contract::{LogStore, Sink, Usage};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset, Partition};
use crate::limits::LIVE_BATCHES_MAX;
use crate::metrics::JobCounters;
use crate::plan::{JobPlan, OutputPlan, Scan, StartAt, StateLayout};
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

/// The sinks of one run of a job.
#[derive(Default)]
pub struct Sinks {
    /// One an output, or none.
    pub main: Vec<Box<dyn Sink>>,
    /// Late rows.
    pub late: Option<Box<dyn Sink>>,
    /// Rejected rows, one a scan, or none.
    pub rejects: Vec<Box<dyn Sink>>,
}

impl Sinks {
    /// Those that are there, in a fixed order.
    pub fn each(&mut self) -> impl Iterator<Item = &mut Box<dyn Sink>> {
        self.main.iter_mut().chain(&mut self.late).chain(&mut self.rejects)
    }
}

/// One partition of one of a job's scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the scan.
    pub(super) scan: usize,
    /// Partition of its stream.
    pub(super) partition: Partition,
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
    /// The log of each scan's stream.
    pub logs: Vec<Arc<dyn LogStore>>,
    /// Its sinks.
    pub sinks: OpenSinks,
    /// Where it begins with those scans that do not say so themselves.
    pub start: StartAt,
    /// Memory that its state may take, in bytes; `None` leaves it to the bound of all jobs.
    pub state_memory: Option<u64>,
}

impl JobSpec {
    /// What it reads.
    pub fn scans(&self) -> &[Scan] {
        match &self.kind {
            JobKind::Query { plan, .. } => &plan.scans,
            JobKind::Archive { scan } => std::slice::from_ref(scan),
        }
    }

    /// What a query gives; an archive has no plan to say so.
    pub(super) fn outputs(&self) -> &[OutputPlan] {
        match &self.kind {
            JobKind::Query { plan, .. } => &plan.outputs,
            JobKind::Archive { .. } => &[],
        }
    }

    /// Every partition that it reads, by scan and then by number: the order in which a job's partitions stand everywhere.
    pub(super) fn places(&self) -> Vec<Place> {
        let of = |(scan, log): (usize, &Arc<dyn LogStore>)| (0..log.partitions()).map(move |partition| Place { scan, partition });
        self.logs.iter().enumerate().flat_map(of).collect()
    }

    /// Keeps what it still needs of a partition. A stream that is scanned twice has two pins.
    pub(super) fn pin(&self, place: Place, offset: Offset) {
        self.logs[place.scan].pin(&self.pin_name(place.scan), place.partition, offset);
    }

    fn pin_name(&self, scan: usize) -> String {
        if scan == 0 { self.name.clone() } else { format!("{}#{scan}", self.name) }
    }

    /// Keeps nothing any more.
    pub(super) fn unpin(&self) {
        self.logs.iter().enumerate().for_each(|(scan, log)| log.unpin(&self.pin_name(scan)));
    }

    /// What of it keeps state; an archive keeps none but its place.
    pub(super) fn layout(&self) -> Option<StateLayout> {
        match &self.kind {
            JobKind::Query { plan, .. } => Some(plan.layout()),
            JobKind::Archive { .. } => None,
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
    /// Least watermark of its partitions, of all scans, in microseconds; `None` before the first record.
    pub watermark: Option<Micros>,
    /// Records of the log that it has not read yet.
    pub lag: u64,
    /// By how much the newest of them was received after the last one that it read, in microseconds; 0 if there are none, `None` if it
    /// has read none yet.
    pub lag_time: Option<Micros>,
    /// Records that it reads in a second, over the last ones.
    pub rate: f64,
    /// What its state takes of memory, as far as it runs.
    pub usage: Usage,
    /// How long the last checkpoint took, from its barrier to its commit.
    pub checkpoint_took: Option<Duration>,
    /// How often it failed and was started again, since the server was.
    pub restarts: u64,
    /// When it is started again, in microseconds since the Unix epoch, while it waits for that.
    pub next_attempt: Option<Micros>,
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
    /// The last checkpoint is wanted even if nothing has happened since the one before.
    pub(super) savepoint: AtomicBool,
    /// What is measured.
    pub(super) gauges: Gauges,
    /// What the state of all jobs may take.
    pub(super) budget: Arc<Budget>,
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
    pub(super) fn new(partitions: usize, budget: Arc<Budget>) -> Self {
        let partitions = vec![(0, Micros::MIN, JobCounters::default()); partitions];
        Self {
            epoch_asked: AtomicU64::new(0),
            input_watermark: AtomicI64::new(Micros::MIN),
            stop: AtomicBool::new(false),
            checkpoint: AtomicBool::new(false),
            exit: AtomicBool::new(false),
            savepoint: AtomicBool::new(false),
            gauges: Gauges::new(partitions.len()),
            budget,
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

    /// `place` is an index into `JobSpec::places`.
    pub(super) fn progress(&self, place: usize, position: Offset, watermark: Micros, counters: JobCounters) {
        if let Some(slot) = self.lock().partitions.get_mut(place) {
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

    /// Tells it apart from all others of the process, those included that nobody named.
    pub(super) fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Records that all partitions have read.
    pub(super) fn consumed(&self) -> u64 {
        self.lock().partitions.iter().map(|(_, _, counters)| counters.consumed).sum()
    }

    /// Results as they come; a slow reader loses the oldest.
    pub(super) fn live(&self) -> broadcast::Receiver<RecordBatch> {
        self.live.subscribe()
    }

    /// Whether somebody reads the results.
    pub(super) fn is_watched(&self) -> bool {
        self.live.receiver_count() > 0
    }

    pub(super) fn show(&self, rows: RecordBatch) {
        // No reader is no error.
        let _ = self.live.send(rows);
    }

    pub(super) fn ask_stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    pub(super) fn status(&self, spec: &JobSpec) -> JobStatus {
        let inner = self.lock();
        let mut counters = inner.merged.clone();
        let (mut lag, mut lag_time) = (0, Some(0));
        for (index, (place, (position, _, part))) in spec.places().into_iter().zip(&inner.partitions).enumerate() {
            counters.add(part);
            let log = &spec.logs[place.scan];
            let behind = log.bounds(place.partition).end.saturating_sub(*position);
            lag += behind;
            if behind > 0 {
                let newest = log.received_last(place.partition).zip(self.gauges.received(index));
                lag_time = lag_time.zip(newest).map(|(most, (newest, read))| most.max(newest.saturating_sub(read)));
            }
        }
        let shown = self.gauges.show();
        let watermark = inner.partitions.iter().map(|p| p.1).filter(|&w| w > Micros::MIN).min();
        JobStatus {
            name: spec.name.clone(),
            sql: spec.sql.clone(),
            life: inner.life.clone(),
            epoch: inner.epoch,
            checkpoint_at: inner.checkpoint_at,
            watermark,
            lag,
            lag_time,
            rate: shown.rate,
            usage: shown.usage,
            checkpoint_took: shown.checkpoint_took,
            restarts: shown.restarts,
            next_attempt: shown.next_attempt,
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
