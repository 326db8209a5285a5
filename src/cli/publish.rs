//! `thalweg publish`: a load generator. Invariant: what it reports as acknowledged was acknowledged by the server, after durability.

mod raw;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use rand::Rng;
use thalweg_connectors::simulator::{self, Mix, Progress, Rate, Report, Simulation, Target};
use thalweg_engine::contract::connector::parse_duration;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::{Name, Offset, Partition};
use thalweg_engine::log::inspect;
use thalweg_engine::system::{RealDisk, SystemClock};
use tokio_util::sync::CancellationToken;

use super::{Server, fleet, output};
use crate::data_dir::Layout;

const MIB: f64 = 1024.0 * 1024.0;
/// What is written at most to see how fast the disk is.
const RAW_BYTES_MAX: u64 = 1 << 30;

/// Publish simulated telemetry, and measure.
#[derive(Debug, Args)]
pub struct Publish {
    #[command(flatten)]
    server: Server,
    /// How many devices
    #[arg(long, default_value_t = 10)]
    devices: usize,
    /// Records a second of all devices together; 0 sends as fast as the server acknowledges
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// How long, such as 10s or 5min
    #[arg(long, default_value = "10s")]
    duration: String,
    /// Protocol
    #[arg(long, value_enum, default_value_t = Protocol::Mqtt)]
    protocol: Protocol,
    /// Address of the MQTT gateway
    #[arg(long, default_value = "127.0.0.1:1883")]
    mqtt: String,
    /// Address of the AMQP gateway
    #[arg(long, default_value = "127.0.0.1:5672")]
    amqp: String,
    /// Stream to publish to
    #[arg(long, default_value = "telemetry")]
    stream: String,
    /// Records of one device that may wait for their acknowledgement
    #[arg(long, default_value_t = 64)]
    window: usize,
    /// Share of rows that come late, from 0 to 1
    #[arg(long, default_value_t = 0.0)]
    late: f64,
    /// Share of payloads that cannot be decoded, from 0 to 1
    #[arg(long, default_value_t = 0.0)]
    broken: f64,
    /// Device ids are <prefix>-0001 and so on
    #[arg(long, default_value = "load")]
    prefix: String,
    /// File that keeps the devices' keys; devices that are not in it are registered and activated (needs an admin's token)
    #[arg(long, default_value = "device-keys.json")]
    keys: PathBuf,
    /// Write each acknowledged record to this file, as a line `device seq`
    #[arg(long)]
    journal: Option<PathBuf>,
    /// Data directory of the server, if it is on this machine: shows beside the figures what its disk can do without a log, measured right
    /// after them, with up to 1 GiB of what the log has grown by
    #[arg(long, value_name = "DIR")]
    raw: Option<PathBuf>,
    /// Same seed, same values
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// MQTT 5, QoS 1
    Mqtt,
    /// MQTT 3.1.1, QoS 1
    Mqtt3,
    /// AMQP 1.0, unsettled
    Amqp,
    /// HTTP, lines of JSON
    Http,
}

