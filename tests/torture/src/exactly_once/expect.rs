//! What every table must hold, computed from the log's records one by one. Invariant: a second implementation of the jobs in
//! `load::statements` that shares nothing with the engine but the reading of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use thalweg_engine::contract::Streams;
use thalweg_engine::ids::Name;
use thalweg_engine::log::{LogConfig, Logs};
use thalweg_engine::system::{RealDisk, SystemClock};
use thalweg_engine::time::Micros;

use super::load::{DELAY, STREAM, WINDOW, site};
use crate::oracle::Key;

/// Partition and offset.
pub type Origin = (i64, i64);

/// One record of the log.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Where it is.
    pub origin: Origin,
    /// Who sent it.
    pub key: Option<Key>,
    /// Its payload.
    pub payload: String,
    /// Whether it is JSON.
    pub readable: bool,
    /// Its event time and its value, if it has both.
    pub event: Option<(Micros, i64)>,
}

/// The tables as they must be.
#[derive(Debug, Default)]
pub struct Expected {
    /// All records.
    pub records: BTreeMap<Origin, Logged>,
    /// Records that cannot be read.
    pub rejected: BTreeSet<Origin>,
    /// Records whose window had closed in their partition.
    pub late: BTreeSet<Origin>,
    /// Records of a device that nobody knows.
    pub unknown: u64,
    /// (begin of a window, site) → (records, sum).
    pub windows: BTreeMap<(Micros, String), (i64, i64)>,
    /// Device → (records, sum).
    pub totals: BTreeMap<String, (i64, i64)>,
}

/// Computes the tables from the log in `directory`, which nobody has open.
pub fn expect(directory: &Path) -> Result<Expected, String> {
    let mut expected = Expected::default();
    let logged = read_log(directory)?;
    let mut reached: BTreeMap<i64, Micros> = BTreeMap::new();
    let mut timely = Vec::new();
    for record in &logged {
        let Some((at, v)) = record.event else {
            expected.rejected.insert(record.origin);
            continue;
        };
        let watermark = reached.entry(record.origin.0).or_insert(Micros::MIN);
        let (begin, before) = (at.div_euclid(WINDOW) * WINDOW, *watermark);
        *watermark = before.max(at - DELAY);
        let device = record.key.as_ref().map_or("", |key| key.device.as_str());
        match site_of(device) {
            None => expected.unknown += 1,
            Some(_) if begin + WINDOW <= before => drop(expected.late.insert(record.origin)),
            Some(site) => timely.push((begin, site, v)),
        }
    }
    // What has closed everywhere is in the results.
    let end = reached.values().min().copied().unwrap_or(Micros::MIN);
    for (begin, site, v) in timely.into_iter().filter(|(begin, ..)| begin + WINDOW <= end) {
        let (n, total) = expected.windows.entry((begin, site.to_owned())).or_default();
        *n += 1;
        *total += v;
    }
    for record in &logged {
        if let (Some((at, v)), Some(key)) = (record.event, &record.key)
            && at <= end
        {
            let (n, total) = expected.totals.entry(key.device.clone()).or_default();
            *n += 1;
            *total += v;
        }
    }
    expected.records = logged.into_iter().map(|record| (record.origin, record)).collect();
    Ok(expected)
}

fn site_of(device: &str) -> Option<&'static str> {
    site(device.strip_prefix("device-")?.parse().ok()?)
}

fn read_log(directory: &Path) -> Result<Vec<Logged>, String> {
    let shown = |e: thalweg_engine::error::Error| format!("the log: {e}");
    let logs = Logs::open(directory, Arc::new(RealDisk), Arc::new(SystemClock::new()), LogConfig::default()).map_err(shown)?;
    let log = Streams::stream(&*logs, &Name::new(STREAM).map_err(shown)?).map_err(shown)?;
    let mut logged = Vec::new();
    for partition in 0..log.partitions() {
        let mut next = log.bounds(partition).start;
        while let Some(records) = log.read(partition, next).map_err(shown)? {
            for entry in &records.entries {
                next = entry.offset + 1;
                let device = records.text(&entry.device).to_owned();
                let payload = String::from_utf8_lossy(records.slice(&entry.payload)).into_owned();
                logged.push(Logged {
                    origin: (i64::from(partition), entry.offset.cast_signed()),
                    key: entry.producer.map(|p| Key { device, epoch: p.epoch, sequence: p.sequence }),
                    readable: serde_json::from_str::<Value>(&payload).is_ok(),
                    event: event(&payload),
                    payload,
                });
            }
        }
    }
    Ok(logged)
}

/// Event time and value of a payload that has both.
fn event(payload: &str) -> Option<(Micros, i64)> {
    let value: Value = serde_json::from_str(payload).ok()?;
    Some((value["at"].as_i64()?, value["v"].as_i64()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_read_or_not() {
        assert_eq!(event(r#"{"device_id":"a","ts":"2026-01-01T00:00:00Z","at":5,"v":7}"#), Some((5, 7)));
        assert_eq!(event(r#"{"device_id":"a","ts":"#), None);
        assert_eq!(event(r#"{"device_id":"a","seq":3}"#), None);
        assert_eq!((site_of("device-1"), site_of("device-7"), site_of("x")), (Some("south"), None, None));
    }
}
