//! Tests of the log as a whole. Invariant: they run on a simulated disk, so that every crash and fault can be chosen.

mod clock;
mod crash;
mod damage;
mod faults;
mod golden;
mod producers;
mod repair;
mod retention;
mod simulation;
mod upkeep;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::sim::{SimClock, SimDisk};
use super::{Floors, Log, LogConfig, Logs, segment};
use crate::batch::{ContentType, Record};
use crate::contract::{Disk, LogStore};
use crate::ids::Name;
use crate::locks::lock;

const LONG: Duration = Duration::from_secs(20);

fn config(segment_bytes: u64) -> LogConfig {
    LogConfig { segment_bytes, partitions_default: 1, ..LogConfig::default() }
}

fn open(disk: &SimDisk, segment_bytes: u64) -> Arc<Logs> {
    Logs::open(Path::new("log"), Arc::new(disk.clone()), Arc::new(SimClock::default()), config(segment_bytes)).unwrap()
}

fn stream(logs: &Logs) -> Arc<Log> {
    logs.stream(&Name::new("telemetry").unwrap()).unwrap()
}

fn record<'a>(device: &'a str, payload: &'a [u8]) -> Record<'a> {
    Record { device, topic: "t", content_type: ContentType::Json, producer: None, payload }
}

/// Waits until something is true.
fn until(what: &str, is_true: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !is_true() {
        assert!(start.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Appends payloads "0", "1", …, each durable before the next, so that each is a frame of its own.
fn append_frames(log: &Log, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let ticket = log.append(&record("d", number.to_string().as_bytes())).unwrap();
        assert_eq!(ticket.offset, number);
        assert!(log.wait(0, number, LONG), "offset {number} became durable");
    }
}

/// All payloads of partition 0, checked to be "0", "1", …; returns how many.
fn read_frames(log: &Log) -> u64 {
    let mut from = log.bounds(0).start;
    while let Some(records) = log.read(0, from).unwrap() {
        for entry in &records.entries {
            assert_eq!(records.slice(&entry.payload), from.to_string().as_bytes());
            from += 1;
        }
    }
    assert_eq!(from, log.bounds(0).end);
    from
}

/// Segment files, oldest first.
fn segment_files(disk: &SimDisk) -> Vec<PathBuf> {
    disk.files().into_keys().filter(|p| p.extension().is_some_and(|e| e == "log")).collect()
}

/// The last byte of the newest frame is another one: it looks like a torn tail.
fn damage_the_end(disk: &SimDisk) {
    let path = segment_files(disk).pop().unwrap();
    let mut bytes = disk.files().remove(&path).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap();
    bytes[end] ^= 1;
    disk.overwrite(&path, bytes);
}
