//! `thalweg demo`: everything, from the first start to a lake, in one command. Invariant: nothing is simulated but the devices: they
//! register, activate and publish over the real API and the real gateway, and the figures at the end are read from log and lake.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::{SortColumn, lexsort_to_indices, take_record_batch};
use arrow::util::pretty::pretty_format_batches;
use clap::Args;
use rand::Rng;
use thalweg_connectors::simulator::{self, Mix, Progress, Rate, Report, Simulation, Target};
use thalweg_devices::Role;
use thalweg_engine::contract::connector::parse_duration;
use thalweg_engine::error::{Error, ErrorKind, Result};
use thalweg_engine::ids::{DeviceId, Name};
use thalweg_sql::{Session, Settings};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::balance::{Balance, Before};
use super::client::Client;
use super::{fleet, output, serve};
use crate::app::{App, Core};
use crate::config::Config;

const FLEET_SQL: &str = include_str!("../../examples/fleet.sql");
const JOB: &str = "site_10s";
const SITES: [&str; 5] = ["north", "south", "east", "west", "harbour"];
const MODELS: [&str; 3] = ["TX-100", "TX-200", "HV-7"];
const SETTLE: Duration = Duration::from_secs(60);

/// Run everything with simulated devices and show live results.
#[derive(Debug, Args)]
pub struct Demo {
    /// How long, such as 30s; without it until Ctrl-C
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<String>,
    /// How many devices
    #[arg(long, default_value_t = 200)]
    devices: usize,
    /// Records a second of all devices together
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// Data directory; a second run goes on where the first ended
    #[arg(long, env = "THALWEG_DATA", default_value = "thalweg-data")]
    data: PathBuf,
    /// Address of the HTTP API; the default takes 8080, or any free port
    #[arg(long)]
    http: Option<SocketAddr>,
    /// Address of the MQTT gateway; the default takes 1883, or any free port
    #[arg(long)]
    mqtt: Option<SocketAddr>,
    /// Address of the AMQP gateway; the default takes 5672, or any free port
    #[arg(long)]
    amqp: Option<SocketAddr>,
}

impl Demo {
    /// Runs the demonstration and prints a balance.
    pub async fn run(self) -> Result<ExitCode> {
        let duration = self.duration.as_deref().map(parse_duration).transpose().map_err(|e| e.context("--for"))?;
        let app = App::start(self.config()?).await?;
        println!("thalweg {} in {}: HTTP http://{}, MQTT {}", env!("CARGO_PKG_VERSION"), self.data.display(), app.http, app.mqtt);
        if let Some(token) = &app.admin_token {
            println!("admin token (shown once): {}", token.expose());
        }
        let core = app.core.clone();
        let client = Client::new(&format!("http://{}", app.http), Some(core.devices.mint_ephemeral(Role::Admin)?.expose().to_owned()))?;

        let ids = fleet::ids("dev", self.devices)?;
        let bar = output::progress(ids.len() as u64, "registering and activating devices");
        let logins = fleet::provision(&client, &core.config.data.join("demo-device-keys.json"), &ids, &bar).await?;
        bar.finish_and_clear();
        println!("{} devices are registered and active, each with its own key", logins.len());
        reference(&core.config.data, &ids)?;
        submit(&client).await?;

        let before = Before::read(&core)?;
        let (cancel, progress) = (CancellationToken::new(), Arc::new(Progress::default()));
        let simulation = Simulation {
            rate: Rate::Total(self.rate),
            duration,
            epoch: rand::rng().random(),
            seed: rand::rng().random(),
            mix: Mix { late: 0.002, broken: 0.001, ..Mix::default() },
            drain: SETTLE,
            ..Simulation::new(Target::Mqtt5(app.mqtt.to_string()), logins, Name::new("telemetry")?)
        };
        println!("publishing {} records a second over MQTT, QoS 1; results of examples/fleet.sql as windows close:", self.rate);
        let run = tokio::spawn(simulator::run(simulation, core.clock.clone(), progress.clone(), cancel.clone()));
        let shown = tokio::spawn(show(core.clone()));
        let report = wait(run, &cancel).await?;
        settle(&core).await?;
        shown.abort();
        app.stop().await?;
        let balance = Balance::read(&core, &before, report.acknowledged)?;
        summary(&core, &report, &balance);
        Ok(if balance.adds_up() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The settings; a default port that is taken is replaced by a free one.
    fn config(&self) -> Result<Config> {
        let mut config = Config { data: self.data.clone(), ..Config::load(None)? };
        let free = |address: SocketAddr| match std::net::TcpListener::bind(address) {
            Ok(_) => address,
            Err(_) => SocketAddr::new(address.ip(), 0),
        };
        config.http = self.http.unwrap_or_else(|| free(config.http));
        config.mqtt = self.mqtt.unwrap_or_else(|| free(config.mqtt));
        config.amqp = self.amqp.unwrap_or_else(|| free(config.amqp));
        Ok(config)
    }
}

/// Writes the reference data that the example joins with.
fn reference(data: &Path, devices: &[DeviceId]) -> Result<()> {
    let mut csv = String::from("device_id,site,model,threshold\n");
    for (i, device) in devices.iter().enumerate() {
        let threshold = 28.0 + (i % 7) as f64 * 0.5;
        csv.push_str(&format!("{device},{},{},{threshold}\n", SITES[i % SITES.len()], MODELS[i % MODELS.len()]));
    }
    let directory = data.join("reference");
    let path = directory.join("devices.csv");
    let unchanged = std::fs::read_to_string(&path).is_ok_and(|now| now == csv);
    if unchanged {
        return Ok(());
    }
    std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&path, csv)).map_err(|e| Error::from(e).context(path.display()))
}

