//! `thalweg publish`: a load generator. Invariant: what it reports as acknowledged was acknowledged by the server, after durability.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rand::Rng;
use thalweg_connectors::simulator::{self, Mix, Progress, Rate, Report, Simulation, Target};
use thalweg_engine::contract::connector::parse_duration;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::system::SystemClock;
use tokio_util::sync::CancellationToken;

use super::{Server, fleet, output};

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
        let duration = parse_duration(&self.duration).map_err(|e| e.context("--duration"))?;
        let simulation = Simulation {
            rate: if self.rate > 0.0 { Rate::Total(self.rate) } else { Rate::Unlimited },
            duration: Some(duration),
            window: self.window,
            seed: self.seed,
            epoch: rand::rng().random(),
            mix: Mix { late: self.late, broken: self.broken, ..Mix::default() },
            journal: self.journal.clone(),
            ..Simulation::new(target, devices, Name::new(&self.stream)?)
        };
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
