//! A server under an even load for a long time. Invariant: memory, descriptors, threads and latencies do not grow, every job runs
//! and balances, and the result is labelled by its length.
//!
//! ```text
//! fleet (HTTP, 100 records a request) ──► thalweg serve, a process of its own ──► archive, windows, totals: a checkpoint a second
//!                      probe ──────────►                                      ──► live query ──► watched
//! every ten seconds: memory, descriptors, threads, disk, p99 of acknowledgement, p99 from sending to result
//! ```

mod fleet;
mod samples;
mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::rig::sibling;
use fleet::{DEVICES, PROBE, Seen};
use samples::{Sample, Slope, WATCHED, process, size};
use server::Server;

const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Share of the time that is not looked at, in percent: caches fill, tables get their first files.
const WARM_UP_PERCENT: u64 = 25;
/// Of the rate that was asked for, this much must be acknowledged.
const RATE_PERCENT_MIN: f64 = 99.0;
/// The seeded bug of this test: clients open connections and keep them.
const CONNECTIONS_KEPT: &str = "connections-kept";

const STATEMENTS: &str = "
CREATE TABLE telemetry (device_id STRING, ts TIMESTAMP(3), temperature DOUBLE, humidity BIGINT, status STRING, v BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector' = 'log', 'stream' = 'telemetry', 'format' = 'json');
CREATE TABLE devices (device_id STRING, site STRING, PRIMARY KEY (device_id) NOT ENFORCED)
  WITH ('connector' = 'reference', 'path' = 'reference/devices.csv', 'format' = 'csv');
CREATE TABLE windows (window_start TIMESTAMP(3), window_end TIMESTAMP(3), site STRING, n BIGINT, mean DOUBLE)
  WITH ('connector' = 'lake', 'tier' = 'warm', 'owner' = 'torture@example.com', 'description' = 'a soak');
CREATE TABLE totals (device_id STRING, n BIGINT, PRIMARY KEY (device_id) NOT ENFORCED)
  WITH ('connector' = 'lake', 'tier' = 'warm', 'owner' = 'torture@example.com', 'description' = 'a soak');
INSERT INTO windows SELECT window_start, window_end, d.site, COUNT(*), AVG(t.temperature)
  FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS t
  JOIN devices FOR SYSTEM_TIME AS OF t.ts AS d ON t.device_id = d.device_id WHERE t.status = 'ok'
  GROUP BY window_start, window_end, d.site;
INSERT INTO totals SELECT COALESCE(device_id, '?'), COUNT(*) FROM telemetry GROUP BY COALESCE(device_id, '?');";

/// How long, how much, and of which program.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Minutes of load.
    #[arg(long, default_value_t = 60)]
    pub minutes: u64,
    /// Records a second.
    #[arg(long, default_value_t = 50_000)]
    pub rate: u64,
    /// The program; by default the one that was built beside this.
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// Seeds the bug that the test must find: connections-kept.
    #[arg(long)]
    pub bug: Option<String>,
}

