//! What a job is and how it is doing. Invariant: a `JobSpec` can be run any number of times: everything that changes is in its
//! checkpoints, its sinks and `Shared`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use crossbeam::channel::{Receiver, Sender, bounded};
use std::sync::Mutex;
use tokio::sync::broadcast;

use super::budget::Budget;
use super::gauges::Gauges;
use super::scan::Company;
pub use super::status::{JobState, JobStatus};
use crate::contract::{LogStore, Sink};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset, Partition};
use crate::limits::{GATHER_MS_MAX, LIVE_BATCHES_MAX};
use crate::locks::lock;
use crate::metrics::JobCounters;
use crate::plan::{JobPlan, OutputPlan, Scan, StartAt, StateLayout};
use crate::reference::{ReferenceTable, Version};
use crate::state::{Checkpoint, ReferencePin};
use crate::time::Micros;

/// Fingerprints of archives begin so; the stream follows.
pub(super) const ARCHIVE: &str = "archive:";

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

    /// An archive writes every record: jobs that share its stream do not wait for it.
    pub(super) fn company(&self) -> Company {
        match &self.kind {
            JobKind::Query { .. } => Company::Awaited,
            JobKind::Archive { .. } => Company::Background,
        }
    }

    /// For how long records gather before it reads again. Nobody waits for what an archive writes before its checkpoint, and many
    /// records at a time cost it far less than a few.
    pub(super) fn rest(&self) -> Duration {
        match &self.kind {
            JobKind::Query { .. } => Duration::ZERO,
            JobKind::Archive { .. } => Duration::from_millis(GATHER_MS_MAX),
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

    /// The newest version of each reference table that it looks things up in.
    pub(super) fn reference_pins(&self) -> Vec<ReferencePin> {
        let JobKind::Query { references, .. } = &self.kind else { return Vec::new() };
        let pin = |table: &Arc<ReferenceTable>| {
            let versions = table.versions();
            let newest = versions.last()?;
            let (sha256, valid_from) = (newest.content.sha256.clone(), newest.valid_from);
            Some(ReferencePin { table: table.name().to_string(), sha256, valid_from })
        };
        references.iter().filter_map(pin).collect()
    }

    /// Errors: `Corrupt` if reference data is gone that rows before the checkpoint have met: those after it would meet other data. A version
    /// that was dropped for newer ones is no error: rows of its time are rejected.
    pub(super) fn check_references(&self, checkpoint: &Checkpoint) -> Result<()> {
        let JobKind::Query { references, .. } = &self.kind else { return Ok(()) };
        for pin in &checkpoint.references {
            let table = references.iter().find(|table| table.name().as_str() == pin.table);
            let is_it = |version: &Version| version.content.sha256 == pin.sha256 && version.valid_from == pin.valid_from;
            let was_dropped = |oldest: &Version| oldest.valid_from > Micros::MIN && pin.valid_from < oldest.valid_from;
            let is_gone = |versions: &[Version]| !versions.iter().any(is_it) && !versions.first().is_some_and(was_dropped);
            if table.is_some_and(|table| is_gone(&table.versions())) {
                return Err(Error::corrupt(format!(
                    "checkpoint {} of job {} was computed with version {} of reference table {}, which is not there",
                    checkpoint.epoch, self.name, pin.sha256, pin.table
                ))
                .hint(format!("restore references/{} from a backup, or start a new job", pin.table)));
            }
        }
        Ok(())
    }

    /// State of another fingerprint does not fit this job.
    pub fn fingerprint(&self) -> String {
        match &self.kind {
            JobKind::Query { plan, .. } => plan.fingerprint(),
            JobKind::Archive { scan } => format!("{ARCHIVE}{}", scan.stream),
        }
    }
}

impl fmt::Debug for JobSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {}", self.name)
    }
}

/// What worker threads, the driver and those who watch share.
#[derive(Debug)]
pub(super) struct Shared {
    /// The barrier that workers should place.
    pub(super) epoch_asked: AtomicU64,
    /// Watermark that each partition is carried along to when it is idle.
    pub(super) input_watermarks: Vec<AtomicI64>,
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
    pub(super) fn new(partitions: usize, budget: Arc<Budget>) -> Self {
        let partitions = vec![(0, Micros::MIN, JobCounters::default()); partitions];
        Self {
            epoch_asked: AtomicU64::new(0),
            input_watermarks: partitions.iter().map(|_| AtomicI64::new(Micros::MIN)).collect(),
            stop: AtomicBool::new(false),
            checkpoint: AtomicBool::new(false),
            exit: AtomicBool::new(false),
            savepoint: AtomicBool::new(false),
            gauges: Gauges::new(partitions.len()),
            budget,
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
        lock(&self.inner)
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
