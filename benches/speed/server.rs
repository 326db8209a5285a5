//! A server under load: how late results are, and what many jobs cost. Invariant: server and devices are processes of their own, and
//! only what a client of the HTTP API sees counts.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use thalweg::app::Core;
use thalweg::config::Config;
use thalweg_connectors::simulator::{self, DeviceLogin, Progress, Rate, Report, Simulation, Target};
use thalweg_devices::{ActivationKey, Actor, Registration};
use thalweg_engine::contract::Clock;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::{DeviceId, Name};
use thalweg_engine::system::SystemClock;
use thalweg_engine::time;
use tokio_util::sync::CancellationToken;

use crate::queries::telemetry;

const DEVICES: usize = 100;
const LATENCY_RATE: f64 = 50_000.0;
const JOBS_RATE: f64 = 20_000.0;
/// Readings before this are not looked at: connections are made, buffers grow.
const WARM_UP: Duration = Duration::from_secs(5);
/// How far behind the watermark is, in microseconds.
const DELAY: i64 = 2_000_000;
/// Longest latency that is told from a longer one, in microseconds.
const LATENCY_US_MAX: u64 = 600_000_000;
/// One reading in so many of a device is looked at.
const SAMPLE: u64 = 50;
/// Clock ticks a second in `/proc`: a constant of Linux on the machines that this runs on.
const TICKS: f64 = 100.0;

/// A server with devices; it ends with this value.
struct Server {
    child: Child,
    http: String,
    mqtt: String,
    token: String,
    devices: Vec<DeviceLogin>,
    client: reqwest::Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prints quantiles, in milliseconds, from a device's sending to the row at a client: of single rows, and of closed windows beyond
/// their own wait.
pub fn latency(dir: &Path, seconds: u64) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let server = Server::start(dir).await?;
        server.sql(&telemetry("'format' = 'json'")).await?;
        let duration = WARM_UP + Duration::from_secs(seconds);
        let rows = tokio::spawn(server.watch(format!("SELECT ts FROM telemetry WHERE seq % {SAMPLE} = 0"), "ts", 0, duration));
        let windows = "SELECT window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '0.1' SECOND))
                       GROUP BY window_start, window_end";
        let windows = tokio::spawn(server.watch(windows.to_owned(), "window_end", DELAY, duration));
        let report = server.publish(LATENCY_RATE, duration).await?;
        let gone = |e: tokio::task::JoinError| Error::internal(e.to_string());
        let (rows, windows) = (rows.await.map_err(gone)??, windows.await.map_err(gone)??);
        let at = |h: &Histogram<u64>, q| h.value_at_quantile(q) as f64 / 1_000.0;
        println!(
            "rate={:.0} rows={} row_p50={:.1} row_p99={:.1} windows={} window_p50={:.1} window_p99={:.1} ack_p99={:.1}",
            report.acknowledged as f64 / report.duration.as_secs_f64(),
            rows.len(),
            at(&rows, 0.5),
            at(&rows, 0.99),
            windows.len(),
            at(&windows, 0.5),
            at(&windows, 0.99),
            at(&report.latency_micros, 0.99),
        );
        Ok(())
    })
}

/// Prints how many cores the server used, and by how many records the slowest job lagged at the end.
pub fn jobs(dir: &Path, count: u64, seconds: u64) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let server = Server::start(dir).await?;
        server.sql(&telemetry("'format' = 'json'")).await?;
        for i in 0..count {
            let table = "window_end TIMESTAMP(3), n BIGINT, mean DOUBLE";
            let device = &server.devices[i as usize % DEVICES].device;
            server
                .sql(&format!(
                    "CREATE TABLE small_{i} ({table}) WITH ('connector' = 'lake', 'owner' = 'bench', 'description' = 'bench');
                     INSERT INTO small_{i} SELECT window_end, COUNT(*), AVG(temperature)
                     FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND))
                     WHERE device_id = '{device}' GROUP BY window_start, window_end"
                ))
                .await?;
        }
        let measured = Duration::from_secs(seconds);
        let load = server.publish(JOBS_RATE, WARM_UP + measured + Duration::from_secs(1));
        let watch = async {
            tokio::time::sleep(WARM_UP).await;
            let (before, began) = (server.cpu_seconds()?, Instant::now());
            tokio::time::sleep(measured).await;
            let cores = (server.cpu_seconds()? - before) / began.elapsed().as_secs_f64();
            Ok::<_, Error>((cores, server.lag().await?))
        };
        let (report, watched) = tokio::join!(load, watch);
        let ((cores, lag), report) = (watched?, report?);
        println!("rate={:.0} cores={cores:.2} lag={lag}", report.acknowledged as f64 / report.duration.as_secs_f64());
        Ok(())
    })
}

