//! Devices that do not exist: a simulator for demos and a load generator. Invariant: it speaks to the gateway as a device
//! does, over a real connection with a real key, and counts only what the server acknowledged.
//!
//! ```text
//! Simulation ─► run ─► one task a device: readings ─► pace ─► MQTT, AMQP (window of QoS 1) or HTTP (batches of lines)
//!                 └──► Progress (live), journal (each acknowledged record), Report (at the end)
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use mqtt_protocol_core::mqtt::connection::Version;
use thalweg_engine::contract::Clock;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::{DeviceId, Name};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::load::{DeviceTally, HttpDevice, Journal, LinkedDevice, Pace, Protocol, Readings, Tally};

pub use crate::load::{Mix, Progress};

/// Where simulated devices send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An MQTT server at `host:port`, spoken to in 3.1.1.
    Mqtt3(String),
    /// An MQTT server at `host:port`, spoken to in 5: records carry their number, so a repetition is recognised.
    Mqtt5(String),
    /// An AMQP 1.0 server at `host:port`; records carry their number.
    Amqp(String),
    /// An HTTP server, such as `http://host:port`.
    Http(String),
}

/// How fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// Records a second of all devices together.
    Total(f64),
    /// Records a second of each device.
    PerDevice(f64),
    /// As fast as the server acknowledges.
    Unlimited,
}

/// A simulated device's id and key.
#[derive(Clone)]
pub struct DeviceLogin {
    /// Its id.
    pub device: DeviceId,
    /// Its key.
    pub key: String,
}

impl std::fmt::Debug for DeviceLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceLogin").field("device", &self.device).finish_non_exhaustive()
    }
}

/// A run to be done.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// Where to.
    pub target: Target,
    /// Who sends, at least one.
    pub devices: Vec<DeviceLogin>,
    /// Stream that the records go to.
    pub stream: Name,
    /// How fast.
    pub rate: Rate,
    /// How long; none means until it is cancelled or `records` were sent.
    pub duration: Option<Duration>,
    /// Records of each device; none means no end.
    pub records: Option<u64>,
    /// MQTT, AMQP: records of one device that may wait for their acknowledgement.
    pub window: usize,
    /// HTTP: most records in one request.
    pub batch: usize,
    /// How long the last acknowledgements are waited for.
    pub drain: Duration,
    /// Same seed, same values.
    pub seed: u64,
    /// Producer epoch of this run: must differ from the last run of the same devices, or its records count as repetitions.
    pub epoch: u32,
    /// Shares of unusual rows.
    pub mix: Mix,
    /// File to which each acknowledged record is written as a line `device seq`.
    pub journal: Option<PathBuf>,
}

impl Simulation {
    /// A run without end at one record a second and device.
    pub fn new(target: Target, devices: Vec<DeviceLogin>, stream: Name) -> Self {
        Self {
            target,
            devices,
            stream,
            rate: Rate::PerDevice(1.0),
            duration: None,
            records: None,
            window: 64,
            batch: 500,
            drain: Duration::from_secs(5),
            seed: 1,
            epoch: 1,
            mix: Mix::default(),
            journal: None,
        }
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::invalid(format!("simulation: {what}")));
        let rate_is_wrong = |r: f64| !(r.is_finite() && r > 0.0 && r <= 1e9);
        match self.rate {
            _ if self.devices.is_empty() => wrong("there is no device"),
            Rate::Total(r) | Rate::PerDevice(r) if rate_is_wrong(r) => wrong("the rate must be above 0"),
            _ if self.window == 0 || self.batch == 0 => wrong("window and batch must be at least 1"),
            _ if [self.mix.faults, self.mix.late, self.mix.broken].iter().any(|s| !(0.0..=1.0).contains(s)) => {
                wrong("shares lie between 0 and 1")
            }
            _ => Ok(()),
        }
    }

    fn interval(&self) -> Option<Duration> {
        match self.rate {
            Rate::Total(rate) => Some(Duration::from_secs_f64(self.devices.len() as f64 / rate)),
            Rate::PerDevice(rate) => Some(Duration::from_secs_f64(1.0 / rate)),
            Rate::Unlimited => None,
        }
    }
}

/// What one device did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceOutcome {
    /// Its id.
    pub device: String,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Every record from 1 to this one was acknowledged.
    pub contiguous: u64,
    /// Records sent but not answered when the run ended.
    pub unanswered: usize,
    /// Why the server did not let it in, if so.
    pub refused: Option<Refused>,
}

/// The server's words to a device that it does not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub message: String,
    /// What to do, if the protocol has room for it.
    pub hint: Option<String>,
}

