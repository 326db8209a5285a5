//! How a job is doing, as it is told. Invariant: what nobody knows is told as unknown.

use std::time::Duration;

use serde::Serialize;

use crate::contract::Usage;
use crate::error::{Error, ErrorKind};
use crate::ids::Epoch;
use crate::metrics::JobCounters;
use crate::time::Micros;

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

/// Whether another try may succeed.
pub(super) fn is_transient(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Internal)
}