impl Server {
    async fn start(dir: &Path) -> Result<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(dir)?;
        }
        let (devices, token) = provision(dir)?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_thalweg"))
            .args(["serve", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--data"])
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().ok_or_else(|| Error::internal("the server has no output"))?;
        let client = reqwest::Client::builder().no_proxy().build().map_err(|e| Error::internal(e.to_string()))?;
        let mut server = Self { child, http: String::new(), mqtt: String::new(), token, devices, client };
        let mut lines = BufReader::new(out).lines();
        while server.http.is_empty() || server.mqtt.is_empty() {
            let line = lines.next().ok_or_else(|| Error::unavailable("the server ended before it listened"))??;
            if let Some(address) = line.strip_prefix("HTTP API: ") {
                address.trim().clone_into(&mut server.http);
            } else if let Some(address) = line.strip_prefix("MQTT:") {
                address.trim().parse::<SocketAddr>().map_err(|e| Error::internal(e.to_string()))?;
                address.trim().clone_into(&mut server.mqtt);
            }
        }
        // The server may go on writing.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(server)
    }

    async fn sql(&self, sql: &str) -> Result<()> {
        let answer = self.post(sql).send().await.map_err(|e| Error::unavailable(e.to_string()))?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(Error::invalid(answer.text().await.unwrap_or_default()))
    }

    fn post(&self, sql: &str) -> reqwest::RequestBuilder {
        let request = self.client.post(format!("{}/v1/sql", self.http)).bearer_auth(&self.token);
        request.header("accept", "application/x-ndjson").json(&json!({ "sql": sql }))
    }

    /// Reads the rows of a query as they come; returns how much later than `column` plus `wait` they came, in microseconds.
    fn watch(
        &self,
        sql: String,
        column: &'static str,
        wait: i64,
        duration: Duration,
    ) -> impl Future<Output = Result<Histogram<u64>>> + use<> {
        let request = self.post(&sql);
        async move {
            let lost = |e: reqwest::Error| Error::unavailable(e.to_string());
            let answer = request.send().await.map_err(lost)?;
            if !answer.status().is_success() {
                return Err(Error::invalid(answer.text().await.unwrap_or_default()));
            }
            let mut seen = Histogram::new_with_max(LATENCY_US_MAX, 3).map_err(|e| Error::internal(e.to_string()))?;
            let (clock, began) = (SystemClock::new(), Instant::now());
            let (mut bytes, mut line) = (answer.bytes_stream(), Vec::new());
            while began.elapsed() < duration {
                let Ok(Some(chunk)) = tokio::time::timeout(Duration::from_secs(1), bytes.next()).await else { continue };
                let now = clock.now();
                for &byte in chunk.map_err(lost)?.iter() {
                    if byte != b'\n' {
                        line.push(byte);
                        continue;
                    }
                    let row: Value = serde_json::from_slice(&line).map_err(|e| Error::internal(e.to_string()))?;
                    line.clear();
                    let due = row[column].as_str().and_then(|t| time::parse(t.as_bytes())).map(|t| t + wait);
                    if let (Some(due), true) = (due, began.elapsed() > WARM_UP) {
                        seen.saturating_record(u64::try_from(now - due).unwrap_or(0));
                    }
                }
            }
            if seen.is_empty() { Err(Error::internal("no row came")) } else { Ok(seen) }
        }
    }

    async fn publish(&self, rate: f64, duration: Duration) -> Result<Report> {
        let simulation = Simulation {
            rate: Rate::Total(rate),
            duration: Some(duration),
            ..Simulation::new(Target::Mqtt5(self.mqtt.clone()), self.devices.clone(), Name::new("telemetry")?)
        };
        simulator::run(simulation, Arc::new(SystemClock::new()), Arc::new(Progress::default()), CancellationToken::new()).await
    }

    /// Time that the server has had on all cores together.
    fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks = |i: usize| after_name.split_whitespace().nth(i).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
        Ok((ticks(11) + ticks(12)) / TICKS)
    }

    /// Records that the slowest job has not read yet.
    async fn lag(&self) -> Result<u64> {
        let request = self.client.get(format!("{}/v1/jobs", self.http)).bearer_auth(&self.token);
        let answer = request.send().await.map_err(|e| Error::unavailable(e.to_string()))?;
        let jobs: Value = answer.json().await.map_err(|e| Error::internal(e.to_string()))?;
        let list = jobs.as_array().or_else(|| jobs["jobs"].as_array()).ok_or_else(|| Error::internal(format!("no jobs in {jobs}")))?;
        Ok(list.iter().filter_map(|j| j["lag"].as_u64()).max().unwrap_or(0))
    }
}

/// A data directory with active devices, and the token of its administrator.
fn provision(dir: &Path) -> Result<(Vec<DeviceLogin>, String)> {
    let core = Core::open(Config { data: dir.to_owned(), ..Config::default() })?;
    let actor = Actor { name: "bench".to_owned(), peer: None };
    let token = core.devices.ensure_admin()?.ok_or_else(|| Error::internal("the directory is not new"))?;
    let device = |n: usize| -> Result<DeviceLogin> {
        let device = DeviceId::new(&format!("bench-{n:03}"))?;
        let registration =
            Registration { device: device.clone(), activation_key: ActivationKey::None, activation_not_after: None, metadata: None };
        core.devices.register(&actor, registration)?;
        let key = core.devices.issue_key(&actor, &device, Duration::ZERO)?;
        Ok(DeviceLogin { device, key: key.expose().to_owned() })
    };
    let devices = (0..DEVICES).map(device).collect::<Result<_>>()?;
    core.close();
    Ok((devices, token.expose().to_owned()))
}
