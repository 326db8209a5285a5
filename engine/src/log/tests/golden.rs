//! Files of released formats. Invariant: a log that any released version wrote is opened and read by every later one; the
//! files in `fixtures/log_format_N` and beside are never written again.

use super::*;
use crate::batch::ProducerSequence;
use crate::contract::Arrival;
use crate::error::ErrorKind;
use crate::log::inspect;
use crate::system::{RealDisk, SystemClock};

const FIRST_TIME: i64 = 1_780_000_000_000_000;
const RECORDS: u64 = 24;

/// The record `n` of a fixture, owned: device, topic, payload, and whether it has a producer.
fn parts(n: u64) -> (String, String, Vec<u8>) {
    let device = format!("pump-{}", n % 3);
    let topic = if n % 5 == 4 { format!("other/{n}") } else { format!("devices/{device}/telemetry") };
    (device, topic, format!("{{\"n\":{n},\"bytes\":\"\u{e4}\0\"}}").into_bytes())
}

fn kind_and_producer(n: u64) -> (ContentType, Option<ProducerSequence>) {
    let producer = (n % 4 == 1).then_some(ProducerSequence { epoch: 7, sequence: n << 40 });
    (ContentType::from_byte((n % 4) as u8), producer)
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy_dir(&path, &target) } else { std::fs::copy(&path, &target).map(drop).unwrap() }
    }
}

#[test]
fn format_1_is_read_and_written_on() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/log_format_1");
    let verified = inspect::verify(&RealDisk, &fixture, &Floors::default()).unwrap();
    assert_eq!((verified.records, verified.torn_bytes, verified.problems), (RECORDS, 0, Vec::new()));
    assert!(verified.segments > 2, "sealed segments are part of the fixture");

    let temp = tempfile::tempdir().unwrap();
    copy_dir(&fixture, temp.path());
    let logs = Logs::open(temp.path(), Arc::new(RealDisk), Arc::new(SystemClock::new()), config(1024)).unwrap();
    assert_eq!(logs.problems(), [] as [String; 0]);
    let log = stream(&logs);
    assert_eq!(log.partitions(), 2);
    let mut expected = [Vec::new(), Vec::new()];
    for n in 0..RECORDS {
        expected[crate::ids::partition_of(&parts(n).0, 2) as usize].push(n);
    }
    for (partition, expected) in (0u32..).zip(&expected) {
        assert_eq!(log.bounds(partition), 0..expected.len() as u64);
        let mut from = 0;
        while let Some(records) = log.read(partition, from).unwrap() {
            for entry in &records.entries {
                let n = expected[entry.offset as usize];
                let (device, topic, payload) = parts(n);
                assert_eq!((records.text(&entry.device), records.text(&entry.topic)), (&*device, &*topic));
                assert_eq!(records.slice(&entry.payload), payload);
                assert_eq!((entry.content_type, entry.producer), kind_and_producer(n));
                assert_eq!(entry.received, FIRST_TIME + n as i64 * 1_000);
            }
            from = records.end();
        }
        assert_eq!(from, expected.len() as u64);
    }
    let ticket = log.append(&record("pump-0", b"more")).unwrap();
    assert!(log.wait(ticket.partition, ticket.offset, LONG));
    assert_eq!(log.read(ticket.partition, ticket.offset).unwrap().unwrap().entries.len(), 1);
}

/// A repaired segment that retention has left, and what devices sent last: written byte by byte as the format is described, with no code
/// of this program.
#[test]
fn lost_frames_and_snapshots_of_format_1_are_read() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/log_format_1_lost");
    let verified = inspect::verify(&RealDisk, &fixture, &Floors::default()).unwrap();
    assert_eq!((verified.records, verified.lost, verified.torn_bytes, verified.problems), (3, 3, 0, Vec::new()));
    let temp = tempfile::tempdir().unwrap();
    copy_dir(&fixture, temp.path());
    let logs = Logs::open(temp.path(), Arc::new(RealDisk), Arc::new(SystemClock::new()), config(1024)).unwrap();
    assert_eq!(logs.problems(), [] as [String; 0]);
    let log = stream(&logs);
    assert_eq!(log.bounds(0), 10..16);
    let (mut from, mut offsets, mut lost) = (10, Vec::new(), Vec::new());
    while let Some(records) = log.read(0, from).unwrap() {
        for entry in &records.entries {
            assert_eq!(records.slice(&entry.payload), entry.offset.to_string().as_bytes());
            assert_eq!(entry.received, FIRST_TIME + entry.offset as i64 * 1_000);
            offsets.push(entry.offset);
        }
        from = records.end();
        lost.extend(records.lost);
    }
    assert_eq!((offsets, lost.pop(), lost.len()), (vec![10, 11, 15], Some(12..15), 0));
    // Its records are gone: what it sent is known from the snapshot alone.
    let send = |sequence| {
        let producer = Some(ProducerSequence { epoch: 1, sequence });
        log.append(&Record { producer, ..record("first", b"again") }).unwrap().arrival
    };
    assert_eq!((send(5), send(6)), (Arrival::Duplicate, Arrival::New));
}

#[test]
fn a_real_disk_keeps_a_log_over_restarts() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data/log");
    let mut next = 0;
    for _ in 0..3 {
        let logs = Logs::open(&dir, Arc::new(RealDisk), Arc::new(SystemClock::new()), config(2_000)).unwrap();
        let log = stream(&logs);
        assert_eq!(read_frames(&log), next);
        append_frames(&log, next..next + 40);
        next += 40;
        assert_eq!(read_frames(&log), next);
        logs.close();
    }
    let verified = inspect::verify(&RealDisk, &dir, &Floors::default()).unwrap();
    assert_eq!((verified.records, verified.problems), (120, Vec::new()));
    let zero = LogConfig { partitions_default: 0, ..config(2_000) };
    let refused = Logs::open(&dir, Arc::new(RealDisk), Arc::new(SystemClock::new()), zero).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}
