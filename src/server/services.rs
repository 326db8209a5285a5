//! What the server needs from the rest, as traits. Invariant: the server knows no implementor; it hands over principals that the
//! guard has checked and devices that have proved who they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::Serialize;
use serde_json::Value;
use thalweg_devices::{Devices, Principal};
use thalweg_engine::batch::ProducerSequence;
use thalweg_engine::error::Result;
use thalweg_engine::ids::{DeviceId, Epoch, Name};
use thalweg_engine::metrics::{GatewayCounters, GatewayDifference, JobCounters};
use thalweg_engine::time::Micros;
use tokio_util::sync::CancellationToken;

/// Everything the handlers use.
pub struct ServerState {
    /// Devices, and the tokens of those who manage them.
    pub devices: Arc<Devices>,
    /// Takes telemetry.
    pub ingest: Arc<dyn Ingest>,
    /// Runs SQL.
    pub sql: Arc<dyn SqlService>,
    /// Knows the jobs.
    pub jobs: Arc<dyn JobService>,
    /// Tells about the system as a whole.
    pub system: Arc<dyn SystemView>,
    /// Counts logins and records. The server counts refused logins and requests that it refuses itself, as one record each;
    /// `Ingest` counts every record that it is given.
    pub gateway: Arc<GatewayCounters>,
    /// Ends live results when the server stops.
    pub shutdown: CancellationToken,
}

/// What one authenticated device sent in one request.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// The device.
    pub device: DeviceId,
    /// The stream that it addressed.
    pub stream: Name,
    /// What the body is, as the request says.
    pub media_type: Option<String>,
    /// Number of the first record, if the device numbers them; the others follow on.
    pub producer: Option<ProducerSequence>,
    /// One record or several.
    pub body: Bytes,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// Records that are durable now.
    pub accepted: u64,
    /// How many of them had come before, by their sequence, and were not stored again.
    pub duplicates: u64,
}

/// Takes telemetry into the log.
#[async_trait]
pub trait Ingest: Send + Sync + 'static {
    /// Splits the body into records and completes when every one is durable. Errors: `Invalid` if the body cannot be split or is
    /// too large (then nothing is stored); `Unavailable` if the log takes no more now; `NotFound` if there is no such stream.
    async fn ingest(&self, telemetry: Telemetry) -> Result<Accepted>;
}

/// Whether rows end by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsEnd {
    /// The result of a query: they end.
    Finite,
    /// The live output of a job: they go on until the reader goes away.
    Live,
}

/// Rows on their way to the client. Dropping them ends the query.
pub struct Rows {
    /// Columns.
    pub schema: SchemaRef,
    /// The rows.
    pub stream: BoxStream<'static, Result<RecordBatch>>,
    /// Whether they end.
    pub end: RowsEnd,
}

/// What a statement gave.
pub enum SqlOutcome {
    /// A sentence: the statement made or changed something.
    Message(String),
    /// Rows.
    Rows(Rows),
}

/// Runs SQL.
#[async_trait]
pub trait SqlService: Send + Sync + 'static {
    /// Runs the statements of a script with the rights of `principal`, who is an analyst at least; settings are those that hold for the
    /// first of them, keys to values.
    async fn execute_with(&self, principal: &Principal, sql: &str, settings: &BTreeMap<String, String>) -> Result<SqlOutcome>;

    /// The same, with every setting as it is by default.
    async fn execute(&self, principal: &Principal, sql: &str) -> Result<SqlOutcome> {
        self.execute_with(principal, sql, &BTreeMap::new()).await
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Being set up or recovered.
    Starting,
    /// Working.
    Running,
    /// Failed for a passing reason; is started again from its newest checkpoint.
    Restarting,
    /// Stopped on request; can be started again.
    Stopped,
    /// Stopped by an error.
    Failed,
}

/// What may be told about a job.
#[derive(Debug, Clone, Serialize)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: JobState,
    /// The statement that made it.
    pub sql: String,
    /// Its rows so far.
    pub counters: JobCounters,
    /// Its rows at the newest checkpoint, where they balance exactly.
    pub committed: JobCounters,
    /// Records of the log that it has not read yet.
    pub lag: u64,
    /// By how many seconds the newest of them was received after the last one that it read; 0 if there are none.
    pub lag_s: Option<u64>,
    /// Records that it reads in a second.
    pub rate: f64,
    /// Memory that its state takes, in bytes, as far as it runs.
    pub state_bytes: u64,
    /// Groups, sessions and rows that its state is made of.
    pub state_groups: u64,
    /// Event time up to which its windows are closed, in microseconds since the Unix epoch.
    pub watermark: Option<Micros>,
    /// Its newest checkpoint; 0 if there is none.
    pub epoch: Epoch,
    /// When that was taken, in microseconds since the Unix epoch.
    pub checkpoint_at: Option<Micros>,
    /// How long that took, in milliseconds.
    pub checkpoint_ms: Option<u64>,
    /// How often it failed and was started again, since the server was.
    pub restarts: u64,
    /// When it is started again, in microseconds since the Unix epoch, while it waits for that.
    pub next_attempt: Option<Micros>,
    /// What stopped it.
    pub error: Option<String>,
}

/// Knows the jobs.
#[async_trait]
pub trait JobService: Send + Sync + 'static {
    /// All jobs, by name.
    async fn list(&self) -> Result<Vec<JobView>>;
    /// One job. Errors: `NotFound`.
    async fn get(&self, name: &str) -> Result<JobView>;
    /// Stops a job after a last checkpoint, and waits until it has stopped. Errors: `NotFound`.
    async fn stop(&self, name: &str) -> Result<JobView>;
}

/// How well the system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nothing wants attention.
    Ok,
    /// There is a problem; `/v1/status` names it.
    Degraded,
}

/// What the log has met since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogFigures {
    /// Bytes of torn tails that were cut off at the start.
    pub torn_bytes: u64,
    /// Bytes of sealed segments that were read again to find damage.
    pub scrubbed_bytes: u64,
    /// Segments read again, each as often as it was.
    pub scrubbed_segments: u64,
    /// Segments that are damaged, as far as they were read again.
    pub damaged_segments: u64,
    /// Records that retention removed although a job or savepoint needed them.
    pub dropped_unread: u64,
    /// Seconds by which the newest receive time is ahead of the clock.
    pub received_ahead_s: u64,
}

/// Tells about the system as a whole.
#[async_trait]
pub trait SystemView: Send + Sync + 'static {
    /// What wants an operator's attention, a sentence each: streams that take nothing, jobs that failed, tables that are damaged,
    /// reference data that cannot be read. Empty means healthy.
    fn problems(&self) -> Vec<String>;
    /// By how many records the counts of the gateway cannot be as they are.
    fn gateway_difference(&self) -> GatewayDifference;
    /// What the log has met.
    fn log_figures(&self) -> LogFigures;
    /// Figures for operators, as a JSON object.
    async fn status(&self) -> Result<Value>;
    /// The data catalog, as JSON.
    async fn catalog(&self) -> Result<Value>;
}