/// Runs the test and prints what came out; whether it passed. With a seeded bug it passes if that is found.
pub fn run(options: &Options) -> Result<bool, String> {
    if let Some(unknown) = options.bug.as_ref().filter(|bug| *bug != CONNECTIONS_KEPT) {
        return Err(format!("there is no bug {unknown}, only {CONNECTIONS_KEPT}"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| e.to_string())?;
    let (samples, violations) = runtime.block_on(soak(options))?;
    let violations: Vec<String> = judge(&samples, options.rate).into_iter().chain(violations).collect();
    let label = match options.minutes {
        60.. => "an hour's soak or more, not one of a day",
        _ => "a short trial, not a soak of an hour",
    };
    violations.iter().for_each(|violation| println!("  {violation}"));
    let found = if violations.is_empty() { "nothing grows".to_owned() } else { format!("FAILED: {} violations", violations.len()) };
    println!("soak: {found}; {} minutes at {} records/s: {label}", options.minutes, options.rate);
    if let Some(bug) = &options.bug {
        let caught = violations.iter().any(|violation| violation.starts_with("descriptors"));
        println!("soak: canary {bug} {}", if caught { "caught" } else { "NOT caught" });
        return Ok(caught);
    }
    Ok(violations.is_empty())
}

async fn soak(options: &Options) -> Result<(Vec<Sample>, Vec<String>), String> {
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let program = options.binary.clone().map_or_else(|| sibling("thalweg"), Ok)?;
    let program = program.canonicalize().map_err(|e| format!("{}: {e}", program.display()))?;
    let server = Arc::new(Server::start(&program, home.path()).await?);
    let id = server.process.id();
    prepare(&server, home.path()).await?;
    let (seen, mut tasks, mut watcher) = (Arc::new(Seen::new()?), JoinSet::new(), JoinSet::new());
    for number in 0..DEVICES {
        let key = server.provision(&format!("device-{number}")).await?;
        tasks.spawn(fleet::device(server.clone(), seen.clone(), number, key, options.rate));
    }
    let key = server.provision(PROBE).await?;
    watcher.spawn(fleet::watch(server.clone(), seen.clone()));
    tasks.spawn(fleet::probe(server.clone(), seen.clone(), key));
    let (began, end) = (Instant::now(), Instant::now() + Duration::from_secs(60 * options.minutes));
    let (mut samples, mut violations, mut kept, mut before) = (Vec::new(), Vec::new(), Vec::new(), (0, began));
    while Instant::now() < end && violations.is_empty() {
        tokio::time::sleep(SAMPLE_EVERY).await;
        let (memory, threads, descriptors) = process(id)?;
        let ((acknowledged, shown), total) = (seen.take(), seen.acknowledged.load(Ordering::Relaxed));
        let rate = (total - before.0) as f64 / before.1.elapsed().as_secs_f64();
        before = (total, Instant::now());
        let at = began.elapsed().as_secs_f64();
        let sample = Sample { at, memory, descriptors, threads, disk: size(&server.data), acknowledged, seen: shown, rate };
        println!(
            "soak: {at:5.0} s  {rate:6.0}/s  memory {memory:6.1} MiB  descriptors {descriptors}  threads {threads}  disk {:.0} MiB  \
             p99 acknowledged {acknowledged:.1} ms, seen {shown:.1} ms",
            sample.disk
        );
        samples.push(sample);
        violations.extend(server.jobs().await?.0);
        if let Some(Ok(why)) = watcher.try_join_next() {
            violations.push(why);
        }
        if options.bug.is_some() {
            for _ in 0..5 {
                kept.push(TcpStream::connect(server.address()).await.map_err(|e| e.to_string())?);
            }
        }
    }
    tasks.shutdown().await;
    violations.extend(server.gateway().await?);
    let failed = seen.failed.load(Ordering::Relaxed);
    if failed > 0 {
        violations.push(format!("{failed} requests failed or were refused"));
    }
    println!("soak: {} records acknowledged, {} checkpoints", before.0, server.jobs().await?.1);
    watcher.shutdown().await;
    Ok((samples, violations))
}

async fn prepare(server: &Server, home: &Path) -> Result<(), String> {
    let directory = home.join("data/reference");
    let lines: String = (0..DEVICES).map(|n| format!("device-{n},site-{}\n", n % 5)).collect();
    std::fs::create_dir_all(&directory)
        .and_then(|()| std::fs::write(directory.join("devices.csv"), format!("device_id,site\n{lines}")))
        .map_err(|e| format!("{}: {e}", directory.display()))?;
    server.sql(STATEMENTS).await.map(drop)
}

/// What grew, or fell short.
fn judge(samples: &[Sample], rate: u64) -> Vec<String> {
    let end = samples.last().map_or(0.0, |s| s.at);
    let warm: Vec<&Sample> = samples.iter().filter(|s| s.at >= end * WARM_UP_PERCENT as f64 / 100.0).collect();
    let mut violations = Vec::new();
    for (name, of) in WATCHED {
        let points: Vec<(f64, f64)> = warm.iter().map(|s| (s.at, of(s))).collect();
        let Some(slope) = Slope::of(&points) else {
            violations.push(format!("{name}: {} samples are too few", points.len()));
            continue;
        };
        let Slope { hourly, margin } = slope;
        let contains = if slope.contains_zero() { "contains 0" } else { "does not contain 0" };
        println!("soak: {name}: {hourly:+.2} ± {margin:.2} an hour, {contains}");
        if slope.grows() {
            violations.push(format!("{name} grows by {hourly:.2} ± {margin:.2} an hour"));
        }
    }
    let reached = warm.iter().map(|s| s.rate).sum::<f64>() / warm.len().max(1) as f64;
    println!(
        "soak: {reached:.0} records/s acknowledged of {rate} asked for; the disk grew to {:.0} MiB",
        samples.last().map_or(0.0, |s| s.disk)
    );
    if reached < rate as f64 * RATE_PERCENT_MIN / 100.0 {
        violations.push(format!("only {reached:.0} of {rate} records/s were acknowledged"));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_and_a_slow_server_are_told() {
        let sample = |n: u32, memory: f64, rate: f64| Sample {
            at: f64::from(n) * 10.0,
            memory: memory + f64::from(n % 3),
            descriptors: 40.0,
            threads: 20.0,
            acknowledged: 3.0,
            seen: 30.0,
            rate,
            ..Sample::default()
        };
        let run = |leak: f64, rate: f64| judge(&(0..40).map(|n| sample(n, 100.0 + leak * f64::from(n), rate)).collect::<Vec<_>>(), 1000);
        assert_eq!(run(0.0, 1000.0), Vec::<String>::new());
        assert!(run(1.0, 1000.0)[0].starts_with("memory, MiB grows by"));
        assert!(run(0.0, 900.0)[0].starts_with("only 900 of 1000"));
        assert!(judge(&[], 1000).len() > 1);
    }
}