/// Submits `examples/fleet.sql`; what an earlier run declared is there already.
async fn submit(client: &Client) -> Result<()> {
    for statement in Session::split(FLEET_SQL)? {
        match client.sql(&statement.in_place(), &Settings::default()).await {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Conflict => {}
            Err(e) => return Err(e.context("examples/fleet.sql")),
        }
    }
    println!("examples/fleet.sql is submitted: job {JOB} is running");
    Ok(())
}

/// Waits for the end of the simulation, or ends it at Ctrl-C.
async fn wait(run: tokio::task::JoinHandle<Result<Report>>, cancel: &CancellationToken) -> Result<Report> {
    tokio::pin!(run);
    let ended = loop {
        tokio::select! {
            ended = &mut run => break ended,
            result = serve::wait_for_end(), if !cancel.is_cancelled() => {
                result?;
                println!("stopping");
                cancel.cancel();
            }
        }
    };
    ended.map_err(|e| Error::internal(format!("the simulation failed: {e}")))?
}

/// Prints results as they come.
async fn show(core: Arc<Core>) -> Result<()> {
    let mut live = core.engine.supervisor().live(JOB)?;
    loop {
        match live.recv().await {
            Ok(rows) => print(&rows)?,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

fn print(rows: &RecordBatch) -> Result<()> {
    println!("{}", pretty_format_batches(&[sorted(rows)?])?);
    Ok(())
}

/// The rows by window and site.
fn sorted(rows: &RecordBatch) -> Result<RecordBatch> {
    let keys = ["window_start", "window_end", "site"].into_iter().filter_map(|name| rows.column_by_name(name));
    let keys: Vec<SortColumn> = keys.map(|values| SortColumn { values: values.clone(), options: None }).collect();
    Ok(take_record_batch(rows, &lexsort_to_indices(&keys, None)?)?)
}

/// Waits until every job has read all that was acknowledged.
async fn settle(core: &Core) -> Result<()> {
    let deadline = tokio::time::Instant::now() + SETTLE;
    while core.engine.supervisor().list().iter().any(|job| job.lag > 0) {
        if tokio::time::Instant::now() > deadline {
            return Err(Error::unavailable(format!("the jobs did not catch up within {} s", SETTLE.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn summary(core: &Core, report: &Report, b: &Balance) {
    let p99 = report.latency_micros.value_at_quantile(0.99) as f64 / 1_000.0;
    let p50 = report.latency_micros.value_at_quantile(0.5) as f64 / 1_000.0;
    println!("\nsummary                 this run       all runs");
    println!("acknowledged         {:>11}              (latency p50 {p50:.1} ms, p99 {p99:.1} ms, durable)", b.acknowledged);
    println!("in the log           {:>11}    {:>11}", b.logged, b.logged_total);
    println!("rows in cold         {:>11}    {:>11}   cold.telemetry", b.cold, b.cold_total);
    let c = &b.job;
    println!("windows emitted                     {:>11}   job {JOB}, {} rows in warm.{JOB}", c.windows, b.warm_total);
    println!("consumed by {JOB}               {:>11}", c.consumed);
    println!("  in emitted windows                {:>11}", c.emitted);
    println!("  in open windows                   {:>11}   they close when event time passes their end", c.open);
    println!("  late                              {:>11}   {JOB}$late", c.late);
    println!("  filtered (WHERE, no match)        {:>11}", c.filtered);
    println!("  rejected                          {:>11}   telemetry$dlq", c.rejected);
    println!("balance: {}", b.verdict());
    let data = core.config.data.display();
    let lake = core.lake.root().display();
    println!("\nthe lake is {lake}; read it with");
    println!(
        "  thalweg sql --data {data} \"SELECT site, SUM(n) AS n, MAX(max_temperature) AS hottest FROM warm.{JOB} GROUP BY site ORDER BY site\""
    );
    println!("  thalweg lake ls --data {data}");
    println!("  python -c \"from deltalake import DeltaTable; print(DeltaTable('{lake}/cold/telemetry').to_pyarrow_table().num_rows)\"");
    println!("  python -c \"import polars as pl; print(pl.scan_delta('{lake}/warm/{JOB}').collect())\"");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, StringViewArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn results_are_shown_by_window_and_site() {
        let start: ArrayRef = Arc::new(Int64Array::from(vec![20, 10, 10]));
        let site: ArrayRef = Arc::new(StringViewArray::from(vec!["east", "west", "north"]));
        let rows = RecordBatch::try_from_iter([("window_start", start), ("site", site)]).unwrap();
        let rows = sorted(&rows).unwrap();
        assert_eq!(rows["site"].as_string_view().iter().flatten().collect::<Vec<_>>(), ["north", "west", "east"]);
        assert_eq!(rows["window_start"].as_primitive::<Int64Type>().values()[..], [10, 10, 20]);
    }
}
