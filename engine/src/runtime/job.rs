//! What a job is and how it is doing. Invariant: a `JobSpec` can be run any number of times: everything that changes is in its
//! checkpoints, its sinks and `Shared`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use arrow::array::RecordBatch;
use crossbeam::channel::{Receiver, Sender, bounded};
use serde::Serialize;
use std::sync::Mutex;
use tokio::sync::broadcast;

use super::scan::Company;
use crate::contract::{LogStore, Sink};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset, Partition};
use crate::limits::LIVE_BATCHES_MAX;
use crate::metrics::JobCounters;
use crate::plan::{JobPlan, OutputPlan, Scan};
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
    /// Where it begins.
    pub start: StartAt,
}

impl JobSpec {
    /// What it reads.
    pub fn scans(&self) -> &[Scan] {
        match &self.kind {
            JobKind::Query { plan, .. } => &plan.scans,
            JobKind::Archive { scan } => std::slice::from_ref(scan),
        }
    }

    /// An archive writes every record: jobs that share its stream do not wait for it.
    pub(super) fn company(&self) -> Company {
        match &self.kind {
            JobKind::Query { .. } => Company::Awaited,
            JobKind::Archive { .. } => Company::Background,
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
        let log = &self.logs[place.scan];
        match place.scan {
            0 => log.pin(&self.name, place.partition, offset),
            scan => log.pin(&format!("{}#{scan}", self.name), place.partition, offset),
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
    /// Wakes the driver: its streams have something new, or something is asked for.
    bell: (Sender<()>, Receiver<()>),
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
    pub(super) fn new(partitions: usize) -> Self {
        let partitions = vec![(0, Micros::MIN, JobCounters::default()); partitions];
        Self {
            epoch_asked: AtomicU64::new(0),
            input_watermark: AtomicI64::new(Micros::MIN),
            stop: AtomicBool::new(false),
            checkpoint: AtomicBool::new(false),
            exit: AtomicBool::new(false),
            live: broadcast::Sender::new(LIVE_BATCHES_MAX),
            bell: bounded(1),
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
        self.ring();
    }

    pub(super) fn ask_checkpoint(&self) {
        self.checkpoint.store(true, Ordering::Release);
        self.ring();
    }

    fn ring(&self) {
        // It rings already if it is full.
        let _ = self.bell.0.try_send(());
    }

    /// What the driver hears.
    pub(super) fn bell(&self) -> &Receiver<()> {
        &self.bell.1
    }

    /// What others pull.
    pub(super) fn bell_rope(&self) -> &Sender<()> {
        &self.bell.0
    }

    pub(super) fn status(&self, spec: &JobSpec) -> JobStatus {
        let inner = self.lock();
        let mut counters = inner.merged.clone();
        let mut lag = 0;
        for (place, (position, _, part)) in spec.places().into_iter().zip(&inner.partitions) {
            counters.add(part);
            lag += spec.logs[place.scan].bounds(place.partition).end.saturating_sub(*position);
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