impl Publish {
    /// Publishes until the duration is over or Ctrl-C.
    pub async fn run(self) -> Result<ExitCode> {
        let client = self.server.client()?;
        let bar = output::progress(self.devices as u64, "devices");
        let devices = fleet::provision(&client, &self.keys, &fleet::ids(&self.prefix, self.devices)?, &bar).await?;
        bar.finish_and_clear();
        let target = match self.protocol {
            Protocol::Mqtt => Target::Mqtt5(self.mqtt.clone()),
            Protocol::Mqtt3 => Target::Mqtt3(self.mqtt.clone()),
            Protocol::Amqp => Target::Amqp(self.amqp.clone()),
            Protocol::Http => Target::Http(self.server.server.clone()),
        };
        let stream = Name::new(&self.stream)?;
        let duration = parse_duration(&self.duration).map_err(|e| e.context("--duration"))?;
        let simulation = Simulation {
            rate: if self.rate > 0.0 { Rate::Total(self.rate) } else { Rate::Unlimited },
            duration: Some(duration),
            window: self.window,
            seed: self.seed,
            epoch: rand::rng().random(),
            mix: Mix { late: self.late, broken: self.broken, ..Mix::default() },
            journal: self.journal.clone(),
            ..Simulation::new(target, devices, stream.clone())
        };
        let before = self.raw.as_deref().map(|data| ends(data, &stream)).transpose()?;
        let (progress, cancel) = (Arc::new(Progress::default()), CancellationToken::new());
        let run = simulator::run(simulation, Arc::new(SystemClock::new()), progress.clone(), cancel.clone());
        let spinner = output::spinner("publishing");
        tokio::pin!(run);
        let report = loop {
            tokio::select! {
                report = &mut run => break report?,
                _ = tokio::signal::ctrl_c() => cancel.cancel(),
                () = tokio::time::sleep(Duration::from_millis(250)) => {
                    spinner.set_message(format!("{} sent, {} acknowledged", progress.sent.get(), progress.acknowledged.get()));
                }
            }
        };
        spinner.finish_and_clear();
        show(&report);
        if let (Some(data), Some(before)) = (&self.raw, before) {
            let raw = || show_raw(data, grown(data, &stream, &before)?, &report);
            tokio::task::block_in_place(raw).map_err(|e| e.context("--raw"))?;
        }
        match report.devices.iter().find_map(|d| d.refused.as_ref().map(|why| (d, why))) {
            Some((device, why)) => {
                let hint = "its key in the key file may be an old one: take it out of the file, or use another --prefix";
                Err(Error::invalid(format!("device {} was refused: {}", device.device, why.message))
                    .hint(why.hint.clone().unwrap_or_else(|| format!("{hint} ({})", self.keys.display()))))
            }
            None if report.acknowledged == 0 => Err(Error::unavailable("nothing was acknowledged").hint("is the server running?")),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}

fn show(report: &Report) {
    let seconds = report.duration.as_secs_f64().max(1e-9);
    println!("sent          {}", report.sent);
    println!("acknowledged  {} ({:.0} a second)", report.acknowledged, report.acknowledged as f64 / seconds);
    println!("refused       {}", report.errors);
    println!("disconnects   {}", report.disconnects);
    let at = |q: f64| report.latency_micros.value_at_quantile(q) as f64 / 1_000.0;
    println!("latency (ms)  p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}", at(0.5), at(0.9), at(0.99), at(0.999), at(1.0));
}

/// Where each partition of a stream ends, in the log of a data directory.
fn ends(data: &Path, stream: &Name) -> Result<BTreeMap<Partition, Offset>> {
    let layout = Layout::of(data);
    layout.check_log(data).map_err(|e| e.hint("--raw takes the data directory of the server"))?;
    let log = layout.log;
    let mut ends = BTreeMap::new();
    for segment in inspect::segments(&RealDisk, &log)?.into_iter().filter(|s| s.stream == *stream) {
        let end = ends.entry(segment.partition).or_insert(0);
        *end = segment.offsets.end.max(*end);
    }
    Ok(ends)
}

/// Bytes of what came into a stream since it ended at `ends`.
fn grown(data: &Path, stream: &Name, ends: &BTreeMap<Partition, Offset>) -> Result<u64> {
    let (log, mut bytes) = (Layout::of(data).log, 0);
    for partition in 0..inspect::partitions(&RealDisk, &log, stream)? {
        let from = ends.get(&partition).copied().unwrap_or(0);
        inspect::records(&RealDisk, &log, (stream, partition), from, &mut |records| {
            bytes += records.bytes.len() as u64;
            ControlFlow::Continue(())
        })?;
    }
    Ok(bytes)
}

/// Measures the disk with a file beside the log, and shows it next to a load by which the log has grown by `bytes`.
fn show_raw(data: &Path, bytes: u64, report: &Report) -> Result<()> {
    let seconds = report.duration.as_secs_f64().max(1e-9);
    let rate = bytes as f64 / MIB / seconds;
    println!("log           {:.1} MiB ({rate:.1} MiB a second)", bytes as f64 / MIB);
    let file = data.join(format!("raw-{}.tmp", std::process::id()));
    let measured = measure(&file, bytes.min(RAW_BYTES_MAX));
    let _ = std::fs::remove_file(&file);
    let (limit, syncs) = measured?;
    if let Some(limit) = limit {
        println!(
            "raw disk      {limit:.1} MiB a second, written in order with a fdatasync each 4 MiB; the log took {:.2} of it",
            rate / limit
        );
    }
    let bare = |q: f64| syncs.value_at_quantile(q).max(1) as f64 / 1_000.0;
    let times = |q: f64| report.latency_micros.value_at_quantile(q) as f64 / 1_000.0 / bare(q);
    println!(
        "raw fdatasync p50 {:.2}  p99 {:.2} (ms, 4 KiB); the latency is {:.1} x and {:.1} x that",
        bare(0.5),
        bare(0.99),
        times(0.5),
        times(0.99)
    );
    Ok(())
}

/// MiB a second of `bytes` written in order, if there are any, and microseconds of a sync.
fn measure(file: &Path, bytes: u64) -> Result<(Option<f64>, Histogram<u64>)> {
    let limit = if bytes > 0 { Some(bytes as f64 / MIB / raw::write(file, bytes)?.max(1e-9)) } else { None };
    let mut syncs = Histogram::new_with_max(60_000_000, 3).map_err(|e| Error::internal(e.to_string()))?;
    // A file of its own: a disk that is told of freed space is slow while the large one shrinks.
    let zeros = file.with_extension("zeros");
    let synced = raw::zeros(&zeros, 2 << 20).and_then(|zeros| raw::sync(&zeros, &mut syncs));
    let _ = std::fs::remove_file(&zeros);
    synced?;
    Ok((limit, syncs))
}
