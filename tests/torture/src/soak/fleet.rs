//! Devices that send at an even rate, and a probe whose records are watched until they come out of a query. Invariant: time counts
//! from the moment a request was due, not from the one when it got its turn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use reqwest::Method;
use thalweg_engine::contract::Clock;
use thalweg_engine::system::SystemClock;
use thalweg_engine::time::format;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::server::Server;

/// Devices that carry the load.
pub const DEVICES: u64 = 50;
/// Requests that each sends in a second.
const REQUESTS_PER_SECOND: u64 = 10;
const PROBE_EVERY: Duration = Duration::from_millis(50);
/// The device whose records are watched.
pub const PROBE: &str = "probe";

/// What the fleet saw since somebody last looked.
#[derive(Debug)]
pub struct Seen {
    clock: SystemClock,
    /// Records acknowledged since the beginning.
    pub acknowledged: AtomicU64,
    /// Requests that were refused or failed since the beginning.
    pub failed: AtomicU64,
    acknowledgements: Mutex<Histogram<u64>>,
    results: Mutex<Histogram<u64>>,
}

impl Seen {
    /// Nothing yet.
    pub fn new() -> Result<Self, String> {
        let histogram = || Histogram::new(3).map(Mutex::new).map_err(|e| e.to_string());
        Ok(Self {
            clock: SystemClock::new(),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            acknowledgements: histogram()?,
            results: histogram()?,
        })
    }

    /// 99 % of acknowledgements and of results took at most so many milliseconds; begins anew.
    pub fn take(&self) -> (f64, f64) {
        let p99 = |histogram: &Mutex<Histogram<u64>>| {
            let mut histogram = histogram.lock().unwrap_or_else(PoisonError::into_inner);
            let found = histogram.value_at_quantile(0.99) as f64 / 1000.0;
            histogram.reset();
            found
        };
        (p99(&self.acknowledgements), p99(&self.results))
    }

    fn note(histogram: &Mutex<Histogram<u64>>, time: Duration) {
        // Only a value beyond all bounds is refused, which no histogram without bounds does.
        let _ = histogram.lock().unwrap_or_else(PoisonError::into_inner).record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }
}

/// Sends as one device of `DEVICES`, so that all of them make `rate` records a second.
pub async fn device(server: Arc<Server>, seen: Arc<Seen>, number: u64, key: String, rate: u64) {
    let records = rate / DEVICES / REQUESTS_PER_SECOND;
    let period = Duration::from_micros(1_000_000 / REQUESTS_PER_SECOND);
    let mut ticks = interval_at(Instant::now() + period * u32::try_from(number).unwrap_or(0) / DEVICES as u32, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let path = format!("/v1/devices/device-{number}/telemetry");
    loop {
        let due = ticks.tick().await;
        let ts = format(seen.clock.now());
        let line = |n: u64| {
            format!(
                r#"{{"device_id":"device-{number}","ts":"{ts}","temperature":{}.5,"humidity":{},"status":"ok","v":{n}}}"#,
                20 + n % 10,
                40 + n % 20
            )
        };
        let body: Vec<String> = (0..records).map(line).collect();
        let request = server.request(Method::POST, &path, &key).header("content-type", "application/x-ndjson").body(body.join("\n"));
        match request.send().await {
            Ok(response) if response.status().is_success() => {
                drop(response.bytes().await);
                Seen::note(&seen.acknowledgements, due.elapsed());
                seen.acknowledged.fetch_add(records, Ordering::Relaxed);
            }
            _ => drop(seen.failed.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// Sends records that carry the time at which they were sent.
pub async fn probe(server: Arc<Server>, seen: Arc<Seen>, key: String) {
    let mut ticks = interval_at(Instant::now(), PROBE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let path = format!("/v1/devices/{PROBE}/telemetry");
    loop {
        ticks.tick().await;
        let now = seen.clock.now();
        let body = format!(r#"{{"device_id":"{PROBE}","ts":"{}","v":{now}}}"#, format(now));
        let request = server.request(Method::POST, &path, &key).header("content-type", "application/json").body(body);
        if !request.send().await.is_ok_and(|response| response.status().is_success()) {
            seen.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reads the probe's records as a query gives them, and how long each took.
pub async fn watch(server: Arc<Server>, seen: Arc<Seen>) -> String {
    let query = format!("SELECT v FROM telemetry WHERE device_id = '{PROBE}'");
    let mut response = match server.sql(&query).await {
        Ok(response) => response,
        Err(e) => return format!("the query of the probe: {e}"),
    };
    let mut rest = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => rest.extend_from_slice(&bytes),
            Ok(None) => return "the query of the probe ended".to_owned(),
            Err(e) => return format!("the query of the probe broke off: {e}"),
        }
        let now = seen.clock.now();
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let sent = serde_json::from_slice::<serde_json::Value>(&line).ok().and_then(|row| row["v"].as_i64());
            if let Some(sent) = sent {
                Seen::note(&seen.results, Duration::from_micros((now - sent).unsigned_abs()));
            }
        }
    }
}