impl DeviceOutcome {
    pub(crate) fn new(device: &str, tally: &DeviceTally, unanswered: usize, refused: Option<Refused>) -> Self {
        let (contiguous, acknowledged) = tally.result();
        Self { device: device.to_owned(), acknowledged, contiguous, unanswered, refused }
    }
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct Report {
    /// Records sent, repetitions not counted.
    pub sent: u64,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records refused for good.
    pub errors: u64,
    /// Connections or requests that failed.
    pub disconnects: u64,
    /// From first sending to acknowledgement, in microseconds.
    pub latency_micros: Histogram<u64>,
    /// From start to the last acknowledgement.
    pub duration: Duration,
    /// Each device, in the order given.
    pub devices: Vec<DeviceOutcome>,
}

/// What the tasks of one run share.
pub(crate) struct Run {
    pub(crate) simulation: Simulation,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tally: Tally,
    /// No new records.
    pub(crate) stop: CancellationToken,
    start: Instant,
}

impl Run {
    pub(crate) fn readings(&self, index: usize) -> Readings {
        let s = &self.simulation;
        Readings::new(s.devices[index].device.clone(), s.mix, s.seed, index as u64)
    }

    /// Devices begin spread over one interval, so that they do not all send at the same moment.
    pub(crate) fn pace(&self, index: usize) -> Pace {
        let interval = self.simulation.interval();
        let share = index as f64 / self.simulation.devices.len() as f64;
        let start = interval.map_or(self.start, |i| self.start + i.mul_f64(share));
        Pace::new(start, interval, self.simulation.records)
    }
}

/// Runs a simulation until its end or `cancel`. `progress` can be read meanwhile. Errors: `Invalid` settings, or the journal
/// cannot be written; devices that are refused or cut off are in the report.
pub async fn run(simulation: Simulation, clock: Arc<dyn Clock>, progress: Arc<Progress>, cancel: CancellationToken) -> Result<Report> {
    simulation.check()?;
    let (journal_done, mut journal_task) = (CancellationToken::new(), None);
    let journal = match &simulation.journal {
        Some(path) => {
            let (journal, file, done) = (Arc::new(Journal::default()), Journal::create(path).await?, journal_done.clone());
            let writer = journal.clone();
            journal_task = Some(tokio::spawn(async move { writer.write(file, done).await }));
            Some(journal)
        }
        None => None,
    };
    let tally = Tally::new(progress, journal)?;
    let run = Arc::new(Run { simulation, clock, tally, stop: cancel.child_token(), start: Instant::now() });
    let mut tasks = start_devices(&run)?;
    let timer = stop_after(run.clone());
    let mut devices = Vec::with_capacity(tasks.len());
    tokio::select! {
        () = collect(&mut tasks, &mut devices) => {}
        () = timer => collect(&mut tasks, &mut devices).await,
    }
    let duration = run.start.elapsed();
    journal_done.cancel();
    if let Some(task) = journal_task {
        task.await.map_err(|e| Error::internal(format!("journal: {e}")))??;
    }
    devices.sort_by_key(|(index, _)| *index);
    let progress = &run.tally.progress;
    Ok(Report {
        sent: progress.sent.get(),
        acknowledged: progress.acknowledged.get(),
        errors: progress.errors.get(),
        disconnects: progress.disconnects.get(),
        latency_micros: run.tally.latency(),
        duration,
        devices: devices.into_iter().map(|(_, outcome)| outcome).collect(),
    })
}

fn start_devices(run: &Arc<Run>) -> Result<JoinSet<(usize, DeviceOutcome)>> {
    let mut tasks = JoinSet::new();
    let client = reqwest::Client::builder().build().map_err(|e| Error::internal(format!("HTTP client: {e}")))?;
    for index in 0..run.simulation.devices.len() {
        let run = run.clone();
        match run.simulation.target.clone() {
            Target::Mqtt3(address) => drop(tasks.spawn(linked(run, index, address, Protocol::Mqtt(Version::V3_1_1)))),
            Target::Mqtt5(address) => drop(tasks.spawn(linked(run, index, address, Protocol::Mqtt(Version::V5_0)))),
            Target::Amqp(address) => drop(tasks.spawn(linked(run, index, address, Protocol::Amqp))),
            Target::Http(url) => {
                let client = client.clone();
                tasks.spawn(async move { (index, HttpDevice::new(run, index, &url, client).run().await) });
            }
        }
    }
    Ok(tasks)
}

async fn linked(run: Arc<Run>, index: usize, address: String, protocol: Protocol) -> (usize, DeviceOutcome) {
    (index, LinkedDevice::new(run, index, &address, protocol).run().await)
}

/// Ends the sending after the run's duration; never returns before.
async fn stop_after(run: Arc<Run>) {
    match run.simulation.duration {
        Some(duration) => {
            tokio::time::sleep_until(run.start + duration).await;
            run.stop.cancel();
        }
        None => std::future::pending().await,
    }
}

async fn collect(tasks: &mut JoinSet<(usize, DeviceOutcome)>, devices: &mut Vec<(usize, DeviceOutcome)>) {
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(outcome) => devices.push(outcome),
            Err(e) => tracing::error!(error = %e, "a simulated device ended abnormally"),
        }
    }
}

#[cfg(test)]
mod tests;
